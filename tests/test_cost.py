"""Costs against hand-computed sums; the arithmetic stands beside each case, in USD per million tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import claudeprov
from claudeprov.catalog import catalog
from claudeprov.cost import cost_of
from claudeprov.errors import ConfigurationError
from claudeprov.pricing import PriceBook, Prices, list_prices
from claudeprov.response import Usage

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MIXED = {
    "input_tokens": 1_000,
    "cache_creation_input_tokens": 700,
    "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 300},
    "cache_read_input_tokens": 5_000,
    "output_tokens": 200,
}


def day(text):
    return datetime.fromisoformat(f"{text}T00:00:00+00:00")


def usd(usage, model, *, at=NOW, **options):
    cost = cost_of(usage, model, at=at, **options)
    assert cost.reason is None
    return cost.total_usd


def sum_of(*products):
    return sum(quantity * Decimal(price) for quantity, price in products) / 1_000_000


@pytest.mark.parametrize(
    ("model", "usage", "total"),
    [
        # 1000 x 2 + 400 x 2.5 + 300 x 4 + 5000 x 0.1 + 200 x 10 = 2000 + 1000 + 1200 + 500 + 2000 = 6700
        ("sonnet", MIXED, "0.0067"),
        # reads at 0.025 of the input price: 1000 x 8 + 400 x 10 + 300 x 16 + 5000 x 0.2 + 200 x 40 = 25800
        ("claude-fable-5-2", MIXED, "0.0258"),
        # reads at 0.05 of it: 1000 x 4 + 400 x 5 + 300 x 8 + 5000 x 0.2 + 200 x 20 = 13400
        ("opus", MIXED, "0.0134"),
        # rounded cache prices: 1000 x 0.25 + 400 x 0.3 + 300 x 0.5 + 5000 x 0.03 + 200 x 1.25 = 920
        ("claude-3-haiku-20240307", MIXED, "0.00092"),
        # no breakdown, so all writes are 5m: 700 x 2.5 = 1750
        ("sonnet", {"cache_creation_input_tokens": 700}, "0.00175"),
        ("sonnet", {"cache_creation_input_tokens": 700, "cache_creation": None}, "0.00175"),
        # a breakdown without a total: 300 x 4 = 1200
        ("sonnet", {"cache_creation": {"ephemeral_1h_input_tokens": 300}}, "0.0012"),
        # a breakdown that leaves 100 of 700 out: (300 + 100) x 2.5 + 300 x 4 = 2200
        (
            "sonnet",
            {
                "cache_creation_input_tokens": 700,
                "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 300},
            },
            "0.0022",
        ),
        # null and missing count 0; thinking is in the output already: 10 x 10 = 100
        (
            "sonnet",
            {"input_tokens": None, "output_tokens": 10, "output_tokens_details": {"thinking_tokens": 8}},
            "0.0001",
        ),
        ("sonnet", {"input_tokens": 0, "output_tokens": None}, "0"),
        # a model without the multiplier: 1000 x 3 = 3000
        ("claude-sonnet-4-5", {"input_tokens": 1_000, "inference_geo": "not_available"}, "0.003"),
        # retired, and still to be priced: 1000 x 15 + 100 x 75 = 22500
        ("claude-3-opus-latest", {"input_tokens": 1_000, "output_tokens": 100}, "0.0225"),
    ],
)
def test_tokens_cost_their_models_list_prices(model, usage, total):
    assert usd(usage, model) == Decimal(total)


def test_a_batch_costs_half_whether_the_caller_or_usage_says_so():
    assert usd(MIXED, "sonnet", batch=True) == Decimal("0.00335")
    assert usd(MIXED | {"service_tier": "batch"}, "sonnet") == Decimal("0.00335")


def test_inference_in_the_us_costs_a_tenth_more_on_models_that_know_it():
    assert usd(MIXED | {"inference_geo": "us"}, "sonnet") == Decimal("0.00737")
    assert usd(MIXED | {"inference_geo": "global"}, "sonnet") == Decimal("0.0067")
    # before 4.6 the parameter does not exist: 1000 x 1 = 1000
    assert usd({"input_tokens": 1_000, "inference_geo": "us"}, "claude-haiku-4-5") == Decimal("0.001")


def test_batch_and_geography_multiply():
    assert usd(MIXED | {"inference_geo": "us"}, "sonnet", batch=True) == Decimal("0.003685")


@pytest.mark.parametrize(
    ("model", "total"),
    [
        # 1000 x 8 + 400 x 10 + 300 x 16 + 5000 x 0.4 + 200 x 40 = 26800
        ("claude-opus-5-5", "0.0268"),
        # 1000 x 16 + 400 x 20 + 300 x 32 + 5000 x 0.4 + 200 x 80 = 51600
        ("claude-mythos-5-2", "0.0516"),
        # 1000 x 10 + 400 x 12.5 + 300 x 20 + 5000 x 1 + 200 x 50 = 36000
        ("claude-opus-4-8", "0.036"),
    ],
)
def test_fast_mode_has_prices_of_its_own(model, total):
    assert usd(MIXED | {"speed": "fast"}, model) == Decimal(total)


def test_fast_mode_and_geography_multiply():
    assert usd(MIXED | {"speed": "fast", "inference_geo": "us"}, "opus") == Decimal("0.02948")


def test_what_was_served_at_standard_speed_costs_standard_prices():
    assert usd({"input_tokens": 1_000, "speed": "standard"}, "claude-opus-4-6") == Decimal("0.005")


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        # at the threshold: 60000 x 0.1 + 10000 x 0.125 + 30000 x 0.01 + 100 x 0.5 = 6000 + 1250 + 300 + 50
        (
            {
                "input_tokens": 60_000,
                "cache_creation_input_tokens": 10_000,
                "cache_read_input_tokens": 30_000,
                "output_tokens": 100,
            },
            "0.0076",
        ),
        # one token over it, all at five times the price: 100001 x 0.5 + 100 x 2.5 = 50250.5
        ({"input_tokens": 100_001, "output_tokens": 100}, "0.0502505"),
        # output does not count to the prompt: 100000 x 0.1 + 50000 x 0.5 = 35000
        ({"input_tokens": 100_000, "output_tokens": 50_000}, "0.035"),
    ],
)
def test_a_prompt_over_the_threshold_costs_the_tier_s_prices(usage, total):
    assert usd(usage, "haiku") == Decimal(total)


def test_of_several_tiers_the_highest_that_is_exceeded_counts():
    tiers = [{"above": 100, "input": "2"}, {"above": 200, "input": "3"}, {"above": 300, "input": "4"}]
    prices = Prices.model_validate({"input": "1", "tiers": tiers})
    (item,) = cost_of({"input_tokens": 201}, "sonnet", at=NOW, prices=prices).items
    assert (item.amount, item.rule) == (sum_of((201, "3")), "list price over 200 prompt tokens")


def test_searches_cost_a_cent_each_without_any_multiplier():
    usage = {"inference_geo": "us", "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 9}}
    assert usd(usage, "sonnet") == Decimal("0.03")
    # 1000 x 2 x 0.5 x 1.1 = 1100, and three searches
    assert usd(usage | {"input_tokens": 1_000}, "sonnet", batch=True) == Decimal("0.0311")


@pytest.mark.parametrize(
    ("model", "at", "usage", "total"),
    [
        # cache reads of Sonnet 5.5 fell from 0.2 to 0.1 on 2026-10-07
        ("claude-sonnet-5-5", "2026-10-06", {"cache_read_input_tokens": 1_000}, "0.0002"),
        ("claude-sonnet-5-5", "2026-10-07", {"cache_read_input_tokens": 1_000}, "0.0001"),
        # what a past price does not name was the same: 1000 x 2
        ("claude-sonnet-5-5", "2026-10-06", {"input_tokens": 1_000}, "0.002"),
        # the 1M beta had a tier over 200000 tokens: 200001 x 6 = 1200006, later 200001 x 3 = 600003
        ("claude-sonnet-4-6", "2026-03-12", {"input_tokens": 200_001}, "1.200006"),
        ("claude-sonnet-4-6", "2026-03-12", {"input_tokens": 200_000}, "0.6"),
        ("claude-sonnet-4-6", "2026-03-13", {"input_tokens": 200_001}, "0.600003"),
        ("claude-sonnet-4-5", "2026-04-29", {"input_tokens": 200_001}, "1.200006"),
        # fast mode of Opus 4.7 was 30/150 from 2026-05-12 until 2026-07-23
        ("claude-opus-4-7", "2026-07-23", {"input_tokens": 1_000, "output_tokens": 10, "speed": "fast"}, "0.0315"),
        # two past prices at once: the tier of the beta, and fast mode, which has no tiers: 300000 x 30
        ("claude-opus-4-6", "2026-02-10", {"input_tokens": 300_000}, "3"),
        ("claude-opus-4-6", "2026-02-10", {"input_tokens": 300_000, "speed": "fast"}, "9"),
        # the launch price of Haiku 3.5: 1000 x 1, later 0.8
        ("haiku-3-5", "2024-11-10", {"input_tokens": 1_000}, "0.001"),
        ("haiku-3-5", "2025-11-10", {"input_tokens": 1_000}, "0.0008"),
    ],
)
def test_the_price_is_that_of_the_request_s_day(model, at, usage, total):
    assert usd(usage, model, at=day(at)) == Decimal(total)


def test_the_day_is_counted_in_utc():
    last_hour_in_lisbon = datetime(2026, 10, 7, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert usd({"cache_read_input_tokens": 1_000}, "sonnet", at=last_hour_in_lisbon) == Decimal("0.0002")


def test_a_naive_time_is_refused():
    with pytest.raises(ConfigurationError, match="time zone"):
        cost_of({}, "sonnet", at=datetime(2026, 11, 22))


def test_iterations_are_priced_one_by_one_and_not_with_the_top_level_that_repeats_them():
    iterations = [
        {"type": "message", "input_tokens": 60_000, "output_tokens": 100},
        {"type": "message", "input_tokens": 70_000, "output_tokens": 100},
    ]
    usage = {"input_tokens": 130_000, "output_tokens": 200, "iterations": iterations}
    # neither prompt is over the threshold: 130000 x 0.1 + 200 x 0.5
    assert usd(usage, "haiku") == sum_of((130_000, "0.1"), (200, "0.5"))


def test_compaction_is_billed_beside_the_top_level_counts():
    compaction = {"type": "compaction", "input_tokens": 2_000, "output_tokens": 300}
    message = {"type": "message", "input_tokens": 1_000, "output_tokens": 100}
    usage = {"input_tokens": 1_000, "output_tokens": 100, "iterations": [compaction, message]}
    # (2000 + 1000) x 4 + (300 + 100) x 20
    assert usd(usage, "opus") == sum_of((3_000, "4"), (400, "20"))
    assert usd(usage | {"iterations": [compaction]}, "opus") == sum_of((3_000, "4"), (400, "20"))


def test_an_advisor_is_billed_at_its_own_model_s_prices_and_never_fast():
    usage = {
        "speed": "fast",
        "inference_geo": "us",
        "iterations": [
            {"type": "message", "input_tokens": 1_000, "output_tokens": 100},
            {"type": "advisor_message", "model": "claude-fable-5-2", "input_tokens": 3_000, "output_tokens": 500},
        ],
    }
    # (1000 x 8 + 100 x 40 + 3000 x 8 + 500 x 40) x 1.1
    expected = sum_of((1_000, "8"), (100, "40"), (3_000, "8"), (500, "40")) * Decimal("1.1")
    assert usd(usage, "claude-opus-5-5") == expected


@pytest.mark.parametrize(
    ("category", "at", "billed"),
    [
        ("bio", "2026-09-24", True),
        ("frontier_llm", "2026-09-24", True),
        ("reasoning_extraction", "2026-11-22", True),
        ("bio", "2026-09-23", False),
        ("cyber", "2026-11-22", False),
        ("general_harms", "2026-11-22", False),
        (None, "2026-11-22", False),
    ],
)
def test_a_refusal_before_any_output_is_billed_for_some_categories_only(category, at, billed):
    refusal = {"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": category}, "content": []}
    cost = cost_of({"input_tokens": 1_000, "output_tokens": 1}, "claude-fable-5", at=day(at), message=refusal)
    # 1000 x 10 + 1 x 50
    assert cost.total_usd == (Decimal("0.01005") if billed else 0)
    assert all("not billed" in item.rule for item in cost.items) is not billed


@pytest.mark.parametrize(
    "message",
    [
        {"stop_reason": "refusal", "stop_details": None, "content": [{"type": "text", "text": "Well"}]},
        {
            "stop_reason": "refusal",
            "stop_details": None,
            "content": [{"type": "thinking", "thinking": "", "signature": "Eq"}],  # thought, and was not shown
        },
        {"stop_reason": "end_turn", "stop_details": None, "content": []},
        None,
    ],
)
def test_a_refusal_amid_the_output_and_any_other_stop_is_billed(message):
    assert usd({"input_tokens": 1_000}, "sonnet", message=message) == Decimal("0.002")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": ""},
        {"type": "thinking", "thinking": ""},
        {"type": "thinking", "thinking": "", "signature": ""},
    ],
)
def test_an_empty_block_is_no_output(block):
    refusal = {"stop_reason": "refusal", "stop_details": {"category": "cyber"}, "content": [block]}
    assert usd({"input_tokens": 1_000}, "sonnet", message=refusal) == 0


@pytest.mark.parametrize(
    ("declined_after", "category", "total"),
    [
        # only the model that answered: 2000 x 5 + 100 x 25
        ([], "cyber", sum_of((2_000, "5"), (100, "25"))),
        # both: 1000 x 10 + 5 x 50 more
        ([], "bio", sum_of((1_000, "10"), (5, "50"), (2_000, "5"), (100, "25"))),
        ([{"type": "text", "text": "So"}], "cyber", sum_of((1_000, "10"), (5, "50"), (2_000, "5"), (100, "25"))),
    ],
)
def test_a_model_that_declined_before_a_fallback_is_billed_like_any_refusal(declined_after, category, total):
    fallback = {
        "type": "fallback",
        "from": {"model": "claude-fable-5"},
        "to": {"model": "claude-opus-5"},
        "trigger": {"type": "refusal", "category": category},
    }
    content = [*declined_after, fallback, {"type": "text", "text": "Gladly."}]
    usage = {
        "input_tokens": 2_000,
        "output_tokens": 100,
        "iterations": [
            {"type": "message", "model": "claude-fable-5", "input_tokens": 1_000, "output_tokens": 5},
            {"type": "fallback_message", "model": "claude-opus-5", "input_tokens": 2_000, "output_tokens": 100},
        ],
    }
    message = {"stop_reason": "end_turn", "content": content}
    assert usd(usage, "claude-opus-5", message=message) == total


@pytest.mark.parametrize(
    ("model", "usage", "reason"),
    [
        ("qwen", {"input_tokens": 5}, "local model"),
        ("qwen", {"input_tokens": 0}, "local model"),
        ("sonnet", {}, "there is no usage"),
        ("sonnet", None, "there is no usage"),
        ("gpt-5", {"input_tokens": 5}, "gpt-5, input: not in the catalogue"),
        ("gpt-5", {"input_tokens": 0}, "not in the catalogue"),
        ("claude-3-sonnet-20240229", {"cache_read_input_tokens": 5}, "cache_read: no price"),
        ("opus-3", {"server_tool_use": {"web_search_requests": 1}}, "web_search: no price"),
        ("sonnet", {"input_tokens": 5, "speed": "fast"}, "no price of fast mode"),
        ("opus", {"input_tokens": 5, "speed": "fast", "service_tier": "batch"}, "no price in a batch"),
        ("claude-2.1", {"input_tokens": 5, "service_tier": "batch"}, "no price in a batch"),
        ("sonnet", {"foo": 1}, "usage holds no count"),
        ("sonnet", {"input_tokens": None, "output_tokens": None}, "usage holds no count"),
        ("sonnet", {"iterations": [{"type": "message"}]}, "usage holds no count"),
        ("sonnet", 5, "5 stands where"),
        ("sonnet", [{"input_tokens": 5}], "stands where"),
        ("sonnet", {"input_tokens": 5, "iterations": 5}, "iterations = 5, which is no list"),
        ("sonnet", {"input_tokens": 5, "iterations": [5]}, "5 stands where"),
        ("sonnet", {"iterations": [{"type": "message", "model": ["a"], "input_tokens": 5}]}, "['a'], which is no"),
        ("sonnet", {"input_tokens": 5, "cache_creation": 7}, "7 stands where"),
        ("sonnet", {"input_tokens": 5, "server_tool_use": [1]}, "[1] stands where"),
        ("sonnet", {"input_tokens": 5, "fallback_credit": "yes"}, "'yes' stands where"),
        (["sonnet"], {"input_tokens": 5}, "['sonnet'], which is no"),
        ("sonnet", {"input_tokens": "12"}, "input_tokens = '12', which is no count"),
        ("sonnet", {"output_tokens": -1}, "output_tokens = -1, which is no count"),
    ],
)
def test_an_unknown_price_is_none_with_a_reason_and_never_zero(model, usage, reason):
    cost = cost_of(usage, model, at=NOW)
    assert cost.total_usd is None
    assert reason in cost.reason


def test_what_can_be_priced_is_listed_beside_what_cannot():
    cost = cost_of({"input_tokens": 10, "cache_read_input_tokens": 5}, "claude-3-sonnet-20240229", at=NOW)
    assert [(item.name, item.amount) for item in cost.items] == [("input", Decimal("0.00003")), ("cache_read", None)]


def test_a_price_of_the_past_can_be_unknown_where_today_s_is_not():
    usage = {"cache_creation": {"ephemeral_1h_input_tokens": 5}}
    assert cost_of(usage, "haiku-3-5", at=day("2024-11-10")).total_usd is None
    assert usd(usage, "haiku-3-5") == Decimal("0.000008")


def test_each_line_item_says_how_much_of_what_at_which_price_and_why():
    usage = {"input_tokens": 100_001, "inference_geo": "us", "server_tool_use": {"web_search_requests": 2}}
    tokens, searches = cost_of(usage, "haiku", at=NOW).items
    assert tokens[:4] == ("input", "claude-haiku-5-5", 100_001, Decimal("0.00000055"))
    assert tokens.rule == "list price over 100000 prompt tokens, US x 1.1"
    assert searches == ("web_search", "claude-haiku-5-5", 2, Decimal("0.01"), "fee for a search", Decimal("0.02"))


@pytest.mark.parametrize(
    ("usage", "note"),
    [
        ({"service_tier": "priority"}, "commitment"),
        ({"fallback_credit": {"status": {"type": "redeemed"}}}, "fallback credit"),
        ({"server_tool_use": {"code_execution_requests": 1}}, "code execution"),
    ],
)
def test_what_usage_cannot_price_is_noted(usage, note):
    (noted,) = cost_of(usage, "sonnet", at=NOW).notes
    assert note in noted
    assert cost_of({"input_tokens": 1}, "sonnet", at=NOW).notes == ()


def test_code_execution_shows_in_the_message_too():
    message = {"content": [{"type": "bash_code_execution_tool_result", "tool_use_id": "t", "content": {}}]}
    (noted,) = cost_of({"input_tokens": 1}, "sonnet", at=NOW, message=message).notes
    assert "code execution" in noted


def test_given_prices_replace_the_model_s_own_and_no_other_model_s():
    prices = list_prices("sonnet").model_copy(update={"input": Decimal("1.8")})
    advisor = {"type": "advisor_message", "model": "claude-fable-5-2", "input_tokens": 1_000}
    usage = {"input_tokens": 1_000, "iterations": [advisor]}
    assert usd(usage, "sonnet", prices=prices) == sum_of((1_000, "1.8"), (1_000, "8"))
    assert usd({"input_tokens": 1_000}, "unheard-of", prices=Prices(input="3")) == Decimal("0.003")


def test_usage_may_be_ours_or_an_object_with_attributes():
    as_object = SimpleNamespace(input_tokens=1_000, cache_creation=SimpleNamespace(ephemeral_1h_input_tokens=10))
    # 1000 x 2 + 10 x 4
    assert usd(as_object, "sonnet") == Decimal("0.00204")
    assert usd(Usage(MIXED), "sonnet") == Decimal("0.0067")


def test_a_caller_s_decimal_context_does_not_round_the_cost():
    with localcontext(prec=2):
        assert usd(MIXED | {"inference_geo": "us"}, "sonnet", batch=True) == Decimal("0.003685")


SAME_EVERY_TIME = settings(derandomize=True, deadline=None, max_examples=50)
COUNTS = st.integers(0, 10_000_000)
MODELS = st.sampled_from([model.id for model in catalog() if model.capabilities.prompt_caching])
USAGES = st.fixed_dictionaries(
    {
        "input_tokens": COUNTS,
        "output_tokens": COUNTS,
        "cache_creation_input_tokens": COUNTS,
        "cache_creation": st.none() | st.fixed_dictionaries({"ephemeral_1h_input_tokens": COUNTS}),
        "cache_read_input_tokens": COUNTS,
        "inference_geo": st.sampled_from([None, "us", "global"]),
    }
)


@SAME_EVERY_TIME
@given(USAGES, MODELS, st.booleans())
def test_a_cost_is_the_sum_of_its_items_each_quantity_times_unit_price(usage, model, batch):
    cost = cost_of(usage, model, at=NOW, batch=batch)
    with localcontext(prec=60):
        assert cost.total_usd == sum(item.amount for item in cost.items) >= 0
        assert all(item.amount == item.quantity * item.unit_price for item in cost.items)


@SAME_EVERY_TIME
@given(
    USAGES,
    MODELS,
    st.sampled_from(["input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]),
    COUNTS,
)
def test_more_tokens_never_cost_less(usage, model, field, more):
    assert usd(usage | {field: usage[field] + more}, model) >= usd(usage, model)


@SAME_EVERY_TIME
@given(USAGES, USAGES, MODELS.filter(lambda model: not list_prices(model).tiers))
def test_without_tiers_two_iterations_cost_what_they_cost_apart(one, other, model):
    one, other = one | {"inference_geo": None}, other | {"inference_geo": None}
    iterations = [one | {"type": "message"}, other | {"type": "message"}]
    with localcontext(prec=60):
        assert usd({"iterations": iterations}, model) == usd(one, model) + usd(other, model)


SHAPES = [
    "input_tokens",
    "cache_creation",
    "iterations",
    "server_tool_use",
    "fallback_credit",
    "status",
    "type",
    "model",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(SHAPES), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.fixed_dictionaries(
    {
        "stop_reason": st.just("refusal"),
        "stop_details": JSON,
        "content": st.lists(st.dictionaries(st.just("type"), JSON)),
    }
)


@SAME_EVERY_TIME
@given(JSON, JSON, MESSAGES)
def test_whatever_a_service_sends_has_a_cost_or_a_reason(usage, model, message):
    cost = cost_of(usage, model, at=NOW, message=message)
    assert (cost.total_usd is None) == (cost.reason is not None)


@SAME_EVERY_TIME
@given(USAGES, MODELS, st.sampled_from(["input_tokens", "output_tokens", "cache_read_input_tokens"]), COUNTS)
def test_a_cost_is_monotonic_in_every_count(usage, model, name, more):
    larger = {**usage, name: usage[name] + more}
    assert cost_of(larger, model, at=NOW).total_usd >= cost_of(usage, model, at=NOW).total_usd


@SAME_EVERY_TIME
@given(USAGES, USAGES, MODELS)
def test_iterations_cost_what_they_would_cost_apart(one, other, model):
    apart = [cost_of(usage, model, at=NOW).total_usd for usage in (one, other)]
    together = {"iterations": [{"type": "message", **each} for each in (one, other)]}
    geo = one["inference_geo"]
    if other["inference_geo"] == geo:
        with localcontext(prec=60):
            assert cost_of({**together, "inference_geo": geo}, model, at=NOW).total_usd == sum(apart)


def book(*overrides, model="sonnet"):
    configured = claudeprov.open_provider([f"model={model}", *overrides]).settings
    return PriceBook(configured.pricing, configured.model)


def test_configured_prices_are_those_of_the_configured_model_only():
    prices = book("pricing.input=1.5")
    assert usd({"input_tokens": 1_000}, "sonnet", prices=prices) == Decimal("0.0015")
    assert usd({"input_tokens": 1_000}, "claude-sonnet-5-5", prices=prices) == Decimal("0.0015")
    assert usd({"input_tokens": 1_000}, "opus", prices=prices) == Decimal("0.004")


def test_a_configured_multiplier_is_on_all_tokens_of_all_models_and_on_no_fee():
    prices = book("pricing.multiplier=1.1")
    usage = {"input_tokens": 1_000, "server_tool_use": {"web_search_requests": 1}}
    # 1000 x 2 x 1.1 and a search; 1000 x 4 x 1.1 and a search
    assert usd(usage, "sonnet", prices=prices) == Decimal("0.0122")
    assert usd(usage, "opus", prices=prices) == Decimal("0.0144")
    assert usd({"input_tokens": 1_000, "inference_geo": "us"}, "sonnet", batch=True, prices=prices) == Decimal(
        "0.00121"
    )
    assert cost_of(usage, "sonnet", at=NOW, prices=prices).items[0].rule == "list price, configured x 1.1"


def test_prices_can_be_configured_for_several_models_by_any_of_their_names():
    prices = book(
        "pricing.multiplier=0.9", "pricing.models.opus={input:3,multiplier:1}", "pricing.models.haiku.output=0.4"
    )
    usage = {"input_tokens": 1_000, "output_tokens": 1_000}
    # 1000 x 3 + 1000 x 20, at 1; (1000 x 0.1 + 1000 x 0.4) x 0.9; (1000 x 2 + 1000 x 10) x 0.9
    assert usd(usage, "claude-opus-5-5", prices=prices) == Decimal("0.023")
    assert usd(usage, "haiku", prices=prices) == Decimal("0.00045")
    assert usd(usage, "sonnet", prices=prices) == Decimal("0.0108")


def test_a_price_by_name_holds_for_the_configured_model_too():
    prices = book("pricing.input=1.5", "pricing.models.sonnet.output=7")
    usage = {"input_tokens": 1_000, "output_tokens": 1_000}
    assert usd(usage, "sonnet", prices=prices) == Decimal("0.0085")


def test_models_of_a_server_of_one_s_own_can_be_priced_by_any_name():
    server = "{kind: compatible, base_url: 'http://localhost:1'}"
    for overrides in (
        ["endpoint=compatible", "endpoint.base_url=http://localhost:1"],
        ["fallback=standard", f"fallback.to=[{{model: ours, endpoint: {server}}}]"],
    ):
        prices = book(*overrides, "pricing.models.ours.input=3")
        assert usd({"input_tokens": 1_000}, "ours", prices=prices) == Decimal("0.003")


def test_an_advisor_is_priced_by_the_configuration_too():
    advisor = {"type": "advisor_message", "model": "claude-fable-5-2", "input_tokens": 1_000}
    prices = book("pricing.models.fable.input=5")
    assert usd({"input_tokens": 1_000, "iterations": [advisor]}, "sonnet", prices=prices) == sum_of(
        (1_000, "2"), (1_000, "5")
    )


def test_a_local_model_s_price_holds_whatever_its_server_calls_it():
    prices = book("pricing.input=1", "pricing.output=1", model="qwen")
    assert usd({"input_tokens": 1_000}, "qwen3:14b-q4", prices=prices) == Decimal("0.001")
    assert usd({"input_tokens": 1_000}, "opus", prices=prices) == Decimal("0.004")


def test_a_book_without_a_configuration_holds_the_list_prices():
    assert PriceBook().of("sonnet") == list_prices("claude-sonnet-5-5")
    assert PriceBook(Prices(multiplier=Decimal(2))).of("sonnet").multiplier == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pricing.multiplier=-1", "greater than or equal to 0"),
        ("pricing.models.opus.inputs=3", "inputs"),
        ("pricing.models.opuss.input=3", r"^pricing\.models\.opuss.*'opuss' is not in the catalogue.* are opus, "),
        ("pricing.models.opus.input=cheap", "decimal"),
    ],
)
def test_a_wrong_price_is_refused_with_its_key(override, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        book(override)
    assert "pricing." in str(caught.value)
