"""A stream that breaks in mid-text goes on: what is shown of it, what is asked for, and what it costs."""

from __future__ import annotations

import asyncio
import json
import math
import re
from decimal import Decimal
from random import Random

import httpx2
import pytest

from claudeprov import AnthropicClaudeProvider
from claudeprov.catalog import catalog
from claudeprov.compose import compose
from claudeprov.cost import cost_of
from claudeprov.errors import (
    CallTimeoutError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidRequestError,
    OverloadedError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from claudeprov.middleware import build
from claudeprov.middleware.deadline import Deadline
from claudeprov.middleware.resume import Resume
from claudeprov.middleware.retry import Retry
from claudeprov.notice import Notices
from claudeprov.request import MessageRequest
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.settings.resume import ResumeSettings
from claudeprov.settings.retry import RetrySettings
from claudeprov.snapshot import Snapshot
from claudeprov.stream import Outcome
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle
from claudeprov.tokens import Estimator
from tests.test_anthropic import sse

PREFILLS, ASKS = "claude-haiku-4-5", "claude-opus-4-8"
PREFILLS_ID = "claude-haiku-4-5-20251001"
HI = {"messages": [{"role": "user", "content": "Hi"}], "model": PREFILLS, "max_tokens": 1000}
TEXT = "Once upon a time,  there was\n\na stream. It broke. \n"
START, OPEN, *_, CLOSE, DELTA, STOP = text_events("")


def broken(code="stream_interrupted"):
    return StreamInterruptedError("broken off", code=code)


@pytest.fixture
def clock():
    return ManualClock()


def resume(max_joins=3, notices=None, clock=None):
    notices = notices or Notices(clock or ManualClock())
    settings = ResumeSettings(max_joins=max_joins)
    return Resume(settings, models=catalog().get, estimator=Estimator(), notices=notices)


def send(*answers, request=None, layers=None, clock=None):
    provider = ScriptedProvider(*answers, layers=layers or [resume()], clock=clock or ManualClock())
    stream = provider.send_message(HI | (request or {}))
    return provider, stream


def thinking(index=0):
    block = {"type": "thinking", "thinking": "", "signature": ""}
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *(
            {"type": "content_block_delta", "index": index, "delta": {"type": "thinking_delta", "thinking": text}}
            for text in ("hm", "!")
        ),
        {"type": "content_block_delta", "index": index, "delta": {"type": "signature_delta", "signature": "abc"}},
        {"type": "content_block_stop", "index": index},
    ]


def text(index, *pieces):
    return [
        {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": piece}}
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": index},
    ]


def tool(index):
    block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        {
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": "input_json_delta", "partial_json": '{"at": 1}'},
        },
        {"type": "content_block_stop", "index": index},
    ]


def message(*blocks):
    return [START, *(event for block in blocks for event in block), DELTA, STOP]


def replayed(chunks):
    """What a strict reader of the grammar makes of *chunks*."""
    snapshot = Snapshot()
    for chunk in chunks:
        snapshot.add(chunk)
    snapshot.finish()
    return snapshot.message()


def words(text):
    """A text in the pieces that a model may write it in."""
    pieces = text.replace(" ", " |").replace("\n", "\n|").split("|")
    return [piece for piece in pieces if piece]


async def test_keeps_the_contract(clock):
    await check_middleware(lambda: resume(clock=clock), clock=clock)


