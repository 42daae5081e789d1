"""The endpoint, against a server on loopback: what it sends, and what it makes of answers and faults."""

import asyncio
import gc
import gzip
import json
import pickle
import sys
import traceback
import tracemalloc

import httpx2
import pytest

import claudeprov
from claudeprov import AnthropicClaudeProvider
from claudeprov.clock import SYSTEM_CLOCK, Clock
from claudeprov.errors import (
    AuthenticationError,
    CallTimeoutError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidRequestError,
    InvalidResponseError,
    ModelNotFoundError,
    OverloadedError,
    ProviderError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from claudeprov.mask import MASK
from claudeprov.testing import ManualClock, text_events
from claudeprov.testing.faulty import FaultyTransport, Reply
from tests.server import Answer, Server

KEY = "sk-ant-made-up-0123456789"
OPAQUE = "a-word-of-a-gateway"
HI = {"messages": [{"role": "user", "content": "hi"}], "model": "claude-haiku-4-5", "max_tokens": 20}
PLAIN = HI | {"stream": False}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
MESSAGE |= {"content": [{"type": "text", "text": "Hello"}], "usage": {"input_tokens": 1, "output_tokens": 2}}
BARE = ["retry=off", "breaker=off", "telemetry=off", "cassette=live"]

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture(autouse=True)
def key(monkeypatch, no_credentials):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def sse(*events: dict) -> list[bytes]:
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def hello() -> list[dict]:
    return text_events("Hel", "lo", model="m")


def streamed(*events: dict, **more) -> Answer:
    return Answer(sse(*(events or hello())), **more)


def answered(body: object, status: int = 200, **headers: str) -> Answer:
    return Answer(json.dumps(body).encode(), status, {"content-type": "application/json", **headers})


def refused(status: int, kind: str, message: str = "no", **headers: str) -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_body"}
    return answered(body, status, **{"request-id": "req_1"} | headers)


def compatible(server: Server, *overrides: str, clock: Clock = SYSTEM_CLOCK) -> AnthropicClaudeProvider:
    overrides = (*BARE, "endpoint=compatible", f"endpoint.base_url={server.url}", *overrides)
    return AnthropicClaudeProvider(claudeprov.open_provider(overrides).settings, clock=clock)


async def ask(answer: Answer, request: dict = HI, *overrides: str):
    """The response to one request that gets *answer*."""
    async with Server(answer) as server, compatible(server, *overrides) as provider:
        return await provider.send_message(request)


async def fail(answer: Answer, request: dict = HI, *overrides: str) -> ProviderError:
    """The error of one request that gets *answer*, which was asked for once."""
    async with Server(answer) as server, compatible(server, *overrides) as provider:
        with pytest.raises(ProviderError) as caught:
            await provider.send_message(request)
        assert len(server.asked) == 1
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in repr(caught.value) + repr(caught.value.__cause__) + repr(vars(caught.value))
    return caught.value


async def whole(stream):
    return await stream


class TestWhatIsSent:
    async def test_a_streamed_request(self):
        async with Server(streamed()) as server, compatible(server) as provider:
            await provider.send_message(HI)
        (asked,) = server.asked
        assert (asked.method, asked.path) == ("POST", "/v1/messages")
        assert asked.body == HI | {"stream": True}
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.headers["anthropic-version"] == "2026-10-21"
        assert "anthropic-beta" not in asked.headers

    async def test_a_plain_request(self):
        async with Server(answered(MESSAGE)) as server, compatible(server) as provider:
            response = await provider.send_message(PLAIN)
        assert server.asked[0].body == PLAIN
        assert response.to_message() == MESSAGE

    async def test_betas_go_into_the_header_and_the_address(self):
        async with Server(streamed()) as server, compatible(server) as provider:
            await provider.send_message(HI | {"betas": ["one-2026", "two-2026"]})
        (asked,) = server.asked
        assert asked.path == "/v1/messages?beta=true"
        assert asked.headers["anthropic-beta"] == "one-2026,two-2026"
        assert asked.body == HI | {"stream": True}

    async def test_an_address_with_a_path_keeps_it(self):
        async with Server(streamed()) as server:
            gateway = f"endpoint.base_url={server.url}/gateway/"
            async with claudeprov.open_provider([*BARE, "endpoint=compatible", gateway]) as provider:
                await provider.send_message(HI)
        assert server.asked[0].path == "/gateway/v1/messages"

    @pytest.mark.parametrize("content", [b"bytes", "\ud800", object()])
    async def test_what_cannot_be_written_as_json_is_not_sent(self, content):
        async with Server(streamed()) as server, compatible(server) as provider:
            with pytest.raises(InvalidRequestError):
                await provider.send_message(HI | {"messages": [{"role": "user", "content": content}]})
        assert server.asked == []

    async def test_one_connection_serves_call_after_call(self):
        async with Server(streamed()) as server, compatible(server) as provider:
            for _ in range(3):
                await provider.send_message(HI)
            assert len(server._connections) == 1

    async def test_many_calls_at_once_keep_their_answers_apart(self):
        answers = [streamed(*text_events(str(number))) for number in range(50)]
        async with Server(*answers) as server, compatible(server) as provider:
            responses = await asyncio.gather(*(provider.send_message(HI) for _ in answers))
        assert sorted(int(response.text) for response in responses) == [*range(50)]


class TestAnswers:
    async def test_a_stream(self):
        response = await ask(streamed(headers={"request-id": "req_1"}))
        assert (response.text, response.stop_reason, response.request_id) == ("Hello", "end_turn", "req_1")
        assert response.usage.output_tokens == 2
        (attempt,) = response.attempts
        assert (attempt.number, attempt.request_id, attempt.error_code) == (1, "req_1", None)
        assert response.timing.first_chunk <= response.timing.total

    async def test_chunks_come_as_they_arrive(self):
        async with (
            Server(streamed(*hello()[:3], end="hang")) as server,
            compatible(server) as provider,
            provider.send_message(HI) as stream,
        ):
            chunks = aiter(stream)
            assert [(await anext(chunks)).type for _ in range(3)][-1] == "content_block_delta"
            assert stream.response.text == "Hel"

    async def test_bytes_that_come_one_by_one(self):
        body = b"".join(sse(*text_events("日本語 🙂")))
        response = await ask(Answer([bytes([byte]) for byte in body]))
        assert response.text == "日本語 🙂"

    async def test_pings_before_the_message(self):
        response = await ask(streamed({"type": "ping"}, {"type": "ping"}, *hello()))
        assert response.text == "Hello"

    @pytest.mark.parametrize("request_", [HI, PLAIN])
    async def test_a_compressed_answer(self, request_):
        body = b"".join(sse(*hello())) if request_ is HI else json.dumps(MESSAGE).encode()
        kind = "text/event-stream" if request_ is HI else "application/json"
        response = await ask(
            Answer(gzip.compress(body), headers={"content-encoding": "gzip", "content-type": kind}), request_
        )
        assert response.text == "Hello"

    async def test_json_where_a_stream_was_asked_for(self):
        assert (await ask(answered(MESSAGE))).to_message() == MESSAGE

    async def test_a_stream_where_json_was_asked_for(self):
        response = await ask(streamed(), PLAIN)
        assert (response.text, response.stop_reason) == ("Hello", "end_turn")

    async def test_a_compressed_stream_where_json_was_asked_for(self):
        body = gzip.compress(b"".join(sse(*hello())))
        assert (await ask(Answer(body, headers={"content-encoding": "gzip"}), PLAIN)).text == "Hello"

    @pytest.mark.parametrize("kind", ["", "Text/Event-Stream; charset=UTF-8"])
    async def test_a_stream_whose_content_type_is_missing_or_written_otherwise(self, kind):
        assert (await ask(streamed(headers={"content-type": kind}))).text == "Hello"

    async def test_a_stream_that_leaves_out_its_last_event_passes_with_a_warning(self, caplog):
        assert (await ask(streamed(*hello()[:-1]))).text == "Hello"
        [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
        assert "without message_stop" in warning.getMessage()

    @pytest.mark.parametrize("end", ["short", "reset"])
    async def test_a_connection_that_breaks_after_the_message_was_whole(self, end):
        assert (await ask(streamed(end=end))).text == "Hello"

    @pytest.mark.parametrize("more", [{"type": "message_start"}, {"type": "error", "error": {"type": "api_error"}}])
    async def test_what_comes_after_the_message_does_not_matter(self, more):
        assert (await ask(streamed(*hello(), more))).text == "Hello"

    async def test_a_body_that_stays_open_after_the_message_is_left(self):
        clock = ManualClock()
        async with Server(streamed(end="hang")) as server, compatible(server, clock=clock) as provider:
            waiting = asyncio.ensure_future(whole(provider.send_message(HI)))
            await server.hanging.wait()
            while not waiting.done():
                await clock.advance(0.5)
                await asyncio.sleep(0)
            assert (await waiting).text == "Hello"

    async def test_the_limits_that_an_answer_tells_are_kept_even_where_it_refuses(self):
        limits = {"anthropic-ratelimit-requests-remaining": "9", "anthropic-fast-input-tokens-limit": "1"}
        none = refused(429, "rate_limit_error", **{"anthropic-ratelimit-requests-remaining": "0"})
        async with Server(streamed(headers=limits), none) as server, compatible(server) as provider:
            assert provider.rate_limits() == {}
            await provider.send_message(HI)
            [told] = provider.rate_limits().values()
            assert told.headers == limits
            with pytest.raises(RateLimitError):
                await provider.send_message(HI)
            [told] = provider.rate_limits().values()
            assert told.headers == {"anthropic-ratelimit-requests-remaining": "0"}


def trickling(request: httpx2.Request) -> Reply:
    """An answer that comes byte by byte, so that no read takes long."""
    return Reply([b" ", 20.0] * 50, headers={"content-type": "application/json"})


def paging(request: httpx2.Request) -> Reply:
    """A page that has another one after it."""
    last = request.url.params.get("after_id", "") + "x"
    page = json.dumps({"data": [], "has_more": True, "last_id": last}).encode()
    return Reply([page], headers={"content-type": "application/json"}, after=1.0)


class TestFaults:
    @pytest.mark.parametrize("request_", [HI, PLAIN])
    @pytest.mark.parametrize(
        ("status", "kind", "cls"),
        [
            (400, "invalid_request_error", InvalidRequestError),
            (401, "authentication_error", AuthenticationError),
            (404, "not_found_error", ModelNotFoundError),
            (429, "rate_limit_error", RateLimitError),
            (500, "api_error", ServerError),
            (529, "overloaded_error", OverloadedError),
        ],
    )
    async def test_a_refusal(self, request_, status, kind, cls):
        error = await fail(refused(status, kind, "for a reason", **{"retry-after": "3"}), request_)
        assert type(error) is cls
        assert error.message.startswith("for a reason")
        assert (error.request_id, error.retry_after, error.partial) == ("req_1", 3, None)
        assert error.context == {"status": status, "type": kind}

    async def test_a_refusal_counts_as_an_attempt(self):
        async with Server(refused(500, "api_error")) as server, compatible(server) as provider:
            stream = provider.send_message(HI)
            with pytest.raises(ServerError):
                await stream
        (attempt,) = stream.response.attempts
        assert (attempt.number, attempt.request_id, attempt.error_code) == (1, "req_1", "server_error")

    @pytest.mark.parametrize("request_", [HI, PLAIN])
    async def test_a_page_of_a_proxy(self, request_):
        error = await fail(Answer(b"<html>Bad Gateway</html>", 502, {"content-type": "text/html"}), request_)
        assert (type(error), error.message) == (ServerError, "the API answered with status 502")

    @pytest.mark.parametrize("request_", [HI, PLAIN])
    @pytest.mark.parametrize("end", ["short", "reset"])
    async def test_a_refusal_that_breaks_off(self, request_, end):
        answer = Answer(b'{"type": "err', 500, {"content-type": "application/json"}, end)
        assert isinstance(await fail(answer, request_), claudeprov.ServiceError)

    @pytest.mark.parametrize("request_", [HI, PLAIN])
    @pytest.mark.parametrize("end", ["short", "reset"])
    async def test_a_connection_that_ends_before_an_answer(self, request_, end):
        error = await fail(Answer(status=0, end=end), request_)
        assert (type(error), error.code, error.partial) == (ConnectionFailedError, "connection_failed", None)
        assert "127.0.0.1" in error.message

    async def test_no_one_listens(self):
        async with Server(streamed()) as server:
            pass
        async with compatible(server) as provider:
            with pytest.raises(ConnectionFailedError) as caught:
                await provider.send_message(HI)
        assert KEY not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("end", ["short", "reset"])
    async def test_a_connection_that_ends_after_the_headers(self, end):
        error = await fail(Answer(end=end, headers={"request-id": "req_1"}))
        assert type(error) is StreamInterruptedError
        assert (error.request_id, error.retryable) == ("req_1", True)

    @pytest.mark.parametrize("request_", [HI, PLAIN])
    async def test_a_plain_answer_that_breaks_off(self, request_):
        answer = Answer(b'{"type": "mess', headers={"content-type": "application/json"}, end="short")
        assert isinstance(await fail(answer, request_), claudeprov.ServiceError)

    @pytest.mark.parametrize(
        ("end", "code"), [("clean", "truncated"), ("short", "stream_interrupted"), ("reset", "stream_interrupted")]
    )
    async def test_a_stream_that_breaks_off_leaves_what_had_come(self, end, code):
        error = await fail(streamed(*hello()[:3], end=end, headers={"request-id": "req_1"}))
        assert (type(error), error.code, error.request_id) == (StreamInterruptedError, code, "req_1")
        assert (error.partial.text, error.partial.stop_reason, error.partial.id) == ("Hel", None, "msg_scripted")
        assert error.partial.request_id == "req_1"

    async def test_a_reader_gets_what_had_come_before_the_break(self):
        async with Server(streamed(*hello()[:3], end="short")) as server, compatible(server) as provider:
            chunks = aiter(provider.send_message(HI))
            for expected in hello()[:3]:
                assert (await anext(chunks)).type == expected["type"]
            with pytest.raises(StreamInterruptedError):
                await anext(chunks)

    async def test_a_stream_of_nothing(self):
        error = await fail(Answer(b""))
        assert (type(error), error.code) == (StreamInterruptedError, "truncated")

    @pytest.mark.parametrize(("before", "partial"), [([], None), ([{"type": "ping"}], None), (hello()[:3], "Hel")])
    async def test_an_error_within_a_stream(self, before, partial):
        overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
        error = await fail(streamed(*before, overloaded, headers={"request-id": "req_1"}))
        assert (type(error), error.message, error.request_id) == (OverloadedError, "busy", "req_1")
        assert (error.partial and error.partial.text) == partial

    async def test_an_error_where_a_message_was_due(self):
        error = await fail(answered({"type": "error", "error": {"type": "api_error", "message": "sorry"}}), PLAIN)
        assert (type(error), error.message) == (ServerError, "sorry")

    @pytest.mark.parametrize("body", [b"event: x\ndata: {\n\n", b"data: <html>\n\n"])
    async def test_an_event_that_is_no_json(self, body):
        error = await fail(Answer([*sse(*hello()[:3]), body], headers={"request-id": "req_1"}))
        assert (type(error), error.code, error.request_id) == (StreamInterruptedError, "invalid_json", "req_1")
        assert error.partial.text == "Hel"

    async def test_an_event_that_has_no_place(self):
        error = await fail(streamed(*hello()[:3], hello()[0], headers={"request-id": "req_1"}))
        assert (error.code, error.request_id, error.partial.text) == ("out_of_grammar", "req_1", "Hel")

    @pytest.mark.parametrize("request_", [HI, PLAIN])
    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("text/html", b"<html>Sign in</html>"),
            ("application/json", b""),
            ("application/json", b"{"),
            ("application/json", b"[]"),
            ("application/json", b"{}"),
            ("application/json", b'{"content": "text"}'),
            ("application/json", b'{"content": ["text"]}'),
            ("application/json", b'{"content": [], "usage": 5}'),
            ("application/json", b'{"content":' + b"[" * 100_000),
        ],
    )
    async def test_an_answer_that_is_no_message(self, request_, kind, body):
        error = await fail(Answer(body, headers={"content-type": kind, "request-id": "req_1"}), request_)
        assert (type(error), error.code, error.request_id) == (InvalidResponseError, "invalid_response", "req_1")

    async def test_a_body_that_is_compressed_wrongly(self):
        error = await fail(Answer(b"no gzip", headers={"content-encoding": "gzip"}))
        assert type(error) is StreamInterruptedError

    async def test_a_stream_that_stands_still(self):
        limit = ["deadline.between_events=0.02"]
        error = await fail(streamed(*hello()[:3], end="hang"), HI, *limit)
        assert (type(error), error.code, error.partial.text) == (CallTimeoutError, "between_events_timeout", "Hel")

    @pytest.mark.parametrize(
        ("request_", "limit", "code"),
        [(HI, "between_events", "between_events_timeout"), (PLAIN, "total", "deadline_exceeded")],
    )
    async def test_a_server_that_does_not_answer(self, request_, limit, code):
        error = await fail(Answer(status=0, end="hang"), request_, f"deadline.{limit}=0.02", "chain=[]")
        assert (type(error), error.code) == (CallTimeoutError, code)

    @pytest.mark.parametrize("answer", [Answer(status=0, end="hang"), streamed({"type": "ping"}, end="hang")])
    async def test_a_stream_whose_first_event_does_not_come(self, answer):
        clock = ManualClock()
        async with Server(answer) as server, compatible(server, "deadline.first_event=30", clock=clock) as provider:
            stream = provider.send_message(HI)
            waiting = asyncio.ensure_future(whole(stream))
            await server.hanging.wait()
            await clock.advance(29)
            assert not waiting.done()
            await clock.advance(1)
            with pytest.raises(CallTimeoutError) as caught:
                await waiting
        assert (caught.value.code, caught.value.context) == ("first_event_timeout", {"first_event": 30})
        assert [attempt.error_code for attempt in stream.response.attempts] == ["first_event_timeout"]

    async def test_a_stream_that_goes_on_past_the_calls_deadline(self):
        clock = ManualClock()
        limits = ["deadline.total=30", "deadline.between_events=60"]
        async with (
            Server(streamed(*hello()[:3], end="hang")) as server,
            compatible(server, *limits, clock=clock) as provider,
            provider.send_message(HI) as stream,
        ):
            waiting = asyncio.ensure_future(whole(stream))
            await server.hanging.wait()
            while not waiting.done():
                await clock.advance(1)
                await asyncio.sleep(0)
            with pytest.raises(CallTimeoutError) as caught:
                await waiting
        assert caught.value.code == "deadline_exceeded"
        assert caught.value.partial.text == "Hel"

    @pytest.mark.parametrize("reply", [trickling, paging])
    async def test_an_endless_answer_to_what_is_no_call_is_bounded_by_the_total_too(self, reply):
        clock = ManualClock()
        transport = FaultyTransport(reply, clock)
        settings = claudeprov.open_provider([*BARE, "deadline.total=30"]).settings
        async with AnthropicClaudeProvider(settings, clock=clock, transport=transport) as provider:
            with pytest.raises(CallTimeoutError) as caught:
                await clock.run(provider.list_models(live=True))
            assert (caught.value.code, caught.value.context) == ("deadline_exceeded", {"total": 30})
            assert (clock.monotonic(), transport.open) == (30, 0)
            health = await clock.run(provider.health_check())
            assert (health.error.code, health.seconds, transport.open) == ("timeout", 5, 0)

    async def test_a_count_that_trickles_is_given_up_at_the_total(self):
        clock = ManualClock()
        transport = FaultyTransport(trickling, clock)
        settings = claudeprov.open_provider([*BARE, "deadline.total=30"]).settings
        async with AnthropicClaudeProvider(settings, clock=clock, transport=transport) as provider:
            assert (await clock.run(provider.count_tokens(HI))).source == "estimate"
        assert (clock.monotonic(), transport.open) == (30, 0)

    async def test_the_first_event_is_all_that_its_limit_is_about(self):
        clock = ManualClock()
        async with (
            Server(streamed(*hello()[:3], end="hang")) as server,
            compatible(server, "deadline.first_event=30", clock=clock) as provider,
            provider.send_message(HI) as stream,
        ):
            await clock.advance(31)
            assert (await anext(aiter(stream))).type == "message_start"


