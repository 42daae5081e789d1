"""Faults of a real connection, everywhere in an answer: what was told is kept, and nothing else is made of it."""

from __future__ import annotations

import asyncio
import json

import pytest

import claudeprov
from claudeprov import AnthropicClaudeProvider
from claudeprov.errors import (
    AuthenticationError,
    BillingError,
    CallTimeoutError,
    ConflictError,
    InvalidRequestError,
    ModelNotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
    ServiceError,
    SpendLimitError,
    StreamInterruptedError,
)
from claudeprov.testing import text_events
from tests.server import Answer, Server

pytestmark = pytest.mark.usefixtures("no_settings")

HI = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
WORDS = [f"word{number} " for number in range(35)]
EVENTS = text_events(*WORDS)
AT_ONCE = 50


@pytest.fixture(autouse=True)
def key(monkeypatch, no_credentials):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "-".join(("sk", "ant", "made", "up")))


def wire(*events: dict) -> list[bytes]:
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def provider_of(server: Server, *overrides: str) -> AnthropicClaudeProvider:
    at = ("endpoint=compatible", f"endpoint.base_url={server.url}", "cassette=live", "breaker=off", "telemetry=off")
    return claudeprov.open_provider([*at, *overrides])


async def ends(answers: list[Answer], *overrides: str) -> list[tuple[str, ProviderError | None]]:
    """The text that was read and the error that followed, for each of *answers*, each the answer to a call."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def end(provider, body):
        text = ""
        try:
            async with at_once, provider.send_message(HI | {"metadata": {"user_id": str(body)}}) as stream:
                async for chunk in stream:
                    text += chunk.text
        except ProviderError as error:
            return text, error
        return text, None

    async with Server(*answers) as server, provider_of(server, "retry=off", *overrides) as provider:
        server.choose = lambda asked: answers[int(asked.body["metadata"]["user_id"])]
        return await asyncio.gather(*(end(provider, number) for number in range(len(answers))))


@pytest.mark.parametrize("end", ["reset", "short"])
async def test_a_stream_that_breaks_off_after_any_byte(end):
    data = b"".join(wire(*EVENTS))
    assert len(EVENTS) == 40
    step = 1 if end == "reset" else 13
    places = range(0, len(data), step)
    whole = "".join(WORDS)
    enough = data.index(b"event: message_stop")
    for place, (text, error) in zip(
        places, await ends([Answer(data[:place], end=end) for place in places]), strict=True
    ):
        if error is None:
            assert place >= enough
            assert text == whole
            continue
        assert isinstance(error, ServiceError)
        assert whole.startswith(text)
        if isinstance(error, StreamInterruptedError) and error.partial is not None:
            assert error.partial.text.startswith(text)
            # What a reset throws away of what has been sent is the network's; what has been read is kept.
            assert whole.startswith(error.partial.text)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", OverloadedError),
        ("api_error", ServerError),
        ("rate_limit_error", RateLimitError),
        ("invalid_request_error", InvalidRequestError),
        ("timeout_error", ServerError),
    ],
)
async def test_an_error_event_at_any_place(kind, expected):
    error_event = {"type": "error", "error": {"type": kind, "message": "no"}}
    answers = [Answer(wire(*EVENTS[:place], error_event)) for place in range(len(EVENTS))]
    for place, (text, error) in enumerate(await ends(answers)):
        assert type(error) is expected
        assert text == "".join(WORDS[: max(place - 2, 0)])
        assert error.partial is None or error.partial.text == text


async def test_an_event_that_comes_twice_or_too_early_is_never_taken_for_a_whole_answer():
    twice = [[*EVENTS[: place + 1], *EVENTS[place:]] for place in range(len(EVENTS))]
    swapped = [[*EVENTS[:at], EVENTS[at + 1], EVENTS[at], *EVENTS[at + 2 :]] for at in range(len(EVENTS) - 1)]
    results = await ends([Answer(wire(*events)) for events in (*twice, *swapped)])
    for events, (text, error) in zip((*twice, *swapped), results, strict=True):
        if error is not None:
            assert isinstance(error, StreamInterruptedError)
            assert error.code == "out_of_grammar"
        else:  # deltas have no number: one that comes twice is one more; what follows the end does not matter
            told = [event["delta"]["text"] for event in events if event.get("delta", {}).get("text")]
            assert text == "".join(told)


@pytest.mark.parametrize(
    ("status", "kind", "expected", "attempts"),
    [
        (400, "invalid_request_error", InvalidRequestError, 1),
        (401, "authentication_error", AuthenticationError, 1),
        (402, "billing_error", BillingError, 1),
        (403, "permission_error", PermissionDeniedError, 1),
        (404, "not_found_error", ModelNotFoundError, 1),
        (408, None, CallTimeoutError, 3),
        (409, "conflict_error", ConflictError, 3),
        (412, None, InvalidRequestError, 1),
        (413, "request_too_large", RequestTooLargeError, 1),
        (422, None, InvalidRequestError, 1),
        (429, "rate_limit_error", RateLimitError, 3),
        (431, None, RequestTooLargeError, 1),
        (499, None, InvalidRequestError, 1),
        (500, "api_error", ServerError, 3),
        (501, None, ServerError, 1),
        (503, None, ServerError, 3),
        (504, "timeout_error", ServerError, 3),
        (529, "overloaded_error", OverloadedError, 3),
    ],
)
async def test_every_status_with_and_without_a_time_to_come_back(status, kind, expected, attempts):
    error = {"type": kind, "message": "no"} if kind else {"message": "no"}
    body = json.dumps({"type": "error", "error": error}).encode()
    quick = ("retry.max_attempts=3", "retry.base=0", "retry.cap=0", "retry.overloaded_base=0", "retry.overloaded_cap=0")
    headers = {"content-type": "application/json", "request-id": "req_1"}
    for wait, made in ((None, attempts), ("0", attempts), ("3600", 1)):
        given = headers if wait is None else {**headers, "retry-after": wait}
        async with Server(Answer(body, status, given)) as server, provider_of(server, *quick) as provider:
            with pytest.raises(expected) as caught:
                await provider.send_message(HI)
            assert len(server.asked) == made
        assert type(caught.value) is expected
        assert caught.value.request_id == "req_1"
        assert caught.value.retry_after == (None if wait is None else float(wait))


@pytest.mark.parametrize("code", ["enforced_spend_limit_reached", "contract_spend_limit_reached"])
async def test_a_spend_limit_looks_like_a_rate_limit_and_is_not_waited_for(code):
    error = {"type": "rate_limit_error", "message": "no", "details": {"error_code": code}}
    answer = Answer(json.dumps({"type": "error", "error": error}).encode(), 429, {"content-type": "application/json"})
    async with Server(answer) as server, provider_of(server) as provider:
        with pytest.raises(SpendLimitError) as caught:
            await provider.send_message(HI)
        assert len(server.asked) == 1
    assert caught.value.code == code


async def test_a_line_without_an_end_is_given_up():
    def endless():
        yield wire(*EVENTS[:3])[0]
        yield b"event: content_block_delta\ndata: "
        for _ in range(2000):
            yield b"x" * 65536

    [(_, error)] = await ends([Answer(endless())])
    assert isinstance(error, StreamInterruptedError)
    assert error.code == "event_too_large"