class TestWhatTheReaderSees:
    @pytest.mark.parametrize("model", [PREFILLS, ASKS])
    @pytest.mark.parametrize("cut", range(2, len(words(TEXT)) + 4))
    async def test_is_the_whole_wherever_it_breaks(self, model, cut):
        events = message(text(0, *words(TEXT)))
        shown = "".join(event["delta"]["text"] for event in events[:cut] if "text" in event.get("delta", {}))
        rest = TEXT[len(shown.rstrip()) :]
        answers = [[*events[:cut], broken()], text_events(*words(rest), model="other")]
        provider, stream = send(*answers, request={"model": model})
        chunks = [chunk async for chunk in stream]
        response = await stream
        assert response.text == TEXT
        assert [chunk.type for chunk in chunks].count("message_start") == 1
        assert replayed(chunks) == response.to_message()
        assert (response.id, response.stop_reason) == ("msg_scripted", "end_turn")
        assert len(provider.requests) == 2
        assert [(join.at, join.attempt) for join in response.joins] == [(len(shown), 2)]

    @pytest.mark.parametrize("first", range(1, len(TEXT), 7))
    @pytest.mark.parametrize("second", range(1, len(TEXT), 5))
    async def test_is_the_whole_after_several_breaks(self, first, second):
        def rest(shown):
            return TEXT[len(shown.rstrip()) :]

        one = TEXT[:first]
        two = rest(one)[:second]
        three = one + two[len(one) - len(one.rstrip()) :]
        answers = [[*text_events(*one)[:-3], broken()], [*text_events(*two)[:-3], broken()], text_events(*rest(three))]
        _, stream = send(*answers)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.text for chunk in chunks) == TEXT
        assert replayed(chunks) == (await stream).to_message()
        assert len(stream.response.content) == 1

    async def test_is_one_text_block_where_one_broke(self):
        _, stream = send([*text_events("Hel")[:-3], broken()], text_events("lo"))
        assert [(chunk.type, chunk.index, chunk.text) async for chunk in stream] == [
            ("message_start", None, ""),
            ("content_block_start", 0, ""),
            ("content_block_delta", 0, "Hel"),
            ("content_block_delta", 0, "lo"),
            ("content_block_stop", 0, ""),
            ("message_delta", None, ""),
            ("message_stop", None, ""),
        ]

    async def test_is_another_block_where_one_had_ended(self):
        _, stream = send([*text_events("Hel")[:-2], broken()], text_events("lo"))
        assert [block["text"] for block in (await stream).content] == ["Hel", "lo"]

    async def test_ends_where_nothing_was_missing(self):
        _, stream = send([*text_events("Hello")[:-3], broken()], [START, DELTA, STOP])
        chunks = [chunk async for chunk in stream]
        assert replayed(chunks)["content"] == [{"type": "text", "text": "Hello"}]

    async def test_goes_on_with_tool_calls(self):
        _, stream = send([START, *text(0, "I ", "look")[:-1], broken()], message(text(0, "."), tool(1)))
        assert (await stream).content == [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 1}},
        ]
        _, stream = send([START, *text(0, "I look")[:-1], broken()], message(tool(0)))
        chunks = [chunk async for chunk in stream]
        assert replayed(chunks) == stream.response.to_message()
        assert [block["type"] for block in stream.response.content] == ["text", "tool_use"]

    async def test_is_no_thinking_of_a_continuation(self):
        answers = [[START, *thinking(), *text(1, "Hel")[:-1], broken()], message(thinking(), text(1, "lo"))]
        _, stream = send(*answers, request={"model": ASKS})
        chunks = [chunk async for chunk in stream]
        assert replayed(chunks)["content"] == [
            {"type": "thinking", "thinking": "hm!", "signature": "abc"},
            {"type": "text", "text": "Hello"},
        ]

    async def test_is_the_thinking_where_there_was_nothing_yet(self):
        _, stream = send([START, broken()], message(thinking(), text(1, "Hello")))
        assert [block["type"] for block in (await stream).content] == ["thinking", "text"]

    async def test_is_pings_and_unknown_events_too(self):
        strange = {"type": "strange", "index": 7}
        _, stream = send(
            [*text_events("Hel")[:-3], broken()], [{"type": "ping"}, START, strange, *text_events("lo")[1:]]
        )
        assert [chunk.type async for chunk in stream][3:5] == ["ping", "strange"]

    async def test_is_the_text_that_a_block_begins_with(self):
        begun = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "lo"}}
        _, stream = send([*text_events("Hel")[:-3], broken()], [START, begun, CLOSE, DELTA, STOP])
        assert (await stream).text == "Hello"

    async def test_is_a_continuation_that_comes_as_plain_json(self):
        think = {"type": "thinking", "thinking": "hm", "signature": "abc"}
        call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 1}}
        plain = START["message"] | {
            "content": [think, {"type": "text", "text": " lo"}, call],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 4, "output_tokens": 2},
        }
        begun = Answering(text_events("Hel ")[:3], None)
        answers = iter([await begun.handle_async_request(None), httpx2.Response(200, json=plain)])
        settings = compose(["cassette=live", "model=claude-haiku-4-5", "resume=standard", "retry=off"])
        transport = httpx2.MockTransport(lambda request: next(answers))
        async with AnthropicClaudeProvider(settings, transport=transport) as provider:
            stream = provider.send_message({"messages": HI["messages"]})
            chunks = [chunk async for chunk in stream]
        response = stream.response
        assert response.content == [{"type": "text", "text": "Hel lo"}, call]
        assert replayed(chunks)["content"] == response.content
        assert (response.stop_reason, response.usage.input_tokens) == ("tool_use", 4)