class Paced(httpx2.AsyncBaseTransport):
    """Answers with a stream that comes in pieces; a number among them is a silence of so many seconds of *clock*."""

    def __init__(self, clock: Clock, *pieces: bytes | float | Exception) -> None:
        self._clock = clock
        self._pieces = pieces

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=_Pieces(self))


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, paced: Paced) -> None:
        self._paced = paced

    async def __aiter__(self):
        for piece in self._paced._pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, bytes):
                yield piece
            else:
                await self._paced._clock.sleep(piece)


class TestLimits:
    """Each limit of time has a code of its own, and says how long it was."""

    @staticmethod
    async def read(*pieces, clock=None, request=HI, overrides=()):
        """What comes of a stream of *pieces*: its text, or its error, and after how long."""
        clock = clock or ManualClock()
        settings = claudeprov.open_provider([*BARE, *overrides]).settings
        transport = Paced(clock, *pieces) if pieces else None
        async with AnthropicClaudeProvider(settings, clock=clock, transport=transport) as provider:
            try:
                answer = (await clock.run(whole(provider.send_message(request)))).text
            except ProviderError as error:
                answer = error
        return answer, clock.monotonic()

    async def test_the_first_event(self):
        overrides = ["deadline.first_event=40", "deadline.between_events=null"]
        error, seconds = await self.read(*sse({"type": "ping"}), 1000.0, overrides=overrides)
        assert type(error) is CallTimeoutError
        assert (error.code, error.context) == ("first_event_timeout", {"first_event": 40})
        assert seconds == 40

    async def test_between_events(self):
        error, seconds = await self.read(*sse(*hello()[:3]), 1000.0, overrides=["deadline.between_events=30"])
        assert (error.code, error.context) == ("between_events_timeout", {"between_events": 30})
        assert (seconds, error.partial.text) == (30, "Hel")

    async def test_nothing_but_pings(self):
        pings = [10.0, *sse({"type": "ping"})] * 50
        error, seconds = await self.read(*sse(*hello()[:3]), *pings, overrides=["deadline.pings=60"])
        assert (error.code, error.context) == ("ping_timeout", {"pings": 60})
        assert (seconds, error.partial.text) == (10 + 60, "Hel")

    async def test_nothing_but_pings_before_the_first_event(self):
        pings = [10.0, *sse({"type": "ping"})] * 50
        error, seconds = await self.read(*pings, overrides=["deadline.pings=60"])
        assert (error.code, seconds) == ("ping_timeout", 10 + 60)

    async def test_an_event_that_trickles_in_is_none_until_it_is_whole(self):
        trickle = [piece for byte in b"event: content_block_delta" for piece in (10.0, bytes([byte]))]
        error, seconds = await self.read(*sse(*hello()[:3]), *trickle, overrides=["deadline.pings=60"])
        assert (error.code, seconds) == ("ping_timeout", 10 + 60)

    async def test_pings_between_events_are_no_stretch_of_them(self):
        start, block, *deltas, stop, delta, end = sse(*text_events(*"abcdefgh"))
        [ping] = sse({"type": "ping"})
        slow = [piece for event in deltas for piece in (20.0, ping, 20.0, ping, 10.0, ping + event)]
        text, seconds = await self.read(start, block, *slow, stop, delta, end, overrides=["deadline.pings=60"])
        assert (text, seconds) == ("abcdefgh", 8 * 50)

    async def test_pings_may_be_unlimited(self):
        pings = [100.0, *sse({"type": "ping"})] * 50
        overrides = ["deadline.pings=null", "deadline.total=null"]
        start, *rest = sse(*hello())
        text, seconds = await self.read(start, *pings, *rest, overrides=overrides)
        assert (text, seconds) == ("Hello", 5000)

    async def test_the_whole_call(self):
        pieces = [piece for event in sse(*text_events(*"abcdefgh")) for piece in (20.0, event)]
        error, seconds = await self.read(*pieces, overrides=["deadline.total=100"])
        assert (error.code, error.context) == ("deadline_exceeded", {"total": 100})
        assert (seconds, error.partial.text) == (100, "ab")

    @pytest.mark.parametrize(
        ("raised", "code", "request_"),
        [
            (httpx2.ConnectTimeout("slow"), "connect_timeout", HI),
            (httpx2.ReadTimeout("slow"), "between_events_timeout", HI),
            (httpx2.ReadTimeout("slow"), "deadline_exceeded", PLAIN),
            (httpx2.WriteTimeout("slow"), "write_timeout", HI),
            (httpx2.PoolTimeout("slow"), "pool_timeout", HI),
            (httpx2.TimeoutException("slow"), "timeout", HI),
        ],
    )
    async def test_those_of_the_http_layer(self, raised, code, request_):
        async def refuse(request):
            raise raised

        settings = claudeprov.open_provider(BARE).settings
        async with AnthropicClaudeProvider(settings, transport=httpx2.MockTransport(refuse)) as provider:
            with pytest.raises(CallTimeoutError) as caught:
                await provider.send_message(request_)
        assert caught.value.code == code

    @pytest.mark.parametrize("raised", [TimeoutError(110, "timed out"), ConnectionResetError("reset"), OSError("odd")])
    async def test_a_connection_that_the_system_gives_up_is_no_limit_of_ours_and_never_escapes_raw(self, raised):
        error, _ = await self.read(*sse(*hello()[:3]), raised)
        assert (type(error), error.code, error.partial.text) == (StreamInterruptedError, "stream_interrupted", "Hel")
        error, _ = await self.read(raised)
        assert (type(error), error.code) == (StreamInterruptedError, "stream_interrupted")


