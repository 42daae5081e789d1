"""What came back."""

import pickle
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from claudeprov.cost import Cost
from claudeprov.response import MessageResponse, Timing, Usage

AT = datetime(2026, 11, 1, tzinfo=UTC)
TIMING = Timing(AT, queue=0.0, backoff=0.0, first_chunk=None, total=1.0)


def response(tool_json=None, price=None, **message) -> MessageResponse:
    return MessageResponse(message, TIMING, tool_json=tool_json or {}, price=price)


def test_its_fields_are_the_messages():
    details = {"type": "refusal", "category": None, "explanation": None}
    message = {
        "id": "msg_1",
        "model": "m",
        "content": [{"type": "text", "text": "a"}],
        "stop_reason": "refusal",
        "stop_sequence": "x",
        "stop_details": details,
        "usage": {"input_tokens": 1},
    }
    found = response(**message)
    assert {name: getattr(found, name) for name in message if name != "usage"} == {
        name: value for name, value in message.items() if name != "usage"
    }
    assert found.usage.input_tokens == 1
    assert found.to_message() == message


def test_nothing_has_arrived_yet():
    found = response()
    assert (found.id, found.model, found.stop_reason, found.stop_sequence, found.stop_details) == (None,) * 5
    assert (found.content, found.text, found.tool_calls, found.to_message()) == ([], "", [], {})
    assert found.usage == Usage()


def test_its_text_is_that_of_all_text_blocks():
    thinking = {"type": "thinking", "thinking": "no"}
    assert response(content=[{"type": "text", "text": "a"}, thinking, {"type": "text", "text": "b"}]).text == "ab"


def test_usage_gives_what_it_has_and_none_for_the_rest():
    raw = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation_input_tokens": None,
        "cache_creation": {"ephemeral_5m_input_tokens": 3},
        "server_tool_use": {"web_search_requests": 4},
        "output_tokens_details": {"thinking_tokens": 5},
        "service_tier": "standard",
        "speed": "fast",
        "inference_geo": "us",
        "new": 6,
    }
    usage = Usage(raw)
    assert (usage.input_tokens, usage.output_tokens, usage.thinking_tokens) == (1, 2, 5)
    assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (None, None)
    assert (usage.cache_creation, usage.server_tool_use) == (raw["cache_creation"], raw["server_tool_use"])
    assert (usage.service_tier, usage.speed, usage.inference_geo) == ("standard", "fast", "us")
    assert usage.raw == raw
    assert repr(usage) == f"Usage({raw})"


@pytest.mark.parametrize("odd", ["x", 3, [1], True])
def test_usage_takes_what_is_no_object_where_one_belongs_for_none(odd):
    usage = Usage({"cache_creation": odd, "server_tool_use": odd, "output_tokens_details": odd, "input_tokens": 1})
    assert (usage.cache_creation, usage.server_tool_use, usage.thinking_tokens) == ({}, {}, None)
    assert usage.raw["cache_creation"] == odd
    response = MessageResponse({"model": "claude-opus-5-5", "usage": usage.raw}, TIMING)
    assert response.cost.total_usd is None
    assert response.caching.hits == 0
    nothing = MessageResponse({"model": "claude-opus-5-5", "usage": odd}, TIMING)
    assert nothing.usage == Usage()
    assert nothing.cost.reason == "there is no usage to price"


@pytest.mark.parametrize("odd", ["5", 5.0, [5], {}, True])
def test_a_count_that_is_no_whole_number_is_none(odd):
    names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    usage = Usage(dict.fromkeys(names, odd) | {"output_tokens_details": {"thinking_tokens": odd}})
    assert [getattr(usage, name) for name in (*names, "thinking_tokens")] == [None] * 5


@pytest.mark.parametrize("odd", ["x", 3, [3]])
def test_iterations_of_no_known_shape_have_no_price_and_are_no_error(odd):
    usage = {"input_tokens": 5, "cache_read_input_tokens": 4, "iterations": odd}
    response = MessageResponse({"model": "claude-opus-5-5", "usage": usage}, TIMING)
    assert response.cost.total_usd is None
    assert response.caching.hits == 4


