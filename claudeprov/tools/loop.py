"""The loop: asks the model, makes the calls that it asks for, and asks again with what came of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from claudeprov.chunk import MessageChunk
from claudeprov.clock import Clock
from claudeprov.errors import BudgetExceededError, ProviderError
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse
from claudeprov.stream import MessageStream, Source
from claudeprov.tools.caller import Caller, Countdown, TimeUpError
from claudeprov.tools.execution import sendable
from claudeprov.tools.notes import Notes
from claudeprov.tools.result import ToolResult, ToolRun
from claudeprov.tools.turn import ids_in, turn_of

_RESUMED = ("pause_turn", "compaction")
"""Reasons to stop after which the API goes on where the answer is sent back as it is."""
_CUT_OFF = ("max_tokens", "model_context_window_exceeded")
_FORCED = ("any", "tool")


class Sender(Protocol):
    """What answers requests: a provider, or what stands in for one."""

    def send_message(self, request: MessageRequest, *, tags: Mapping[str, Any] | None = None) -> MessageStream:
        """Answer *request*."""
        ...


class Loop:
    """A run of the loop; what it has done is there at any time.

    Args:
        sender: Answers each round's request.
        request: The first; later ones differ in their messages, in ``tool_choice``, which forces a call only once, in
            ``container``, which is kept, and in ``max_tokens``, which is doubled where it cut a call off.
        caller: Makes the calls.
        clock: Whose seconds count.
        notes: Told of its beginning and its end.
        max_rounds: Answers of the model before it stops.
        total: Most seconds of the whole; ``None``: no limit.
        most_tokens: The most ``max_tokens`` that the model takes; ``None``: not known, and a cut call ends the loop.
        tags: Of every call of the model.
    """

    def __init__(
        self,
        sender: Sender,
        request: MessageRequest,
        caller: Caller,
        *,
        clock: Clock,
        notes: Notes,
        max_rounds: int,
        total: float | None = None,
        most_tokens: int | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        self._sender = sender
        self._request = request
        self._caller = caller
        self._clock = clock
        self._notes = notes
        self._max_rounds = max_rounds
        self._total = total
        self._most_tokens = most_tokens
        self._tags = tags
        self._ids = set(ids_in(request.messages))
        self._messages: list[dict[str, Any]] = list(request.messages)
        self._responses: list[MessageResponse] = []
        self._results: list[ToolResult] = []
        self._stopped: str | None = None
        self._error: ProviderError | None = None

    @property
    def run(self) -> ToolRun:
        """What has been done so far."""
        return ToolRun(self._stopped, tuple(self._responses), tuple(self._results), tuple(self._messages), self._error)

    async def play(self) -> Source:
        """Give the chunks of all rounds, and of the calls between them; an error of the service ends it quietly."""
        countdown = Countdown(self._clock, self._total)
        started = self._clock.monotonic()
        self._notes.run_started(self._request.model)
        try:
            while self._stopped is None:
                countdown.check()
                async with aclosing(self._round(countdown)) as chunks:
                    async for chunk in chunks:
                        yield (chunk,)
                if self._stopped is None and len(self._responses) >= self._max_rounds:
                    self._stopped = "max_rounds"
        except TimeUpError:
            self._stopped = "deadline"
        except ProviderError as error:
            self._stopped = "budget" if isinstance(error, BudgetExceededError) else "failed"
            self._error = error
        except Exception:
            self._stopped = "failed"
            raise
        finally:
            self._stopped = self._stopped or "cancelled"
            self._notes.run_ended(self.run, self._clock.monotonic() - started)

    async def _round(self, countdown: Countdown) -> AsyncGenerator[MessageChunk, None]:
        """Ask the model once, and do what its answer asks for: make calls, go on, or stop."""
        request = self._request.model_copy(update={"messages": list(self._messages)})
        stream = self._sender.send_message(request, tags=self._tags)
        try:
            async with stream, aclosing(aiter(stream)) as chunks:
                while (chunk := await countdown.of(anext(chunks, None))) is not None:
                    yield chunk
        finally:
            response = stream.response
            if response.message:
                self._responses.append(response)
        reason, has_calls = response.stop_reason, bool(response.tool_calls)
        self._keep_container(response)
        if reason is None:
            self._stopped = "cancelled"
        elif reason == "refusal":  # what there is of the answer is to be discarded
            self._stopped = reason
        elif has_calls and reason in _CUT_OFF:  # in the midst of a call, or before the next
            self._raise_max_tokens(reason)
        elif has_calls:  # also of an answer that paused: no call may be left without its result
            async with aclosing(self._answered(response, countdown)) as chunks:
                async for chunk in chunks:
                    yield chunk
        else:
            if response.content:
                self._messages.append({"role": "assistant", "content": sendable(response.content)})
            if reason not in _RESUMED:
                self._stopped = reason

    async def _answered(self, response: MessageResponse, countdown: Countdown) -> AsyncGenerator[MessageChunk, None]:
        """Make the calls of an answer, and append it and their results to the conversation."""
        turn = turn_of(response, self._ids)
        results: dict[str, ToolResult] = {}
        try:
            async with aclosing(self._caller.answer(turn, len(self._responses), results, countdown)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._results += (results[call.id] for call in turn.calls)
            self._messages += sendable(list(turn.messages(results)))
            self._force_no_more()

    def _raise_max_tokens(self, reason: str) -> None:
        """Give the next round twice as many tokens, as far as the model takes them; stop where that is no way out."""
        now, most = self._request.max_tokens, self._most_tokens
        if reason != "max_tokens" or now is None or most is None or now >= most:
            self._stopped = reason
        else:
            self._request = self._request.model_copy(update={"max_tokens": min(2 * now, most)})

    def _force_no_more(self) -> None:
        """Leave it to the model whether it calls again: one that must would never end."""
        choice = getattr(self._request, "tool_choice", None)
        if isinstance(choice, Mapping) and choice.get("type") in _FORCED:
            free = {name: value for name, value in choice.items() if name == "disable_parallel_tool_use"}
            self._request = self._request.model_copy(update={"tool_choice": {"type": "auto"} | free})

    def _keep_container(self, response: MessageResponse) -> None:
        """Stay in the container of the server's tools, if there is one."""
        made = response.message.get("container")
        if isinstance(made, Mapping) and made.get("id"):
            asked = getattr(self._request, "container", None)
            kept = {**asked, "id": made["id"]} if isinstance(asked, Mapping) else made["id"]
            self._request = self._request.model_copy(update={"container": kept})