class TestHalvesOfACharacter:
    """UTF-16 writes an emoji as two surrogates, and a server that escapes them may give them in two events."""

    async def rest(self, *shown, rest):
        provider, stream = send([*text_events(*shown)[: 2 + len(shown)], broken()], text_events(*rest))
        response = await stream
        json.dumps(provider.requests[1].body(), ensure_ascii=False).encode()
        written = response.text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return provider.requests[1].messages[-1]["content"], written

    async def test_are_joined_in_what_is_sent(self):
        assert await self.rest("ok \ud83d", "\ude00 and", rest=[" more"]) == (
            "ok \U0001f600 and",
            "ok \U0001f600 and more",
        )

    @pytest.mark.parametrize("rest", [[" \U0001f600!"], [" \ud83d", "\ude00", "!"], [" ", "\U0001f600", "!"]])
    async def test_are_not_repeated_where_it_broke_between_them(self, rest):
        assert await self.rest("ok \ud83d", rest=rest) == ("ok", "ok \U0001f600!")

    async def test_stand_alone_where_another_text_follows(self):
        assert await self.rest("ok\ud83d", rest=["ay"]) == ("ok", "ok\ud83day")

    async def test_that_stand_alone_are_sent_as_the_sign_for_what_cannot_be_read(self):
        assert (await self.rest("\ude00 a \ud83d b", rest=["c"]))[0] == "\ufffd a \ufffd b"


class Cutting(httpx2.AsyncBaseTransport):
    """Answers with a text, the first time up to byte *at*; whoever gives it a beginning as his own gets the rest."""

    def __init__(self, text):
        self.text = text
        self.whole = self.body(text)
        self.at = 0

    def body(self, text):
        return b"".join(sse({"type": "ping"}, *text_events(*words(text))))

    async def handle_async_request(self, request):
        last = json.loads(request.content)["messages"][-1]
        begun = len(last["content"]) if last["role"] == "assistant" else 0
        pieces, self.at = self.broken(self.at, self.body(self.text[begun:])), len(self.whole)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(pieces))

    def broken(self, at, body):
        yield body[:at]
        if at < len(body):
            raise httpx2.ReadError("reset")


class Body(httpx2.AsyncByteStream):
    def __init__(self, pieces):
        self.pieces = pieces

    async def __aiter__(self):
        for piece in self.pieces:
            yield piece


