"""What could be had for less, by a ledger: each piece with the sum that it is computed from, and how it was estimated.

Amounts are at list prices, or those that a configuration gives in their place. An estimate is no promise: it says what
the calls in the ledger would have cost, and the next ones may be others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Literal

from claudeprov.bench.result import RunResult
from claudeprov.catalog import catalog
from claudeprov.ledger.recorded import Recorded
from claudeprov.ledger.repetition import RatesOf, repetitions, unread_writes
from claudeprov.ledger.row import Row
from claudeprov.pricing import PriceBook, Prices, Rates

Subject = Literal["caching", "cache_writes", "batches", "max_tokens", "retries", "model", "retirement"]

MOST = 5
"""Pieces of advice on one subject."""
ENOUGH = 20
"""Answers after which their longest says something of the next."""
FAR_OVER = 4
"""``max_tokens`` is far over need from this many times the longest answer on."""
SOON = timedelta(days=180)
"""How long before its end a model is spoken of."""

READ = (
    *("id", "at", "model", "served", "run", "suite", "error", "input_tokens", "output_tokens"),
    *("cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens", "web_searches", "cost_low_usd"),
    *("retried_low_usd", "retried_high_usd", "first_chunk", "total", "max_tokens", "service_tier", "speed", "prefixes"),
)
"""Fields of a row that advice is drawn from."""

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do."""

    subject: Subject
    text: str
    """What was found, and what would help."""
    calls: int
    """How many calls it is about."""
    sum_usd: Decimal
    """What it is computed from: what these calls, or the part of them that is spoken of, cost."""
    saving_usd: Decimal | None
    """How much of that would have been saved; ``None`` where that cannot be told, negative where it costs more."""
    estimate: str
    """How the saving was estimated."""

    def __str__(self) -> str:
        saving = "saving unknown" if self.saving_usd is None else f"saves about ${_cents(self.saving_usd)}"
        basis = f"{saving} of ${_cents(self.sum_usd)} in {self.calls:,} calls"
        return f"{self.subject}: {self.text}\n  {basis}: {self.estimate}"


@dataclass(frozen=True)
class Evidence:
    """What advice is drawn from."""

    rows: Sequence[Row]
    """Calls that were paid for, in order of time; of each, the fields in :data:`READ` are looked at."""
    prices: PriceBook
    now: datetime
    results: Sequence[RunResult] = ()
    """What runs of suites gave."""
    recorded: Recorded = field(default_factory=Recorded)


def advise(evidence: Evidence) -> list[Advice]:
    """Give the advice on every subject, the largest saving first."""
    rules: tuple[Callable[[Evidence], Iterable[Advice]], ...] = (
        *(_caching, _cache_writes, _batches, _max_tokens, _retries, _cheaper_models, _retirements),
    )
    found = [one for rule in rules for one in sorted(rule(evidence), key=_saving, reverse=True)[:MOST]]
    return sorted(found, key=_saving, reverse=True)


def _caching(evidence: Evidence) -> Iterator[Advice]:
    for one in repetitions(evidence.rows, _rates(evidence.prices), _minimum):
        name = evidence.recorded.prompts.get(one.prefix, one.prefix)
        yield Advice(
            "caching",
            f"{one.calls:,} prompts to {one.model} begin with the same {one.tokens:,} tokens or more, {name}, and were "
            f"not cached; use caching=auto, or caching=1h" + (" (the better here)" if one.lifetime == "1h" else ""),
            one.calls,
            one.paid_usd,
            one.paid_usd - one.cached_usd,
            f"the same calls at the same times through a cache of {one.lifetime}, their input alone",
        )


def _cache_writes(evidence: Evidence) -> Iterator[Advice]:
    for one in unread_writes(evidence.rows, _rates(evidence.prices), now=evidence.now.timestamp()):
        yield Advice(
            "cache_writes",
            f"{one.tokens:,} tokens were written into the cache of {one.model} and not read while they lived; leave "
            "cache_control out there, or use a lifetime that reaches the next call",
            one.calls,
            one.paid_usd,
            one.paid_usd - one.plain_usd,
            "the same tokens as plain input; what was read is told by hashes of the prompts",
        )


