"""Bounds of what a call costs: before it is sent, and where its answer broke off."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeprov.bound import BROKEN_OFF, Bound, cost_so_far, upper_bound
from claudeprov.catalog import catalog
from claudeprov.cost import cost_of
from claudeprov.pricing import PriceBook, list_prices
from claudeprov.request import MessageRequest
from claudeprov.response import Join, MessageResponse, Timing
from claudeprov.tokens import Estimator, TokenCount

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
COUNT = TokenCount(900, "estimate", 800, 1_000)
MARK = {"cache_control": {"type": "ephemeral"}}
MARK_1H = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def request(model="claude-sonnet-4-5", **more):
    return MessageRequest.of({"messages": [], "max_tokens": 100, "model": model, **more})


def bound(model="claude-sonnet-4-5", count=COUNT, prices=None, at=NOW, **more):
    return upper_bound(request(model, **more), catalog().get(model), count, prices or PriceBook(), at=at)


def test_it_is_the_most_input_and_all_of_max_tokens():
    # 1000 x 3 + 100 x 15
    assert bound() == Bound(Decimal("0.0045"), 1_100, None)


@pytest.mark.parametrize(
    ("more", "usd"),
    [
        # 1000 x 3.75 + 100 x 15
        ({"system": [{"type": "text", "text": "x", **MARK}]}, "0.00525"),
        ({"tools": [{"name": "t", "input_schema": {}, **MARK}]}, "0.00525"),
        ({"cache_control": {"type": "ephemeral"}}, "0.00525"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x", **MARK}]}]}, "0.00525"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", **MARK_1H}]}]}
                ]
            },
            "0.0075",  # 1000 x 6 + 100 x 15
        ),
        ({"system": [{"type": "text", "text": "x", **MARK}, {"type": "text", "text": "y", **MARK_1H}]}, "0.0075"),
    ],
)
def test_what_may_be_written_to_the_cache_is_taken_to_be(more, usd):
    assert bound(**more).usd == Decimal(usd)


def test_a_prompt_that_may_be_over_a_threshold_is_taken_to_be():
    # 100001 x 0.5 + 100 x 2.5, x 1.1; at the threshold 100000 x 0.1 + 100 x 0.5, x 1.1
    over, at = (bound("claude-haiku-5-5", TokenCount(9, "estimate", 5, high)) for high in (100_001, 100_000))
    assert (over.usd, at.usd) == (Decimal("0.05527555"), Decimal("0.011055"))


@pytest.mark.parametrize(("geo", "usd"), [(None, "0.0033"), ("us", "0.0033"), ("global", "0.003")])
def test_inference_may_be_in_the_us_unless_the_request_says_otherwise(geo, usd):
    # 1000 x 2 + 100 x 10, and a tenth more
    assert bound("claude-sonnet-5-5", **({"inference_geo": geo} if geo else {})).usd == Decimal(usd)


def test_fast_mode_is_taken_to_be_served_or_refused_and_never_unpriced():
    # 1000 x 8 + 100 x 40, and a tenth more
    assert bound("claude-opus-5-5", speed="fast").usd == Decimal("0.0132")
    refused = bound("claude-sonnet-5-5", speed="fast")
    assert refused.usd is None
    assert refused.tokens == 1_100


def test_it_is_the_price_of_the_day():
    # Sonnet 4.5 had a tier in the 1M beta: 200001 x 6 + 100 x 22.5, later 200001 x 3 + 100 x 15
    count = TokenCount(9, "estimate", 5, 200_001)
    then, now = bound(count=count, at=datetime(2026, 4, 29, tzinfo=UTC)), bound(count=count)
    assert (then.usd, now.usd) == (Decimal("1.202256"), Decimal("0.601503"))


def test_configured_prices_and_multipliers_hold():
    own = list_prices("claude-sonnet-4-5").model_copy(update={"input": Decimal("2"), "multiplier": Decimal("1.1")})
    book = PriceBook(own, catalog().find("claude-sonnet-4-5"))
    # (1000 x 2 + 100 x 15) x 1.1
    assert bound(prices=book).usd == Decimal("0.00385")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, "the tool web_search_20260318"),
        ({"tools": [{"type": "code_execution_20260521"}]}, "the tool code_execution"),
        ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}]}, "the tool mcp_toolset"),
        ({"mcp_servers": [{"name": "a"}]}, "mcp_servers"),
        ({"fallbacks": "default"}, "fallbacks"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
        ({"max_tokens": None}, "max_tokens is not given"),
    ],
)
def test_a_call_that_the_service_may_prolong_has_no_bound(more, reason):
    unbounded = bound(**more)
    assert (unbounded.usd, unbounded.tokens) == (None, None)
    assert reason in unbounded.reason


def test_what_is_only_cleared_from_the_context_does_not_prolong_it():
    assert bound(context_management={"edits": [{"type": "clear_tool_uses_20250919"}]}).usd is not None


def test_tools_that_run_at_the_client_do_not_prolong_it():
    assert bound(tools=[{"type": "custom", "name": "t"}, {"type": "bash_20250124", "name": "bash"}]).usd is not None


def test_an_unknown_price_leaves_the_tokens_bounded():
    unknown = bound("nobody-s-model")
    assert (unknown.usd, unknown.tokens, unknown.reason) == (None, 1_100, "not in the catalogue")
    assert bound("claude-2.1", system=[{"type": "text", **MARK}]).usd is None


COUNTS = st.integers(0, 1_000_000)
SHARES = st.floats(0, 1)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.sampled_from([model.id for model in catalog() if model.capabilities.prompt_caching]),
    COUNTS,
    COUNTS,
    st.tuples(SHARES, SHARES, SHARES),
    SHARES,
    st.sampled_from(["us", "global", None]),
)
def test_no_usage_within_the_counts_costs_more_than_the_bound(model, prompt, output, shares, written, geo):
    """However the prompt is divided into what is read, written and neither."""
    read, w5 = (int(prompt * share * 0.5) for share in shares[:2])
    w1 = int((prompt - read - w5) * shares[2])
    usage = {
        "input_tokens": prompt - read - w5 - w1,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": w5, "ephemeral_1h_input_tokens": w1},
        "output_tokens": int(output * written),
        "inference_geo": geo,
    }
    cost = cost_of(usage, model, at=NOW).total_usd
    count = TokenCount(prompt, "estimate", 0, prompt)
    asked = {"max_tokens": output, "system": [{"type": "text", **MARK}, {"type": "text", **MARK_1H}]}
    most = bound(model, count, **asked).usd
    if cost is not None:
        assert cost <= most


def answer(*texts, usage=None, model="claude-sonnet-4-5", joins=(), **more):
    message = {
        "model": model,
        "content": [{"type": "text", "text": text} for text in texts],
        "usage": {"input_tokens": 1_000, "output_tokens": 2, **(usage or {})},
        "stop_reason": None,
        **more,
    }
    return MessageResponse(message, Timing(NOW, 0, 0, 1, 2), joins=joins)


def so_far(response, **more):
    asked = request(**more)
    return cost_so_far(response, asked, catalog().get(asked.model), PriceBook(), Estimator())


def test_what_broke_off_cost_from_what_arrived_up_to_max_tokens():
    cost = so_far(answer("word " * 49 + "word"), max_tokens=400)
    # 1000 x 3 + at least 48 of 50 x 15, up to 1000 x 3 + 400 x 15
    assert cost.total_usd is None
    assert Decimal("0.00372") <= cost.low_usd <= Decimal("0.00375")
    assert cost.high_usd == Decimal("0.009")
    assert cost.reason == BROKEN_OFF
    assert sum(item.amount for item in cost.items) == cost.low_usd


def test_what_was_counted_is_no_less_and_what_is_not_shown_was_paid_too():
    assert so_far(answer("Hi", usage={"output_tokens": 50})).low_usd == Decimal("0.00375")
    nothing = so_far(answer())
    assert (nothing.low_usd, nothing.high_usd) == (Decimal("0.00303"), Decimal("0.0045"))
    thought = answer(content=[{"type": "thinking", "thinking": "word " * 49, "signature": ""}])
    assert so_far(thought).low_usd > Decimal("0.0036")
    called = MessageResponse(
        answer().message, answer().timing, tool_json={0: '{"city": "word word word word word word"}'}
    )
    assert so_far(called).low_usd > nothing.low_usd


def test_after_a_join_only_the_last_attempt_s_text_is_counted():
    text = "word " * 60
    joined = answer(text, joins=(Join(at=len(text) - 10, attempt=2, error_code="x"),))
    assert so_far(joined).low_usd < so_far(answer(text)).low_usd


def test_where_the_service_may_prolong_the_call_there_is_no_most():
    cost = so_far(answer("Hi"), tools=[{"type": "web_search_20260318", "name": "web_search"}])
    assert cost.low_usd is not None
    assert cost.high_usd is None


def test_where_no_price_is_known_there_are_no_bounds():
    cost = so_far(answer("Hi", model="nobody-s"), model="nobody-s")
    assert (cost.total_usd, cost.low_usd, cost.high_usd) == (None, None, None)
    assert "not in the catalogue" in cost.reason


def test_what_is_known_exactly_is_its_own_bounds():
    cost = cost_of({"input_tokens": 1_000}, "sonnet", at=NOW)
    assert cost.low_usd == cost.high_usd == cost.total_usd == Decimal("0.002")
    unknown = cost_of({"input_tokens": 1_000}, "gpt-5", at=NOW)
    assert (unknown.low_usd, unknown.high_usd) == (None, None)