class TestPlatforms:
    async def test_bedrock(self, monkeypatch):
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", KEY)
        async with Server(streamed()) as server:
            overrides = ["endpoint=bedrock", "endpoint.region=us-east-1", f"endpoint.base_url={server.url}/anthropic"]
            async with claudeprov.open_provider([*BARE, *overrides]) as provider:
                assert (await provider.send_message(HI)).text == "Hello"
        (asked,) = server.asked
        assert (asked.path, asked.headers["authorization"]) == ("/anthropic/v1/messages", f"Bearer {KEY}")
        assert asked.body["model"].startswith("anthropic.claude-haiku-4-5")

    async def test_bedrock_signs_with_aws_credentials(self, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMADEUP")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
        async with Server(streamed()) as server:
            overrides = ["endpoint=bedrock", "endpoint.region=us-east-1", f"endpoint.base_url={server.url}/anthropic"]
            async with claudeprov.open_provider([*BARE, *overrides]) as provider:
                assert (await provider.send_message(HI)).text == "Hello"
        authorization = server.asked[0].headers["authorization"]
        assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIAMADEUP/")
        assert "/us-east-1/bedrock-mantle/aws4_request" in authorization

    @pytest.mark.parametrize(("request_", "verb"), [(HI, "streamRawPredict"), (PLAIN, "rawPredict")])
    async def test_vertex(self, request_, verb, monkeypatch, google):
        async with Server(streamed() if request_ is HI else answered(MESSAGE)) as server:
            overrides = ["endpoint=vertex", "endpoint.region=europe-west1", "endpoint.project_id=mine"]
            overrides += [f"endpoint.base_url={server.url}/v1"]
            async with claudeprov.open_provider([*BARE, *overrides]) as provider:
                assert (await provider.send_message(request_)).text == "Hello"
        (asked,) = server.asked
        model = "claude-haiku-4-5@20251001"
        assert asked.path == f"/v1/projects/mine/locations/europe-west1/publishers/anthropic/models/{model}:{verb}"
        assert asked.headers["authorization"] == "Bearer made-up-token"
        assert asked.body["anthropic_version"]
        assert "model" not in asked.body

    async def test_vertex_takes_its_region_and_project_from_the_environment(self, monkeypatch, google):
        monkeypatch.setenv("CLOUD_ML_REGION", "us-east5")
        async with Server(streamed()) as server:
            overrides = ["endpoint=vertex", f"endpoint.base_url={server.url}/v1"]
            async with claudeprov.open_provider([*BARE, *overrides]) as provider:
                await provider.send_message(HI)
        assert server.asked[0].path.startswith("/v1/projects/from-credentials/locations/us-east5/")

    async def test_foundry(self, monkeypatch):
        monkeypatch.setenv("ANTHROPIC_FOUNDRY_API_KEY", KEY)
        async with Server(streamed()) as server:
            overrides = ["endpoint=foundry", f"endpoint.base_url={server.url}/anthropic"]
            async with claudeprov.open_provider([*BARE, *overrides]) as provider:
                assert (await provider.send_message(HI)).text == "Hello"
        (asked,) = server.asked
        assert (asked.path, asked.headers["x-api-key"]) == ("/anthropic/v1/messages", KEY)
        assert "authorization" not in asked.headers

    @pytest.mark.parametrize(
        ("overrides", "url"),
        [
            (["endpoint=anthropic"], "https://api.anthropic.com/v1/messages"),
            (
                ["endpoint=bedrock", "endpoint.region=eu-west-1"],
                "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages",
            ),
            (
                ["endpoint=vertex", "endpoint.project_id=p"],
                "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/anthropic/models/"
                "claude-haiku-4-5@20251001:streamRawPredict",
            ),
            (["endpoint=foundry", "endpoint.resource=r"], "https://r.services.ai.azure.com/anthropic/v1/messages"),
        ],
    )
    async def test_each_has_an_address_of_its_own(self, overrides, url):
        requests = []

        async def answer(request):
            requests.append(request)
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"".join(sse(*hello())))

        settings = claudeprov.open_provider([*BARE, *overrides]).settings
        provider = AnthropicClaudeProvider(settings, transport=httpx2.MockTransport(answer))
        async with provider:
            await provider.send_message(HI)
        assert str(requests[0].url).replace("%40", "@") == url

    @pytest.mark.parametrize("kind", ["anthropic", "bedrock", "vertex", "foundry", "compatible"])
    async def test_a_replay_needs_no_credentials_no_extra_and_no_address(self, kind, recorded, monkeypatch):
        for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        for extra in ("boto3", "botocore", "google.auth"):
            monkeypatch.setitem(sys.modules, extra, None)
        path = recorded(kind)
        async with claudeprov.open_provider(
            [f"endpoint={kind}", "cassette=replay", f"cassette.path={path}"]
        ) as provider:
            assert (await provider.send_message(HI)).text == "Hello"


