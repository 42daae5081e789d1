"""No call that could break a budget: what is set aside, what is settled, what is refused and what is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import httpx2
import pytest

import claudeprov
from claudeprov.catalog import catalog
from claudeprov.errors import (
    BudgetExceededError,
    CallTimeoutError,
    ConnectionFailedError,
    InvalidRequestError,
    OverloadedError,
    ProviderError,
    StreamInterruptedError,
)
from claudeprov.middleware import build
from claudeprov.middleware.budget import Budget
from claudeprov.middleware.resume import Resume
from claudeprov.middleware.retry import Retry
from claudeprov.notice import Notices
from claudeprov.pricing import PriceBook
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.request import MessageRequest
from claudeprov.settings.budget import BudgetSettings
from claudeprov.settings.resume import ResumeSettings
from claudeprov.settings.retry import RetrySettings
from claudeprov.state.reservation import MemoryReservations
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle
from claudeprov.tokens import Estimator

MODEL = "claude-haiku-4-5"  # 1 USD per million tokens of input, 5 of output
HI = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hi"}]}
UNKNOWN = HI | {"model": "somebody-elses-model"}
SEARCHES = HI | {"tools": [{"type": "web_search_20260209", "name": "web_search"}]}
ENDLESS = {name: value for name, value in HI.items() if name != "max_tokens"}
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def answer(input_tokens=100, output_tokens=200, **usage):
    """An answer that uses so much: 0.0011 USD and 300 tokens, unless said otherwise."""
    events = text_events("Hel", "lo", model=MODEL)
    events[0]["message"]["usage"] = {"input_tokens": input_tokens, "output_tokens": 1, **usage}
    events[-2]["usage"] = {"output_tokens": output_tokens}
    return events


COST = Decimal("0.0011")


class Till:
    """A budget, what is behind it, and what it tells."""

    def __init__(self, *answers, layers=(), start=NOON, spent=None, **settings):
        self.clock = ManualClock(start)
        self.accounts = MemoryReservations(self.clock)
        self.told = []
        notices = Notices(self.clock)
        notices.listen(lambda notice: self.told.append((notice.name, dict(notice.fields))))
        self.budget = self.make(settings, notices, spent)
        layers = [self.budget, *(layer(self, notices) for layer in layers)]
        self.provider = ScriptedProvider(*(answers or (answer(),)), layers=layers, clock=self.clock)

    def make(self, settings, notices=None, spent=None):
        return Budget(
            BudgetSettings(**settings),
            clock=self.clock,
            reservations=self.accounts,
            estimator=Estimator(),
            models=catalog().get,
            prices=PriceBook(),
            notices=notices or Notices(self.clock),
            spent=spent,
        )

    def send(self, request=HI, **tags):
        return self.provider.send_message(request, tags=tags)

    async def refused(self, request=HI, **tags):
        with pytest.raises(BudgetExceededError) as raised:
            await self.send(request, **tags)
        return raised.value

    def names(self):
        return [name for name, _ in self.told]

    @property
    def spent(self):
        return {name: account.spent for name, account in self._all() if account.spent}

    @property
    def reserved(self):
        return {name: account.reserved for name, account in self._all() if account.reserved}

    def _all(self):
        return [item for period in self.accounts._accounts.values() for item in period.items()]


def bound(request=HI):
    return Till().budget.bound_of(MessageRequest.of(request))


BOUND = bound().usd
DAY = "budget.day.usd 2026-11-22"


@pytest.mark.parametrize(
    "settings", [{}, {"day": {"usd": 1000}}, {"stop": True, "call": {"usd": 1}, "unbounded": "cap"}]
)
async def test_keeps_the_contract(settings):
    till = Till()
    await check_middleware(lambda: till.make({"unbounded": "cap", **settings}), clock=till.clock)
    assert till.reserved == {}


class TestSettling:
    async def test_the_bound_is_set_aside_and_turned_into_the_cost_at_the_end(self):
        till = Till(day={"usd": 1})
        async with till.send() as stream:
            assert till.reserved == {DAY: BOUND}
            async for _ in stream:
                pass
            assert (till.reserved, till.spent) == ({}, {DAY: COST})

    async def test_every_limit_is_charged_in_its_own_unit(self):
        till = Till(day={"usd": 1, "tokens": 10_000}, month={"tokens": 10_000}, run={"usd": 1})
        await till.send(run="r")
        assert till.spent == {
            DAY: COST,
            "budget.day.tokens 2026-11-22": 300,
            "budget.month.tokens 2026-11": 300,
            "budget.run.usd 'r'": COST,
        }

    async def test_tokens_are_those_from_and_to_the_cache_as_well(self):
        used = answer(cache_read_input_tokens=1000, cache_creation_input_tokens=500)
        till = Till(used, day={"tokens": 10_000})
        await till.send()
        assert till.spent == {"budget.day.tokens 2026-11-22": 1800}

    async def test_a_plain_exchange_is_charged_alike(self):
        till = Till(day={"usd": 1})
        await till.send(HI | {"stream": False})
        assert till.spent == {DAY: COST}

    @pytest.mark.parametrize("error", [InvalidRequestError("400"), OverloadedError("529"), ConnectionFailedError("no")])
    async def test_a_call_that_was_refused_costs_nothing(self, error):
        till = Till(error, day={"usd": 1})
        with pytest.raises(ProviderError):
            await till.send()
        assert (till.reserved, till.spent) == ({}, {})

    async def test_a_call_that_was_given_up_before_its_answer_came_costs_what_it_can_have_cost(self):
        till = Till(CallTimeoutError("late", code="first_event_timeout"), day={"usd": 1})
        with pytest.raises(CallTimeoutError):
            await till.send()
        assert (till.reserved, till.spent) == ({}, {DAY: BOUND})

    async def test_a_call_that_was_cancelled_while_it_opened_costs_what_it_can_have_cost(self):
        till = Till([60.0, *answer()], day={"usd": 1})
        task = asyncio.ensure_future(till.send().__aenter__())
        await settle()
        task.cancel()
        await settle()
        assert (till.reserved, till.spent) == ({}, {DAY: BOUND})

    @pytest.mark.parametrize("end", ["cancelled", "broken"])
    async def test_an_interrupted_stream_costs_the_most_that_it_can_have_cost(self, end):
        events = answer()[:3]
        if end == "broken":
            events.append(StreamInterruptedError("broke", code="truncated"))
        till = Till([*events, 60.0], day={"usd": 1, "tokens": 10_000})
        with suppress(StreamInterruptedError):
            async with till.send() as stream:
                async for chunk in stream:
                    if chunk.text and end == "cancelled":
                        break
        assert till.spent == {DAY: BOUND, "budget.day.tokens 2026-11-22": bound().tokens}
        assert till.reserved == {}

    async def test_a_call_over_midnight_is_settled_in_the_day_in_which_it_began(self):
        till = Till([*answer()[:3], 120.0, *answer()[3:]], start=NOON.replace(hour=23, minute=59), day={"usd": 1})
        await till.clock.run(till.send()._whole())
        assert till.clock.now().day == 23
        assert till.spent == {DAY: COST}

    async def test_searches_are_not_in_the_bound_but_in_what_is_spent(self):
        till = Till(answer(server_tool_use={"web_search_requests": 3}), day={"usd": 1})
        await till.send()
        assert till.spent == {DAY: COST + Decimal("0.03")}


class TestRefusing:
    async def test_what_could_break_the_budget_is_not_sent(self):
        till = Till(day={"usd": BOUND + COST})
        await till.send()
        await till.send()
        error = await till.refused()
        assert len(till.provider.requests) == 2
        assert error.context == {
            "setting": "budget.day.usd",
            "tag": None,
            "period": "day",
            "unit": "usd",
            "limit": BOUND + COST,
            "spent": 2 * COST,
            "reserved": Decimal(0),
            "asked": BOUND,
            "resets_at": "2026-11-23T00:00:00+00:00",
        }
        assert error.retry_after == 12 * 3600
        assert not error.retryable

    async def test_calls_at_once_cannot_overspend_together(self):
        till = Till([*answer()[:3], 10.0, *answer()[3:]], day={"usd": 3 * BOUND})
        calls = asyncio.gather(*(till.send()._whole() for _ in range(20)), return_exceptions=True)
        results = await till.clock.run(calls)
        refused = [result for result in results if isinstance(result, BudgetExceededError)]
        assert len(refused) == 17
        assert all(error.retryable for error in refused)
        assert till.spent == {DAY: 3 * COST}

    async def test_the_next_day_begins_anew_and_the_month_goes_on(self):
        till = Till(day={"usd": BOUND}, month={"usd": BOUND + COST})
        await till.send()
        await till.refused()
        await till.clock.advance(12 * 3600)
        await till.send()
        await till.clock.advance(24 * 3600)
        error = await till.refused()
        assert (error.context["setting"], error.context["resets_at"]) == (
            "budget.month.usd",
            "2026-12-01T00:00:00+00:00",
        )

    async def test_each_user_has_a_budget_of_its_own(self):
        till = Till(tags={"user": {"day": {"usd": BOUND}}})
        await till.send(user="alice")
        await till.send(user="bob")
        assert (await till.refused(user="alice")).context["tag"] == "user=alice"
        await till.send()
        assert (await till.refused()).context["tag"] == "user=None"

    async def test_each_run_has_a_budget_of_its_own(self):
        till = Till(run={"tokens": bound().tokens})
        await till.send(run="one")
        await till.send(run="two")
        assert (await till.refused(run="one")).context["period"] == "run"

    async def test_a_single_call_may_be_too_dear(self):
        till = Till(call={"usd": BOUND})
        await till.send()
        error = await till.refused(HI | {"max_tokens": 1001})
        assert (error.context["setting"], error.context["resets_at"], error.retry_after) == (
            "budget.call.usd",
            None,
            None,
        )
        assert not error.retryable

    async def test_a_call_that_is_too_large_in_tokens_is_refused(self):
        till = Till(call={"tokens": 500})
        assert (await till.refused()).context["asked"] == bound().tokens


class TestFurtherAttempts:
    @staticmethod
    def retry(till, notices):
        return Retry(RetrySettings(base=0), clock=till.clock, random=Random(1), notices=notices)

    @staticmethod
    def resume(till, notices):
        return Resume(ResumeSettings(), models=catalog().get, estimator=Estimator(), notices=notices)

    async def test_a_retry_after_a_refusal_of_the_service_needs_no_more(self):
        till = Till(OverloadedError("529"), answer(), layers=[self.retry], day={"usd": BOUND})
        await till.clock.run(till.send()._whole())
        assert till.spent == {DAY: COST}

    async def test_an_attempt_that_was_given_up_is_paid_for_beside_the_one_that_answers(self):
        late = CallTimeoutError("late", code="first_event_timeout")
        till = Till(late, answer(), layers=[self.retry], day={"usd": 2 * BOUND})
        await till.clock.run(till.send()._whole())
        assert (till.reserved, till.spent) == ({}, {DAY: BOUND + COST})

    async def test_a_retry_that_does_not_fit_beside_what_was_paid_is_not_made(self):
        late = CallTimeoutError("late", code="first_event_timeout")
        till = Till(late, answer(), layers=[self.retry], day={"usd": BOUND * 3 / 2})
        with pytest.raises(ProviderError):
            await till.clock.run(till.send()._whole())
        assert len(till.provider.requests) == 1
        assert (till.reserved, till.spent) == ({}, {DAY: BOUND})

    async def test_all_attempts_of_a_call_share_its_limit(self):
        late = CallTimeoutError("late", code="first_event_timeout")
        till = Till(late, answer(), layers=[self.retry], call={"usd": BOUND * 3 / 2})
        with pytest.raises(ProviderError):
            await till.clock.run(till.send()._whole())
        assert len(till.provider.requests) == 1

    async def test_the_rest_of_a_broken_stream_is_paid_for_beside_its_beginning(self):
        broken = [*answer()[:3], StreamInterruptedError("broke", code="truncated")]
        till = Till(broken, answer(), layers=[self.resume], day={"usd": 1})
        response = await till.clock.run(till.send()._whole())
        assert [attempt.error_code for attempt in response.attempts] == ["truncated", None]
        assert (till.reserved, till.spent) == ({}, {DAY: BOUND + COST})

    async def test_the_rest_of_a_broken_stream_that_does_not_fit_is_not_asked_for(self):
        broken = [*answer()[:3], StreamInterruptedError("broke", code="truncated")]
        till = Till(broken, answer(), layers=[self.resume], day={"usd": BOUND * 3 / 2})
        with pytest.raises(StreamInterruptedError) as raised:
            await till.clock.run(till.send()._whole())
        assert raised.value.context["resume"].startswith("budget_exceeded")
        assert len(till.provider.requests) == 1

    async def test_another_candidate_is_a_call_of_its_own(self):
        till = Till(CallTimeoutError("late", code="first_event_timeout"), answer(), day={"usd": 2 * BOUND})
        call = till.send()._call
        with pytest.raises(CallTimeoutError):
            await till.budget(call, till.provider)
        stream = await till.budget(call, till.provider)
        while await stream.read():
            pass
        assert (till.reserved, till.spent) == ({}, {DAY: BOUND + COST})
        assert call.checks == []


class TestWithoutABound:
    @pytest.mark.parametrize("request_", [UNKNOWN, SEARCHES, ENDLESS])
    async def test_it_is_refused(self, request_):
        till = Till(day={"usd": 1})
        error = await till.refused(request_)
        assert error.code == "unbounded"
        assert error.context["reason"]
        assert till.provider.requests == []
        assert till.names() == ["budget.exceeded"]

    async def test_an_unknown_price_stands_in_no_way_of_a_limit_on_tokens(self):
        till = Till(day={"tokens": 10_000})
        await till.send(UNKNOWN)
        assert till.spent == {"budget.day.tokens 2026-11-22": 300}

    async def test_without_max_tokens_it_is_capped_and_bounded(self):
        till = Till(day={"usd": 1}, unbounded="cap", cap_tokens=50)
        async with till.send(ENDLESS):
            assert till.provider.requests[0].max_tokens == 50
            assert till.reserved == {DAY: bound(HI | {"max_tokens": 50}).usd}
        assert till.told == [("budget.capped", {"max_tokens": 50, "reason": "max_tokens is not given"})]

    async def test_with_server_tools_it_sets_aside_the_limit_of_a_call(self):
        till = Till(day={"usd": 1}, call={"usd": "0.25"}, unbounded="cap", cap_tokens=50)
        async with till.send(SEARCHES) as stream:
            assert till.provider.requests[0].max_tokens == 50
            assert till.reserved == {DAY: Decimal("0.25")}
            async for _ in stream:
                pass
        assert till.spent == {DAY: COST}

    async def test_an_unknown_price_counts_as_what_was_set_aside(self):
        till = Till(
            text_events("Hi", model="somebody-elses-model"), day={"usd": 1}, call={"usd": "0.25"}, unbounded="cap"
        )
        await till.send(UNKNOWN)
        assert till.spent == {DAY: Decimal("0.25")}

    async def test_a_budget_that_is_spent_refuses_it_too(self):
        till = Till(answer(output_tokens=1000), day={"usd": "0.0051"}, unbounded="cap")
        await till.send()
        error = await till.refused(SEARCHES)
        assert (error.code, error.context["spent"]) == ("budget_exceeded", Decimal("0.0051"))


class TestStopping:
    async def test_a_stream_is_stopped_at_the_limit_of_a_call_and_what_came_is_kept(self):
        events = text_events(*["word " * 20] * 20, model=MODEL)
        events[0]["message"]["usage"] = {"input_tokens": 100, "output_tokens": 1}
        till = Till(events, call={"usd": "0.0011"}, day={"usd": 1}, stop=True)
        stream = till.send()
        with pytest.raises(BudgetExceededError) as raised:
            await stream
        assert raised.value.code == "budget_stopped"
        written = Estimator().text(raised.value.partial.text, catalog().get(MODEL)).input_tokens
        assert 199 <= written <= 199 + 21  # what 0.0011 USD leave for output, and the piece that made it too much
        assert till.reserved == {}
        assert till.spent[DAY] >= Decimal("0.0011")

    async def test_one_that_is_longer_than_estimated_but_done_is_not(self):
        till = Till(answer(output_tokens=900), call={"usd": "0.0011"}, day={"usd": 1}, stop=True)
        response = await till.send()
        assert response.stop_reason == "end_turn"
        assert till.spent == {DAY: Decimal("0.0046")}

    async def test_one_whose_input_alone_costs_that_much_is_not_sent(self):
        till = Till(call={"tokens": 5}, stop=True)
        await till.refused()
        assert till.provider.requests == []

    async def test_one_whose_input_was_more_than_estimated_is_stopped_at_once(self):
        till = Till(answer(input_tokens=2000), call={"tokens": 500}, stop=True)
        with pytest.raises(BudgetExceededError) as raised:
            await till.send()
        assert raised.value.partial.text == ""

    async def test_nothing_is_estimated_where_max_tokens_is_reached_first(self):
        events = text_events("word " * 10_000, model=MODEL)
        till = Till(events, call={"tokens": 1100}, stop=True)
        assert (await till.send()).stop_reason == "end_turn"

    async def test_nothing_is_tapped_unless_it_is_configured(self):
        till = Till(call={"usd": 1}, day={"usd": 1})
        async with till.send() as stream:
            assert stream._stream._taps == {}


class TestTelling:
    async def test_thresholds_are_told_once_a_period_with_figures(self):
        till = Till(day={"tokens": 2400})
        for _ in range(5):
            await till.send()
        assert till.told == [
            (
                "budget.threshold",
                {
                    "setting": "budget.day.tokens",
                    "tag": None,
                    "period": "day",
                    "unit": "tokens",
                    "limit": Decimal(2400),
                    "resets_at": "2026-11-23T00:00:00+00:00",
                    "percent": 50,
                    "spent": Decimal(1200),
                },
            )
        ]
        await till.clock.advance(24 * 3600)
        for _ in range(4):
            await till.send()
        assert till.names() == ["budget.threshold"] * 2

    async def test_one_call_can_pass_several(self):
        till = Till(answer(output_tokens=1000), day={"usd": "0.0051"})
        await till.send()
        assert [fields["percent"] for _, fields in till.told] == [50, 80, 100]

    async def test_each_value_of_a_tag_has_its_own(self):
        till = Till(tags={"user": {"day": {"tokens": 1100}}}, thresholds=(25,))
        await till.send(user="alice")
        await till.send(user="bob")
        assert [fields["tag"] for _, fields in till.told] == ["user=alice", "user=bob"]

    async def test_a_refusal_is_told_with_its_figures(self):
        till = Till(call={"usd": "0.001"})
        error = await till.refused()
        assert till.told == [("budget.exceeded", error.context)]


class TestWhatWasSpentBefore:
    async def test_a_restart_goes_on_from_what_the_ledger_has(self):
        asked = []

        async def spent(since, tags):
            asked.append(since)
            return Decimal("0.999"), 5000

        till = Till(day={"usd": 1}, spent=spent)
        error = await till.refused()
        assert error.context["spent"] == Decimal("0.999")
        await till.refused()
        assert asked == [NOON - timedelta(hours=12)]


@pytest.mark.usefixtures("no_settings")
class TestInAProvider:
    """What configuration makes of it, with prices, a ledger and all other layers."""

    def opened(self, folder, *overrides, answers=()):
        settings = claudeprov.open_provider(
            ["model=claude-haiku-4-5", "budget=standard", f"runs_dir={folder}", *overrides]
        ).settings
        return AnthropicClaudeProvider(settings, transport=Api(*answers or [answer()]))

    async def test_a_call_over_budget_is_refused(self, tmp_path):
        async with self.opened(tmp_path, "budget.run.usd=0.0205", "max_tokens=2000") as provider:
            for _ in range(10):
                await provider.send_message({"messages": HI["messages"]})
            with pytest.raises(BudgetExceededError) as raised:
                await provider.send_message({"messages": HI["messages"]})
        assert raised.value.context["spent"] == 10 * COST
        assert raised.value.context["setting"] == "budget.run.usd"

    async def test_prices_that_were_agreed_on_are_those_that_count(self, tmp_path):
        overrides = ["budget.day.usd=1", "pricing.multiplier=0.5", "budget.thresholds=[]"]
        async with self.opened(tmp_path, *overrides) as provider:
            await provider.send_message(HI)
            accounts = provider._state.reservations._accounts.values()
            assert {account.spent for period in accounts for account in period.values()} == {COST / 2}

    async def test_an_interrupted_stream_counts_with_the_most_that_it_can_have_cost(self, tmp_path):
        async with self.opened(tmp_path, "retry=off", answers=[answer()[:3]]) as provider:
            with pytest.raises(StreamInterruptedError) as raised:
                await provider.send_message(HI)
            cost = raised.value.partial.cost
            accounts = provider._state.reservations._accounts.values()
            assert cost.total_usd is None
            assert {account.spent for period in accounts for account in period.values()} == {cost.high_usd}

    async def test_spending_survives_a_restart_by_the_ledger(self, tmp_path):
        overrides = ["ledger=sqlite", "budget.day.usd=0.006"]
        async with self.opened(tmp_path, *overrides) as provider:
            await provider.send_message(HI, tags={"user": "alice"})
        async with self.opened(tmp_path, *overrides) as provider:
            with pytest.raises(BudgetExceededError) as raised:
                await provider.send_message(HI)
        assert raised.value.context["spent"] == COST

    async def test_a_replay_is_free(self):
        overrides = ["budget=standard", "budget.call.usd=0.000001", "cassette=replay"]
        settings = claudeprov.open_provider(overrides).settings
        names = [type(layer).__name__ for layer in build(settings, ManualClock(), replay=True)]
        assert "Budget" not in names
        assert "Budget" in [type(layer).__name__ for layer in build(settings, ManualClock())]


class Api(httpx2.AsyncBaseTransport):
    """Answers with each of some lists of events in turn, the last one again and again."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def handle_async_request(self, request):
        events = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
