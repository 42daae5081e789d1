"""What of an exchange may be written down: headers by an allow-list, ids as pseudonyms, secrets never."""

from __future__ import annotations

import json
import re
from hashlib import shake_256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from vcr.request import Request

REQUEST_HEADERS = re.compile(r"content-type|anthropic-version|anthropic-beta", re.IGNORECASE)
"""Headers of a request that are kept."""

RESPONSE_HEADERS = re.compile(
    r"content-type|server|retry-after(-ms)?|x-should-retry|(x-)?request-id"
    r"|anthropic-(organization|workspace)-id|anthropic-(ratelimit|priority|fast)-.*",
    re.IGNORECASE,
)
"""Headers of a response that are kept, those that are ids as pseudonyms."""

_ID_HEADERS = re.compile(r"(x-)?request-id|anthropic-(organization|workspace)-id", re.IGNORECASE)
_REQUEST_ID = re.compile(rb"\breq_\w{8,}")
_QUERY = frozenset({"beta", "limit", "after_id", "before_id", "lifecycle"})
_ACCOUNT_PATH = re.compile(r"/projects/[^/]+/")
_ACCOUNT_HOST = re.compile(r"^[^.]+(?=\.services\.ai\.azure\.com)")


Scrubber = tuple[re.Pattern[str], ...]
"""Patterns of what is written as a pseudonym."""


def redact_request(request: Request, scrubber: Scrubber = ()) -> Request:
    """Give the request that may be written: allowed headers, no account in its address, JSON laid out to be read."""
    headers = {name: value for name, value in request.headers.items() if REQUEST_HEADERS.fullmatch(name)}
    uri = scrub(redact_uri(request.uri).encode(), scrubber).decode()
    return Request(request.method, uri, _readable(scrub(request.body or b"", scrubber)) or None, headers)


def redact_response(response: dict[str, Any], scrubber: Scrubber = ()) -> dict[str, Any]:
    """Give the response that may be written: allowed headers, and ids as pseudonyms wherever they stand.

    A pseudonym is as long as what it stands for, so that positions within the body hold.
    """
    headers = {name: values for name, values in response["headers"].items() if RESPONSE_HEADERS.fullmatch(name)}
    body = scrub(response["body"]["string"], scrubber)
    ids = {match.decode() for match in _REQUEST_ID.findall(body)}
    ids.update(value for name, values in headers.items() if _ID_HEADERS.fullmatch(name) for value in values)
    for value in ids:
        if len(value) >= 8:
            body = body.replace(value.encode(), pseudonym(value).encode())
    return response | {
        "headers": {
            name: [pseudonym(value) for value in values] if _ID_HEADERS.fullmatch(name) else values
            for name, values in headers.items()
        },
        "body": {"string": body},
    }


def scrub(text: bytes, scrubber: Scrubber) -> bytes:
    """Give *text* with a pseudonym in place of each match; it stays as long as it is, and JSON stays JSON."""
    for pattern in scrubber:
        text = pattern.sub(lambda match: _disguise(match[0]), text.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape"
        )
    return text


def pseudonym(value: str) -> str:
    """Another id of the same shape, always the same for *value*, from which *value* cannot be told."""
    prefix, mark, rest = value.partition("_") if "_" in value else ("", "", value)
    digits = iter(shake_256(value.encode()).hexdigest(len(rest)))
    return prefix + mark + re.sub("[A-Za-z0-9]", lambda _: next(digits), rest)


def _disguise(value: str) -> str:
    """Other letters and digits in place of those of *value*; no digit is 0, with which no number in JSON begins."""
    drawn = iter(shake_256(value.encode("utf-8", "surrogateescape")).digest(len(value)))
    draw = {"letter": "abcdefghijkmnopqrstuvwxyz", "digit": "123456789"}
    return re.sub(
        "(?P<letter>[A-Za-z])|(?P<digit>[0-9])",
        lambda match: draw[str(match.lastgroup)][next(drawn) % len(draw[str(match.lastgroup)])],
        value,
    )


def _readable(body: bytes) -> bytes:
    try:
        return json.dumps(json.loads(body), indent=2, sort_keys=True, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return body


def redact_uri(uri: str) -> str:
    parts = urlsplit(uri)
    host = _ACCOUNT_HOST.sub("resource", parts.netloc.rpartition("@")[2])
    path = _ACCOUNT_PATH.sub("/projects/project/", parts.path)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name in _QUERY])
    return parts._replace(netloc=host, path=path, query=query).geturl()
