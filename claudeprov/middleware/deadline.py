"""The time limit of a whole call."""

from __future__ import annotations

from claudeprov.chain import Call, Next
from claudeprov.clock import Clock
from claudeprov.errors import CallTimeoutError
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.stream import Stream


class Deadline:
    """Bounds a call, from its beginning to the end of its stream, to ``total`` seconds.

    The opening is bounded here, with all attempts and the waits between them; the reading by the endpoint, which
    looks at ``call.deadline``. The other limits of the group are those of one attempt, and the endpoint's own.

    Raises:
        CallTimeoutError: The time has passed; ``code`` is ``deadline_exceeded``.
    """

    def __init__(self, settings: DeadlineSettings, *, clock: Clock) -> None:
        self._total = settings.total
        self._clock = clock

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        if self._total is None:
            return await call_next(call)
        deadline = call.started + self._total
        call.deadline = deadline if call.deadline is None else min(deadline, call.deadline)
        is_inner = False
        try:
            async with self._clock.timeout(call.deadline - self._clock.monotonic()):
                try:
                    return await call_next(call)
                except TimeoutError:  # an attempt's, or of a layer
                    is_inner = True
                    raise
        except TimeoutError as error:
            if is_inner:
                raise
            raise CallTimeoutError(
                "no stream was open when the call's deadline passed",
                code="deadline_exceeded",
                context={"total": self._total, "attempts": len(call.attempts)},
            ) from error