@pytest.fixture
def recorded(tmp_path):
    """Writes a cassette of one request to a kind of endpoint."""

    def write(kind: str):
        body, path = HI | {"stream": True}, "/v1/messages"
        if kind == "bedrock":
            body["model"] = "anthropic.claude-haiku-4-5"
        if kind == "vertex":
            model = body.pop("model")
            body["anthropic_version"] = "2026-10-21"
            path = f"/v1/projects/p/locations/l/publishers/anthropic/models/{model}@20251001:streamRawPredict"
        request = {"method": "POST", "uri": f"https://example.com{path}", "headers": {}, "body": json.dumps(body)}
        stream = b"".join(sse(*hello())).decode()
        response = {
            "status": {"code": 200},
            "headers": {"content-type": ["text/event-stream"]},
            "body": {"string": stream},
        }
        file = tmp_path / "recorded.yaml"
        file.write_text(json.dumps({"version": 1, "interactions": [{"request": request, "response": response}]}))
        return file

    return write


@pytest.fixture
def google(monkeypatch):
    """Google's default credentials, made up."""
    import google.auth
    from google.auth.credentials import Credentials

    class MadeUp(Credentials):
        def refresh(self, request):
            self.token = "made-up-token"

    monkeypatch.setattr(google.auth, "default", lambda *args, **kwargs: (MadeUp(), "from-credentials"))