@pytest.mark.usefixtures("no_settings")
async def test_a_stream_is_the_whole_at_whichever_byte_it_breaks():
    text = "So it  \n\nbroke. \n"
    transport = Cutting(text)
    opens = transport.whole.index(b"event: content_block_start")
    stops = transport.whole.index(b"event: message_stop")
    settings = compose(["cassette=live", "model=claude-haiku-4-5", "resume=standard", "retry=off", "breaker=off"])
    got = {}
    async with AnthropicClaudeProvider(settings, transport=transport) as provider:
        for at in range(len(transport.whole) + 1):
            transport.at = at
            try:
                got[at] = (await provider.send_message({"messages": HI["messages"]})).text
            except StreamInterruptedError as error:
                got[at] = error.partial and error.partial.stop_reason
    ends = len(transport.whole)
    assert got == {at: None if at < opens else "end_turn" if stops <= at < ends else text for at in got}


class TestWhatIsAskedFor:
    async def asked(self, shown="Hello  \n", events=None, **request):
        provider, stream = send(events or [*text_events(shown)[:-3], broken()], text_events("."), request=request)
        await stream
        return provider.requests[1]

    async def test_a_model_that_prefills_is_given_the_text_as_its_own_without_white_space_at_the_end(self):
        asked = await self.asked()
        assert asked.messages == [*HI["messages"], {"role": "assistant", "content": "Hello"}]

    async def test_another_is_asked_by_the_user(self):
        asked = await self.asked(model=ASKS)
        assert [message["role"] for message in asked.messages] == ["user", "user"]
        assert "<answer>\nHello\n</answer>" in asked.messages[1]["content"]

    @pytest.mark.parametrize("kind", ["enabled", "adaptive"])
    async def test_with_thinking_on_there_is_no_prefill(self, kind):
        asked = await self.asked(thinking={"type": kind})
        assert asked.messages[-1]["role"] == "user"
        assert asked.max_tokens == 1000  # thinking takes of them again

    async def test_with_thinking_off_there_is(self):
        assert (await self.asked(thinking={"type": "disabled"})).messages[-1]["role"] == "assistant"

    @pytest.mark.parametrize("model", ["claude-sonnet-5", "nobodys-model"])
    async def test_a_model_that_thinks_by_itself_or_is_unknown_is_asked_by_the_user(self, model):
        assert (await self.asked(model=model)).messages[-1]["role"] == "user"

    @pytest.mark.parametrize(
        ("own", "whole"),
        [
            ("So: ", "So: Hello"),
            ([{"type": "text", "text": "So: "}], [{"type": "text", "text": "So: "}, {"type": "text", "text": "Hello"}]),
        ],
    )
    async def test_a_prefill_of_the_users_own_is_kept(self, own, whole):
        asked = await self.asked(messages=[*HI["messages"], {"role": "assistant", "content": own}])
        assert asked.messages == [*HI["messages"], {"role": "assistant", "content": whole}]

    async def test_all_text_blocks_count(self):
        events = [START, *text(0, "One. "), *text(1, "Two")[:-1], broken()]
        assert (await self.asked(events=events)).messages[-1]["content"] == "One. Two"

    @pytest.mark.parametrize("shown", ["", " \n"])
    async def test_before_any_text_it_is_the_same_again(self, shown):
        assert await self.asked(shown) == MessageRequest.of(HI)

    async def test_what_has_come_is_taken_off_max_tokens(self):
        written = "word " * 200
        expected = 1000 - Estimator().text(written.rstrip(), catalog().get(PREFILLS)).input_tokens
        assert (await self.asked(written)).max_tokens == expected
        assert (await self.asked(written, max_tokens=5)).max_tokens == 1
        assert (await self.asked(max_tokens=None)).max_tokens is None

    async def test_everything_else_is_as_it_was(self):
        asked = await self.asked(system="be kind", tools=[{"name": "look"}], stop_sequences=["x"])
        assert asked.body().keys() == {"model", "max_tokens", "messages", "stream", "system", "tools", "stop_sequences"}

    async def test_the_call_is_what_the_user_asked_for_again(self):
        provider, stream = send([*text_events("Hel")[:-3], broken()], text_events("lo"))
        await stream
        assert stream._call.request is provider.requests[0]


