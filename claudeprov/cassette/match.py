"""Which recorded request a request is; and where it is none, which comes nearest and how it differs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
from vcr.request import Request

from claudeprov.cassette.rules import NO_RULES, Rules

_SHOWN = 60
"""Characters shown of a value that differs."""

_ABSENT = object()


class Sent:
    """A request as it is compared: method, path and JSON body; neither server, query nor headers count.

    Args:
        method: Of HTTP.
        uri: Where it goes.
        body: As it is written in a cassette, or would be.
        rules: What of the body does not count.
    """

    def __init__(self, method: str, uri: str, body: bytes | None, rules: Rules = NO_RULES) -> None:
        self.method = method.upper()
        self.path = _canonical_path(urlsplit(uri).path)
        self.body = rules.comparable(body or b"")
        text = json.dumps([self.method, self.path, self.body], sort_keys=True)
        self.key = blake2b(text.encode(), digest_size=16).digest()
        """Equal for equal requests."""

    @property
    def model(self) -> str | None:
        """The model asked for: in the body, or on Vertex in the path."""
        model = self.body.get("model") if isinstance(self.body, dict) else None
        if model is None and (in_path := re.search(r"/models/([^/:]+)", self.path)):
            model = in_path[1]
        return model if isinstance(model, str) else None


def sent_of(request: Request, rules: Rules = NO_RULES) -> Sent:
    """A recorded request as it is compared."""
    return Sent(request.method, request.uri, request.body, rules)


def draft_of(request: httpx2.Request, rules: Rules = NO_RULES) -> Sent:
    """A request that is being sent, its content read, as it is compared."""
    return Sent(request.method, str(request.url), rules.scrubbed(request.content), rules)


class Difference(NamedTuple):
    """One place where two requests differ."""

    path: str
    recorded: Any
    sent: Any

    def __str__(self) -> str:
        recorded, sent = self.shown
        return f"{self.path}: recorded {recorded}, sent {sent}"

    @property
    def shown(self) -> tuple[str, str]:
        """Both values for a person, cut to where they begin to differ."""
        start = _first_difference(self.recorded, self.sent)
        return _shown(self.recorded, start), _shown(self.sent, start)


def differences(recorded: Any, sent: Any, path: str = "$") -> Iterator[Difference]:
    """Where two JSON values differ, in the order of the recorded one."""
    if isinstance(recorded, dict) and isinstance(sent, dict):
        for name in {**recorded, **sent}:
            yield from differences(recorded.get(name, _ABSENT), sent.get(name, _ABSENT), f"{path}.{name}")
    elif isinstance(recorded, list) and isinstance(sent, list):
        for index in range(max(len(recorded), len(sent))):
            old, new = (items[index] if index < len(items) else _ABSENT for items in (recorded, sent))
            yield from differences(old, new, f"{path}[{index}]")
    elif type(recorded) is not type(sent) or recorded != sent:
        yield Difference(path, recorded, sent)


def nearest(sent: Sent, recorded: Iterable[Sent]) -> tuple[int, list[Difference]] | None:
    """Give the position of the recorded request that is most like *sent*, and where it differs.

    ``None`` where none has the same method and path. At most 100 differences are given.
    """
    best: tuple[float, int, list[Difference]] | None = None
    for position, candidate in enumerate(recorded):
        if (candidate.method, candidate.path) != (sent.method, sent.path):
            continue
        found = list(islice(differences(candidate.body, sent.body), 100))
        distance = sum(1 - _likeness(difference) for difference in found)
        if best is None or distance < best[0]:
            best = distance, position, found
    return None if best is None else best[1:]


def _canonical_path(path: str) -> str:
    """The path from the API's version on, without what only names an account: a gateway's prefix, a Vertex project."""
    _, version, rest = path.rpartition("/v1/")
    return re.sub(r"/projects/[^/]+/locations/[^/]+/", "/projects/-/locations/-/", version + rest)


def _likeness(difference: Difference) -> float:
    _, recorded, sent = difference
    if isinstance(recorded, str) and isinstance(sent, str):
        return SequenceMatcher(None, recorded[:1000], sent[:1000]).quick_ratio()
    return 0.0


def _first_difference(recorded: Any, sent: Any) -> int:
    if isinstance(recorded, str) and isinstance(sent, str):
        pairs = enumerate(zip(recorded, sent, strict=False))
        return next((at for at, (old, new) in pairs if old != new), min(len(recorded), len(sent)))
    return 0


def _shown(value: Any, start: int) -> str:
    if value is _ABSENT:
        return "nothing"
    start = max(0, start - _SHOWN // 3)
    if isinstance(value, str):
        cut = value[start : start + _SHOWN]
        before, after = "…" if start else "", "…" if start + _SHOWN < len(value) else ""
        return f'"{before}{json.dumps(cut, ensure_ascii=False)[1:-1]}{after}"'
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