class TestCredentials:
    @pytest.fixture(autouse=True)
    def no_key(self, monkeypatch):
        monkeypatch.delenv("ANTHROPIC_API_KEY")

    @pytest.mark.parametrize(
        ("overrides", "advice"),
        [
            (["endpoint=anthropic"], "ANTHROPIC_API_KEY"),
            (["endpoint=compatible", "endpoint.base_url=http://127.0.0.1:9"], "ANTHROPIC_API_KEY"),
            (["endpoint=bedrock", "endpoint.region=us-east-1"], "AWS_BEARER_TOKEN_BEDROCK"),
            (["endpoint=vertex"], "gcloud auth application-default login"),
            (["endpoint=foundry", "endpoint.resource=r"], "ANTHROPIC_FOUNDRY_API_KEY"),
        ],
    )
    async def test_without_any_a_provider_does_not_open(self, overrides, advice):
        provider = claudeprov.open_provider(["cassette=live", *overrides])
        with pytest.raises(AuthenticationError, match=advice):
            await provider.initialize()
        gc.collect()

    @pytest.mark.parametrize(("kind", "module"), [("bedrock", "boto3"), ("vertex", "google.auth")])
    async def test_without_its_extra_a_platform_says_which(self, kind, module, monkeypatch):
        monkeypatch.setitem(sys.modules, module, None)
        provider = claudeprov.open_provider(["cassette=live", f"endpoint={kind}"])
        with pytest.raises(ConfigurationError, match=rf"pip install 'claudeprov\[{kind}\]'"):
            await provider.initialize()

    async def test_bedrock_with_a_key_needs_no_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "boto3", None)
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", KEY)
        async with claudeprov.open_provider(["cassette=live", "endpoint=bedrock", "endpoint.region=us-east-1"]):
            pass

    @pytest.mark.parametrize(
        ("overrides", "missing"),
        [
            (["endpoint=bedrock"], "region"),
            (["endpoint=foundry"], "resource"),
            (["endpoint=compatible"], "base_url"),
        ],
    )
    async def test_an_endpoint_that_lacks_its_place_says_so(self, overrides, missing, monkeypatch):
        for name in ("ANTHROPIC_API_KEY", "AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_FOUNDRY_API_KEY"):
            monkeypatch.setenv(name, KEY)
        with pytest.raises(ConfigurationError, match=missing) as caught:
            await claudeprov.open_provider(["cassette=live", *overrides]).initialize()
        assert KEY not in "".join(traceback.format_exception(caught.value))

    async def test_vertex_without_a_project_says_so(self, google, monkeypatch):
        import google.auth

        credentials, _ = google.auth.default()
        monkeypatch.setattr(google.auth, "default", lambda *args, **kwargs: (credentials, None))
        with pytest.raises(ConfigurationError, match="project_id"):
            await claudeprov.open_provider(["cassette=live", "endpoint=vertex"]).initialize()

    async def test_a_profile_that_is_asked_for_and_broken_is_told(self, monkeypatch):
        monkeypatch.setenv("ANTHROPIC_PROFILE", "nobody")
        for mode in ("live", "auto"):
            with pytest.raises(AuthenticationError, match="nobody"):
                await claudeprov.open_provider([f"cassette={mode}"]).initialize()

    async def test_credentials_that_a_platform_refuses_to_refresh_are_told(self, google, monkeypatch):
        import google.auth
        from google.auth.exceptions import RefreshError

        credentials, _ = google.auth.default()

        def refuse(request):
            raise RefreshError("log in again")

        credentials.refresh = refuse
        monkeypatch.setattr(google.auth, "default", lambda *args, **kwargs: (credentials, "mine"))
        async with claudeprov.open_provider([*BARE, "endpoint=vertex"]) as provider:
            with pytest.raises(AuthenticationError, match="log in again"):
                await provider.send_message(HI)

    async def test_a_token_in_place_of_a_key(self, monkeypatch):
        monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "made-up-token")
        async with Server(streamed()) as server, compatible(server) as provider:
            await provider.send_message(HI)
        assert server.asked[0].headers["authorization"] == "Bearer made-up-token"

    @pytest.fixture
    def federation(self, monkeypatch):
        """A machine whose short-lived tokens the endpoint itself gives out."""
        monkeypatch.setenv("ANTHROPIC_FEDERATION_RULE_ID", "fdrl_made_up")
        monkeypatch.setenv("ANTHROPIC_ORGANIZATION_ID", "made-up")
        monkeypatch.setenv("ANTHROPIC_IDENTITY_TOKEN", "made-up")

    @staticmethod
    def token(name):
        return answered({"access_token": name, "token_type": "Bearer", "expires_in": 3600})

    async def test_a_short_lived_token_that_is_refused_is_renewed(self, federation):
        answers = [self.token("old"), refused(401, "authentication_error"), self.token("new"), streamed()]
        async with Server(*answers) as server, compatible(server, "retry=standard", "retry.base=0") as provider:
            assert (await provider.send_message(HI)).text == "Hello"
        sent = [asked.headers.get("authorization") for asked in server.asked if asked.path == "/v1/messages"]
        assert sent == ["Bearer old", "Bearer new"]

    async def test_one_that_is_refused_when_it_is_new_is_refused(self, federation):
        refusal = refused(401, "authentication_error")
        answers = [self.token("old"), refusal, self.token("new"), refusal]
        async with Server(*answers) as server, compatible(server, "retry=standard", "retry.base=0") as provider:
            with pytest.raises(AuthenticationError) as caught:
                await provider.send_message(HI)
        assert caught.value.context["attempts"] == 2

    @pytest.mark.parametrize("mode", ["live", "auto"])
    @pytest.mark.parametrize(
        ("override", "name"),
        [
            ("endpoint=compatible", "ANTHROPIC_API_KEY"),
            ("endpoint=anthropic", "ANTHROPIC_AUTH_TOKEN"),
            ("endpoint=bedrock", "AWS_BEARER_TOKEN_BEDROCK"),
            ("endpoint=foundry", "ANTHROPIC_FOUNDRY_API_KEY"),
        ],
    )
    @pytest.mark.parametrize("unfit", [f"{OPAQUE}\n", f"{OPAQUE}\r\nX: y", f"\x1b{OPAQUE}"])
    async def test_a_key_that_no_header_can_hold_is_refused_when_the_provider_opens(
        self, override, name, unfit, mode, monkeypatch
    ):
        monkeypatch.setenv(name, unfit)
        async with Server() as server:
            url = f"endpoint.base_url={server.url}"
            provider = claudeprov.open_provider([f"cassette={mode}", "telemetry=off", override, url])
            with pytest.raises(AuthenticationError, match=f"{name}.*set it to the key alone") as caught:
                await provider.initialize()
        assert not caught.value.retryable
        assert OPAQUE not in "".join(traceback.format_exception(caught.value))
        assert server.asked == []

    async def test_a_key_of_letters_from_anywhere_is_sent(self, monkeypatch):
        monkeypatch.setenv("ANTHROPIC_API_KEY", "schlüssel-geheim")
        assert (await ask(streamed())).text == "Hello"

    @pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
    async def test_a_key_that_is_refused_is_not_tried_again(self, name, monkeypatch):
        monkeypatch.setenv(name, "made-up")
        async with (
            Server(refused(401, "authentication_error")) as server,
            compatible(server, "retry=standard", "retry.base=0") as provider,
        ):
            with pytest.raises(AuthenticationError):
                await provider.send_message(HI)
        assert len(server.asked) == 1


