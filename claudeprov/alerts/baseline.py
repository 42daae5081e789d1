"""What rules compare with: what a ledger has told, and when to ask it again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import NamedTuple

from claudeprov.clock import Clock
from claudeprov.settings.alerts import Measure, RuleSettings, Scope

_log = logging.getLogger(__name__)

_FRESH = 3600.0
"""Seconds for which a figure of the ledger's is taken to hold."""
_AGAIN = 300.0
"""Seconds until it is asked again where it had none."""
_MOST = 1000
"""Figures that are remembered; past them, all are forgotten."""
_CLOSING = 1.0
"""Seconds that closing waits for a database."""


class Question(NamedTuple):
    """What is asked of a ledger: the figure of which calls, and of when."""

    measure: Measure
    percentile: float
    per: Scope
    key: str | None
    since: float
    """Seconds ago."""
    until: float
    """Seconds ago."""
    minimum_calls: int

    @classmethod
    def of(cls, rule: RuleSettings, key: str | None) -> Question:
        """What *rule* has to know of *key*."""
        since = rule.baseline + rule.window
        return cls(rule.measure, rule.percentile, rule.per, key, since, rule.window, rule.minimum_calls)


class Answer(NamedTuple):
    """What a ledger tells."""

    value: float | None
    """In the measure's unit."""
    why: str | None = None
    """Why there is none."""


class Baselines:
    """Remembers what the ledger has told, and asks it again, in a thread, for what is older than an hour.

    What fails to be read anew stands as it was. Needs no event loop, and never waits.

    Args:
        ask: Reads the ledger; it may take its time.
        clock: What tells how old a figure is.
    """

    def __init__(self, ask: Callable[[Sequence[Question]], Mapping[Question, Answer]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[Question, tuple[Answer, float]] = {}
        self._wanted: set[Question] = set()
        self._thread: Thread | None = None

    def get(self, question: Question) -> Answer | None:
        """What is known; ``None`` where it has not been read yet. :meth:`refresh` asks for what is missing or old."""
        answer, until = self._known.get(question, (None, 0.0))
        if answer is None or self._clock.monotonic() >= until:
            self._wanted.add(question)
        return answer

    def refresh(self) -> None:
        """Begin to read what :meth:`get` was asked for in vain, unless a reading is under way."""
        if not self._wanted or (self._thread is not None and self._thread.is_alive()):
            return
        wanted, self._wanted = tuple(self._wanted), set()
        self._thread = Thread(target=self._read, args=(wanted,), name="claudeprov-alerts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait a little for a reading that is under way."""
        if self._thread is not None:
            self._thread.join(_CLOSING)

    def _read(self, wanted: Sequence[Question]) -> None:
        try:
            answers = self._ask(wanted)
        except Exception as error:
            _log.exception("the ledger could not be asked for baselines")
            answers = dict.fromkeys(wanted, Answer(None, f"the ledger cannot be read: {error!r}"))
        now = self._clock.monotonic()
        if len(self._known) + len(answers) > _MOST:
            self._known.clear()
        for question, answer in answers.items():
            before, _ = self._known.get(question, (None, 0.0))
            keeps = answer.value is None and before is not None and before.value is not None
            until = now + (_AGAIN if answer.value is None else _FRESH)
            self._known[question] = (before if keeps and before else answer, until)


def without_ledger(questions: Sequence[Question]) -> dict[Question, Answer]:
    """Answer *questions* where no ledger is kept."""
    return dict.fromkeys(questions, Answer(None, "there is no ledger: choose ledger=sqlite or ledger=postgres"))
