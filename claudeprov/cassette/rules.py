"""What a configuration says of requests: which parts do not count in a comparison, and what is never written."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from claudeprov.cassette.interaction import events
from claudeprov.cassette.redact import Scrubber, scrub

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")


class Rules:
    """The rules of one session; they hold for what was recorded and for what is sent alike.

    Args:
        ignore: JSON paths (``$.metadata.user_id``, ``$.messages[*].content[0].text``) of a request's body that do not
            count when requests are compared; ``timestamps`` stands for dates and times in ISO 8601 within any text.
        scrub: Regular expressions; what they match in addresses and bodies is written as a pseudonym.
    """

    def __init__(self, ignore: Sequence[str] = (), scrub: Sequence[str] = ()) -> None:
        self.ignore = tuple(ignore)
        self.scrub: Scrubber = tuple(re.compile(pattern) for pattern in scrub)
        self._paths = [re.findall(r"[\w*-]+", path) for path in ignore if path != "timestamps"]

    def scrubbed(self, text: bytes) -> bytes:
        """*text* as it is written."""
        return scrub(text, self.scrub)

    def torn(self, body: bytes) -> bool:
        """Whether a stream's texts, joined across its deltas, hold a match that :meth:`scrubbed` cannot find."""
        texts: defaultdict[tuple[Any, str], list[str]] = defaultdict(list)
        for event in filter(None, events(body) if self.scrub else ()):
            delta = event.get("delta")
            for name, text in delta.items() if isinstance(delta, dict) else ():
                if isinstance(text, str):
                    texts[event.get("index"), name].append(text)
        joined = list(map("".join, texts.values()))
        matches = (match[0] for pattern in self.scrub for text in joined for match in pattern.finditer(text))
        return any(match.encode("utf-8", "replace") not in body for match in matches)

    def comparable(self, body: bytes) -> Any:
        """A request's body as it is compared: JSON without what is ignored, or text where it is no JSON."""
        text = body.decode("utf-8", "replace")
        if "timestamps" in self.ignore:
            text = _TIMESTAMP.sub("(timestamp)", text)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        for path in self._paths:
            _drop(value, path)
        if isinstance(value, dict) and value.get("stream") is False:
            del value["stream"]  # the API's default
        return value


NO_RULES = Rules()


def _drop(value: Any, path: Sequence[str]) -> None:
    """Take what stands at *path* out of *value*; an item of a list becomes ``None``, so that the others stay."""
    step, *rest = path
    if isinstance(value, dict):
        if not rest:
            value.pop(step, None)
        elif step in value:
            _drop(value[step], rest)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if step not in ("*", str(index)):
                continue
            if rest:
                _drop(item, rest)
            else:
                value[index] = None
