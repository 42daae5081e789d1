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


def redact_request(request: Request) -> Request:
    """Give the request that may be written: allowed headers, no account in its address, JSON laid out to be read."""
    headers = {name: value for name, value in request.headers.items() if REQUEST_HEADERS.fullmatch(name)}
    return Request(request.method, redact_uri(request.uri), _readable(request.body), headers)


def redact_response(response: dict[str, Any]) -> dict[str, Any]:
    """Give the response that may be written: allowed headers, and ids as pseudonyms wherever they stand.

    A pseudonym is as long as what it stands for, so that positions within the body hold.
    """
    headers = {name: values for name, values in response["headers"].items() if RESPONSE_HEADERS.fullmatch(name)}
    body: bytes = response["body"]["string"]
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


def pseudonym(value: str) -> str:
    """Another id of the same shape, always the same for *value*, from which *value* cannot be told."""
    prefix, mark, rest = value.partition("_") if "_" in value else ("", "", value)
    digits = iter(shake_256(value.encode()).hexdigest(len(rest)))
    return prefix + mark + re.sub("[A-Za-z0-9]", lambda _: next(digits), rest)


def _readable(body: bytes | None) -> bytes | None:
    try:
        return json.dumps(json.loads(body or b""), indent=2, sort_keys=True, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return body


def redact_uri(uri: str) -> str:
    parts = urlsplit(uri)
    host = _ACCOUNT_HOST.sub("resource", parts.netloc.rpartition("@")[2])
    path = _ACCOUNT_PATH.sub("/projects/project/", parts.path)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name in _QUERY])
    return parts._replace(netloc=host, path=path, query=query).geturl()
