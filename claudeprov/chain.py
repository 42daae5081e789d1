"""The contract between layers: what a call is, what a middleware is, and how they fold into one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from typing import Any, Protocol

from claudeprov.clock import Clock
from claudeprov.errors import ProviderError
from claudeprov.request import MessageRequest
from claudeprov.response import Attempt
from claudeprov.route import route_of
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.stream import Stream


class Call:
    """One request of the user's, with all its attempts and the reading of its stream.

    A layer may replace ``request`` and ``endpoint``, set ``deadline``, and add to ``queue``, ``backoff``, ``checks``,
    ``around`` and ``headers``; what it keeps for itself during a call belongs into local variables.
    """

    __slots__ = (
        "__weakref__",
        "around",
        "attempts",
        "backoff",
        "checks",
        "clock",
        "deadline",
        "endpoint",
        "headers",
        "id",
        "leaving",
        "limits",
        "queue",
        "request",
        "server",
        "started",
        "started_at",
        "status",
        "tags",
    )

    def __init__(
        self,
        request: MessageRequest,
        clock: Clock,
        tags: dict[str, Any] | None = None,
        *,
        endpoint: EndpointSettings | None = None,
    ) -> None:
        self.id = f"call_{uuid.uuid4().hex}"
        self.request = request
        self.endpoint = endpoint or _ANTHROPIC
        """The service that it goes to."""
        self.clock = clock
        self.tags = tags or {}
        """What the user calls it by: run, task ..."""
        self.start()
        self.deadline: float | None = None
        """When it must have ended, in its clock's monotonic seconds."""
        self.queue = 0.0
        """Seconds waited for a rate limit of the client's own."""
        self.backoff = 0.0
        """Seconds waited between attempts."""
        self.attempts: list[Attempt] = []
        """The HTTP requests made so far."""
        self.limits: Mapping[str, str] = {}
        """The rate-limit headers of the latest attempt's answer."""
        self.server: tuple[str, int] | None = None
        """Host and port that the latest attempt went to."""
        self.status: int | None = None
        """The HTTP status of the latest attempt's answer."""
        self.headers: dict[str, str] = {}
        """Headers of its requests beside those that an endpoint makes."""
        self.checks: list[Callable[[], Awaitable[None]]] = []
        """What whoever makes a further attempt awaits first; a check raises where none is to be made."""
        self.around: list[Callable[[Call], AbstractContextManager[object]]] = []
        """What holds during each attempt; it is let go when ``attempts`` has that."""

        self.leaving: list[Callable[[], None]] = []
        """What is called in the reader's context when he leaves the stream, read or not."""

    @property
    def route(self) -> str:
        """The endpoint and the group of models that it goes to, now."""
        return route_of(self.endpoint, self.request.model)

    def start(self) -> None:
        """Begin to count its time."""
        self.started: float = self.clock.monotonic()
        self.started_at: datetime = self.clock.now()

    def leave(self, *_: object) -> None:
        """Its reader leaves."""
        for leave in self.leaving:
            leave()

    async def attempt(self, open_stream: Next) -> Stream:
        """Open a stream by one HTTP request, and take down among ``attempts`` how that went."""
        with ExitStack() as held:
            for hold in self.around:
                held.enter_context(hold(self))
            return await self._attempt(open_stream)

    async def _attempt(self, open_stream: Next) -> Stream:
        started = self.clock.monotonic()
        waited = self.backoff - sum(attempt.waited for attempt in self.attempts)
        self.limits, self.status, self.server = {}, None, None
        request_id = error_code = None
        try:
            stream = await open_stream(self)
            request_id = stream.request_id
            return stream
        except ProviderError as error:
            request_id, error_code = error.request_id, error.code
            raise
        except BaseException as error:
            error_code = self._cancellation() if isinstance(error, asyncio.CancelledError) else type(error).__name__
            raise
        finally:
            number, seconds = len(self.attempts) + 1, self.clock.monotonic() - started
            self.attempts.append(Attempt(number, waited, seconds, request_id, error_code, self.request.model))

    def _cancellation(self) -> str:
        """Why it is cancelled: its time is up, or somebody wants it no more. A timer may be a little early."""
        is_late = self.deadline is not None and self.clock.monotonic() > self.deadline - 0.001
        return "deadline_exceeded" if is_late else "cancelled"


_ANTHROPIC = EndpointSettings(kind="anthropic")

Next = Callable[[Call], Awaitable[Stream]]
"""The rest of the chain: opens a stream for a call."""


class Middleware(Protocol):
    """A layer: runs while a stream is being opened, and returns it.

    It may refuse, wait, change the call or retry. It may leave an end hook (:meth:`Stream.on_end`) or a tap
    (:meth:`Stream.tap`) on the stream, and is then off the path. If it raises once it holds a stream, it closes that
    stream first. :func:`claudeprov.testing.check_middleware` tries all of this.
    """

    async def __call__(self, call: Call, call_next: Next, /) -> Stream: ...


def chain(layers: Sequence[Middleware], provider: Next) -> Next:
    """Fold *layers*, outermost first, around *provider*."""

    def bind(layer: Middleware, call_next: Next) -> Next:
        async def open_stream(call: Call) -> Stream:
            stream = await layer(call, call_next)
            if not isinstance(stream, Stream):
                raise TypeError(f"the layer {layer!r} returned {stream!r} in place of the stream that it was given")
            return stream

        return open_stream

    for layer in reversed(layers):
        provider = bind(layer, provider)
    return provider
