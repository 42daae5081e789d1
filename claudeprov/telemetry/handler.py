"""The handlers of our own that write events to standard error."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback

from claudeprov.telemetry.scrub import without_secrets_within

LOGGER = logging.getLogger("claudeprov")
"""What everything is logged to; its parent, the root, is the application's."""
LOGGER.addHandler(logging.NullHandler())

Form = Literal["console", "json"]

_handlers: dict[Form, _Handler] = {}
_before: tuple[int, bool, bool] = (LOGGER.level, LOGGER.propagate, LOGGER.disabled)
"""The logger's level, and whether it told its parent and was disabled, when it had no handler of ours."""


def add_handler(form: Form) -> None:
    """Have :data:`LOGGER` write to standard error, from INFO on, and to nobody else; once for all who ask."""
    global _before
    if not _handlers:
        _before = LOGGER.level, LOGGER.propagate, LOGGER.disabled
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = LOGGER.disabled = False  # a host's ``dictConfig`` disables what it does not name
    if form not in _handlers:
        _handlers[form] = _Handler(form)
        LOGGER.addHandler(_handlers[form])
    _handlers[form].users += 1


def remove_handler(form: Form) -> None:
    """Take back one :func:`add_handler`; the last one leaves the logger as it was, but for what others have set."""
    handler = _handlers[form]
    handler.users -= 1
    if not handler.users:
        LOGGER.removeHandler(_handlers.pop(form))
    if not _handlers:
        level, propagate, disabled = _before
        if LOGGER.level == logging.INFO:
            LOGGER.setLevel(level)
        if not LOGGER.propagate:
            LOGGER.propagate = propagate
        if not LOGGER.disabled:
            LOGGER.disabled = disabled


def is_handled() -> bool:
    """Whether what is logged stands on standard error, in a form of ours."""
    return bool(_handlers)


class _Handler(logging.StreamHandler[Any]):
    """Writes an event, or a plain record, a line; masked, as errors, and what an application binds, hold anything."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.users = 0
        colors = self.stream.isatty()
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    _mask,
                    structlog.stdlib.add_log_level,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.JSONRenderer(default=str)
                    if form == "json"
                    else ConsoleRenderer(colors=colors, exception_formatter=plain_traceback),
                ],
            )
        )


def _mask(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    masked: dict[str, Any] = without_secrets_within(event)
    return masked
