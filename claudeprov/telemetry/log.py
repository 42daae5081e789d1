"""What is logged of each call, and where that goes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any
from weakref import finalize

import structlog
from structlog.typing import Processor

from claudeprov.chain import Call
from claudeprov.notice import Notice
from claudeprov.response import MessageResponse
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.stream import Outcome
from claudeprov.telemetry import Observer, error_code
from claudeprov.telemetry.handler import LOGGER, add_handler, is_handled, remove_handler
from claudeprov.telemetry.scrub import heed_environment, scrubbed, without_secrets_within

if TYPE_CHECKING:
    from claudeprov.cost import Cost

_CONTENT = ("arguments", "content")
"""The fields of a notice that hold what a tool got and returned."""


class Log(Observer):
    """Logs ``call.started`` and, at the end of its stream, ``call.ended``; and the layers' notices, by their names.

    The events go to the standard library's logger ``claudeprov`` at level INFO: through the application's structlog
    processors, or as ``key=value`` lines where it has configured none; with ``log`` ``console`` or ``json``, to
    standard error by a handler of that logger, which leaves it with the last provider that asked for it. The root
    logger is never touched, and while the logger is off nothing is done. Times are in seconds; ``cost_usd`` is left out
    where it is unknown. Prompts and answers are logged only where ``content`` says so, as :func:`scrubbed` leaves them.

    Args:
        settings: Where events go, and whether with content.
    """

    def __init__(self, settings: TelemetrySettings) -> None:
        self._limit = settings.content_limit if settings.content else None
        self._release: Callable[[], object] | None = None
        self._host = _logger(None)
        if settings.log != "host":
            add_handler(settings.log)
            self._release = finalize(self, remove_handler, settings.log)
        heed_environment()

    def opening(self, call: Call) -> AbstractContextManager[None]:
        """Log that it starts."""
        if LOGGER.isEnabledFor(logging.INFO):
            request = call.request
            prompt = None if self._limit is None or not request.messages else request.messages[-1]
            content = {} if prompt is None else {"prompt": prompt}
            self._say("call.started", call.id, {"model": request.model, "tags": call.tags}, content)
        return nullcontext()

    def ended(self, call: Call, outcome: Outcome, answered: Callable[[], MessageResponse]) -> None:
        """Log how it ended, and what it came to."""
        if not LOGGER.isEnabledFor(logging.INFO):
            return
        response = answered()
        usage, timing = response.usage, response.timing
        details = {
            "kind": outcome.kind,
            "attempts": len(response.attempts),
            "error": error_code(outcome.error),
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
            "tags": call.tags,
        }
        known = {name: value for name, value in details.items() if value is not None}
        self._say("call.ended", call.id, known, {"answer": response.content} if response.content else {})

    def noticed(self, notice: Notice) -> None:
        """Log what happened."""
        if LOGGER.isEnabledFor(logging.INFO):
            fields = dict(notice.fields)
            content = {name: fields.pop(name) for name in _CONTENT if name in fields}
            self._say(notice.name, notice.call_id, fields, content)

    def close(self) -> None:
        """Take the handler off, unless others use it."""
        if self._release is not None:
            self._release()

    def _say(self, event: str, call_id: str | None, fields: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        known = {} if call_id is None else {"call_id": call_id}
        if self._limit is not None:
            known |= {name: scrubbed(value, self._limit) for name, value in content.items()}
        fields = without_secrets_within(fields)
        log = self._host if structlog.is_configured() else _LINES
        if is_handled():
            log = _HANDED_ON
        log.info(event, **fields, **known)


def _cost(cost: Cost) -> dict[str, Any]:
    if cost.total_usd is not None:
        return {"cost_usd": cost.total_usd}
    return {"cost_low_usd": cost.low_usd, "cost_high_usd": cost.high_usd}


def _logger(processors: Sequence[Processor] | None) -> structlog.stdlib.BoundLogger:
    """Of events that pass through *processors*, ``None`` being the application's, to the standard library's logger."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        LOGGER, processors=processors, wrapper_class=structlog.stdlib.BoundLogger
    )
    return logger


def _with_names_of_lines(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name fields as a line can, whatever an application has bound: without spaces."""
    return {re.sub(r"[\0- ]", "_", name): value for name, value in event.items()}


_MERGED = structlog.contextvars.merge_contextvars
_LINES = _logger((_MERGED, _with_names_of_lines, structlog.processors.LogfmtRenderer()))
_HANDED_ON = _logger((_MERGED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter))
