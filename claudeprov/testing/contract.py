"""The checker of the contract between layers, which :class:`claudeprov.chain.Middleware` states."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, Literal, get_args
from weakref import WeakSet

from claudeprov.chain import Call, Middleware, Next
from claudeprov.errors import InvalidRequestError, ProviderError, ServerError
from claudeprov.request import MessageRequest
from claudeprov.stream import EndKind, Outcome, Stream
from claudeprov.testing.clock import ManualClock, settle
from claudeprov.testing.scripted import Answer, ScriptedProvider, text_events

_MANY = 32
"""Calls in which a layer that does not give back what it takes runs out of it."""
_ENDS: tuple[EndKind, ...] = get_args(EndKind)


class ContractError(AssertionError):
    """A layer breaks a rule of the chain."""


class _StuckError(ContractError):
    """A layer waits, and nothing can wake it."""


async def check_middleware(make_layer: Callable[[], Middleware], *, clock: ManualClock | None = None) -> None:
    """Put a layer through everything that a chain may do to it.

    The rules: it returns the very stream that it was given, or raises a :class:`ProviderError` of its own; an error of
    the rest of the chain goes on, or is the cause of the one that does; a stream that it does not return is closed;
    what it takes for a call it gives back however the call ends, and keeps neither the call nor a task of it; it
    swallows no cancellation; it loses none of the call's attempts; its end hooks are synchronous, do not fail, and are
    told once; calls that run at once do not meet on the instance; an event costs nothing but the taps on its kind.

    Args:
        make_layer: Makes a new layer.
        clock: The clock that it makes them with, if any; it is moved on whenever a layer waits.

    Raises:
        ContractError: A rule is broken; the message says which.
    """
    check = _Check(make_layer, clock or ManualClock())
    await check.returns_the_stream_and_is_told_once()
    await check.lets_errors_through()
    await check.closes_what_it_holds()
    await check.keeps_calls_apart()
    await check.gives_back_what_it_takes()
    await check.costs_nothing_per_event()


class _Check:
    def __init__(self, make_layer: Callable[[], Middleware], clock: ManualClock) -> None:
        self._make_layer = make_layer
        self._clock = clock
        self._calls = WeakSet[Call]()
        """Those that are still in memory."""

    async def returns_the_stream_and_is_told_once(self) -> None:
        for kind in _ENDS:
            provider = self._provider(_answer(kind))
            stream = await self._open(self._make_layer(), provider)
            if stream is None:
                continue
            hooks = stream._ends
            if repeated := [hook for hook in hooks if hooks.count(hook) > 1]:
                raise ContractError(f"its end hook {repeated[0]!r} is told {len(repeated)} times of one end")
            problems: list[str] = []
            stream._ends = [_observed(hook, problems) for hook in hooks]
            await _end(stream, kind)
            if problems:
                raise ContractError(f"its end hook {problems[0]} when a stream was {kind}")
            _check_attempts(stream.call, provider)

    async def lets_errors_through(self) -> None:
        for error in (InvalidRequestError("refused"), ServerError("failed"), RuntimeError("a bug")):
            provider = self._provider(error)
            task = await self._done(self._make_layer()(self._call(), provider))
            raised = task.exception()
            if provider.requests and error not in _causes(raised):
                answer = f"raised {raised!r}, which does not have it as its cause" if raised else "returned a stream"
                raise ContractError(f"swallows errors: where the rest of the chain raised {error!r}, it {answer}")

    async def closes_what_it_holds(self) -> None:
        """Cancel it when the stream has just been opened: whoever waits for anything after that must clean up."""
        provider = self._provider("Hello")
        returned: list[Stream] = []

        async def cancel_when_open(call: Call) -> Stream:
            stream = await provider(call)
            task.cancel()
            return stream

        async def open_stream() -> None:
            returned.append(await self._make_layer()(self._call(), cancel_when_open))

        task = asyncio.ensure_future(open_stream())
        await self._until_done(task)
        _check_cancelled(task)
        _check_closed(provider, returned)
        for stream in returned:
            await stream.close()

    async def gives_back_what_it_takes(self) -> None:
        async def fail(layer: Middleware) -> None:
            await self._open(layer, self._provider(InvalidRequestError("refused")))

        await self._repeat("were cancelled while opening", partial(self._cancel, "opening"))
        await self._repeat("were cancelled at once", partial(self._cancel, "waiting"))
        await self._repeat("failed to open", fail)
        for kind in _ENDS:
            await self._repeat(f"were {kind}", partial(self._open_and_end, kind))

    async def keeps_calls_apart(self) -> None:
        layer = self._make_layer()
        provider = self._provider("Hello")
        gate = asyncio.Event()

        async def wait(call: Call) -> Stream:
            await gate.wait()
            return await provider(call)

        calls = [self._call(), self._call()]
        tasks = [asyncio.ensure_future(layer(call, wait)) for call in calls]
        await settle()
        _check_keeps_none(layer, calls)
        gate.set()
        for call, task in zip(calls, tasks, strict=True):
            await self._until_done(task)
            if task.exception() is not None:
                continue
            if task.result().call is not call:
                raise ContractError("mixes up calls that run at once: it returned another call's stream")
            _check_keeps_none(layer, calls)
            await task.result().close()

    async def costs_nothing_per_event(self) -> None:
        layer = self._make_layer()
        with_layer = await self._cost_of_1000_events(lambda call, provider: layer(call, provider))
        without = await self._cost_of_1000_events(lambda call, provider: provider(call))
        if (more := with_layer - without) >= 1000:
            raise ContractError(f"stays on the path: 1000 events that it has no tap on cost {more} calls more with it")

    async def _cost_of_1000_events(self, open_stream: Callable[[Call, Next], Awaitable[Stream]]) -> int:
        """Count the Python calls made to read a stream, minus those for one with 1000 events less."""
        costs = []
        for length in (1, 1001):
            task = await self._done(open_stream(self._call(), self._provider(text_events(*["x"] * length))))
            if task.exception() is not None:
                return 0
            stream = task.result()
            stream._taps.clear()
            costs.append(await _calls_of_reading(stream))
        return costs[1] - costs[0]

    def _call(self) -> Call:
        call = Call(MessageRequest(messages=[{"role": "user", "content": "Hi"}]), self._clock)
        self._calls.add(call)
        return call

    def _provider(self, answer: Answer) -> ScriptedProvider:
        return ScriptedProvider(answer, clock=self._clock)

    async def _open(self, layer: Middleware, provider: ScriptedProvider) -> Stream | None:
        """Open a stream through *layer*; ``None`` if it, or the provider, refused."""
        call = self._call()
        task = await self._done(layer(call, provider))
        error = task.exception()
        _check_attempts(call, provider)
        if error is not None:
            _check_closed(provider, [])
            if not isinstance(error, ProviderError):
                raise ContractError(f"raises {error!r} of its own: a layer refuses with a ProviderError") from error
            return None
        stream: Stream = task.result()
        if stream not in provider.streams:
            raise ContractError(f"returns {stream!r} in place of the stream that it was given")
        _check_closed(provider, [stream])
        return stream

    async def _cancel(self, when: Literal["waiting", "opening"], layer: Middleware) -> None:
        """Cancel a call where it first waits, or where the rest of the chain does."""
        reached = asyncio.Event()

        async def never(call: Call) -> Stream:
            reached.set()
            return await asyncio.Future[Stream]()

        task = asyncio.ensure_future(layer(self._call(), never))
        await settle()
        while when == "opening" and not (task.done() or reached.is_set()):
            await self._move_on(task)
        task.cancel()
        await self._until_done(task)
        _check_cancelled(task)

    async def _open_and_end(self, kind: EndKind, layer: Middleware) -> None:
        stream = await self._open(layer, self._provider(_answer(kind)))
        if stream is not None:
            await _end(stream, kind)

    async def _repeat(self, how: str, make_call: Callable[[Middleware], Awaitable[None]]) -> None:
        layer = self._make_layer()
        tasks = asyncio.all_tasks()
        self._calls.clear()
        for number in range(_MANY + 1):
            try:
                await (make_call(layer) if number < _MANY else self._open_and_end("read", layer))
            except _StuckError as error:
                raise ContractError(
                    f"does not give back what it takes: after {number} calls that {how} it {error}"
                ) from error
        await settle()
        if len(asyncio.all_tasks() - tasks) >= _MANY:  # one for all calls is its own
            raise ContractError(f"leaves a task running after each of {_MANY} calls that {how}")
        gc.collect()
        if self._calls:  # a stream that is kept keeps its call
            raise ContractError(f"keeps calls that have ended: {len(self._calls)} of {_MANY + 1} are still in memory")

    async def _done(self, work: Awaitable[Stream]) -> asyncio.Future[Stream]:
        task = asyncio.ensure_future(work)
        await self._until_done(task)
        return task

    async def _until_done(self, task: asyncio.Future[Any]) -> None:
        await settle()
        while not task.done():
            await self._move_on(task)

    async def _move_on(self, task: asyncio.Future[Any]) -> None:
        if not await self._clock.step():
            task.cancel()
            raise _StuckError("waits for what neither its clock nor the rest of the chain gives")


def _answer(kind: EndKind) -> Answer:
    """What a stream that ends so is made of."""
    return [*text_events("Hel", "lo")[:3], ServerError("broken off")] if kind == "failed" else "Hello"


async def _end(stream: Stream, kind: EndKind) -> None:
    if kind == "cancelled" or kind == "abandoned":
        await stream.close(kind)
        return
    with suppress(ServerError):
        while await stream.read():
            pass


async def _calls_of_reading(stream: Stream) -> int:
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        while await stream.read():
            for _ in stream.pending:
                pass
    finally:
        sys.setprofile(before)
    return count


def _observed(hook: Callable[[Outcome], object], problems: list[str]) -> Callable[[Outcome], None]:
    def tell(outcome: Outcome) -> None:
        try:
            result = hook(outcome)
        except Exception as error:
            problems.append(f"raised {error!r}")
            return
        if inspect.iscoroutine(result):
            result.close()
            problems.append("returned a coroutine, which nobody awaits,")

    return tell


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _check_cancelled(task: asyncio.Future[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if error is None or any(isinstance(cause, asyncio.CancelledError) for cause in _causes(error)):
        outcome = f"raised {error!r}" if error else "returned a stream"
        raise ContractError(f"swallows cancellation: when its task was cancelled, it {outcome}")


def _check_closed(provider: ScriptedProvider, returned: list[Stream]) -> None:
    if any(stream.outcome is None and stream not in returned for stream in provider.streams):
        raise ContractError("leaves a stream open that it does not return: whoever raises closes what it holds")


def _check_attempts(call: Call, provider: ScriptedProvider) -> None:
    made, told = len(provider.requests), len(call.attempts)
    if told != made:
        raise ContractError(f"loses attempts: the rest of the chain made {made}, the call tells of {told}")


def _check_keeps_none(layer: Middleware, calls: list[Call]) -> None:
    for name, value in getattr(layer, "__dict__", {}).items():
        if isinstance(value, Stream) or any(value is call or value is call.request for call in calls):
            raise ContractError(f"keeps a call's own {type(value).__name__} on the instance, as {name!r}")
