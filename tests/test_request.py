"""What is asked."""

import pytest

from claudeprov.errors import InvalidRequestError
from claudeprov.request import MessageRequest

HI = [{"role": "user", "content": "hi"}]


def test_a_mapping_becomes_a_request_that_streams():
    request = MessageRequest.of({"messages": HI, "model": "m", "max_tokens": 5})
    assert request.body() == {"messages": HI, "model": "m", "max_tokens": 5, "stream": True}


def test_a_request_stays_the_one_it_is():
    request = MessageRequest(messages=HI)
    assert MessageRequest.of(request) is request


def test_unknown_parameters_pass_through_as_they_are():
    more = {"new_parameter": {"deep": [1, None]}, "temperature": 0.5, "metadata": None}
    assert MessageRequest.of({"messages": HI, **more}).body() == {"messages": HI, **more, "stream": True}


def test_a_plain_exchange_says_so():
    assert MessageRequest.of({"messages": HI, "stream": False}).body() == {"messages": HI, "stream": False}


def test_betas_are_no_part_of_the_body():
    request = MessageRequest.of({"messages": HI, "betas": ["a", "b"]})
    assert request.betas == ["a", "b"]
    assert request.body() == {"messages": HI, "stream": True}


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({}, "messages: Field required"),
        ({"messages": "hi"}, "messages: "),
        ({"messages": ["hi"]}, "messages.0: "),
        ({"messages": HI, "max_tokens": -1}, "max_tokens: "),
        ({"messages": HI, "max_tokens": "many"}, "max_tokens: "),
        ({"messages": HI, "model": 5}, "model: "),
        ({"messages": HI, "stream": None}, "stream: "),
        ({"messages": HI, "betas": "a,b"}, "betas: "),
        ({"messages": HI, "betas": ["a,b"]}, "betas.0: "),
        ({"messages": HI, "betas": ["a\r\nx-other: b"]}, "betas.0: "),
        (["messages"], ""),
        (5, ""),
    ],
)
def test_a_wrong_parameter_is_named(given, where):
    with pytest.raises(InvalidRequestError, match=f"not a request of the Messages API: .*{where}"):
        MessageRequest.of(given)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(InvalidRequestError) as caught:
        MessageRequest.of({"model": 5, "max_tokens": -1})
    assert all(f"{name}: " in caught.value.message for name in ("messages", "model", "max_tokens"))


def test_defaults_fill_what_is_left_out_or_null():
    defaults = {"model": "default", "max_tokens": 9, "temperature": 1.0, "thinking": {"type": "adaptive"}}
    request = MessageRequest.of({"messages": HI, "max_tokens": None, "temperature": 0}).with_defaults(defaults)
    assert request.body() == {
        "messages": HI,
        "model": "default",
        "max_tokens": 9,
        "temperature": 0,
        "thinking": {"type": "adaptive"},
        "stream": True,
    }


def test_defaults_leave_the_request_that_was_given_alone():
    request = MessageRequest.of({"messages": HI})
    request.with_defaults({"model": "default", "temperature": 1})
    assert request.body() == {"messages": HI, "stream": True}


def test_max_tokens_of_zero_is_a_choice():
    assert MessageRequest.of({"messages": HI, "max_tokens": 0}).with_defaults({"max_tokens": 9}).max_tokens == 0


def test_a_request_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        MessageRequest(messages=HI).model = "m"