class TestWhatIsNotGoneOnWith:
    async def error(self, *events, failure=None, **request):
        failure = failure or broken()
        provider, stream = send([START, *events, failure], "and on", request=request)
        with pytest.raises(type(failure)) as raised:
            await stream
        assert raised.value is failure
        assert len(provider.requests) == 1
        return raised.value

    @pytest.mark.parametrize("length", range(1, 4))
    async def test_an_unfinished_or_finished_tool_call(self, length):
        error = await self.error(*text(0, "I look"), *tool(1)[:length])
        assert error.partial.text == "I look"

    @pytest.mark.parametrize("length", range(1, 5))
    async def test_an_unfinished_thinking_block(self, length):
        await self.error(*thinking()[:length])

    async def test_a_block_of_another_kind(self):
        block = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}
        await self.error({"type": "content_block_start", "index": 0, "content_block": block})

    async def test_a_message_with_a_stop_reason(self):
        await self.error(*text(0, "Hello"), DELTA)

    async def test_text_that_must_be_json(self):
        output = {"format": {"type": "json_schema", "schema": {}}}
        await self.error(*text(0, '{"a":')[:-1], output_config=output)

    @pytest.mark.parametrize(
        "failure",
        [
            InvalidRequestError("no"),
            RateLimitError("slower"),
            ServerError("no", retryable=False),
            CallTimeoutError("late", code="deadline_exceeded"),
        ],
        ids=repr,
    )
    async def test_an_error_that_is_no_failure_of_the_service_or_ends_the_call(self, failure):
        await self.error(*text(0, "Hel")[:-1], failure=failure)

    @pytest.mark.parametrize(
        "failure",
        [broken(), ConnectionFailedError("reset"), OverloadedError("busy"), CallTimeoutError("x", code="read_timeout")],
        ids=repr,
    )
    async def test_but_failures_of_the_service_are(self, failure):
        _, stream = send([START, *text(0, "Hel")[:-1], failure], "lo")
        assert (await stream).text == "Hello"

    async def test_more_breaks_than_max_joins(self):
        errors = [broken(f"code_{number}") for number in range(4)]
        answers = [[*text_events(letter)[:-3], error] for letter, error in zip("abcd", errors, strict=True)]
        provider, stream = send(*answers, layers=[resume(max_joins=2)])
        with pytest.raises(StreamInterruptedError) as raised:
            await stream
        assert raised.value is errors[2]
        assert raised.value.partial.text == "abc"
        assert [join.at for join in raised.value.partial.joins] == [1, 2]
        assert len(provider.requests) == 3

    async def test_an_error_of_another_kind_in_a_continuation(self):
        limited = RateLimitError("slower")
        _, stream = send([*text_events("a")[:-3], broken()], [*text_events("b")[:-3], limited], "and on")
        with pytest.raises(RateLimitError) as raised:
            await stream
        assert raised.value is limited
        assert raised.value.partial.text == "ab"

    async def test_where_the_continuation_fails_the_break_stands_and_says_why(self):
        failure = broken()
        _, stream = send([*text_events("Hel")[:-3], failure], InvalidRequestError("no prefill"))
        with pytest.raises(StreamInterruptedError) as raised:
            await stream
        assert raised.value is failure
        assert raised.value.context["resume"] == "invalid_request: no prefill"
        assert raised.value.partial.text == "Hel"
        assert [attempt.error_code for attempt in raised.value.partial.attempts] == [None, "invalid_request"]


class Ends:
    """A layer that takes note of how streams end."""

    def __init__(self):
        self.outcomes = []

    async def __call__(self, call, call_next):
        stream = await call_next(call)
        stream.on_end(self.outcomes.append)
        return stream


