"""Which error a failure of the HTTP layer is: no connection, one that broke, a time limit that passed."""

from __future__ import annotations

from typing import Literal

import httpx2

from claudeprov.errors import (
    CallTimeoutError,
    ConnectionFailedError,
    InvalidRequestError,
    ProviderError,
    StreamInterruptedError,
)

Limit = Literal["connect", "first_event", "between_events", "pings", "total", "write", "pool"]
"""What a time limit is on: a key of the group ``deadline``, or what the HTTP layer bounds besides."""

_LATE: dict[Limit, tuple[str, str]] = {
    "connect": ("connect_timeout", "no connection could be made within deadline.connect"),
    "first_event": ("first_event_timeout", "no event came within deadline.first_event"),
    "between_events": ("between_events_timeout", "nothing came within deadline.between_events"),
    "pings": ("ping_timeout", "nothing but pings came within deadline.pings"),
    "total": ("deadline_exceeded", "the call was not over within deadline.total"),
    "write": ("write_timeout", "the request could not be written in time"),
    "pool": ("pool_timeout", "no connection of the pool became free in time"),
}


def late(limit: Limit, seconds: float | None = None) -> CallTimeoutError:
    """The error of a time limit that has passed, of *seconds* where known."""
    code, what = _LATE[limit]
    return CallTimeoutError(what, code=code, context={} if seconds is None else {limit: seconds})


def unanswered(error: Exception, host: str, *, streamed: bool) -> ProviderError:
    """The error of a request that got no answer: *error*, or what caused it, is the HTTP layer's, or a transport's own.

    Args:
        error: What was raised.
        host: Where the request went.
        streamed: Whether a stream was asked for; or else one time limit bounds the whole exchange.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ProviderError):
            return cause
        if isinstance(cause, httpx2.TimeoutException):
            return _timed_out(cause, streamed=streamed)
        if type(cause) is ValueError:  # of a header that cannot be written; errors of certificates are kinds of it
            return InvalidRequestError(f"the request cannot be sent to {host}: {_reason(cause)}")
        cause = cause.__cause__
    return ConnectionFailedError(f"no answer from {host}: {_reason(error.__cause__ or error)}")


def broken(error: Exception, *, streamed: bool) -> ProviderError:
    """The error of an answer that broke off with *error*."""
    if isinstance(error, ProviderError):
        return error
    if isinstance(error, httpx2.TimeoutException):
        return _timed_out(error, streamed=streamed)
    return StreamInterruptedError(f"the connection broke in the middle of the answer: {_reason(error)}")


def _timed_out(error: httpx2.TimeoutException, *, streamed: bool) -> CallTimeoutError:
    match error:
        case httpx2.ConnectTimeout():
            return late("connect")
        case httpx2.ReadTimeout():
            return late("between_events" if streamed else "total")
        case httpx2.WriteTimeout():
            return late("write")
        case httpx2.PoolTimeout():
            return late("pool")
    return CallTimeoutError("a time limit of the HTTP layer passed")


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
