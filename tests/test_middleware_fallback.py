"""Another model or endpoint stands in for one that does not serve, and only then."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime

import httpx2
import pytest

import claudeprov
from claudeprov import AnthropicClaudeProvider
from claudeprov.catalog import catalog
from claudeprov.compose import compose
from claudeprov.errors import (
    AuthenticationError,
    CallTimeoutError,
    CircuitOpenError,
    ConfigurationError,
    InvalidRequestError,
    OverloadedError,
    ServerError,
    StreamInterruptedError,
)
from claudeprov.middleware import build
from claudeprov.middleware.deadline import Deadline
from claudeprov.middleware.fallback import Fallback
from claudeprov.notice import Notices
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.settings.fallback import FallbackSettings
from claudeprov.stream import Outcome
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle
from tests.server import Answer, Server
from tests.test_anthropic import sse

HI = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-sonnet-5-5"}
START, OPEN, DELTA, CLOSE, MESSAGE_DELTA, STOP = text_events("no")
REFUSED = MESSAGE_DELTA | {"delta": {"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "bio"}}}
REFUSAL = [START, REFUSED, STOP]
EMPTY_BLOCK = [START, OPEN, CLOSE, REFUSED, STOP]


@pytest.fixture
def clock():
    return ManualClock()


def fallback(*to, notices=None, clock=None, **settings):
    settings = FallbackSettings(to=to or ("haiku", "opus"), **settings)
    return Fallback(settings, models=catalog().get, notices=notices or Notices(clock or ManualClock()))


def send(*answers, layers=None, clock=None, **request):
    provider = ScriptedProvider(*answers, layers=layers or [fallback()], clock=clock or ManualClock())
    return provider, provider.send_message(HI | request)


def asked(provider):
    return [request.model for request in provider.requests]


async def test_keeps_the_contract(clock):
    await check_middleware(lambda: fallback(clock=clock), clock=clock)
    await check_middleware(lambda: fallback(clock=clock, reasons=("server_error", "invalid_request")), clock=clock)


class TestWhen:
    async def test_all_is_well_nothing_changes(self):
        provider, stream = send("Hello")
        assert (await stream).text == "Hello"
        assert asked(provider) == ["claude-sonnet-5-5"]

    @pytest.mark.parametrize("error", [OverloadedError("busy"), CircuitOpenError("open")], ids=repr)
    async def test_a_model_is_overloaded_or_its_breaker_open_the_next_answers(self, error):
        provider, stream = send(error, "Hello")
        response = await stream
        assert response.text == "Hello"
        assert asked(provider) == ["claude-sonnet-5-5", "claude-haiku-5-5"]
        assert [(attempt.model, attempt.error_code) for attempt in response.attempts] == [
            ("claude-sonnet-5-5", error.code),
            ("claude-haiku-5-5", None),
        ]

    async def test_that_fails_too_the_one_after_it_does(self):
        provider, stream = send(OverloadedError("busy"), OverloadedError("busy"), "Hello")
        assert (await stream).text == "Hello"
        assert asked(provider) == ["claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5-5"]

    async def test_all_fail_the_last_error_stands_and_tells_what_was_tried(self):
        errors = [OverloadedError(str(number)) for number in range(3)]
        _, stream = send(*errors)
        with pytest.raises(OverloadedError) as raised:
            await stream
        assert raised.value is errors[2]
        assert raised.value.context["tried"] == [
            "anthropic/claude-sonnet-5-5: overloaded",
            "anthropic/claude-haiku-5-5: overloaded",
            "anthropic/claude-opus-5-5: overloaded",
        ]

    @pytest.mark.parametrize("error", [ServerError("500"), InvalidRequestError("no")], ids=repr)
    async def test_it_fails_for_another_reason_that_stands(self, error):
        provider, stream = send(error)
        with pytest.raises(type(error)):
            await stream
        assert len(provider.requests) == 1

    @pytest.mark.parametrize("unusable", [AuthenticationError("no key"), ConfigurationError("no extra")], ids=repr)
    async def test_a_candidate_cannot_be_used_it_is_passed_over(self, unusable):
        busy = OverloadedError("busy")
        _, stream = send(busy, unusable, "Hello")
        assert (await stream).text == "Hello"
        _, stream = send(busy, unusable)
        with pytest.raises(OverloadedError) as raised:
            await stream
        assert raised.value is busy
        assert raised.value.context["tried"] == [
            "anthropic/claude-sonnet-5-5: overloaded",
            f"anthropic/claude-haiku-5-5: {unusable.code}",
            f"anthropic/claude-opus-5-5: {unusable.code}",
        ]

    async def test_the_users_own_model_cannot_be_used_that_stands(self):
        provider, stream = send(AuthenticationError("no key"), "Hello")
        with pytest.raises(AuthenticationError):
            await stream
        assert len(provider.requests) == 1

    async def test_none_can_be_used_after_a_refusal_it_says_so(self):
        _, stream = send(REFUSAL, AuthenticationError("no key"))
        with pytest.raises(AuthenticationError) as raised:
            await stream
        assert raised.value.context["tried"][0] == "anthropic/claude-sonnet-5-5: refusal"

    async def test_reasons_are_configured_by_code(self):
        error = ServerError("away", code="service_unavailable")
        for reasons in ("service_unavailable",), ("server_error",):
            _, stream = send(error, "Hello", layers=[fallback(reasons=reasons)])
            assert (await stream).text == "Hello"
        _, stream = send(OverloadedError("busy"), "Hello", layers=[fallback(reasons=("server_error",))])
        with pytest.raises(OverloadedError):
            await stream

    async def test_the_request_names_a_candidate_itself_it_is_tried_once(self):
        provider, stream = send(OverloadedError("busy"), model="claude-haiku-5-5")
        with pytest.raises(OverloadedError):
            await stream
        assert asked(provider) == ["claude-haiku-5-5", "claude-opus-5-5"]

    async def test_the_deadline_passes_nobody_is_asked(self, clock):
        layers = [Deadline(DeadlineSettings(total=10)), fallback(clock=clock)]
        provider, stream = send([6, OverloadedError("busy")], [6, OverloadedError("busy")], layers=layers, clock=clock)
        with pytest.raises(CallTimeoutError) as raised:
            await clock.run(stream)
        assert raised.value.code == "deadline_exceeded"
        assert len(provider.requests) == 2


class TestARefusal:
    @pytest.mark.parametrize("answer", [REFUSAL, [REFUSAL], [{"type": "ping"}, *EMPTY_BLOCK], [EMPTY_BLOCK]])
    async def test_without_output_goes_to_the_next(self, answer):
        provider, stream = send(answer, "Hello")
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.text for chunk in chunks) == "Hello"
        assert [chunk.type for chunk in chunks].count("message_start") == 1
        assert asked(provider) == ["claude-sonnet-5-5", "claude-haiku-5-5"]
        assert stream.response.stop_reason == "end_turn"

    async def test_that_breaks_before_its_end_goes_to_the_next_too(self):
        provider, stream = send([START, REFUSED, StreamInterruptedError("reset")], "Hello")
        response = await stream
        assert response.text == "Hello"
        assert (response.attempts[0].error_code, response.attempts[0].usage.input_tokens) == ("refusal", 1)
        assert len(provider.requests) == 2

    async def test_is_paid_for(self):
        priced = START | {"message": START["message"] | {"model": "claude-sonnet-5-5"}}
        since = ManualClock(datetime(2026, 10, 1, tzinfo=UTC))  # before it, no refusal without output was billed
        _, stream = send([priced, REFUSED, STOP], "Hello", clock=since)
        attempt = (await stream).attempts[0]
        assert (attempt.error_code, attempt.usage.input_tokens) == ("refusal", 1)
        assert attempt.cost.total_usd > 0

    async def test_of_the_last_stands(self):
        provider, stream = send(REFUSAL)
        response = await stream
        assert (response.stop_reason, response.stop_details["category"]) == ("refusal", "bio")
        assert len(provider.requests) == 3

    @pytest.mark.parametrize("joined", [False, True])
    async def test_after_output_stands(self, joined):
        events = [START, OPEN, DELTA, CLOSE, REFUSED, STOP]
        provider, stream = send([events] if joined else events)
        assert (await stream).stop_reason == "refusal"
        assert len(provider.requests) == 1

    async def test_stands_where_it_is_no_reason(self):
        provider, stream = send(REFUSAL, layers=[fallback(reasons=("overloaded",))])
        assert (await stream).stop_reason == "refusal"
        assert len(provider.requests) == 1

    async def test_is_an_answer_of_the_service_to_the_layers_within(self):
        ends = []

        async def layer(call, call_next):
            stream = await call_next(call)
            stream.on_end(ends.append)
            return stream

        _, stream = send(REFUSAL, "Hello", layers=[fallback(), layer])
        await stream
        assert ends == [Outcome("read")] * 2


class TestLookingAtTheBeginning:
    async def test_takes_nothing_from_the_reader_and_sees_each_chunk_once(self):
        seen = []

        async def tapping(call, call_next):
            stream = await call_next(call)
            stream.tap("message_start", seen.append)
            return stream

        for answer in (text_events("a", "b"), [text_events("a", "b")]):
            _, stream = send(answer, layers=[tapping, fallback(), tapping])
            types = [chunk.type async for chunk in stream]
            assert types == [event["type"] for event in text_events("a", "b")]
        assert len(seen) == 4

    async def test_waits_for_no_more_than_the_first_output(self, clock):
        _, stream = send([*text_events("a")[:3], math.inf], clock=clock)
        async with stream:
            async for chunk in stream:
                if chunk.text:
                    break
        assert clock.monotonic() == 0

    async def test_meets_a_break_which_is_no_reason_by_default(self):
        error = StreamInterruptedError("broken off")
        provider, stream = send([START, error])
        with pytest.raises(StreamInterruptedError) as raised:
            await stream
        assert raised.value is error
        assert len(provider.requests) == 1

    async def test_meets_a_break_that_is_configured_as_a_reason(self):
        layers = [fallback(reasons=("stream_interrupted", "refusal"))]
        _, stream = send([START, StreamInterruptedError("broken off")], "Hello", layers=layers)
        chunks = [chunk async for chunk in stream]
        assert [chunk.type for chunk in chunks].count("message_start") == 1

    async def test_meets_a_break_that_is_gone_on_with(self, clock):
        settings = compose(["chain=[fallback,resume]", "fallback=standard", "resume=standard"])
        layers = build(settings, clock)
        _, stream = send([START, StreamInterruptedError("broken off")], "Hello", layers=layers)
        assert [chunk.type async for chunk in stream] == [event["type"] for event in text_events("Hello")]

    async def test_can_be_cancelled(self, clock):
        provider, stream = send([START, math.inf], clock=clock)
        reader = asyncio.ensure_future(stream)
        await settle()
        await stream.cancel()
        with pytest.raises(StreamInterruptedError):
            await reader
        assert provider.streams[0].outcome == Outcome("cancelled")

    async def test_of_a_body_that_ends_at_once(self):
        _, stream = send([START, StreamInterruptedError("truncated", code="truncated")])
        with pytest.raises(StreamInterruptedError):
            await stream

    async def test_leaves_a_cancelled_stream_nothing_to_read(self):
        _, stream = send([text_events("a", "b")])
        async with stream:
            pass
        assert [chunk async for chunk in stream] == []


async def test_it_tells_who_stands_in_for_whom_and_why(clock):
    notices, told = Notices(clock), []
    notices.listen(told.append)
    bedrock = {"model": "claude-haiku-4-5", "endpoint": "bedrock"}
    _, stream = send(OverloadedError("busy"), REFUSAL, "Hello", layers=[fallback(bedrock, "opus", notices=notices)])
    await stream
    assert [notice.name for notice in told] == ["fallback.used"] * 2
    assert [dict(notice.fields) for notice in told] == [
        {
            "from": "anthropic/claude-sonnet-5-5",
            "to": "bedrock/anthropic.claude-haiku-4-5",
            "reason": "overloaded",
        },
        {
            "from": "bedrock/anthropic.claude-haiku-4-5",
            "to": "anthropic/claude-opus-5-5",
            "reason": "refusal",
        },
    ]


class TestWhereCallsGo:
    def models(self, *to, model="claude-haiku-4-5-20251001", endpoint="anthropic"):
        seen = []

        async def place(call, call_next):
            seen.append((call.endpoint.kind, call.request.model))
            raise OverloadedError("busy")

        async def sent():
            call = claudeprov.Call(
                claudeprov.MessageRequest.of(HI | {"model": model}),
                ManualClock(),
                endpoint=EndpointSettings(kind=endpoint),
            )
            with pytest.raises(OverloadedError):
                await fallback(*to)(call, lambda call: place(call, None))
            return seen[1:]

        return sent()

    async def test_a_model_goes_by_the_name_that_it_has_there(self):
        assert await self.models({"endpoint": "bedrock"}, {"endpoint": "vertex"}, "sonnet") == [
            ("bedrock", "anthropic.claude-haiku-4-5"),
            ("vertex", "claude-haiku-4-5@20251001"),
            ("anthropic", "claude-sonnet-5-5"),
        ]

    async def test_from_a_platform_to_the_api_too(self):
        to = {"endpoint": "anthropic"}, "claude-haiku-4-5"
        assert await self.models(*to, model="anthropic.claude-haiku-4-5-20251001-v1:0", endpoint="bedrock") == [
            ("anthropic", "claude-haiku-4-5-20251001")
        ]

    async def test_a_name_that_only_the_server_knows_is_sent_as_it_is(self):
        local = {"endpoint": {"kind": "compatible", "base_url": "http://127.0.0.1:1"}, "model": "my-model"}
        assert await self.models(local, model="theirs") == [("compatible", "my-model")]


class TestEndpoints:
    @pytest.fixture(autouse=True)
    def key(self, monkeypatch, no_credentials, no_settings):
        monkeypatch.setenv("ANTHROPIC_API_KEY", "made-up")

    async def test_each_has_a_client_of_its_own_that_is_closed_with_the_provider(self):
        busy = Answer(b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}', 529)
        busy.headers = {"content-type": "application/json"}
        async with Server(busy) as first, Server(Answer(sse(*text_events("Hello", model="qwen")))) as second:
            overrides = [
                "cassette=live",
                "retry=off",
                "model=claude-haiku-4-5",
                "endpoint=compatible",
                f"endpoint.base_url={first.url}",
                "fallback=standard",
                f"fallback.to=[{{model: qwen, endpoint: {{kind: compatible, base_url: '{second.url}'}}}}]",
            ]
            async with claudeprov.open_provider(overrides) as provider:
                responses = [await provider.send_message({"messages": HI["messages"]}) for _ in range(2)]
            assert [(response.text, response.model) for response in responses] == [("Hello", "qwen")] * 2
            assert [attempt.model for attempt in responses[0].attempts] == ["claude-haiku-4-5-20251001", "qwen"]
            assert [len(server.asked) for server in (first, second)] == [2, 2]
            assert second.asked[0].body["model"] == "qwen"
            await asyncio.gather(*first._connections, *second._connections)  # for the client has closed them

    async def test_share_a_transport_that_is_closed_once(self):
        class Transport(httpx2.AsyncBaseTransport):
            hosts, closed = (), 0

            async def handle_async_request(self, request):
                self.hosts += (request.url.host,)
                if len(self.hosts) == 1:
                    return httpx2.Response(529, json={"type": "error", "error": {"type": "overloaded_error"}})
                body = b"".join(sse(*text_events("Hello")))
                return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

            async def aclose(self):
                self.closed += 1

        transport = Transport()
        settings = compose(["cassette=live", "retry=off", "fallback=standard", "fallback.to=[{endpoint: foundry}]"])
        async with AnthropicClaudeProvider(settings, transport=transport) as provider:
            assert (await provider.send_message({"messages": HI["messages"]})).text == "Hello"
        assert transport.hosts == ("api.anthropic.com", "replay.services.ai.azure.com")
        assert transport.closed == 1

    async def test_one_that_cannot_be_used_is_told_at_the_start_and_passed_over(self, monkeypatch, caplog):
        busy = Answer(b"{}", 529, {"content-type": "application/json"})
        async with Server(busy) as server:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
            overrides = ["cassette=live", "retry=off", "fallback=standard", "fallback.to=[{endpoint: foundry}]"]
            async with claudeprov.open_provider(overrides) as provider:
                (record,) = (record for record in caplog.records if record.levelname == "WARNING")
                assert "fallback.to" in record.getMessage()
                assert "no credentials for endpoint=foundry" in record.getMessage()
                with pytest.raises(OverloadedError) as raised:
                    await provider.send_message({"messages": HI["messages"]})
        assert raised.value.context["tried"] == [
            "anthropic/claude-sonnet-5-5: overloaded",
            "foundry/claude-sonnet-5-5: authentication",
        ]

    async def test_one_that_can_be_used_is_made_at_the_start(self, monkeypatch, caplog):
        monkeypatch.setenv("ANTHROPIC_FOUNDRY_API_KEY", "made-up")
        to = "fallback.to=[haiku,{endpoint: {kind: foundry, resource: r}}]"
        async with claudeprov.open_provider(["cassette=live", "fallback=standard", to]) as provider:
            assert [endpoint.kind for endpoint in provider._endpoints._made] == ["anthropic", "foundry"]
        assert caplog.records == []


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("fallback.to=[]", "fallback.to = [], from an override: must name at least one model or endpoint"),
        ("fallback.to=[haiku,claude-haiku-5-5]", "haiku is there twice"),
        ("fallback.to=[haikoo]", "fallback.to.0 = 'haikoo', from an override: model 'haikoo' is not in the catalogue"),
        ("fallback.to=[{}]", "must name a model, an endpoint, or both"),
        ("fallback.to=[sonnet]", "leads nowhere but to claude-sonnet-5-5, where calls go anyway"),
        ("fallback.to=[{endpoint: anthropic},sonnet]", "leads nowhere but to claude-sonnet-5-5"),
        ("fallback.to=[{endpoint: nowhere}]", "fallback.to.0.endpoint = 'nowhere', from an override: is none of the"),
        ("fallback.to=[{endpoint: compatible}]", "endpoint compatible needs a base_url, such as {kind: compatible,"),
        (
            "fallback.to=[{modle: haiku}]",
            "fallback.to.0 has no such key; did you mean model? (allowed: model, endpoint)",
        ),
        ("fallback.to=[{endpoint: {kind: bedrock, regoin: x}}]", "did you mean region? (allowed: kind, base_url, regi"),
        ("fallback.reasons=[]", "must name at least one, such as [overloaded]; fallback=off turns it off"),
        ("fallback.reasons=[overloadd]", "fallback.reasons.0 = 'overloadd', from an override: is none of the values"),
    ],
)
def test_a_list_that_leads_nowhere_is_refused_with_its_key_and_value(override, told):
    with pytest.raises(ConfigurationError) as raised:
        compose(["fallback=standard", override])
    assert told in raised.value.message
    assert "fallback" in raised.value.message
