from __future__ import annotations

import json

import pytest

from claudeprov.cassette.match import Sent, differences, nearest

URL = "https://api.anthropic.com/v1/messages"


def sent(body: object, url: str = URL, method: str = "POST") -> Sent:
    return Sent(method, url, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (sent({"a": 1, "b": [2]}), Sent("post", URL, b'{"b":  [2],\n"a": 1}')),
        (sent({"a": 1}), sent({"a": 1, "stream": False})),
        (sent({"a": "\u00fc"}), Sent("POST", URL, '{"a": "ü"}'.encode())),
        (sent({}), sent({}, f"{URL}?beta=true")),
        (sent({}), sent({}, "http://127.0.0.1:8085/v1/messages")),
        (sent({}), sent({}, "https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages")),
        (
            sent({}, "https://x/v1/projects/mine/locations/eu/publishers/anthropic/models/m:rawPredict"),
            sent({}, "https://y/v1/projects/yours/locations/us/publishers/anthropic/models/m:rawPredict"),
        ),
    ],
)
def test_requests_that_mean_the_same_match(left, right):
    assert left.key == right.key


@pytest.mark.parametrize(
    "other",
    [
        sent({"a": 1, "stream": True}),
        sent({"a": True}),
        sent({"a": "1"}),
        sent({"a": 1, "b": None}),
        sent({"a": 1}, f"{URL}/count_tokens"),
        sent({"a": 1}, method="GET"),
        Sent("POST", URL, b"no json"),
        Sent("POST", URL, None),
    ],
)
def test_requests_that_mean_something_else_do_not_match(other):
    assert other.key != sent({"a": 1}).key


def test_on_vertex_the_model_stands_in_the_path():
    url = "https://x/v1/projects/p/locations/eu/publishers/anthropic/models/claude-x@1:streamRawPredict"
    assert sent({"max_tokens": 1}, url).model == "claude-x@1"


def test_the_difference_is_named_by_its_json_path():
    recorded = {"model": "a", "messages": [{"content": "x" * 100 + "left"}], "gone": 1}
    new = {"model": "a", "messages": [{"content": "x" * 100 + "right"}, {"content": "more"}], "new": [2]}
    assert list(map(str, differences(recorded, new))) == [
        f'$.messages[0].content: recorded "…{"x" * 20}left", sent "…{"x" * 20}right"',
        '$.messages[1]: recorded nothing, sent {"content": "more"}',
        "$.gone: recorded 1, sent nothing",
        "$.new: recorded nothing, sent [2]",
    ]


def test_a_long_value_is_shortened():
    [difference] = differences({"a": list(range(100))}, {"a": 1})
    assert len(str(difference)) < 120


def test_a_text_that_only_grew_is_shown_where_it_grew():
    [difference] = differences("x" * 90, "x" * 90 + "!")
    assert str(difference) == f'$: recorded "…{"x" * 20}", sent "…{"x" * 20}!"'


def test_the_nearest_has_the_fewest_and_smallest_differences():
    body = {"model": "a", "max_tokens": 1, "messages": "Write a sonnet"}
    recorded = [
        sent(body | {"model": "b", "max_tokens": 2}),
        sent(body | {"messages": "Name a prime"}),
        sent(body | {"messages": "Write a sonnet."}),
        sent(body, f"{URL}/count_tokens"),
    ]
    best = nearest(sent(body), recorded)
    assert best is not None
    assert best[0] == 2


def test_nothing_is_near_on_another_path():
    assert nearest(sent({}), [sent({}, f"{URL}/count_tokens")]) is None