def _batches(evidence: Evidence) -> Iterator[Advice]:
    """Calls of a run are work that nobody waits for; those without are taken for interactive."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.rows:
        is_work = row.run is not None and row.error is None and row.service_tier != "batch" and row.speed != "fast"
        if is_work and row.served and row.cost_low_usd:
            groups[row.served].append(row)
    for model, rows in groups.items():
        prices = evidence.prices.of(model)
        known = catalog().get(model)
        if prices.batch_multiplier is None or known is None or not known.capabilities.batch:
            continue
        searches = sum(row.web_searches or 0 for row in rows) * (prices.web_search_per_1000 or _NOTHING) / 1000
        total = _sum(rows)
        yield Advice(
            "batches",
            f"{len(rows):,} calls to {model} in {len({row.run for row in rows}):,} runs could go through the batches "
            "API, whose answers come within the day",
            len(rows),
            total,
            (total - searches) * (1 - prices.batch_multiplier),
            f"tokens at {prices.batch_multiplier:f} of their price; all calls of a run count as work that can wait",
        )


def _max_tokens(evidence: Evidence) -> Iterator[Advice]:
    rates_of = _rates(evidence.prices)
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in evidence.rows:
        if row.served and row.max_tokens and row.output_tokens and row.error is None:
            groups[row.served, row.max_tokens].append(row)
    for (model, allowed), rows in groups.items():
        longest = max(row.output_tokens or 0 for row in rows)
        if len(rows) < ENOUGH or allowed < FAR_OVER * longest:
            continue
        rates = [rates_of(row).output or _NOTHING for row in rows]
        total = _total((row.output_tokens or 0) * rate for row, rate in zip(rows, rates, strict=True)).scaleb(-6)
        reserved = _total(allowed * rate for rate in rates).scaleb(-6)
        yield Advice(
            "max_tokens",
            f"max_tokens={allowed:,} of {model}, but the longest of {len(rows):,} answers had {longest:,} tokens; "
            f"{2 * longest:,} would leave as much again",
            len(rows),
            total,
            _NOTHING,
            f"only tokens that are produced are billed; but a budget set aside ${_cents(reserved)} for these calls",
        )


def _retries(evidence: Evidence) -> Iterator[Advice]:
    rows = [row for row in evidence.rows if row.retried_low_usd]
    if rows:
        total = _total(row.retried_low_usd for row in rows)
        high = _total(row.retried_high_usd or row.retried_low_usd for row in rows)
        bounds = f" to ${_cents(high)}" if high > total else ""
        yield Advice(
            "retries",
            f"attempts that did not answer, but were paid for, cost ${_cents(total)}{bounds}: streams that broke off "
            "and were gone on with, and refusals that another model stood in for",
            len(rows),
            total,
            total,
            "all of it, at the least, if no attempt had failed",
        )


def _cheaper_models(evidence: Evidence) -> Iterator[Advice]:
    """Compare the latest whole run of each model on the same tasks of the same suite."""
    suites: dict[tuple[str, str, frozenset[str]], dict[str, RunResult]] = defaultdict(dict)
    for result in sorted(evidence.results, key=lambda result: result.started_at):
        if not result.interrupted and result.summary.score.graded and result.summary.cost_usd:
            tasks = frozenset(row.id for row in result.rows)
            suites[result.suite, result.suite_digest, tasks][result.model] = result
    for (suite, _, tasks), by_model in suites.items():
        for model, result in by_model.items():
            matching = [other for other in by_model.values() if _matches(other, result)]
            rows = [row for row in evidence.rows if row.suite == suite and _id(row.served) == model]
            if not matching or not rows:
                continue
            best = min(matching, key=_cost)
            cost, less = _cost(result), _cost(best)
            yield Advice(
                "model",
                f"{best.model} passed {best.summary.score.passed} of {len(tasks)} tasks of the suite {suite}, {model} "
                f"{result.summary.score.passed}, at ${_cents(less)} against ${_cents(cost)} a run",
                len(rows),
                _sum(rows),
                _sum(rows) * (1 - less / cost),
                f"the calls to {model} in this suite at the ratio of the two runs; {len(tasks)} tasks tell little of "
                "others",
            )


def _retirements(evidence: Evidence) -> Iterator[Advice]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.rows:
        groups[_id(row.served or row.model)].append(row)
    recordings: dict[str, int] = defaultdict(int)
    for name, count in evidence.recorded.models.items():
        recordings[_id(name)] += count
    today = evidence.now.date()
    for model in sorted({*groups, *recordings}):
        known = catalog().get(model)
        if known is None or not _ends(known.lifecycle.status, known.lifecycle.retires, today):
            continue
        rows, successor = groups[model], known.lifecycle.replacement
        end = f"retires on {known.lifecycle.retires}" if known.lifecycle.status != "retired" else "is retired"
        recorded = f"; {recordings[model]:,} exchanges in cassettes are of it" if recordings[model] else ""
        then = _at_other_prices(rows, successor, evidence) if successor else None
        yield Advice(
            "retirement",
            f"{model} {end}; its successor is {successor or 'not named'}{recorded}",
            len(rows),
            _sum(rows),
            None if then is None else _sum(rows) - then,
            f"the same tokens at the prices of {successor}, which may count them differently"
            if then is not None
            else "the successor's price is unknown",
        )


def _matches(other: RunResult, result: RunResult) -> bool:
    return _cost(other) < _cost(result) and other.summary.score.passed >= result.summary.score.passed


def _cost(result: RunResult) -> Decimal:
    return result.summary.cost_usd or _NOTHING


def _ends(status: str, retires: date | None, today: date) -> bool:
    return status in ("deprecated", "retired") or (retires is not None and retires - today <= SOON)


def _at_other_prices(rows: Iterable[Row], model: str, evidence: Evidence) -> Decimal | None:
    """What the tokens of *rows* cost with another model today; ``None`` where a price is unknown."""
    prices, total = evidence.prices.of(model).on(evidence.now.date()), _NOTHING
    for row in rows:
        for tokens, price in (
            (row.input_tokens, prices.input),
            (row.output_tokens, prices.output),
            (row.cache_write_5m_tokens, prices.cache_write_5m),
            (row.cache_write_1h_tokens, prices.cache_write_1h),
            (row.cache_read_tokens, prices.cache_read),
        ):
            if tokens and price is None:
                return None
            total += (tokens or 0) * (price or 0)
    return total.scaleb(-6) * prices.multiplier


def _rates(prices: PriceBook) -> RatesOf:
    @cache
    def tiers(model: str, day: str) -> list[tuple[int, Rates]]:
        then = prices.of(model).on(date.fromisoformat(day))
        return [(above, _multiplied(rates, then.multiplier)) for above, rates in _tiers(then)]

    def rates(row: Row) -> Rates:
        listed = tiers(row.served or "", row.at[:10])
        return next(rates for above, rates in reversed(listed) if row.prompt_tokens > above)

    return rates


def _tiers(prices: Prices) -> Iterator[tuple[int, Rates]]:
    yield -1, prices
    yield from ((tier.above, tier) for tier in prices.tiers)


def _multiplied(rates: Rates, factor: Decimal) -> Rates:
    known = {name: getattr(rates, name) for name in Rates.model_fields}
    return Rates(**{name: price and price * factor for name, price in known.items()})


def _minimum(model: str) -> int | None:
    known = catalog().get(model)
    return known.min_cacheable_tokens if known else None


def _id(model: str | None) -> str:
    known = catalog().get(model or "")
    return known.id if known else model or ""


def _sum(rows: Iterable[Row]) -> Decimal:
    return _total(row.cost_low_usd for row in rows)


def _total(amounts: Iterable[Decimal | None]) -> Decimal:
    return sum((amount for amount in amounts if amount is not None), _NOTHING)


def _saving(advice: Advice) -> Decimal:
    return _NOTHING if advice.saving_usd is None else advice.saving_usd


def _cents(amount: Decimal) -> str:
    return f"{amount:,.2f}" if abs(amount) >= 1 else f"{amount:.4f}"
