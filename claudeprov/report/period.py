"""The report of a time, by the ledger, with the sums that ``claudeprov usage`` shows."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from heapq import heappush, heappushpop
from itertools import count as numbers
from math import inf
from typing import Any

from sqlalchemy import func, select

from claudeprov.bench.result import Percentiles
from claudeprov.ledger.row import Row
from claudeprov.ledger.store import CALLS, Store
from claudeprov.ledger.sums import Sum, cost_text, sums_of
from claudeprov.report.content import (
    NONE,
    Cell,
    Chart,
    Fact,
    Point,
    Report,
    Section,
    Table,
    count,
    figure,
    measure,
    moment,
    money,
    word,
)

_MOST_BINS = 48
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (_MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 7 * _DAY, 28 * _DAY)
_MOST_ROWS = 100
"""Groups that a table has."""
_MOST_NAMES = 5
"""Models that a chart has a colour for; the others are one."""
_OTHERS = "others"
_TOP = 10
_READ = (
    *("id", "at", "model", "served", "replayed", "run", "task", "end", "error", "cost_low_usd", "cost_high_usd"),
    *("first_chunk", "total", "attempts", "output_tokens", "queue", "backoff"),
)
_KINDS = {
    "input": ("input_tokens",),
    "cache write": ("cache_write_5m_tokens", "cache_write_1h_tokens"),
    "cache read": ("cache_read_tokens",),
    "output": ("output_tokens",),
}


def report_of(store: Store, text: str, since: str, made_at: datetime) -> Report:
    """Tell of the calls that began at or after *since*, as the column ``at`` has it; *text* is how that was said.

    Charts and figures are of calls that a service answered; where there are none, of those that cassettes did. Memory
    is that of three numbers a call.
    """
    totals = sums_of(store, since=since)
    title, about = f"Calls since {since[:16].replace('T', ' ')} UTC", f"By the ledger, {text}"
    if not totals:
        return Report(title, about, made_at, ["There are no calls in this time."], (), ())
    total = totals[0]  # what was live comes first
    seen = _Seen(store, since, replayed=total.replayed)
    return Report(
        title=title,
        about=about,
        made_at=made_at,
        notes=list(_notes(totals)),
        facts=list(_facts(total, seen)),
        sections=list(_sections(store, since, seen)),
    )


class _Times:
    """Seconds of the calls of a model, and tokens a second."""

    def __init__(self) -> None:
        self.read = 0
        self.latency, self.first_chunk, self.speed = array("d"), array("d"), array("d")


def _lasting(seconds: float | None) -> float | None:
    """A duration; ``None`` for what can be none, as when a clock was set back."""
    return seconds if seconds is not None and 0 <= seconds < inf else None


class _Seen:
    """What only the calls themselves tell: the course of time, percentiles, and which stood out."""

    def __init__(self, store: Store, since: str, *, replayed: bool) -> None:
        self.replayed = replayed
        self.begin, self.step, self.bins = _bins(store, since, replayed=replayed)
        self.outcomes: list[Counter[str]] = [Counter() for _ in range(self.bins)]
        self.latency = [array("d") for _ in range(self.bins)]
        self.first_chunk = [array("d") for _ in range(self.bins)]
        self.by_model: dict[str, _Times] = defaultdict(_Times)
        self.retries = 0
        self.waited = 0.0
        self.dearest, self.slowest = _Top(), _Top()
        for row in store.rows(since, _READ):
            if row.replayed is replayed:
                self._see(row)

    def _see(self, row: Row) -> None:
        number = min(int((row.started_at - self.begin).total_seconds() // self.step), self.bins - 1)
        self.outcomes[number]["failed" if row.error else row.end] += 1
        self.retries += max(row.attempts - 1, 0)
        self.waited += (_lasting(row.queue) or 0) + (_lasting(row.backoff) or 0)
        whole, first = _lasting(row.total), _lasting(row.first_chunk)
        cost = row.cost_low_usd if row.cost_high_usd is None else row.cost_high_usd
        if cost is not None:
            self.dearest.see(float(cost), row)
        if whole is not None:
            self.slowest.see(whole, row)
        if row.end != "read":
            return
        of_model = self.by_model[row.served or row.model or NONE]
        of_model.read += 1
        if whole is not None:
            of_model.latency.append(whole)
            self.latency[number].append(whole)
        if first is not None:
            of_model.first_chunk.append(first)
            self.first_chunk[number].append(first)
        if whole is not None and first is not None and whole > first and row.output_tokens is not None:
            of_model.speed.append(row.output_tokens / (whole - first))

    def moments(self) -> list[datetime]:
        """When each bin begins."""
        return [self.begin + timedelta(seconds=number * self.step) for number in range(self.bins)]


class _Top:
    """The calls with the largest numbers."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, int, Row]] = []
        self._order = numbers()

    def see(self, number: float, row: Row) -> None:
        entry = (number, -next(self._order), row)
        if len(self._kept) < _TOP:
            heappush(self._kept, entry)
        else:
            heappushpop(self._kept, entry)

    def rows(self) -> list[Row]:
        return [row for _, _, row in sorted(self._kept, reverse=True)]


