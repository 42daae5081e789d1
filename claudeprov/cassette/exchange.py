"""One exchange while it is recorded, and what is written of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import httpx2
import msgspec
from vcr.request import Request

from claudeprov import __version__
from claudeprov.cassette.file import UNANSWERED
from claudeprov.cassette.interaction import FORMAT, KEY, LOCAL, Details, End, events
from claudeprov.cassette.match import Sent, draft_of
from claudeprov.cassette.redact import redact_uri
from claudeprov.cassette.rules import NO_RULES, Rules
from claudeprov.clock import Clock


class Exchange:
    """One exchange while it is recorded. Until it is written, it only keeps what there was, and when."""

    def __init__(self, request: httpx2.Request, clock: Clock) -> None:
        self._request = request
        self._now = clock.monotonic
        self._recorded_at = clock.now()
        self._moments = [clock.monotonic()]
        self._response: httpx2.Response | None = None
        self._chunks: list[bytes] = []
        self._end: End | Literal["left"] | None = None
        self._error: str | None = None

    def sent(self, rules: Rules) -> Sent:
        """The request as it is compared."""
        return draft_of(self._request, rules)

    @property
    def model(self) -> str | None:
        """The model asked for."""
        return self.sent(NO_RULES).model

    @property
    def body(self) -> bytes:
        """What came of the answer's body."""
        return b"".join(self._chunks)

    @property
    def echoes_its_credential(self) -> bool:
        """Whether the answer holds the credential that was sent; one of a few letters may stand there by chance."""
        credential = self._request.headers.get("authorization", "").removeprefix("Bearer ")
        return len(credential) >= 12 and credential.encode() in self.body

    @property
    def answered(self) -> bool:
        """Whether a whole answer of status 200 came, of a stream its message to the end."""
        if self._response is None or self._response.status_code != 200 or self.end != "complete":
            return False
        return not self._said or ("message_stop" in self._said and "error" not in self._said)

    @property
    def end(self) -> End:
        """How it ended. A reader who left once all was said had the whole answer."""
        if self._end == "left" or self._end is None:
            return "complete" if self._said[-1:] in (["message_stop"], ["error"]) else "cancelled"
        return self._end

    @property
    def _said(self) -> list[Any]:
        """The types of a stream's events."""
        return [event and event.get("type") for event in events(self.body)]

    def answer(self, response: httpx2.Response) -> None:
        self._response = response
        self._moments.append(self._now())

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._moments.append(self._now())

    def finish(self) -> None:
        self._close("complete")

    def fail(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            self._close("cancelled")
            return
        self._error = f"{_error_class(error)}: {error}"
        self._close("unanswered" if self._response is None else "broken")

    def leave(self) -> None:
        """Note that the reader went away, if nothing else has ended it: early, or once all was said."""
        self._close("left")

    def vcr_request(self) -> Request:
        request = self._request
        return Request(request.method, str(request.url), request.content, dict(request.headers))

    def vcr_response(self, suite: str | None) -> dict[str, Any]:
        response = self._response
        headers: defaultdict[str, list[str]] = defaultdict(list)
        status, reason = UNANSWERED, "no answer"
        if response is not None:
            status, reason = response.status_code, response.reason_phrase
            for name, value in response.headers.multi_items():
                headers[name].append(value)
        return {
            "status": {"code": status, "message": reason},
            "headers": dict(headers),
            KEY: msgspec.to_builtins(self._details(suite)),
            "body": {"string": self.body},
        }

    def _close(self, end: End | Literal["left"]) -> None:
        if self._end is None:
            self._end = end
            self._moments.append(self._now())

    def _details(self, suite: str | None) -> Details:
        start = self._moments[0]
        moments = [round((moment - start) * 1_000_000) for moment in self._moments]
        return Details(
            format=FORMAT,
            recorded_at=self._recorded_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            server=_server(self._request.url),
            versions=dict(_versions(self._request.headers)),
            end=self.end,
            model=self.model,
            served=_served(self.body),
            suite=suite,
            error=self._error,
            chunks=" ".join(str(len(chunk)) for chunk in self._chunks),
            times=" ".join(str(later - earlier) for earlier, later in pairwise(moments)),
        )


def _error_class(error: Exception) -> str:
    """The name under which a replay can raise it again: its own, or that of the httpx2 error that it is a kind of."""
    for kind in type(error).__mro__:
        if issubclass(kind, httpx2.RequestError) and hasattr(httpx2, kind.__name__):
            return kind.__name__
    return "ReadError"


def _server(url: httpx2.URL) -> str:
    origin = redact_uri(str(url.join("/"))).removesuffix("/")
    return f"{origin}{LOCAL}" if url.host in ("localhost", "::1") or url.host.startswith("127.") else origin


def _versions(headers: httpx2.Headers) -> Iterator[tuple[str, str]]:
    yield "claudeprov", __version__
    for name, header in ("anthropic", "x-stainless-package-version"), ("api", "anthropic-version"):
        if value := headers.get(header):
            yield name, value


def _served(body: bytes) -> str | None:
    """The model that the answer names, be it a stream or a message."""
    try:
        message = msgspec.json.decode(body)
    except ValueError:
        message = next((event["message"] for event in events(body) if event and "message" in event), None)
    model = message.get("model") if isinstance(message, dict) else None
    return model if isinstance(model, str) else None
