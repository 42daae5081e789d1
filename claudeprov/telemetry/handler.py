"""The handlers of our own that write events to standard error."""

from __future__ import annotations

import logging
import os
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback

from claudeprov.mask import credentials_in, masked_within

LOGGER = logging.getLogger("claudeprov")
"""What everything is logged to; its parent, the root, is the application's."""
LOGGER.addHandler(logging.NullHandler())

Form = Literal["console", "json"]

_handlers: dict[Form, _Handler] = {}
_before: tuple[int, bool] = (LOGGER.level, LOGGER.propagate)
"""The logger's level, and whether it told its parent, when it had no handler of ours."""


def add_handler(form: Form) -> None:
    """Have :data:`LOGGER` write to standard error, from INFO on, and to nobody else; once for all who ask."""
    global _before
    if not _handlers:
        _before = LOGGER.level, LOGGER.propagate
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
    if form not in _handlers:
        _handlers[form] = _Handler(form)
        LOGGER.addHandler(_handlers[form])
    _handlers[form].users += 1


def remove_handler(form: Form) -> None:
    """Take back one :func:`add_handler`; the last one leaves the logger as it was."""
    handler = _handlers[form]
    handler.users -= 1
    if not handler.users:
        LOGGER.removeHandler(_handlers.pop(form))
    if not _handlers:
        LOGGER.setLevel(_before[0])
        LOGGER.propagate = _before[1]


class _Handler(logging.StreamHandler[Any]):
    """Writes an event, or a plain record, a line; masked, as errors, and what an application binds, hold anything."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.users = 0
        colors = self.stream.isatty()
        credentials = credentials_in(os.environ)

        def mask(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
            masked: dict[str, Any] = masked_within(event, credentials)
            return masked

        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    mask,
                    structlog.stdlib.add_log_level,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.JSONRenderer(default=str)
                    if form == "json"
                    else ConsoleRenderer(colors=colors, exception_formatter=plain_traceback),
                ],
            )
        )
