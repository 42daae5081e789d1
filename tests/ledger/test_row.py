from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from claudeprov.chain import Call
from claudeprov.cost import Cost
from claudeprov.errors import CODES, OverloadedError
from claudeprov.ledger.prompt import as_text, prefixes_of, request_hash
from claudeprov.ledger.row import _UNCLEAR, MOST, Row, row_of
from claudeprov.request import MessageRequest
from claudeprov.response import Attempt, MessageResponse, Timing, Usage
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.stream import Outcome
from claudeprov.testing import ManualClock

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BODY = {"model": "claude-haiku-4-5", "max_tokens": 300, "messages": [{"role": "user", "content": "Why?"}]}
TIMING = Timing(NOON, queue=0.5, backoff=1.5, first_chunk=2.5, total=4.0)
USAGE = {
    "input_tokens": 10,
    "output_tokens": 20,
    "cache_creation_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    "cache_read_input_tokens": 30,
    "output_tokens_details": {"thinking_tokens": 5},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
    "service_tier": "standard",
    "speed": "standard",
    "inference_geo": "us",
}


def call(**tags):
    made = Call(MessageRequest.of(BODY), ManualClock(), tags)
    made.attempts = [Attempt(1, 0.0, 2.5, "req_1")]
    return made


def response(*, cost=Decimal("0.01"), attempts=(), **message):
    whole = {"model": "claude-haiku-4-5-20251001", "stop_reason": "end_turn", "usage": USAGE} | message
    priced = cost if isinstance(cost, Cost) else Cost(cost, ())
    return MessageResponse(whole, TIMING, tuple(attempts), "req_1", price=lambda answer: priced)


def row(made=None, answer=None, outcome=None):
    return row_of(made or call(), "haiku", outcome or Outcome("read"), answer or response(), replayed=False)


def test_a_row_holds_all_that_is_known_of_a_call():
    made = call(run="r", suite="s", task="t", user=3)
    assert row(made) == Row(
        id=made.id,
        at="2026-11-22T12:00:00.000000Z",
        model="haiku",
        served="claude-haiku-4-5-20251001",
        endpoint="anthropic",
        run="r",
        suite="s",
        task="t",
        input_tokens=10,
        output_tokens=20,
        thinking_tokens=5,
        cache_write_5m_tokens=3,
        cache_write_1h_tokens=4,
        cache_read_tokens=30,
        web_searches=2,
        web_fetches=1,
        cost_usd=Decimal("0.01"),
        cost_low_usd=Decimal("0.01"),
        cost_high_usd=Decimal("0.01"),
        queue=0.5,
        backoff=1.5,
        first_chunk=2.5,
        total=4.0,
        attempts=1,
        stop_reason="end_turn",
        max_tokens=300,
        service_tier="standard",
        speed="standard",
        inference_geo="us",
        request_id="req_1",
        request_hash=request_hash(BODY | {"stream": True}),
        prefixes=as_text(prefixes_of(BODY)),
        tags={"user": "3"},
    )


def test_it_is_written_and_read_without_a_digit_lost():
    made = row(call(user="Zoë"))
    assert msgspec.json.decode(msgspec.json.encode(made), type=Row) == made


def test_it_holds_neither_prompt_nor_answer_nor_secret():
    key = "sk-" + "ant-" + "abcdefghij0123456789"
    text = msgspec.json.encode(row(call(key=key), response(content=[{"type": "text", "text": "Because."}]))).decode()
    assert "Why?" not in text
    assert "Because." not in text
    assert key not in text


def test_writes_without_a_lifetime_are_for_five_minutes():
    made = row(answer=response(usage={"input_tokens": 1, "cache_creation_input_tokens": 7}))
    assert (made.cache_write_5m_tokens, made.cache_write_1h_tokens) == (7, None)


def test_what_is_not_told_is_none_and_never_zero():
    made = row(answer=response(usage={"input_tokens": 1}))
    assert (made.output_tokens, made.cache_read_tokens, made.web_searches) == (None, None, None)


def test_an_interval_is_kept_as_its_bounds():
    interval = Cost(None, (), "it broke off", low_usd=Decimal("0.1"), high_usd=Decimal("0.3"))
    made = row(answer=response(cost=interval))
    assert (made.cost_usd, made.cost_low_usd, made.cost_high_usd) == (None, Decimal("0.1"), Decimal("0.3"))
    assert made.cost_reason == "it broke off"


def test_bounds_finer_than_a_column_are_rounded_outwards():
    third = Decimal(1) / 3
    made = row(answer=response(cost=Cost(None, (), "it broke off", low_usd=third, high_usd=third)))
    assert (made.cost_low_usd, made.cost_high_usd) == (Decimal("0.333333333333333"), Decimal("0.333333333333334"))