class TestTheLayers:
    async def test_within_are_told_of_the_break_and_those_around_of_the_end(self):
        inner, outer, failure = Ends(), Ends(), broken()
        _, stream = send([*text_events("Hel")[:-3], failure], text_events("lo"), layers=[outer, resume(), inner])
        async for chunk in stream:
            if chunk.text == "lo":
                assert inner.outcomes == [Outcome("failed", failure)]
                assert outer.outcomes == []
        assert inner.outcomes == [Outcome("failed", failure), Outcome("read")]
        assert outer.outcomes == [Outcome("read")]

    @pytest.mark.parametrize("breaks", [1, 2])
    async def test_are_all_told_when_it_is_cancelled_in_a_continuation(self, breaks):
        inner, outer = Ends(), Ends()
        answers = [*[[*text_events("a")[:-3], broken()]] * breaks, [*text_events("b")[:-3], math.inf]]
        _, stream = send(*answers, layers=[outer, resume(), inner])
        async with stream:
            async for chunk in stream:
                if chunk.text == "b":
                    break
        assert [outcome.kind for outcome in inner.outcomes] == ["failed"] * breaks + ["cancelled"]
        assert [outcome.kind for outcome in outer.outcomes] == ["cancelled"]

    async def test_are_all_told_when_it_is_cancelled_while_a_continuation_opens(self, clock):
        inner, outer = Ends(), Ends()
        answers = [*text_events("a")[:-3], broken()], [math.inf]
        _, stream = send(*answers, layers=[outer, resume(), inner], clock=clock)
        reader = asyncio.ensure_future(stream)
        await settle()
        await stream.cancel()
        with pytest.raises(StreamInterruptedError) as raised:
            await reader
        assert raised.value.partial.text == "a"
        assert [outcome.kind for outcome in inner.outcomes] == ["failed"]
        assert [outcome.kind for outcome in outer.outcomes] == ["cancelled"]

    async def test_tap_what_is_theirs(self):
        seen = {"inner": [], "outer": []}

        def tapping(name):
            async def layer(call, call_next):
                stream = await call_next(call)
                for kind in "message_start", "content_block_delta":
                    stream.tap(kind, lambda chunk: seen[name].append(chunk.text or chunk.type))
                return stream

            return layer

        layers = [tapping("outer"), resume(), tapping("inner")]
        await send([*text_events("Hel")[:-3], broken()], text_events("lo"), layers=layers)[1]
        assert seen["outer"] == ["message_start", "Hel", "lo"]
        assert seen["inner"] == ["message_start", "Hel", "message_start", "lo"]

    async def test_the_breaker_counts_each_break_and_may_refuse_the_continuation(self, clock):
        settings = compose(["chain=[resume,breaker]", "resume=standard", "breaker.failures=2"])
        failures = [broken() for _ in range(3)]
        answers = [[*text_events(letter)[:-3], error] for letter, error in zip("abc", failures, strict=True)]
        provider, stream = send(*answers, layers=build(settings, clock), clock=clock)
        with pytest.raises(StreamInterruptedError) as raised:
            await stream
        assert raised.value is failures[1]
        assert raised.value.context["resume"].startswith("circuit_open: ")
        assert raised.value.partial.text == "ab"
        assert len(provider.requests) == 2

    async def test_retry_the_opening_of_a_continuation(self, clock):
        retry = Retry(RetrySettings(), clock=clock, random=Random(1), notices=Notices(clock))
        _, stream = send(
            [*text_events("Hel")[:-3], broken()], OverloadedError("busy"), "lo", layers=[resume(), retry], clock=clock
        )
        response = await clock.run(stream)
        assert response.text == "Hello"
        assert [attempt.error_code for attempt in response.attempts] == ["stream_interrupted", "overloaded", None]
        assert response.joins[0].attempt == 3

    async def test_a_call_whose_deadline_passes_in_a_break_is_late(self, clock):
        deadline = Deadline(DeadlineSettings(total=10))
        _, stream = send([*text_events("a")[:-3], broken()], [math.inf], layers=[deadline, resume()], clock=clock)
        with pytest.raises(CallTimeoutError) as raised:
            await clock.run(stream)
        assert raised.value.code == "deadline_exceeded"
        assert raised.value.partial.text == "a"
        assert clock.monotonic() == 10


