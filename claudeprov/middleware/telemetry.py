"""What is told of each call."""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import structlog

from claudeprov.chain import Call, Next
from claudeprov.errors import ProviderError
from claudeprov.notice import Notice, Notices
from claudeprov.response import MessageResponse
from claudeprov.stream import Outcome, Stream, response_of

if TYPE_CHECKING:
    from claudeprov.cost import Cost

_stdlib = logging.getLogger("claudeprov")
_stdlib.addHandler(logging.NullHandler())


class Telemetry:
    """Logs ``call.started`` and, at the end of its stream, ``call.ended``, after a ``call.retried`` for each retry.

    The events go to the standard library's logger ``claudeprov`` at level INFO, through the application's structlog
    processors, or as ``key=value`` lines where it has configured none. Nothing is printed, and while that logger is
    off nothing is done. ``call_id`` is bound to structlog's context while a stream is being opened. No prompt and no
    answer is logged, and what tools get and return only with ``telemetry.content``. Times are in seconds, ``cost_usd``
    is left out where it is unknown. The layers' notices are logged by their names.
    """

    def __init__(self, notices: Notices | None = None) -> None:
        processors = None if structlog.is_configured() else _PROCESSORS
        self._log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
            _stdlib, processors=processors, wrapper_class=structlog.stdlib.BoundLogger
        )
        if notices is not None:
            notices.listen(self._noticed)

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        if not _stdlib.isEnabledFor(logging.INFO):
            return await call_next(call)
        self._log.info("call.started", call_id=call.id, model=call.request.model, tags=call.tags)
        try:
            with structlog.contextvars.bound_contextvars(call_id=call.id):
                stream = await call_next(call)
        except Exception as error:
            self._ended(call, Outcome("failed", error), response_of(call, None))
            raise
        except BaseException:
            self._ended(call, Outcome("cancelled"), response_of(call, None))
            raise
        stream.on_end(lambda outcome: self._ended(call, outcome, stream.response))
        return stream

    def _noticed(self, notice: Notice) -> None:
        if _stdlib.isEnabledFor(logging.INFO):
            known = {} if notice.call_id is None else {"call_id": notice.call_id}
            self._log.info(notice.name, **known, **notice.fields)

    def _ended(self, call: Call, outcome: Outcome, response: MessageResponse) -> None:
        log = self._log.bind(call_id=call.id)
        for failed, attempt in pairwise(call.attempts):
            log.info("call.retried", attempt=attempt.number, waited=attempt.waited, error=failed.error_code)
        usage, timing = response.usage, response.timing
        details = {
            "error": _code(outcome.error),
            "request_id": response.request_id,
            "model": response.model or call.request.model,
            "stop_reason": response.stop_reason,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_creation_input_tokens": usage.cache_creation_input_tokens,
            "cache_read_input_tokens": usage.cache_read_input_tokens,
            **(_cost(response.cost) if usage.raw else {}),
            "first_chunk": timing.first_chunk,
            "queue": timing.queue,
            "backoff": timing.backoff,
            "total": timing.total,
        }
        known = {name: value for name, value in details.items() if value is not None}
        log.info("call.ended", kind=outcome.kind, attempts=len(call.attempts), **known, tags=call.tags)


_PROCESSORS = (structlog.contextvars.merge_contextvars, structlog.processors.LogfmtRenderer())


def _cost(cost: Cost) -> dict[str, Any]:
    if cost.total_usd is not None:
        return {"cost_usd": cost.total_usd}
    return {"cost_low_usd": cost.low_usd, "cost_high_usd": cost.high_usd}


def _code(error: Exception | None) -> str | None:
    if error is None:
        return None
    return error.code if isinstance(error, ProviderError) else type(error).__name__
