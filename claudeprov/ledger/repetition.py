"""What a ledger's hashes tell of prompt caching: what it would have saved, and what it cost for nothing.

A cache is played through with the calls as they came. An entry can be read from the first event of the answer to the
call that wrote it, and lives for five minutes or an hour from the start of the latest call that wrote or read it; a
prefix shorter than the model's minimum is not cached. Source: Anthropic's page on prompt caching, November 2026.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from claudeprov.ledger.prompt import from_text
from claudeprov.ledger.row import Row
from claudeprov.pricing import Rates

Lifetime = Literal["5m", "1h"]
LIFETIMES: dict[Lifetime, float] = {"5m": 300.0, "1h": 3600.0}
"""Seconds that an entry of the cache lives without being read."""

RatesOf = Callable[[Row], Rates]
"""The prices of a call, in USD per million tokens."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """Calls whose prompts begin alike, and were not cached."""

    model: str
    prefix: str
    """Hash of the shortest prefix that is known of them."""
    tokens: int
    """How many tokens of each, at the least, another call has too."""
    calls: int
    paid_usd: Decimal
    """What their prompts cost."""
    cached_usd: Decimal
    """What they would have cost with the better lifetime."""
    lifetime: Lifetime


@dataclass(frozen=True, slots=True)
class Unread:
    """Writes to the cache that nobody read while they lived."""

    model: str
    calls: int
    tokens: int
    paid_usd: Decimal
    """What writing them cost."""
    plain_usd: Decimal
    """What the same tokens cost as plain input."""


@dataclass(slots=True)
class _Written:
    row: Row
    until: float
    read: bool = False


@dataclass(slots=True)
class _Prompt:
    """A call, as the cache sees it."""

    row: Row
    start: float
    ready: float
    """When what it writes can be read."""
    prefixes: tuple[tuple[str, int], ...]
    """Hash and tokens, shortest first."""
    worthy: list[tuple[str, int]] = field(default_factory=list)
    """Those that other calls have, too, and that are long enough."""


def repetitions(rows: Iterable[Row], rates_of: RatesOf, minimum_of: Callable[[str], int | None]) -> list[Repetition]:
    """Find prompts that begin alike, were not cached, and would have been cheaper so; the largest saving first.

    Args:
        rows: In order of time.
        rates_of: What a call's tokens cost.
        minimum_of: The fewest tokens that a model caches; ``None`` where it caches none.
    """
    found: list[Repetition] = []
    for model, prompts in _by_model(row for row in rows if not (row.cache_write_tokens or row.cache_read_tokens)):
        minimum = minimum_of(model)
        if minimum is None:
            continue
        shared = Counter(hash_ for prompt in prompts for hash_ in {hash_ for hash_, _ in prompt.prefixes})
        for prompt in prompts:
            prompt.worthy = [part for part in prompt.prefixes if shared[part[0]] > 1 and part[1] >= minimum]
        found += _repeated(model, [prompt for prompt in prompts if prompt.worthy], rates_of)
    return sorted(found, key=lambda one: one.cached_usd - one.paid_usd)


def unread_writes(rows: Iterable[Row], rates_of: RatesOf, *, now: float) -> Iterator[Unread]:
    """Yield, model by model, what was written into the cache and not read before it ran out, as far as hashes tell.

    A later call has read a write if it read more than what the writer itself had read, of a prompt that begins alike
    at least so far.
    """
    for model, prompts in _by_model(row for row in rows if row.cache_write_tokens or row.cache_read_tokens):
        written: list[_Written] = []
        alive: dict[str, list[_Written]] = defaultdict(list)
        for prompt in prompts:
            _mark_read(prompt, alive)
            if prompt.row.cache_write_tokens:
                lifetime = LIFETIMES["1h" if prompt.row.cache_write_1h_tokens else "5m"]
                written.append(_Written(prompt.row, prompt.start + lifetime))
                for hash_, tokens in prompt.prefixes:
                    if tokens > (prompt.row.cache_read_tokens or 0):
                        alive[hash_].append(written[-1])
        unread = [one.row for one in written if not one.read and one.until <= now]
        paid = _sum(_cost_of_writing(row, rates_of(row)) for row in unread)
        plain = _sum(_times(row.cache_write_tokens, rates_of(row).input) for row in unread)
        if unread and paid is not None and plain is not None:
            yield Unread(model, len(unread), sum(row.cache_write_tokens for row in unread), paid, plain)


def _by_model(rows: Iterable[Row]) -> Iterator[tuple[str, list[_Prompt]]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.prompt_tokens and row.prefixes and row.served:
            groups[row.served].append(row)
    for model, found in groups.items():  # prompts take far more memory than rows
        yield model, list(map(_prompt, found))


def _prompt(row: Row) -> _Prompt:
    parts, start = from_text(row.prefixes), row.started_at.timestamp()
    tokens = tuple((part.hash, row.prompt_tokens * part.length // parts[-1].length) for part in parts)
    return _Prompt(row, start, start + (row.total if row.first_chunk is None else row.first_chunk), tokens)


def _repeated(model: str, prompts: Sequence[_Prompt], rates_of: RatesOf) -> Iterator[Repetition]:
    """Play the prompts through a cache, and add up what they have in common with those that begin alike."""
    rates = [rates_of(prompt.row) for prompt in prompts]
    costs = {lifetime: _played(prompts, rates, lifetime) for lifetime in LIFETIMES}
    groups: dict[str, list[int]] = defaultdict(list)
    for place, prompt in enumerate(prompts):
        groups[prompt.prefixes[0][0]].append(place)
    for prefix, places in groups.items():
        cached = {name: _sum(cost[place] for place in places) for name, cost in costs.items()}
        paid = _sum(_times(prompts[place].row.prompt_tokens, rates[place].input) for place in places)
        known = [(usd, lifetime) for lifetime, usd in cached.items() if usd is not None]
        if paid is not None and known and min(known)[0] < paid:
            tokens = min(prompts[place].worthy[0][1] for place in places)
            yield Repetition(model, prefix, tokens, len(places), paid, *min(known))


def _played(prompts: Iterable[_Prompt], rates: Iterable[Rates], lifetime: Lifetime) -> list[Decimal | None]:
    """What each prompt costs in USD where all cache their longest prefix that another has; ``None``: unknown."""
    seconds, costs = LIFETIMES[lifetime], []
    entries: dict[str, tuple[float, float]] = {}  # from when on, and until when, it can be read
    for prompt, price in zip(prompts, rates, strict=True):
        write = price.cache_write_5m if lifetime == "5m" else price.cache_write_1h
        readable = {name for name, _ in prompt.worthy if name in entries and _contains(entries[name], prompt.start)}
        hit = max((tokens for name, tokens in prompt.worthy if name in readable), default=0)
        kept = prompt.worthy[-1][1]
        parts = (hit, price.cache_read), (kept - hit, write), (prompt.row.prompt_tokens - kept, price.input)
        costs.append(_sum(_times(tokens, per_million) for tokens, per_million in parts))
        for name, _ in prompt.worthy:
            since, until = entries.get(name, (prompt.ready, 0.0))
            ready = min(since, prompt.ready) if until > prompt.start else prompt.ready
            entries[name] = ready, prompt.start + seconds
    return costs


def _times(tokens: int, per_million: Decimal | None) -> Decimal | None:
    return None if per_million is None else (tokens * per_million).scaleb(-6)


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum; ``None`` where one is unknown."""
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _contains(span: tuple[float, float], moment: float) -> bool:
    return span[0] <= moment < span[1]


def _mark_read(prompt: _Prompt, alive: dict[str, list[_Written]]) -> None:
    read = prompt.row.cache_read_tokens or 0
    for hash_, _ in prompt.prefixes if read else ():
        alive[hash_] = [one for one in alive[hash_] if one.until > prompt.start]
        for one in alive[hash_]:
            if read > (one.row.cache_read_tokens or 0):
                one.read = True
                lifetime = LIFETIMES["1h" if one.row.cache_write_1h_tokens else "5m"]
                one.until = max(one.until, prompt.start + lifetime)


def _cost_of_writing(row: Row, rates: Rates) -> Decimal | None:
    writes = (row.cache_write_5m_tokens, rates.cache_write_5m), (row.cache_write_1h_tokens, rates.cache_write_1h)
    return _sum(_times(tokens, price) for tokens, price in writes if tokens)
