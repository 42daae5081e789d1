"""Makes the calls that an answer asks for: those that are valid and permitted, several at a time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from claudeprov.chunk import MessageChunk
from claudeprov.clock import Clock, within
from claudeprov.response import ToolCall
from claudeprov.tools.execution import Executed, execute
from claudeprov.tools.notes import Notes
from claudeprov.tools.permission import Ask, Permission, PermissionRequest
from claudeprov.tools.result import ToolOutcome, ToolResult, call_chunk
from claudeprov.tools.tool import Arguments, Tool, ToolError
from claudeprov.tools.turn import Turn

_T = TypeVar("_T")

_CANCELLED = Executed("cancelled", "the call did not come to its end: the run was stopped")


class TimeUpError(Exception):
    """The time of the whole is up."""


class Countdown:
    """The time of the whole, by which everything that is awaited is bounded.

    Args:
        clock: Whose seconds count, from now on.
        seconds: ``None``: as many as it takes.
    """

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock = clock
        self._ends = None if seconds is None else clock.monotonic() + seconds

    def check(self) -> None:
        """Raise :class:`TimeUpError` if the time is up."""
        if self._ends is not None and self._clock.monotonic() >= self._ends:
            raise TimeUpError

    async def of(self, work: Awaitable[_T]) -> _T:
        """Await *work*; raise :class:`TimeUpError` where the time is up before it is done."""
        if self._ends is None:
            return await work
        return await within(self._clock, max(self._ends - self._clock.monotonic(), 0), work, TimeUpError)


class _RefusedError(Exception):
    """A call that is not made."""

    def __init__(self, outcome: ToolOutcome, said: str, error: Exception | None = None) -> None:
        self.executed = Executed(outcome, said, error)


class Caller:
    """Makes calls.

    Args:
        tools: By name; one that the server runs is none that can be called here.
        permission: Decides on each call that is valid, before any of an answer is made.
        ask: Asks a person; ``None``: nobody is there, and what would be asked is denied.
        parallel: Calls at a time.
        timeout: Most seconds of a call of a tool that does not say itself; ``None``: no limit.
        clock: Whose seconds count.
        notes: Told of each call that begins, and of what came of each.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        *,
        permission: Permission,
        ask: Ask | None,
        parallel: int,
        timeout: float | None,
        clock: Clock,
        notes: Notes,
    ) -> None:
        self._tools = tools
        self._permission = permission
        self._ask = ask
        self._slots = asyncio.Semaphore(parallel)
        self._timeout = timeout
        self._clock = clock
        self._notes = notes

    async def answer(
        self, turn: Turn, round: int, results: dict[str, ToolResult], countdown: Countdown
    ) -> AsyncGenerator[MessageChunk, None]:
        """Make the calls of *turn*, and give a chunk of each and of its result, as they come.

        When it ends, however it does, each call has its place in *results*: one that is not done is cancelled.
        """

        def settle(call: ToolCall, executed: Executed, seconds: float = 0.0) -> MessageChunk:
            if call.id not in results:
                outcome, content, error = executed
                result = ToolResult(round, call.id, call.name, call.input, outcome, content, seconds, error)
                results[call.id] = result
                self._notes.ended(result)
            return results[call.id].chunk()

        async def make(call: ToolCall, tool: Tool, arguments: Arguments) -> MessageChunk:
            async with self._slots:
                started = self._clock.monotonic()
                self._notes.started(round, call)
                executed = _CANCELLED
                try:
                    seconds = self._timeout if tool.timeout is None else tool.timeout
                    executed = await execute(tool, arguments, clock=self._clock, seconds=seconds)
                finally:
                    chunk = settle(call, executed, self._clock.monotonic() - started)
            return chunk

        admitted: list[tuple[ToolCall, Tool, Arguments]] = []
        running: set[asyncio.Task[MessageChunk]] = set()
        try:
            for call in turn.calls:
                yield call_chunk(round, call)
                try:
                    tool, arguments = self._checked(call, is_repeated=call.id in turn.repeated)
                    await countdown.of(self._permit(call, tool))
                    admitted.append((call, tool, arguments))
                except _RefusedError as refused:
                    yield settle(call, refused.executed)
            running = {asyncio.create_task(make(*each)) for each in admitted}
            while running:
                done, running = await countdown.of(asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            try:
                await asyncio.gather(*running, return_exceptions=True)
            finally:  # who waits may be cancelled again
                for call in turn.calls:
                    settle(call, _CANCELLED)

    def _checked(self, call: ToolCall, *, is_repeated: bool) -> tuple[Tool, Arguments]:
        """The tool that is called, and its arguments as it takes them."""
        if is_repeated:
            raise _RefusedError(
                "duplicate", "the call has the id of another in the same answer; ask again if it was meant"
            )
        tool = self._tools.get(call.name)
        if tool is None or tool.run is None:
            raise _RefusedError("unknown", self._no_such_tool(call.name))
        if call.input is None:
            raise _RefusedError("invalid", f"the arguments are no JSON object: {call.json[:200]}")
        assert tool.parse is not None
        try:
            return tool, tool.parse(call.input)
        except ToolError as error:
            raise _RefusedError("invalid", str(error)) from error
        except Exception as error:  # of a pattern, a validator of the user's own, a depth that nobody thought of
            said = f"the arguments cannot be checked ({type(error).__name__}); call it again with plainer ones"
            raise _RefusedError("invalid", said, error) from error

    def _no_such_tool(self, name: str) -> str:
        names = [tool.name for tool in self._tools.values() if tool.run is not None]
        near = get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"there is no tool {name!r}{hint} (there are: {', '.join(names) or 'none'})"

    async def _permit(self, call: ToolCall, tool: Tool) -> None:
        request = PermissionRequest(call.name, call.input or {}, tool.effects)
        found: Any = self._permission(request)
        decision = await found if inspect.isawaitable(found) else found
        if decision == "ask" and self._ask is not None:
            if not await self._ask(request):
                raise _RefusedError("denied", "the user was asked, and does not want this call; do without it")
        elif decision != "allow":
            effects = ", ".join(sorted(tool.effects)) or "none"
            raise _RefusedError(
                "denied", f"calls of this tool are not permitted (its effects: {effects}); do without it"
            )
