"""Where breakpoints of the prompt cache go, and what they saved or cost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeprov.caching import LOOKBACK, MOST_BREAKPOINTS, with_breakpoints
from claudeprov.catalog import catalog, unknown_model
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse, Timing
from claudeprov.tokens import TokenCount

SONNET = catalog().find("sonnet")
FIVE = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
TOOLS = [{"name": "f", "input_schema": {}}, {"name": "g", "input_schema": {}}]
CALLS = [{"type": "tool_use", "id": f"t{number}", "name": "f", "input": {}} for number in range(30)]
RESULTS = [{"type": "tool_result", "tool_use_id": call["id"], "content": "done"} for call in CALLS]


def counting(tokens):
    return lambda request, model: TokenCount(tokens, "estimate", tokens, tokens)


def by_length(request, model):
    size = len(str(request.body()))
    return TokenCount(size, "estimate", size, size)


def marked(ttl="5m", model=SONNET, estimate=None, **fields):
    request = MessageRequest.model_validate({"messages": turns("Hi")} | fields)
    return with_breakpoints(request, model, ttl, estimate or counting(10_000))


def turns(*texts):
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]


def marks(request):
    """Where breakpoints stand, in the order of the prefix, with their lifetimes."""
    found = []
    for part in ("tools", "system"):
        blocks = getattr(request, part, None)
        for number, block in enumerate(blocks if isinstance(blocks, list) else []):
            if "cache_control" in block:
                found.append((part, number, block["cache_control"].get("ttl", "5m")))
    for index, message in enumerate(request.messages):
        for number, block in enumerate(message["content"] if isinstance(message["content"], list) else []):
            if "cache_control" in block:
                found.append((index, number, block["cache_control"].get("ttl", "5m")))
    return found


class TestPlaces:
    def test_tools_system_and_conversation_are_marked_at_their_ends(self):
        request = marked(tools=TOOLS, system="Be kind.", messages=turns("One", "Two", "Three"))
        assert marks(request) == [("tools", 1, "5m"), ("system", 0, "5m"), (2, 0, "5m")]
        assert request.system == [{"type": "text", "text": "Be kind.", "cache_control": FIVE}]

    def test_an_hour_is_said(self):
        assert {life for *_, life in marks(marked("1h", tools=TOOLS, system="Be kind."))} == {"1h"}

    def test_the_request_itself_is_left_as_it_is(self):
        messages = turns("One")
        request = MessageRequest.model_validate({"messages": messages, "tools": TOOLS})
        with_breakpoints(request, SONNET, "5m", counting(10_000))
        assert request.messages == messages == turns("One")
        assert "cache_control" not in TOOLS[-1]

    def test_tools_that_are_loaded_later_are_not_marked(self):
        assert marks(marked(tools=[TOOLS[0], TOOLS[1] | {"defer_loading": True}]))[0] == ("tools", 0, "5m")

    @pytest.mark.parametrize(
        "block", [{"type": "text", "text": ""}, {"type": "thinking", "thinking": "Hm"}, {"type": "novelty"}]
    )
    def test_the_mark_stands_on_the_last_block_that_can_be_cached(self, block):
        content = [{"type": "text", "text": "One"}, block]
        assert marks(marked(messages=[{"role": "user", "content": content}])) == [(0, 0, "5m")]
        messages = [*turns("One"), {"role": "assistant", "content": [block]}]
        assert marks(marked(messages=messages)) == [(0, 0, "5m")]

    def test_where_nothing_can_be_cached_nothing_is_marked(self):
        assert marks(marked(messages=turns(""))) == []
        assert marks(marked(messages=[{"role": "user", "content": None}])) == []


class TestMinimum:
    def test_a_prefix_below_the_models_minimum_is_not_marked(self):
        assert SONNET.min_cacheable_tokens == 512
        assert marks(marked(estimate=counting(511))) == []
        assert marks(marked(estimate=counting(512))) == [(0, 0, "5m")]

    def test_each_prefix_is_measured_up_to_its_mark(self):
        fields = {"tools": TOOLS, "system": "x" * 300, "messages": turns("y" * 300), "estimate": by_length}
        assert [mark[0] for mark in marks(marked(**fields))] == [0]
        fields["system"] = "x" * 600
        assert [mark[0] for mark in marks(marked(**fields))] == ["system", 0]

    def test_of_a_model_that_is_not_known_no_minimum_is_taken(self):
        assert marks(marked(model=unknown_model("claude-opus-6"), estimate=counting(1))) == [(0, 0, "5m")]
        assert marks(marked(model=None, estimate=counting(1))) == [(0, 0, "5m")]

    @pytest.mark.parametrize("name", ["claude-3-sonnet-20240229", "qwen"])
    def test_a_model_that_caches_nothing_gets_no_marks(self, name):
        assert marks(marked(model=catalog().find(name))) == []


class TestLookback:
    def conversation(self, blocks):
        """A question, *blocks* of an answer, and one more of a further question."""
        answer = [{"type": "text", "text": f"{number}"} for number in range(blocks)]
        return [*turns("One"), {"role": "assistant", "content": answer}, {"role": "user", "content": "Two"}]

    def test_where_the_request_before_ended_is_marked_only_if_it_is_out_of_reach(self):
        # It is in reach as the last of the positions that are looked at.
        assert marks(marked(messages=self.conversation(LOOKBACK - 2))) == [(2, 0, "5m")]
        assert marks(marked(messages=self.conversation(LOOKBACK - 1))) == [(0, 0, "5m"), (2, 0, "5m")]

    def test_a_run_of_tool_calls_or_results_is_one_position(self):
        messages = [*turns("One"), {"role": "assistant", "content": CALLS}, {"role": "user", "content": RESULTS}]
        assert marks(marked(messages=messages)) == [(2, 29, "5m")]

    def test_a_first_request_has_none_before_it(self):
        content = [{"type": "text", "text": f"{number}"} for number in range(50)]
        assert marks(marked(messages=[{"role": "user", "content": content}])) == [(0, 49, "5m")]


class TestOwn:
    def test_a_users_breakpoints_stay_as_they_are_and_count(self):
        system = [{"type": "text", "text": letter, "cache_control": HOUR} for letter in "abc"]
        request = marked(tools=TOOLS, system=system)
        assert request.system == system
        assert marks(request)[:3] == [("system", 0, "1h"), ("system", 1, "1h"), ("system", 2, "1h")]
        assert marks(request)[3:] == [(0, 0, "5m")]

    def test_four_of_the_users_are_all(self):
        system = [{"type": "text", "text": letter, "cache_control": FIVE} for letter in "abcd"]
        assert len(marks(marked(tools=TOOLS, system=system))) == MOST_BREAKPOINTS

    def test_one_on_the_whole_request_counts_too(self):
        system = [{"type": "text", "text": letter, "cache_control": FIVE} for letter in "abc"]
        assert len(marks(marked(tools=TOOLS, system=system, cache_control=FIVE))) == 3

    def test_one_within_a_tool_result_counts_too(self):
        inner = [{"type": "text", "text": "x", "cache_control": FIVE}]
        results = [{"type": "tool_result", "tool_use_id": f"t{number}", "content": inner} for number in range(4)]
        assert marks(marked(tools=TOOLS, messages=[{"role": "user", "content": results}])) == []

    def test_an_hour_comes_before_five_minutes(self):
        system = [{"type": "text", "text": "Be kind.", "cache_control": FIVE}]
        assert marks(marked("1h", tools=TOOLS, system=system)) == [
            ("tools", 1, "1h"),
            ("system", 0, "5m"),
            (0, 0, "5m"),
        ]

    def test_five_minutes_are_not_put_before_an_hour_of_the_users(self):
        system = [{"type": "text", "text": "Be kind.", "cache_control": HOUR}]
        assert marks(marked(tools=TOOLS, system=system)) == [("system", 0, "1h"), (0, 0, "5m")]
        assert marks(marked(tools=TOOLS, cache_control=HOUR)) == []


BLOCK = st.sampled_from(
    [
        {"type": "text", "text": "a"},
        {"type": "text", "text": ""},
        {"type": "thinking", "thinking": "b"},
        {"type": "text", "text": "c", "cache_control": FIVE},
        {"type": "text", "text": "d", "cache_control": HOUR},
        CALLS[0],
        RESULTS[0],
    ]
)
CONTENT = st.one_of(st.text(max_size=2), st.lists(BLOCK, max_size=25))
CONVERSATION = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content}, st.sampled_from(["user", "assistant"]), CONTENT
    ),
    min_size=1,
    max_size=6,
)


@given(CONVERSATION, st.lists(BLOCK, max_size=3), st.sampled_from(["5m", "1h"]))
def test_whatever_is_asked_marks_are_at_most_four_in_order_and_the_users_stay(messages, system, ttl):
    request = MessageRequest.model_validate({"messages": messages, "system": system, "tools": TOOLS})
    before = marks(request)
    after = marks(with_breakpoints(request, SONNET, ttl, counting(10_000)))
    assert set(before) <= set(after)
    assert len(after) <= max(MOST_BREAKPOINTS, len(before))
    lives = [life for *_, life in before]
    if lives == sorted(lives):  # those of an hour come first, as the API wants it
        assert [life for *_, life in after] == sorted(life for *_, life in after)


class TestEffect:
    def of(self, model="claude-sonnet-5-5", **usage):
        timing = Timing(datetime(2026, 11, 1, tzinfo=UTC), 0, 0, None, 0)
        return MessageResponse({"model": model, "usage": {"output_tokens": 5} | usage}, timing).caching

    def test_reading_saves_and_writing_costs_against_the_price_of_plain_input(self):
        # Per million: input 2, read 0.1, writes of five minutes 2.5 and of an hour 4.
        read = self.of(input_tokens=10, cache_read_input_tokens=1_000_000)
        assert (read.hits, read.writes_5m, read.writes_1h, read.saved_usd) == (1_000_000, 0, 0, Decimal("1.9"))
        written = self.of(input_tokens=10, cache_creation_input_tokens=1_000_000)
        assert (written.hits, written.writes_5m, written.saved_usd) == (0, 1_000_000, Decimal("-0.5"))
        breakdown = {"ephemeral_1h_input_tokens": 600_000, "ephemeral_5m_input_tokens": 400_000}
        both = self.of(cache_creation_input_tokens=1_000_000, cache_creation=breakdown)
        assert (both.writes_5m, both.writes_1h, both.saved_usd) == (400_000, 600_000, Decimal("-1.4"))

    def test_what_multiplies_the_price_multiplies_the_saving(self):
        assert self.of(cache_read_input_tokens=1_000_000, inference_geo="us").saved_usd == Decimal("2.09")
        assert self.of(cache_read_input_tokens=1_000_000, service_tier="batch").saved_usd == Decimal("0.95")

    def test_the_tier_is_that_of_the_whole_prompt(self):
        # Over 100,000 tokens Haiku 5.5 takes 0.5 for input and 0.05 for reads.
        assert self.of("claude-haiku-5-5", cache_read_input_tokens=1_000_000).saved_usd == Decimal("0.45")

    def test_iterations_are_counted_one_by_one(self):
        entry = {"type": "message", "input_tokens": 5, "cache_read_input_tokens": 500_000, "output_tokens": 1}
        caching = self.of(cache_read_input_tokens=1_000_000, iterations=[entry, entry])
        assert caching.saved_usd == Decimal("1.9")

    def test_without_a_cache_nothing_is_saved_and_without_a_price_nobody_knows(self):
        assert self.of("claude-opus-6", input_tokens=10).saved_usd == 0
        assert self.of("claude-opus-6", cache_read_input_tokens=10).saved_usd is None

    def test_a_count_that_is_none_is_taken_for_nothing(self):
        assert self.of(cache_read_input_tokens="many", cache_creation="x").hits == 0
