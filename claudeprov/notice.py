"""What layers have to say while calls run: one channel that logs, metrics and alerts listen to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from claudeprov.clock import Clock

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened, and to which call."""

    name: str
    """``what.happened``, such as ``breaker.changed``; each layer's docstring lists its own."""
    at: datetime
    """Aware and in UTC."""
    call_id: str | None
    """``None`` where it concerns no single call."""
    fields: Mapping[str, Any]
    """Figures and names, in seconds, tokens and USD; never a secret, and content only where telemetry allows it."""


class Notices:
    """Passes each notice to all who listen, at once and in order.

    Args:
        clock: What dates them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listeners: tuple[Callable[[Notice], None], ...] = ()

    def listen(self, listener: Callable[[Notice], None]) -> Callable[[], None]:
        """Call *listener* with every notice from now on. An exception of its own is logged.

        Returns:
            What ends it; calling it again does nothing.
        """
        self._listeners = (*self._listeners, listener)

        def stop() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

        return stop

    def post(self, name: str, call_id: str | None = None, /, **fields: Any) -> None:
        """Tell that *name* has happened, to the call *call_id*."""
        if not self._listeners:
            return
        notice = Notice(name, self._clock.now(), call_id, fields)
        for listener in self._listeners:
            try:
                listener(notice)
            except Exception:
                _log.exception("a listener failed at %s; the others still hear it", name)