class Answering(httpx2.AsyncBaseTransport):
    """Answers in turn with these events; all but the last answer break at their end."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def handle_async_request(self, request):
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, stream=Body(self.pieces(self.answers.pop(0))))

    def pieces(self, events):
        yield from sse(*events)
        if self.answers:
            raise httpx2.ReadError("reset")


@pytest.mark.usefixtures("no_settings")
class TestWhatItCosts:
    """A million tokens of input to claude-haiku-4-5 are 1 USD, of output 5 USD."""

    def events(self, letter, tokens_in, tokens_out):
        start, *rest, delta, stop = text_events(letter, model=PREFILLS_ID)
        start["message"]["usage"] = {"input_tokens": tokens_in, "output_tokens": 1}
        return [start, *rest, delta | {"usage": {"output_tokens": tokens_out}}, stop]

    def begun(self, letter, tokens_in):
        return self.events(letter, tokens_in, 0)[:3]

    async def response(self, *answers):
        settings = compose(["cassette=live", "model=claude-haiku-4-5", "resume=standard", "max_tokens=1000"])
        async with AnthropicClaudeProvider(settings, transport=Answering(*answers)) as provider:
            return await provider.send_message({"messages": HI["messages"]})

    async def test_every_attempt_tells_its_own_usage(self):
        response = await self.response(self.begun("a", 100), self.events("b", 103, 7))
        first, second = response.attempts
        assert (first.error_code, first.model, first.usage.input_tokens) == ("stream_interrupted", PREFILLS_ID, 100)
        assert (second.error_code, second.usage, second.cost) == (None, None, None)
        assert (response.usage.input_tokens, response.usage.output_tokens) == (103, 7)

    async def test_the_response_costs_what_all_attempts_do(self):
        response = await self.response(self.begun("a", 2_000_000), self.events("b", 1_000_000, 1_000_000))
        assert cost_of(response.usage, PREFILLS).total_usd == 6
        assert response.cost.total_usd is None  # how much output of the first is billed is not known
        first = response.attempts[0].cost
        assert Decimal(2) < first.low_usd < first.high_usd == Decimal(2) + 1000 * Decimal("0.000005")
        assert (response.cost.low_usd, response.cost.high_usd) == (6 + first.low_usd, 6 + first.high_usd)
        assert [item.name for item in response.cost.items] == ["input", "output"] * 2

    async def test_each_break_is_counted_once(self):
        answers = [self.begun("a", 1_000_000), self.begun("b", 2_000_000), self.events("c", 1_000_000, 1_000_000)]
        response = await self.response(*answers)
        assert Decimal(9) < response.cost.low_usd < response.cost.high_usd < Decimal("9.02")


async def test_it_tells_of_each_join(clock):
    notices, told = Notices(clock), []
    notices.listen(told.append)
    _, stream = send([*text_events("Hel")[:-3], broken("truncated")], "lo", layers=[resume(notices=notices)])
    await stream
    (notice,) = told
    assert (notice.name, notice.call_id) == ("resume.joined", stream._call.id)
    assert notice.fields == {"at": 3, "attempt": 2, "error": "truncated"}


@pytest.mark.usefixtures("no_settings")
def test_as_a_group_made_by_hand_it_is_that_of_the_file():
    assert compose(["resume=standard"]).resume == ResumeSettings()


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("resume.max_joins=0", "resume.max_joins = 0, from an override: should be greater than or equal to 1"),
        ("resume.joins=2", "resume has no such key"),
    ],
)
def test_a_wrong_number_is_refused_with_its_key_and_value(override, told):
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        compose(["resume=standard", override])
