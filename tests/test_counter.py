"""Counting tokens: asked of the endpoint once, estimated where it cannot."""

import pytest

from claudeprov.catalog import catalog
from claudeprov.counter import TokenCounter
from claudeprov.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    RateLimitError,
    ServerError,
)
from claudeprov.request import MessageRequest
from claudeprov.testing import ManualClock
from claudeprov.tokens import Estimator, TokenCount

SONNET = catalog().find("sonnet")


class Endpoint:
    """Answers questions for counts with the next of what it is given, numbers or errors."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, body, betas):
        self.asked.append((dict(body), list(betas)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def request(text="Hi", **more):
    return MessageRequest.of({"messages": [{"role": "user", "content": text}], "model": SONNET.id, **more})


def counter(endpoint, *, optional=False, clock=None):
    return TokenCounter(endpoint, Estimator(), clock or ManualClock(), optional=optional)


async def test_the_endpoint_s_count_is_exact_and_asked_for_once():
    endpoint = Endpoint(42)
    counts = counter(endpoint)
    first, again = await counts.count(request(), SONNET), await counts.count(request(), SONNET)
    assert first == again == TokenCount(42, "endpoint", 42, 42)
    assert endpoint.asked == [({"messages": [{"role": "user", "content": "Hi"}], "model": SONNET.id}, [])]


async def test_what_does_not_change_the_count_is_neither_sent_nor_another_question():
    endpoint = Endpoint(42)
    counts = counter(endpoint)
    await counts.count(request(max_tokens=5, temperature=0.5, stop_sequences=["x"]), SONNET)
    await counts.count(request(max_tokens=9, stream=False), SONNET)
    assert len(endpoint.asked) == 1
    assert endpoint.asked[0][0].keys() == {"messages", "model"}


async def test_another_request_or_beta_is_another_question():
    endpoint = Endpoint(1, 2, 3)
    counts = counter(endpoint)
    asked = [request(), request("Hello"), request(betas=["b-1"])]
    assert [(await counts.count(each, SONNET)).input_tokens for each in asked] == [1, 2, 3]


async def test_only_the_latest_answers_are_kept():
    endpoint = Endpoint(*range(1, 1_027))
    counts = counter(endpoint)
    for number in range(1_025):
        await counts.count(request(str(number)), SONNET)
    assert (await counts.count(request("1024"), SONNET)).input_tokens == 1_025
    assert (await counts.count(request("0"), SONNET)).input_tokens == 1_026


@pytest.mark.parametrize("error", [ServerError("500"), ConnectionFailedError("no answer")])
async def test_an_endpoint_out_of_order_is_estimated_and_asked_again(error):
    counts = counter(Endpoint(error, 42))
    estimated = await counts.count(request(), SONNET)
    assert estimated == Estimator().estimate(request(), SONNET)
    assert estimated.source == "estimate"
    assert estimated.low < estimated.high
    assert (await counts.count(request(), SONNET)).source == "endpoint"


@pytest.mark.parametrize(("told", "pause"), [(30.0, 30.0), (None, 1.0)])
async def test_past_its_rate_limit_it_is_left_alone_for_as_long_as_it_says(told, pause):
    clock, endpoint = ManualClock(), Endpoint(RateLimitError("429", retry_after=told), 42)
    counts = counter(endpoint, clock=clock)
    sources = []
    for seconds in (0, pause - 0.1, 0.2):
        await clock.advance(seconds)
        sources.append((await counts.count(request(), SONNET)).source)
    assert sources == ["estimate", "estimate", "endpoint"]
    assert len(endpoint.asked) == 2


async def test_a_platform_without_counting_is_estimated_and_a_model_that_is_none_is_refused():
    missing = ModelNotFoundError("404")
    assert (await counter(Endpoint(missing), optional=True).count(request(), SONNET)).source == "estimate"
    with pytest.raises(ModelNotFoundError):
        await counter(Endpoint(missing)).count(request(), SONNET)


@pytest.mark.parametrize("error", [InvalidRequestError("400"), AuthenticationError("401")])
async def test_a_wrong_request_or_key_is_an_error(error):
    with pytest.raises(type(error)):
        await counter(Endpoint(error), optional=True).count(request(), SONNET)