def test_usage_may_be_null_or_hold_nulls():
    empty, nulls = Usage(None), Usage({"cache_creation": None, "server_tool_use": None, "output_tokens_details": None})
    for usage in (empty, nulls):
        assert (usage.cache_creation, usage.server_tool_use, usage.thinking_tokens) == ({}, {}, None)


def test_equal_usages_are_one_in_a_set():
    assert {Usage({"input_tokens": 1}), Usage({"input_tokens": 1})} == {Usage({"input_tokens": 1})}
    assert Usage({"input_tokens": 1}) != Usage({"input_tokens": 2})


def test_usage_adds_up_count_by_count_however_deep():
    one = {"input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 2}, "speed": "fast", "iterations": [1]}
    other = {
        "input_tokens": 4,
        "output_tokens": 8,
        "cache_creation": {"ephemeral_1h_input_tokens": 16, "ephemeral_5m_input_tokens": 32},
        "speed": "standard",
        "iterations": [2],
        "service_tier": None,
    }
    assert (Usage(one) + Usage(other)).raw == {
        "input_tokens": 5,
        "output_tokens": 8,
        "cache_creation": {"ephemeral_1h_input_tokens": 18, "ephemeral_5m_input_tokens": 32},
        "speed": "standard",
        "iterations": [1, 2],
    }
    assert (Usage() + Usage(one) + Usage({"speed": None})).raw == one


@pytest.mark.parametrize(
    ("written", "input", "arguments"),
    [
        ('{"a": 1}', {"a": 1}, {"a": 1}),
        ('{"a": 1, "b": [2', {"a": 1, "b": [2]}, None),
        ("no", {"INVALID_JSON": "no"}, None),
        ("[1]", [1], None),
        ("[" * 100_000, {}, None),
    ],
)
def test_tool_calls_tell_what_was_asked_and_how_it_was_written(written, input, arguments):
    block = {"type": "tool_use", "id": "t1", "name": "look", "input": input}
    (call,) = response(tool_json={0: written}, content=[block]).tool_calls
    assert (call.id, call.name, call.input, call.json) == ("t1", "look", arguments, written)


def test_a_tool_call_of_a_plain_exchange_was_written_as_its_input():
    (call,) = response(content=[{"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}]).tool_calls
    assert (call.input, call.json) == ({"a": 1}, '{"a": 1}')


def test_a_tool_without_arguments_has_none_to_parse():
    (call,) = response(
        tool_json={0: ""}, content=[{"type": "tool_use", "id": "t", "name": "n", "input": {}}]
    ).tool_calls
    assert (call.input, call.json) == ({}, "{}")


def test_server_tools_are_not_for_the_client_to_call():
    blocks = [
        {"type": "server_tool_use", "name": "web_search"},
        {"type": "tool_use", "id": "t2", "name": "n", "input": {}},
    ]
    assert [call.id for call in response(content=blocks).tool_calls] == ["t2"]


def test_its_cost_is_by_its_model_its_usage_and_its_time():
    usage = {"input_tokens": 1_000_000, "output_tokens": 0}
    assert response(model="claude-sonnet-4-5-20250929", usage=usage).cost.total_usd == Decimal(3)


def test_the_cost_of_an_unknown_model_is_unknown():
    assert response(model="nobody", usage={"input_tokens": 1}).cost.total_usd is None


def test_it_is_priced_once():
    calls = []

    def price(priced):
        calls.append(priced)
        return Cost(Decimal(1), ())

    found = response(price=price)
    assert found.cost is found.cost
    assert calls == [found]


def test_a_response_can_be_sent_to_another_process_with_its_cost():
    found = response(price=lambda priced: Cost(Decimal(1), ()), id="msg_1")
    back = pickle.loads(pickle.dumps(found))
    assert (back.to_message(), back.cost) == (found.to_message(), Cost(Decimal(1), ()))