def _bins(store: Store, since: str, *, replayed: bool) -> tuple[datetime, float, int]:
    """Return when the first bin begins, the seconds of each, and their number."""
    calls = CALLS.c
    query = select(func.min(calls.at), func.max(calls.at)).where(calls.at >= since, calls.replayed.is_(replayed))
    with store.connect() as connection:
        first, last = (datetime.fromisoformat(at).timestamp() for at in connection.execute(query).one())
    step = float(next((step for step in _STEPS if (last - first) / step < _MOST_BINS - 1), _STEPS[-1]))
    while (last - first) / step >= _MOST_BINS - 1:
        step *= 2
    begin = first - first % step
    return datetime.fromtimestamp(begin, UTC), step, int((last - begin) // step) + 1


def _notes(totals: Sequence[Sum]) -> Iterator[str]:
    if totals[0].replayed:
        yield (
            f"All {totals[0].calls:,} calls were answered by cassettes: nothing was paid, the costs are those of when "
            "they were recorded, and the times are those of the replay."
        )
    elif len(totals) > 1:
        yield (
            f"{totals[1].calls:,} more calls were answered by cassettes. They cost nothing, are in no chart and no "
            "figure, and are marked in the tables."
        )


def _facts(total: Sum, seen: _Seen) -> Iterator[Fact]:
    times = [array("d", (value for part in parts for value in part)) for parts in (seen.latency, seen.first_chunk)]
    prompt = total.input_tokens + total.cache_write_5m_tokens + total.cache_write_1h_tokens + total.cache_read_tokens
    yield Fact("calls", f"{total.calls:,}", "replayed" if total.replayed else "")
    ends: Counter[str] = sum(seen.outcomes, Counter())
    told = (f"{ends[end]:,} {end}" for end in ("failed", "cancelled", "abandoned") if ends[end])
    yield Fact("success", measure(_success(ends), "share"), ", ".join(told))
    yield Fact("latency p50 / p95", _pair(times[0]), "of calls that were read to their end")
    yield Fact("first chunk p50 / p95", _pair(times[1]))
    yield Fact("tokens in / out", f"{prompt:,} / {total.output_tokens:,}")
    yield Fact("cost", cost_text(total), "when it was recorded" if total.replayed else "")
    yield Fact(
        "read from the cache",
        measure(total.cache_read_tokens / prompt if prompt else None, "share"),
        "of the prompts' tokens",
    )
    yield Fact("retries", f"{seen.retries:,}", f"{measure(seen.waited, 'seconds')} of waiting")


def _success(ends: Counter[str]) -> float | None:
    """The share of calls read to their end; those that the application cancelled or abandoned count neither way."""
    counted = ends["read"] + ends["failed"]
    return ends["read"] / counted if counted else None


def _pair(values: Sequence[float]) -> str:
    found = Percentiles.of(values)
    return f"{measure(found.p50, 'seconds')} / {measure(found.p95, 'seconds')}" if found else NONE


def _sections(store: Store, since: str, seen: _Seen) -> Iterator[Section]:
    errors = [sum_ for sum_ in sums_of(store, ("error",), since=since) if sum_.group != (None,)]
    yield Section("Calls", [*_course(seen)])
    yield Section("Latency", [*_latencies(seen)], [_models(seen)])
    if errors:
        yield Section("Errors", list(_errors(errors, seen)), [_sums("Errors by code", "error", errors)])
    days = sums_of(store, ("day", "model"), since=since)
    sums = {key: sums_of(store, (key,), since=since) for key in ("model", "day", "run", "tag")}
    tables = [
        _sums(f"By {key}", key, found) for key, found in sums.items() if any(one.group != (None,) for one in found)
    ]
    yield Section("Tokens and cost", [*_money(days, seen)], tables, _unpriced(days, seen))
    yield Section(
        "Calls that stand out",
        tables=[table for table in (_calls("Dearest", seen.dearest), _calls("Slowest", seen.slowest)) if table.rows],
    )


def _course(seen: _Seen) -> Iterator[Chart]:
    moments = seen.moments()
    ends = [end for end in ("read", "failed", "cancelled", "abandoned") if any(bin_[end] for bin_ in seen.outcomes)]
    points = [
        Point(at, end, bin_[end]) for at, bin_ in zip(moments, seen.outcomes, strict=True) for end in ends if bin_[end]
    ]
    sums = ", ".join(f"{sum(bin_[end] for bin_ in seen.outcomes):,} {end}" for end in ends)
    yield Chart("Calls by outcome", f"Over time: {sums}.", "stacks", "count", points, ends, seen.step)
    rates = [
        Point(at, "success", share)
        for at, bin_ in zip(moments, seen.outcomes, strict=True)
        if (share := _success(bin_)) is not None
    ]
    if rates:
        worst = min(rates, key=lambda point: point.value or 0)
        least = f"{worst.value:.1%}, at {worst.at:%Y-%m-%d %H:%M} UTC"
        told = f"Calls read to their end, of those read or failed, over time; the least is {least}."
        yield Chart("Success", told, "lines", "share", rates, ("success",), seen.step)


def _latencies(seen: _Seen) -> Iterator[Chart]:
    for title, parts in (("Latency of a call", seen.latency), ("First chunk", seen.first_chunk)):
        points = []
        for at, values in zip(seen.moments(), parts, strict=True):
            if found := Percentiles.of(values):
                points += [Point(at, "p50", found.p50), Point(at, "p95", found.p95)]
        if points:
            worst = max(points, key=lambda point: point.value or 0)
            most = f"{measure(worst.value, 'seconds')}, at {worst.at:%Y-%m-%d %H:%M} UTC"
            told = f"Median and 95th percentile over time; the most is {most}."
            yield Chart(title, told, "lines", "seconds", points, ("p50", "p95"), seen.step)


def _models(seen: _Seen) -> Table:
    rows = []
    for model, times in sorted(seen.by_model.items(), key=lambda item: -item[1].read)[:_MOST_ROWS]:
        latency, chunk, rate = map(Percentiles.of, (times.latency, times.first_chunk, times.speed))
        rows.append(
            [
                word(model),
                count(times.read),
                *(figure(getattr(latency, rank, None), "seconds") for rank in ("p50", "p95", "p99")),
                *(figure(getattr(chunk, rank, None), "seconds") for rank in ("p50", "p95")),
                figure(getattr(rate, "p50", None), "count"),
            ]
        )
    columns = ["model", "read", "p50", "p95", "p99", "first chunk p50", "first chunk p95", "tokens/s p50"]
    return Table("Latency by model", columns, rows)


def _errors(errors: Sequence[Sum], seen: _Seen) -> Iterator[Chart]:
    chosen = sorted((one for one in errors if one.replayed is seen.replayed), key=lambda one: -one.calls)[:12]
    points = [Point(one.group[0] or NONE, "failed", one.calls) for one in chosen]
    if points:
        told = "; ".join(f"{point.at} {point.value:,.0f}" for point in points)
        yield Chart("Errors by code", f"Calls that failed: {told}.", "bars", "count", points, ("failed",))


def _money(days: Sequence[Sum], seen: _Seen) -> Iterator[Chart]:
    chosen = [one for one in days if one.replayed is seen.replayed]
    by_model: dict[str, Decimal] = defaultdict(Decimal)
    for one in chosen:
        by_model[one.group[1] or NONE] += one.cost_known_usd
    names = sorted(by_model, key=lambda name: -by_model[name])[:_MOST_NAMES]
    costs: dict[tuple[datetime, str], float] = defaultdict(float)
    tokens: dict[tuple[datetime, str], float] = defaultdict(float)
    for one in chosen:
        day = datetime.fromisoformat(f"{one.group[0]}T00:00:00Z")
        model = one.group[1] or NONE
        costs[day, model if model in names else _OTHERS] += float(one.cost_known_usd)
        for kind, fields in _KINDS.items():
            tokens[day, kind] += sum(getattr(one, field) for field in fields)
    series = [*names, *([_OTHERS] if len(by_model) > len(names) else [])]
    if spent := _points(costs):
        told = f"At the most that is known, by day and model: ${sum(costs.values()):.4f} in all."
        yield Chart("Cost by day", told, "stacks", "dollars", spent, series, _DAY)
    if used := _points(tokens):
        sums = {kind: sum(number for (_, one), number in tokens.items() if one == kind) for kind in _KINDS}
        kinds = [kind for kind in _KINDS if sums[kind]]
        told = ", ".join(f"{sums[kind]:,.0f} {kind}" for kind in kinds)
        yield Chart("Tokens by day", f"In all: {told}.", "stacks", "count", used, kinds, _DAY)


def _unpriced(days: Sequence[Sum], seen: _Seen) -> str:
    unknown = sum(one.cost_unknown for one in days if one.replayed is seen.replayed)
    return f"Calls whose cost is unknown, or has no upper bound: {unknown:,}." if unknown else ""


def _points(values: dict[tuple[datetime, str], float]) -> list[Point]:
    return [Point(day, series, value) for (day, series), value in sorted(values.items()) if value]


def _sums(title: str, key: str, sums: Sequence[Sum]) -> Table:
    columns = [key, "calls", "failed", "input", "cache write", "cache read", "output", "cost"]
    rows = [_sum(sum_) for sum_ in sums[:_MOST_ROWS]]
    left = len(sums) - _MOST_ROWS
    return Table(title, columns, rows, f"{left:,} that cost less are left out." if left > 0 else "")


def _sum(sum_: Sum) -> list[Cell]:
    name = sum_.group[0] or NONE
    written = sum_.cache_write_5m_tokens + sum_.cache_write_1h_tokens
    tokens: tuple[Any, ...] = (
        sum_.calls,
        sum_.failed,
        sum_.input_tokens,
        written,
        sum_.cache_read_tokens,
        sum_.output_tokens,
    )
    cost = Cell(cost_text(sum_), None if sum_.cost_unknown == sum_.calls else float(sum_.cost_known_usd))
    return [word(f"{name} (replayed)" if sum_.replayed else name), *map(count, tokens), cost]


def _calls(title: str, top: _Top) -> Table:
    columns = [
        "began (UTC)",
        "model",
        "end",
        "latency",
        "first chunk",
        "output",
        "attempts",
        "cost",
        "run",
        "task",
        "call",
    ]
    rows = [
        [
            moment(row.started_at),
            word(row.served or row.model),
            word(row.error or row.end, "bad" if row.error else "plain"),
            figure(_lasting(row.total), "seconds"),
            figure(_lasting(row.first_chunk), "seconds"),
            count(row.output_tokens),
            count(row.attempts),
            money(row.cost_low_usd, row.cost_high_usd),
            word(row.run),
            word(row.task),
            word(row.id),
        ]
        for row in top.rows()
    ]
    return Table(title, columns, rows).filled()