def test_what_no_column_can_hold_is_unknown():
    made = row(answer=response(usage={"input_tokens": MOST + 1, "output_tokens": "many"}, cost=Decimal(10**9)))
    assert (made.input_tokens, made.output_tokens, made.cost_usd) == (None, None, None)
    assert made.cost_reason == "it is more than a column can hold"


@pytest.mark.parametrize("name", ["cache_creation", "server_tool_use", "output_tokens_details", "iterations"])
@pytest.mark.parametrize("value", ["x", 3, ["x"]], ids=str)
def test_usage_of_another_shape_costs_no_row(name, value):
    assert row(answer=response(usage={"input_tokens": 3, name: value})).input_tokens == 3


def test_tokens_count_of_every_entry_that_is_billed():
    compaction = {"type": "compaction", "input_tokens": 100_000, "output_tokens": 2000, "cache_read_input_tokens": 9}
    advisor = {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 7, "output_tokens": 8}
    message = {"type": "message", "input_tokens": 10, "output_tokens": 20}
    told = [compaction, advisor, message]
    made = row(answer=response(usage=message | {"iterations": told, "server_tool_use": {"web_search_requests": 2}}))
    assert (made.input_tokens, made.output_tokens, made.cache_read_tokens, made.web_searches) == (100_017, 2028, 9, 2)
    without = row(answer=response(usage=message | {"iterations": [compaction]}))  # the sum holds all but that
    assert (without.input_tokens, without.output_tokens) == (100_010, 2020)


def test_texts_that_a_database_would_refuse_are_made_plain():
    made = row(call(run="a\0b", odd="\ud800", long="x" * 9999), response(model="m\0"))
    assert (made.run, made.served) == ("ab", "m")
    assert made.tags == {"odd": "?", "long": "x" * 1000}


def test_attempts_that_were_paid_for_count_and_are_told_apart():
    paid = Cost(Decimal("0.002"), ())
    broken = Attempt(1, 0.0, 1.0, "req_0", "truncated", "claude-haiku-4-5", Usage({"input_tokens": 10}), paid)
    answer = response(attempts=[broken, Attempt(2, 1.0, 1.0, "req_1")])
    made = row(answer=answer)
    assert made.input_tokens == 20
    assert made.cost_usd == answer.cost.total_usd
    assert (made.retried_low_usd, made.retried_high_usd) == (Decimal("0.002"), Decimal("0.002"))


def ended(*codes, usage=None, outcome=None):
    """The row of a call whose attempts ended with these codes."""
    attempts = [Attempt(number, 0.0, 1.0, error_code=code) for number, code in enumerate(codes, 1)]
    return row(answer=response(usage=usage, attempts=attempts), outcome=outcome or Outcome("cancelled"))


@pytest.mark.parametrize(
    "codes", [["overloaded"], ["rate_limited", "connect_timeout"], ["enforced_spend_limit_reached"]]
)
def test_a_call_that_was_refused_or_never_arrived_cost_nothing(codes):
    made = ended(*codes, outcome=Outcome("failed", OverloadedError("529")))
    assert (made.end, made.error, made.cost_usd, made.cost_reason) == ("failed", "overloaded", Decimal(0), None)


@pytest.mark.parametrize(
    "codes",
    [
        *(["truncated"], ["stream_interrupted"], ["invalid_json"], ["out_of_grammar"], ["first_event_timeout"]),
        *(["cancelled"], ["deadline_exceeded"], ["connection_failed"], ["KeyError"], ["truncated", "overloaded"]),
        [None],  # it was opened, and told no usage
    ],
    ids=str,
)
def test_the_cost_of_a_call_that_may_have_been_served_is_unknown(codes):
    made = ended(*codes)
    assert (made.cost_usd, made.cost_low_usd, made.cost_high_usd) == (None, None, None)
    assert made.cost_reason == "an attempt told no usage, and the service may have billed it"


def test_an_attempt_that_may_have_been_served_leaves_the_cost_of_the_answer_without_a_bound():
    made = ended("first_event_timeout", None, usage=USAGE)
    assert (made.cost_usd, made.cost_low_usd, made.cost_high_usd) == (None, Decimal("0.01"), None)
    assert made.cost_reason == "an attempt told no usage, and the service may have billed it"


def test_a_call_that_was_never_sent_cost_nothing():
    assert ended().cost_usd == 0


def test_every_code_of_an_attempt_that_may_have_been_served_is_one_of_an_error():
    assert set(CODES) >= _UNCLEAR


def test_a_bug_is_told_by_its_name():
    assert row(outcome=Outcome("failed", KeyError("x"))).error == "KeyError"


def test_a_server_of_ones_own_is_told_with_its_host():
    made = call()
    made.endpoint = EndpointSettings(kind="compatible", base_url="http://127.0.0.1:8085/api")
    assert row(made).endpoint == "compatible@127.0.0.1:8085"


def test_all_tokens_of_a_prompt_are_those_that_were_sent_written_and_read():
    assert row().prompt_tokens == 47
    assert row(answer=replace(response(), message={})).prompt_tokens == 0