class Deltas(httpx2.AsyncByteStream):
    """A stream of many deltas, made as it is read."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def __aiter__(self):
        start, block, delta, *end = sse(*text_events("x"))
        yield start + block
        for _ in range(self._count // 100):
            yield delta * 100
        yield b"".join(end)


async def test_a_long_stream_takes_no_more_memory_than_its_text():
    async def answer(request):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Deltas(100_000))

    seen = 0
    settings = claudeprov.open_provider(BARE).settings
    async with (
        AnthropicClaudeProvider(settings, transport=httpx2.MockTransport(answer)) as provider,
        provider.send_message(HI) as stream,
    ):
        chunks = aiter(stream)
        await anext(chunks)
        tracemalloc.start()
        try:
            async for _ in chunks:
                seen += 1
            kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (seen, stream.response.text) == (100_004, "x" * 100_000)
    # A text that is being written takes four bytes a character, and some more to grow.
    assert kept < 600_000
    assert peak < 1_000_000


class TestOddAnswers:
    async def test_closing_the_provider_wakes_who_reads(self):
        async with Server(streamed(*hello()[:3], end="hang")) as server:
            provider = compatible(server)
            await provider.initialize()
            stream = provider.send_message(HI)
            reader = asyncio.create_task(drain(stream))
            await server.hanging.wait()
            await provider.dispose()
            await reader
        assert not stream.active

    async def test_a_deadline_holds_on_a_transport_that_never_times_out(self):
        clock, silent = ManualClock(), asyncio.Event()

        class Silent(httpx2.AsyncByteStream):
            async def __aiter__(self):
                yield b"".join(sse(*hello()[:3]))
                silent.set()
                await clock.sleep(10_000)

        class Transport(httpx2.AsyncBaseTransport):
            async def handle_async_request(self, request):
                return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Silent())

        for override, code in (
            ("deadline.total=50", "deadline_exceeded"),
            ("deadline.between_events=30", "between_events_timeout"),
        ):
            settings = claudeprov.open_provider([*BARE, override]).settings
            async with AnthropicClaudeProvider(settings, clock=clock, transport=Transport()) as provider:
                answer = asyncio.create_task(whole(provider.send_message(HI)))
                await silent.wait()
                silent.clear()
                await clock.advance(60)
                with pytest.raises(CallTimeoutError) as caught:
                    await answer
            assert caught.value.code == code
            assert caught.value.partial.text == "Hel"

    @pytest.mark.parametrize(
        ("body", "text"),
        [(b'"\\ud83d"', "\ud83d"), (b'"\xff"', "\ufffd"), (b'"a", "new": NaN', "a")],
    )
    async def test_a_plain_answer_is_read_as_leniently_as_a_stream(self, body, text):
        raw = b'{"content": [{"type": "text", "text": ' + body + b'}], "stop_reason": "end_turn"}'
        answer = Answer(raw, headers={"content-type": "application/json"})
        async with Server(answer) as server, compatible(server) as provider:
            assert (await provider.send_message(PLAIN)).text == text

    async def test_a_body_that_goes_on_after_the_message_does_not_count_as_its_time(self):
        clock = ManualClock()
        async with Server(streamed(end="hang")) as server, compatible(server, clock=clock) as provider:
            answer = asyncio.create_task(whole(provider.send_message(HI)))
            await server.hanging.wait()
            while not answer.done():
                await clock.advance(0.1)
        assert (await answer).timing.total < 0.1

    async def test_a_key_that_a_gateway_echoes_is_masked(self, monkeypatch):
        monkeypatch.setenv("ANTHROPIC_API_KEY", "a plain word")
        answer = refused(401, "authentication_error", "Bearer a plain word is wrong, as is sk-ant-api03-made-up")
        async with Server(answer) as server, compatible(server) as provider:
            with pytest.raises(AuthenticationError) as caught:
                await provider.send_message(HI)
        assert "plain word" not in str(caught.value)
        assert "made-up" not in caught.value.message

    @pytest.mark.parametrize("status", [401, 200])
    @pytest.mark.parametrize("request_", [HI, PLAIN])
    async def test_a_key_that_looks_like_none_is_masked_in_all_that_an_error_shows(self, request_, status, monkeypatch):
        monkeypatch.setenv("ANTHROPIC_API_KEY", OPAQUE)
        details = {"error_code": OPAQUE, "sent": {"authorization": [f"Bearer {OPAQUE}"]}}
        body = {"type": "error", "request_id": OPAQUE}
        body["error"] = {"type": OPAQUE, "message": f"bad {OPAQUE}", "details": details}
        kind = "application/json" if request_ is PLAIN or status == 401 else "text/event-stream"
        content = json.dumps(body).encode() if kind == "application/json" else sse(body)
        answer = Answer(content, status, {"content-type": kind, "request-id": OPAQUE})
        async with Server(answer) as server, compatible(server) as provider:
            with pytest.raises(ProviderError) as caught:
                await provider.send_message(request_)
        error = caught.value
        shown = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
        if cause := error.__cause__:
            shown += [repr(cause), repr(vars(cause))]
        assert OPAQUE not in "".join(shown)
        assert OPAQUE.encode() not in pickle.dumps(error)
        assert MASK in error.message

    async def test_an_id_that_is_a_key_is_masked_in_a_response_too(self, monkeypatch):
        monkeypatch.setenv("ANTHROPIC_API_KEY", OPAQUE)
        assert (await ask(streamed(headers={"request-id": OPAQUE}))).request_id == MASK

    @pytest.mark.parametrize(
        "answer",
        [
            Answer(b"\xff", 400, {"content-type": "text/html; charset=hex"}),
            answered(MESSAGE | {"content": [{"type": "text", "text": 5}]}),
            answered(MESSAGE | {"usage": {"input_tokens": "ten"}}),
        ],
    )
    async def test_no_answer_is_too_odd_for_an_error_of_ours(self, answer):
        async with Server(answer) as server, compatible(server) as provider:
            with pytest.raises(ProviderError):
                await provider.send_message(PLAIN)


async def drain(stream):
    async for _ in stream:
        pass
