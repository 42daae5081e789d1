"""What calls were like before, by the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Connection, Float, case, cast, func, select, type_coerce
from sqlalchemy.exc import SQLAlchemyError

from claudeprov.alerts.baseline import Answer, Question
from claudeprov.alerts.measure import rank, span
from claudeprov.clock import Clock
from claudeprov.errors import ConfigurationError
from claudeprov.ledger.outbox import reason
from claudeprov.ledger.row import MONEY, time_text
from claudeprov.ledger.store import CALLS, store_of
from claudeprov.route import group_of
from claudeprov.settings.ledger import LedgerSettings


class History:
    """Reads figures from a ledger: of live calls, as those of a window are worked out.

    Args:
        settings: The group ``ledger``.
        runs_dir: Where its file is, unless they say otherwise.
        clock: Whose wall clock its rows are compared with.
    """

    def __init__(self, settings: LedgerSettings, runs_dir: str, clock: Clock) -> None:
        self._settings = settings
        self._runs_dir = runs_dir
        self._clock = clock

    def __call__(self, questions: Sequence[Question]) -> dict[Question, Answer]:
        """Answer *questions* in one go; where the ledger cannot be read, each answer says so."""
        try:
            store, _ = store_of(self._settings, self._runs_dir)
            now = self._clock.now()
            with closing(store), store.connect() as connection:
                return {question: _answer(connection, question, now) for question in questions}
        except (OSError, SQLAlchemyError) as error:
            return dict.fromkeys(questions, Answer(None, f"the ledger cannot be read: {reason(error)}"))
        except ConfigurationError as error:
            return dict.fromkeys(questions, Answer(None, error.message))


_READ = CALLS.c.end == "read"
_JUDGED = CALLS.c.end.in_(("read", "failed"))
_SERVED = CALLS.c.total - CALLS.c.queue - CALLS.c.backoff
_POPULATION: dict[str, ColumnElement[bool]] = {
    "error_rate": _JUDGED,
    "refusals": _READ,
    "latency": _READ,
    "first_chunk": CALLS.c.first_chunk.is_not(None),
    "throughput": _READ & (CALLS.c.output_tokens > 0) & (_SERVED > 0),
    "cost_rate": CALLS.c.end.is_not(None),
}
"""The calls that a measure is of."""


def _answer(connection: Connection, question: Question, now: datetime) -> Answer:
    begins, ends = (now - timedelta(seconds=ago) for ago in (question.since, question.until))
    which = [
        CALLS.c.at >= time_text(begins),
        CALLS.c.at < time_text(ends),
        CALLS.c.replayed.is_(False),
        _POPULATION[question.measure],
        *_key(connection, question, begins),
    ]
    count, first = connection.execute(select(func.count(), func.min(CALLS.c.at)).where(*which)).one()
    if count < question.minimum_calls:
        told = f"the ledger holds {count} such calls of the {span(question.since - question.until)} before"
        return Answer(None, f"{told}, and minimum_calls is {question.minimum_calls}")
    match question.measure:
        case "latency" | "first_chunk":
            column = CALLS.c.total if question.measure == "latency" else CALLS.c.first_chunk
            # The database keeps only as many rows in order as are beyond the percentile.
            beyond = count - 1 - rank(count, question.percentile)
            query = select(column).where(*which).order_by(column.desc()).offset(beyond).limit(1)
        case "throughput":
            query = select(cast(func.sum(CALLS.c.output_tokens), Float) / func.sum(_SERVED)).where(*which)
        case "cost_rate":
            whole = type_coerce(func.coalesce(CALLS.c.cost_high_usd, CALLS.c.cost_low_usd, 0), BigInteger)
            hours = max((ends - datetime.fromisoformat(first)).total_seconds() / 3600, 1.0)
            query = select(cast(func.sum(cast(whole, Float)), Float) / 10.0**MONEY / hours).where(*which)
        case _:
            mark = CALLS.c.end == "failed" if question.measure == "error_rate" else CALLS.c.stop_reason == "refusal"
            query = select(cast(func.sum(case((mark, 1), else_=0)), Float) / count).where(*which)
    return Answer(float(connection.execute(query).scalar_one()))


def _key(connection: Connection, question: Question, begins: datetime) -> Sequence[ColumnElement[bool]]:
    """What tells the calls of the question's key from others."""
    if question.per == "whole":
        return ()
    if question.per == "model":
        return (CALLS.c.model == question.key,)
    endpoint, _, group = str(question.key).partition("/")
    answered = func.coalesce(CALLS.c.served, CALLS.c.model)
    names = select(answered).where(CALLS.c.at >= time_text(begins), CALLS.c.endpoint == endpoint).distinct()
    models = [name for name in connection.execute(names).scalars() if group_of(name) == group]
    return (CALLS.c.endpoint == endpoint, answered.in_(models))
