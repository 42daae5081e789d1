"""What there is to record: calls, whether they were recorded, and why they should be again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import httpx2
from vcr.cassette import Cassette

from claudeprov.cassette.answer import answer_of, is_stream
from claudeprov.cassette.estimate import Estimate, estimate
from claudeprov.cassette.interaction import Interaction, interactions
from claudeprov.cassette.match import draft_of, sent_of
from claudeprov.cassette.recording import file_of
from claudeprov.cassette.rules import Rules
from claudeprov.cassette.staleness import stale
from claudeprov.errors import ProviderError
from claudeprov.pricing import PriceBook
from claudeprov.settings import Settings

Kind = Literal["message", "count", "models"]
"""What is asked of a provider: to answer, to count tokens, or which models there are."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call to be recorded."""

    name: str
    """For a person: the task, or the place in its cassette."""
    kind: Kind
    request: Mapping[str, Any]
    """The API's parameters."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call, and what is known of it before it is made."""

    call: Call
    key: bytes
    """Of its request; equal requests are recorded together or not at all."""
    file: Path
    reason: str | None
    """Why it is to be recorded; ``None``: its recording is good."""
    answered: bool
    """Whether it was recorded with a whole answer of status 200, which no failure should replace."""
    estimate: Estimate


class DraftTransport(httpx2.AsyncBaseTransport):
    """Keeps the latest request that it is given, and sends none."""

    def __init__(self) -> None:
        self.request: httpx2.Request | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        self.request = request
        raise NotSentError("this is a draft")


class NotSentError(ProviderError):
    """A request was only drafted."""

    code = "not_sent"


def plan(
    drafts: Sequence[tuple[Call, httpx2.Request]],
    old: Mapping[Path, Cassette],
    *,
    path: Path,
    suite: str | None,
    settings: Settings,
    rules: Rules,
    now: datetime,
) -> list[Step]:
    """Say of each call whether, why and at what cost it is to be recorded.

    It is if its request is not in the cassette as often as it is asked; if its recording failed for a reason that may
    have passed, or is stale (:func:`~claudeprov.cassette.staleness.stale`); or if ``cassette.all`` says so.

    Args:
        drafts: The calls with the requests that they make.
        old: The cassettes that there are.
        path: File or folder that is recorded into.
        suite: What is being recorded.
        settings: The configuration that it is recorded with.
        rules: Which requests are the same.
        now: The time, aware.
    """
    recorded: defaultdict[bytes, list[Interaction]] = defaultdict(list)
    for cassette in old.values():
        for item in interactions(cassette):
            recorded[sent_of(item.request, rules).key].append(item)
    asked = Counter(draft_of(request, rules).key for _, request in drafts)
    seen: Counter[bytes] = Counter()
    prices = PriceBook(settings.pricing, settings.model)
    steps = []
    for call, request in drafts:
        sent, key = draft_of(request), draft_of(request, rules).key
        answers = list(_answers(recorded[key]))
        answer = answers[seen[key]] if seen[key] < len(answers) else None
        seen[key] += 1
        if len(answers) < asked[key]:
            reason: str | None = "not recorded"
        else:
            reason = _reason(answers, settings, now, request.headers.get("anthropic-version"))
        usage = answer_of(answer).usage if answer else None
        steps.append(
            Step(
                call=call,
                key=key,
                file=file_of(path, suite, sent.model),
                reason=reason,
                answered=bool(answers) and all(item.status == 200 and _failure(item) is None for item in answers),
                estimate=estimate(sent, usage, at=now, prices=prices),
            )
        )
    return steps


def calls_of(cassette: Cassette) -> Iterator[Call]:
    """The calls that made the recordings of *cassette*, each as often as it was answered.

    Left out is what no request can bring about again: an exchange that its reader left; and what a provider does not
    ask: other paths than those of messages, counts of tokens and the list of models.
    """
    recorded: defaultdict[bytes, list[Interaction]] = defaultdict(list)
    for item in interactions(cassette):
        recorded[sent_of(item.request).key].append(item)
    kept = [item for items in recorded.values() for item in _answers(items)]
    for item in sorted(kept, key=lambda item: item.index):
        if item.details is not None and item.details.end == "cancelled":
            continue
        kind, request = _kind(item), _request(item)
        if kind is not None and request is not None:
            yield Call(f"{cassette.path}#{item.index + 1}", kind, request)


def _answers(items: Sequence[Interaction]) -> Iterator[Interaction]:
    """The exchanges of one request that ended their calls: all but failed attempts that another one followed."""
    for item, following in zip_longest(items, items[1:]):
        if following is None or _failure(item) is None:
            yield item


def _reason(answers: Sequence[Interaction], settings: Settings, now: datetime, api: str | None) -> str | None:
    max_age = settings.cassette.max_age
    reasons = (_failure(answer) or stale(answer, now=now, api=api, max_age=max_age) for answer in answers)
    return next(filter(None, reasons), "cassette.all is set" if settings.cassette.all else None)


def _failure(item: Interaction) -> str | None:
    """Say how an exchange failed, if it did and the next one need not."""
    if item.details is not None and item.details.end != "complete":
        return f"its recording is {item.details.end}"
    if item.status in (401, 403, 408, 409, 429) or item.status >= 500:
        return f"its recording is an error of status {item.status}"
    if item.status == 200 and is_stream(item) and "message_stop" not in _said(item):
        return "its recording is a stream that does not reach its end"
    return None


def _said(item: Interaction) -> set[Any]:
    """The types of a stream's events."""
    return {event.get("type") for event in answer_of(item).events}


def _kind(item: Interaction) -> Kind | None:
    sent = sent_of(item.request)
    match sent.method, sent.path.rpartition("/")[2]:
        case "POST", "messages":
            return "message"
        case "POST", "count_tokens" | "count-tokens:rawPredict":
            return "count"
        case "POST", name if name.endswith((":rawPredict", ":streamRawPredict")):
            return "message"
        case "GET", "models":
            return "models"
    return None


def _request(item: Interaction) -> dict[str, Any] | None:
    """The parameters by which a provider makes the same request again."""
    sent = sent_of(item.request)
    if sent.method == "GET":
        return {}
    if not isinstance(sent.body, dict) or not isinstance(sent.body.get("messages"), list):
        return None
    request = {name: value for name, value in sent.body.items() if name != "anthropic_version"}
    request |= {"model": sent.model, "stream": bool(sent.body.get("stream"))}
    headers = {name.lower(): value for name, value in item.request.headers.items()}
    if betas := headers.get("anthropic-beta"):
        request["betas"] = (betas if isinstance(betas, str) else ",".join(betas)).split(",")
    return request
