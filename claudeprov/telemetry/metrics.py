"""Metrics: an observer that measures calls, as :mod:`claudeprov.telemetry.table` says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from claudeprov.chain import Call
from claudeprov.chunk import MessageChunk
from claudeprov.cost import Cost
from claudeprov.limits import Allowance
from claudeprov.notice import Notice
from claudeprov.response import Attempt, MessageResponse
from claudeprov.stream import Outcome, Stream
from claudeprov.telemetry import Observer, error_code, table, tokens_of
from claudeprov.telemetry.book import Book, Values
from claudeprov.telemetry.table import Metric, provider_name

if TYPE_CHECKING:
    from claudeprov.middleware import Parts

_MANY = 100
"""Measurements that are entered at once, where nobody asks for them."""
_STATES = table.STATE.values


class Metrics(Observer):
    """Measures the calls of one provider; what is a state is read when metrics are collected.

    Args:
        book: Where to; all providers of a process that share it share their series.
        parts: The provider's.
    """

    def __init__(self, book: Book, parts: Parts) -> None:
        self._book = book
        self._parts = parts
        self._open = 0
        self._asked: dict[str, str] = {}
        book.watch(self._read)

    def opening(self, call: Call) -> AbstractContextManager[object]:
        """Take down which model is asked for: another may stand in."""
        self._asked[call.id] = call.request.model or ""
        return super().opening(call)

    def opened(self, call: Call, stream: Stream) -> None:
        """Count an open stream; with ``per_chunk`` measure its chunks, too."""
        self._book.enter(at_least=_MANY)
        self._open += 1
        stream.on_end(self._closed)
        assert self._parts.settings.telemetry is not None
        if self._parts.settings.telemetry.per_chunk:
            values = _convention(call, self._asked[call.id])
            stream.tap("content_block_delta", _Pace(self._book, call, values).see)

    def ended(self, call: Call, outcome: Outcome, answered: Callable[[], MessageResponse]) -> None:
        """Measure the whole of a call."""
        response = answered()
        add, timing, attempts = self._book.add, response.timing, response.attempts
        model = self._asked.pop(call.id, call.request.model or "")
        convention = _convention(call, model)
        failure = error_code(outcome.error) if outcome.kind == "failed" else None
        code = failure if outcome.kind in ("failed", "read") else outcome.kind
        add(table.CALLS, (model, outcome.kind, code, response.stop_reason))
        add(table.DURATION, (*convention, code), timing.total)
        if timing.first_chunk is not None and call.request.stream:
            add(table.FIRST_CHUNK, convention, timing.first_chunk)
        for attempt in attempts[:-1]:
            add(table.ATTEMPTS, (attempt.model, attempt.error_code))
        for attempt in attempts[-1:]:  # its stream may have broken, which is how the call failed
            add(table.ATTEMPTS, (attempt.model, attempt.error_code or failure))
        for attempt in attempts[1:]:
            add(table.RETRIES, (attempt.model,))
        if timing.backoff:
            add(table.BACKOFF, (model,), timing.backoff)
        if timing.queue:
            add(table.QUEUE, (model,), timing.queue)
        if response.usage.raw or any(attempt.cost for attempt in attempts):
            self._paid(convention, response.cost, _names(call, response.cost, attempts))

    def noticed(self, notice: Notice) -> None:
        """Count what a layer, or a tool, has done."""
        add, fields = self._book.add, notice.fields
        match notice.name:
            case "breaker.changed":
                add(table.TRANSITIONS, (fields["route"], fields["from"], fields["to"]))
            case "ratelimit.waiting":
                add(table.RATELIMIT_WAITS, (fields["route"],))
            case "ratelimit.held":
                add(table.RATELIMIT_HOLDS, (fields["route"],))
            case "tool.ended":
                add(table.TOOL_EXECUTIONS, (fields["tool"], fields["outcome"]))
                if fields["seconds"]:
                    add(table.TOOL_SECONDS, (fields["tool"],), fields["seconds"])

    def close(self) -> None:
        """Read this provider's state no more; what was counted stays."""
        self._book.forget(self._read)

    def _closed(self, _: Outcome) -> None:
        self._open -= 1

    def _paid(self, convention: tuple[str, ...], cost: Cost, names: dict[str, str | None]) -> None:
        """Measure what was used, and what it cost, under the *names* of the models that used it."""
        add = self._book.add
        used = {"input": 0, "output": 0}
        for (model, kind), count in tokens_of(cost).items():
            add(table.TOKENS, (names.get(model, model), kind), count)
            used["output" if kind == "output" else "input"] += count
        for kind, count in used.items():
            add(table.TOKEN_USAGE, (*convention, kind), count)
        if not self._parts.replay:
            spent: dict[str, Decimal] = {}
            for item in cost.items:
                if item.amount:
                    spent[item.model] = spent.get(item.model, Decimal()) + item.amount
            for model, usd in spent.items():
                add(table.COST, (names.get(model, model),), float(usd))
        if cost.total_usd is None:
            add(table.UNPRICED, (convention[2],))

    def _read(self, metric: Metric) -> Iterator[tuple[Values, float]]:
        """What *metric*, a gauge, is now."""
        settings, state = self._parts.settings, self._parts.state
        match metric:
            case table.STREAMS:
                yield (), self._open
            case table.BREAKER if settings.breaker is not None:
                for route, current in state.circuits.states().items():
                    for name in _STATES:
                        yield (route, name), float(name == current)
            case table.RATELIMIT_REMAINING | table.RATELIMIT_LIMIT:
                now = self._parts.clock.now()
                for route, limits in self._parts.limits().items():
                    for side, counters in (("service", limits.service), ("client", limits.client)):
                        for counter, allowance in counters.items():
                            remaining = _remaining(allowance, now)
                            yield (
                                (route, side, counter),
                                remaining if metric is table.RATELIMIT_REMAINING else allowance.limit,
                            )
            case table.RATELIMIT_WAITING:
                for route, limits in self._parts.limits().items():
                    yield (route,), limits.queue
            case table.BUDGET_SPENT | table.BUDGET_RESERVED | table.BUDGET_LIMIT if settings.budget is not None:
                for setting, balance in state.reservations.balances().items():
                    yield (setting,), float(getattr(balance, metric.name.rpartition(".")[2]))


class _Pace:
    """Measures the time between the chunks of one stream."""

    def __init__(self, book: Book, call: Call, values: Values) -> None:
        self._book = book
        self._values = values
        self._now = call.clock.monotonic
        self._last: float | None = None

    def see(self, _: MessageChunk) -> None:
        now, last = self._now(), self._last
        self._last = now
        if last is not None:
            self._book.add(table.OUTPUT_CHUNK, self._values, now - last)
            self._book.enter(at_least=_MANY)


def _convention(call: Call, model: str) -> tuple[str, str, str]:
    return "chat", provider_name(call.endpoint), model


def _names(call: Call, cost: Cost, attempts: Sequence[Attempt]) -> dict[str, str | None]:
    """By what name each model in *cost* was asked for: its first line item is the answer's, if that used anything."""
    names = {paid.cost.items[0].model: paid.model for paid in attempts if paid.cost and paid.cost.items}
    for item in cost.items[:1]:
        names.setdefault(item.model, call.request.model)
    return names


def _remaining(allowance: Allowance, now: datetime) -> float:
    """What is left: all of it once the time has come of which the answer spoke."""
    return allowance.remaining if now < allowance.reset else allowance.limit
