"""The time limit of a whole call."""

from __future__ import annotations

from claudeprov.chain import Call, Next
from claudeprov.clock import within
from claudeprov.errors import CallTimeoutError
from claudeprov.fault import late
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.stream import Stream


class Deadline:
    """Bounds a call, from its beginning to the end of its stream, to ``total`` seconds.

    The opening is bounded here, with all attempts and the waits between them; the reading by the endpoint, which
    looks at ``call.deadline``. The other limits of the group are those of one attempt, and the endpoint's own.

    Raises:
        CallTimeoutError: The time has passed; ``code`` is ``deadline_exceeded``.
    """

    def __init__(self, settings: DeadlineSettings) -> None:
        self._total = settings.total

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        if self._total is not None:
            deadline = call.started + self._total
            call.deadline = deadline if call.deadline is None else min(deadline, call.deadline)
        return await in_time(call, call_next)


async def in_time(call: Call, call_next: Next) -> Stream:
    """Open a stream before the call's deadline, if it has one.

    Raises:
        CallTimeoutError: It has passed; ``code`` is ``deadline_exceeded``.
    """
    deadline = call.deadline
    if deadline is None:
        return await call_next(call)

    def error() -> CallTimeoutError:
        error = late("total", deadline - call.started)
        error.context["attempts"] = len(call.attempts)
        return error

    return await within(call.clock, deadline - call.clock.monotonic(), call_next(call), error)
