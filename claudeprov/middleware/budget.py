"""No call that could break a budget."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from math import inf

from claudeprov.bound import Bound, upper_bound
from claudeprov.budget import UNITS, Spent, Unit, amounts_of, limits_of
from claudeprov.catalog import Model
from claudeprov.chain import Call, Next
from claudeprov.chunk import MessageChunk
from claudeprov.clock import Clock
from claudeprov.cost import EXACT, Cost
from claudeprov.errors import BudgetExceededError
from claudeprov.notice import Notices
from claudeprov.pricing import PriceBook
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse
from claudeprov.settings.budget import BudgetSettings
from claudeprov.state import Ask, Reservation, Reservations
from claudeprov.state.reservation import exceeded, figures
from claudeprov.stream import Outcome, Stream
from claudeprov.tokens import Estimator

Amounts = Mapping[Unit, Decimal]

_NOTHING: Amounts = dict.fromkeys(UNITS, Decimal(0))
_LEAST: Amounts = {"usd": Decimal("1e-9"), "tokens": Decimal(1)}
"""What a call without a bound sets aside, so that at least a budget that is spent refuses it."""
_UNCLEAR = frozenset(
    ("cancelled", "deadline_exceeded", "first_event_timeout", "between_events_timeout", "ping_timeout")
)
"""Codes of attempts that were sent and given up: the service may have answered, and billed it."""


class Budget:
    """Sets aside the most that a call can cost before it is sent, and settles that with what it cost at its end.

    A call must fit into every limit that concerns it, beside all that is spent and all that is set aside for others,
    or it is not sent. Each further attempt (a retry, the rest of a broken stream) must fit as well, with what the call
    has cost by then. It is settled in the periods in which it began. What was interrupted counts with the most that it
    can have cost, and so does an attempt that was given up before its answer came.

    The bound leaves out the fees of searches, the hours of containers, an input that is longer than estimated, and
    attempts whose connection was lost before an answer. A call without a bound is refused; with ``unbounded: cap`` it
    is sent, with a ``max_tokens`` of ``cap_tokens`` at most, and sets aside the limit of ``call`` if there is one.

    With ``stop`` only the input must fit into the limits of ``call``, and a stream is stopped when it comes to them,
    by an estimate of what has been written since the service last counted.

    Notices: ``budget.threshold`` with ``percent`` and ``spent``, once a period; ``budget.exceeded`` with ``spent``,
    ``reserved`` and ``asked``; both with ``setting``, ``tag``, ``period``, ``unit``, ``limit`` and ``resets_at``.
    ``budget.capped`` with ``max_tokens`` and the ``reason``.

    Args:
        settings: The group ``budget``.
        clock: Whose days and months they are, in UTC.
        reservations: Where the accounts are kept.
        estimator: What counts the input of a request.
        models: What is known of a model, by any of its names.
        prices: The prices that apply.
        notices: Where it tells what happens.
        spent: What was spent before there were any accounts; nothing if left out.

    Raises:
        BudgetExceededError: The call does not fit, and was not sent; ``context`` has the figures of the notice. Its
            ``code`` is ``unbounded`` where the cost has no bound, and ``budget_stopped`` where the stream was stopped.
    """

    def __init__(
        self,
        settings: BudgetSettings,
        *,
        clock: Clock,
        reservations: Reservations,
        estimator: Estimator,
        models: Callable[[str], Model | None],
        prices: PriceBook,
        notices: Notices,
        spent: Spent | None = None,
    ) -> None:
        self.settings = settings
        self.of_a_call = amounts_of(settings.call)
        """The limits of every single call."""
        self._limits = tuple(limits_of(settings))
        self._limited = {limit.unit for limit in self._limits} | self.of_a_call.keys()
        self._clock = clock
        self._reservations = reservations
        self._estimator = estimator
        self._models = models
        self._prices = prices
        self._notices = notices
        self._spent = spent
        self._run = f"{uuid.uuid4()}"

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        tab = _Tab(self, call)
        await tab.set_aside()
        call.checks.append(tab.set_aside)
        try:
            stream = await call_next(call)
        except BaseException:
            tab.settle()
            raise
        tab.stream = stream
        if self.settings.stop:
            _Meter(self, tab, stream)
        stream.on_end(tab.settle)
        return stream

    def bound(self, call: Call) -> Bound:
        """Bound what an attempt of *call* can cost, once its ``max_tokens`` is lowered where that is called for.

        Raises:
            BudgetExceededError: What is limited has no bound, and such calls are refused.
        """
        bound = self.bound_of(call.request)
        if all(getattr(bound, unit) is not None for unit in self._limited):
            return bound
        if self.settings.unbounded == "refuse":
            raise self.refused(
                BudgetExceededError(
                    f"the call's cost has no upper bound: {bound.reason}; budget.unbounded=cap sends such calls",
                    code="unbounded",
                    context={"setting": "budget.unbounded", "reason": bound.reason},
                ),
                call,
            )
        cap = self.settings.cap_tokens
        if call.request.max_tokens is None or call.request.max_tokens > cap:
            call.request = call.request.model_copy(update={"max_tokens": cap})
            self._notices.post("budget.capped", call.id, max_tokens=cap, reason=bound.reason)
        return self.bound_of(call.request)

    def bound_of(self, request: MessageRequest) -> Bound:
        """Bound what *request* can cost as it is."""
        model = self._models(request.model or "")
        return upper_bound(request, model, self._estimator.estimate(request, model), self._prices, at=self._clock.now())

    def tokens_of(self, text: str, request: MessageRequest) -> int:
        """Estimate the tokens of *text* by the model of *request*."""
        return self._estimator.text(text, self._models(request.model or "")).input_tokens

    async def reserve(self, call: Call, amounts: Amounts) -> Reservation:
        """Set *amounts* aside under every limit that concerns *call*.

        Raises:
            BudgetExceededError: They do not fit.
        """
        now = self._clock.now()
        asks = [
            limit.ask(call.tags, amounts[limit.unit], now=now, run=self._run, spent=self._spent)
            for limit in self._limits
        ]
        try:
            return await self._reservations.reserve(asks, partial(self._settled, call.id))
        except BudgetExceededError as error:
            raise self.refused(error, call) from error.__cause__

    def refused(self, error: BudgetExceededError, call: Call) -> BudgetExceededError:
        """Tell of *error*, and have it say when it passes."""
        if ends := error.context.get("resets_at"):
            error.retry_after = (datetime.fromisoformat(ends) - self._clock.now()).total_seconds()
        self._notices.post("budget.exceeded", call.id, **error.context)
        return error

    def _settled(self, call_id: str, ask: Ask, before: Decimal, after: Decimal) -> None:
        for percent in self.settings.thresholds:
            if before < ask.limit * percent / 100 <= after:
                self._notices.post("budget.threshold", call_id, **figures(ask), percent=percent, spent=after)


class _Tab:
    """What one call has set aside, and what it has come to cost."""

    def __init__(self, budget: Budget, call: Call) -> None:
        self.call = call
        self.stream: Stream | None = None
        """Its answer, once that is open."""
        self._budget = budget
        self._earlier = len(call.attempts)
        self._reservations: list[Reservation] = []
        self._reserved = _NOTHING
        self._asked = _NOTHING
        """The most that one of its attempts can cost."""

    async def set_aside(self) -> None:
        """Have enough set aside for one more attempt, beside what the call has cost by now.

        Raises:
            BudgetExceededError: It does not fit.
        """
        spent = self.spent()
        asked = self._ask(spent)
        wanted = _sum(spent, asked)
        more = {unit: max(EXACT.subtract(wanted[unit], self._reserved[unit]), Decimal(0)) for unit in UNITS}
        if any(more.values()):
            self._reservations.append(await self._budget.reserve(self.call, more))
        self._reserved = _sum(self._reserved, more)
        self._asked = {unit: max(self._asked[unit], asked[unit]) for unit in UNITS}

    def settle(self, outcome: Outcome | None = None) -> None:
        """Turn all that is set aside into what the call has cost."""
        self.call.checks.remove(self.set_aside)
        spent = self.spent()
        first, *further = self._reservations
        for reservation in further:
            reservation.settle(Decimal(0), 0)
        first.settle(spent["usd"], int(spent["tokens"]))

    def spent(self) -> Amounts:
        """The most that the call can have cost by now."""
        spent = self.spent_before()
        if self.stream is not None:
            response = replace(self.stream.response, attempts=())
            spent = _sum(spent, self._most(response.cost, whole=response.stop_reason is not None))
        return spent

    def spent_before(self) -> Amounts:
        """The most that the attempts before the one that answers can have cost."""
        spent = _NOTHING
        for attempt in self.call.attempts[self._earlier :]:
            if attempt.cost is not None:
                spent = _sum(spent, self._most(attempt.cost, whole=attempt.error_code == "refusal"))
            elif attempt.error_code in _UNCLEAR:
                spent = _sum(spent, self._asked)
        return spent

    def _ask(self, spent: Amounts) -> Amounts:
        """What the next attempt can cost; or may, where its stream is to be stopped there."""
        bound = self._budget.bound(self.call)
        return {unit: self._within_limit(unit, getattr(bound, unit), spent[unit]) for unit in UNITS}

    def _within_limit(self, unit: Unit, most: Decimal | int | None, spent: Decimal) -> Decimal:
        budget = self._budget
        limit = budget.of_a_call.get(unit)
        if limit is None:
            return _LEAST[unit] if most is None else Decimal(most)
        left = EXACT.subtract(limit, spent)
        if most is None:
            asked = max(left, _LEAST[unit])
        elif most > left and budget.settings.stop:
            hardly_any = budget.bound_of(self.call.request.model_copy(update={"max_tokens": 1}))
            asked = max(left, Decimal(getattr(hardly_any, unit)))
        else:
            asked = Decimal(most)
        if asked > left:
            ask = Ask("", f"budget.call.{unit}", None, "call", unit, limit, asked)
            raise budget.refused(exceeded(ask, spent, Decimal(0)), self.call)
        return asked

    def _most(self, cost: Cost, *, whole: bool) -> Amounts:
        """The most that an answer can have cost: what was set aside for it, where nobody knows."""
        usd = cost.total_usd if whole else cost.high_usd if cost.total_usd is None else None
        tokens = tokens_of(cost)
        return {
            "usd": self._asked["usd"] if usd is None else usd,
            "tokens": tokens if whole and tokens else max(tokens, self._asked["tokens"]),
        }


class _Meter:
    """Stops a stream at the limits of a call."""

    def __init__(self, budget: Budget, tab: _Tab, stream: Stream) -> None:
        self._budget = budget
        self._tab = tab
        self._stream = stream
        self._room = inf
        """Tokens of output that fit in after those that the service has counted."""
        self._written: list[str] = []
        """What has come since."""
        self._unseen = inf
        """Characters until that is estimated again."""
        stream.tap("message_start", self._count)
        stream.tap("message_delta", self._count)
        stream.tap("content_block_delta", self._add)

    def _count(self, chunk: MessageChunk) -> None:
        if chunk.delta.get("stop_reason"):  # it is there, and paid for
            return
        self._room = self._left()
        self._written.clear()
        max_tokens = self._tab.call.request.max_tokens
        if max_tokens is not None and self._room >= max_tokens:
            self._unseen = inf
        else:
            self._estimate()

    def _add(self, chunk: MessageChunk) -> None:
        if self._unseen == inf:
            return
        piece = chunk.text or chunk.thinking or chunk.partial_json
        self._written.append(piece)
        self._unseen -= len(piece)
        if self._unseen <= 0:
            self._estimate()

    def _estimate(self) -> None:
        left = self._room - self._budget.tokens_of("".join(self._written), self._tab.call.request)
        if left <= 0:
            raise self._budget.refused(
                BudgetExceededError(
                    "the answer was stopped, for it has come to the limit of a call",
                    code="budget_stopped",
                    context={"setting": "budget.call", "period": "call", "limit": dict(self._budget.of_a_call)},
                ),
                self._tab.call,
            )
        self._unseen = left  # a token has a character or more in most scripts

    def _left(self) -> float:
        tab, response, limits = self._tab, self._stream.response, self._budget.of_a_call
        before, now, later = tab.spent_before(), _cost_with(response, 0), _cost_with(response, 1000)
        left = inf
        if "tokens" in limits:
            left = float(limits["tokens"] - before["tokens"] - tokens_of(now))
        if "usd" in limits and now.total_usd is not None and later.total_usd is not None:
            price = (later.total_usd - now.total_usd) / 1000
            if price:
                left = min(left, float((limits["usd"] - before["usd"] - now.total_usd) / price))
        return left


def tokens_of(cost: Cost) -> Decimal:
    """All tokens that a cost is for."""
    return Decimal(sum(item.quantity for item in cost.items if item.name != "web_search"))


def _cost_with(response: MessageResponse, more: int) -> Cost:
    """What *response* would cost if it ended with so many more tokens of output than were counted."""
    usage = {**response.usage.raw, "output_tokens": (response.usage.output_tokens or 0) + more}
    return replace(response, message={**response.message, "stop_reason": "end_turn", "usage": usage}).cost


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return {unit: EXACT.add(one[unit], other[unit]) for unit in UNITS}
