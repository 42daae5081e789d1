"""The spans of calls and of their attempts, as OpenTelemetry's own SDK hands them to an exporter."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import (
    error_attributes,
    gen_ai_attributes,
    http_attributes,
    server_attributes,
)
from opentelemetry.trace import SpanKind, StatusCode

import claudeprov
from claudeprov.errors import (
    BudgetExceededError,
    CircuitOpenError,
    InvalidRequestError,
    OverloadedError,
    ProviderError,
    ServerError,
    StreamInterruptedError,
)
from claudeprov.middleware.telemetry import Telemetry
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.telemetry import trace as traces
from claudeprov.telemetry.messages import content_of
from claudeprov.telemetry.trace import Spans
from claudeprov.testing import ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle
from tests.server import Answer, Server
from tests.telemetry.desk import (
    CLOSE,
    DELTA,
    HI,
    MODEL,
    OPEN,
    OTHER,
    START,
    STOP,
    Desk,
    attributes,
    collect,
    identity,
    parent,
    text,
)
from tests.test_anthropic import sse
from tests.tools.answers import answer, call

DOCUMENT = Path(__file__).parents[2] / "docs" / "telemetry.md"


async def test_the_layer_keeps_the_contract_with_it() -> None:
    await check_middleware(lambda: Telemetry([Spans(TracerProvider(), TelemetrySettings())]))


class TestCall:
    async def test_a_call_is_one_client_span_by_the_conventions(self) -> None:
        desk = Desk()
        await desk.ask([2, START, OPEN, 3, text("Hello"), CLOSE, DELTA, STOP], temperature=1, top_k=5, top_p=0.5)
        [span] = [span for span in desk.finished if span.kind is SpanKind.CLIENT]
        assert span.name == f"chat {MODEL}"
        assert span.status.status_code is StatusCode.UNSET
        assert (desk.at(span.start_time), desk.at(span.end_time)) == pytest.approx((0, 5))
        told = dict(attributes(span))
        assert told.pop("claudeprov.call.id").startswith("call_")
        assert told.pop("claudeprov.cost_usd") == pytest.approx(6e-06)
        assert told == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": MODEL,
            "gen_ai.request.max_tokens": 100,
            "gen_ai.request.stream": True,
            "gen_ai.request.temperature": 1.0,
            "gen_ai.request.top_k": 5.0,
            "gen_ai.request.top_p": 0.5,
            "gen_ai.response.id": "msg_scripted",
            "gen_ai.response.model": MODEL,
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.response.time_to_first_chunk": 2.0,
            "gen_ai.usage.input_tokens": 1,
            "gen_ai.usage.output_tokens": 1,
            "claudeprov.end": "read",
            "claudeprov.stop_reason": "end_turn",
            "claudeprov.route": "anthropic/haiku-4-5",
            "claudeprov.attempts": 1,
            "claudeprov.queue": 0.0,
            "claudeprov.backoff": 0.0,
        }

    async def test_input_tokens_are_all_of_the_prompt_the_cached_included(self) -> None:
        usage = {
            "input_tokens": 3,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 100,
            "output_tokens": 0,
        }
        desk = Desk()
        await desk.ask([{**START, "message": {**START["message"], "usage": usage}}, DELTA, STOP])
        told = attributes(desk.call)
        assert told["gen_ai.usage.input_tokens"] == 123
        assert told["gen_ai.usage.cache_creation.input_tokens"] == 20
        assert told["gen_ai.usage.cache_read.input_tokens"] == 100

    async def test_the_first_chunk_is_an_event_at_its_time(self) -> None:
        desk = Desk()
        await desk.ask([2, START, 3, DELTA, STOP])
        [event] = desk.call.events
        assert (event.name, desk.at(event.timestamp)) == ("claudeprov.first_chunk", pytest.approx(2))

    async def test_what_the_call_is_called_by_is_on_it(self) -> None:
        desk = Desk()
        await desk.ask("Hello", tags={"run": "r1", "task": 7, "parts": ["a", 1], "odd": {"a": 1}, "none": None})
        told = {name: value for name, value in attributes(desk.call).items() if name.startswith("claudeprov.tag.")}
        assert told == {
            "claudeprov.tag.run": "r1",
            "claudeprov.tag.task": 7,
            "claudeprov.tag.parts": ("a", "1"),
            "claudeprov.tag.odd": "{'a': 1}",
        }

    async def test_a_secret_in_a_tag_or_an_id_is_masked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        key, password = "sk-" + "ant-api03-" + "x" * 40, "hunter-" + "x" * 9
        monkeypatch.setenv("PGPASSWORD", password)
        desk = Desk()
        with pytest.raises(ServerError):
            await desk.ask(ServerError("500", request_id=key), tags={"user": key, "db": [password]})
        told = "".join(span.to_json() for span in desk.finished)
        assert (key in told, password in told, "**********" in told) == (False, False, True)

    async def test_an_answer_in_one_piece_has_no_time_to_a_first_chunk(self) -> None:
        desk = Desk()
        await desk.ask("Hello", stream=False)
        told = attributes(desk.call)
        assert "gen_ai.request.stream" not in told
        assert "gen_ai.response.time_to_first_chunk" not in told

    async def test_an_answer_of_a_shape_is_asked_for_as_json(self) -> None:
        desk = Desk()
        await desk.ask("{}", output_config={"format": {"type": "json_schema", "schema": {}}})
        assert attributes(desk.call)["gen_ai.output.type"] == "json"

    async def test_it_is_within_the_users_own_span_which_is_current_again_while_the_answer_is_read(self) -> None:
        desk = Desk()
        tracer = desk.tracers.get_tracer("user")
        with tracer.start_as_current_span("mine") as mine:
            async for _ in desk.provider("Hello").send_message(HI):
                assert trace.get_current_span() is mine
        assert parent(desk.call) == mine.get_span_context().span_id

    async def test_it_is_current_while_the_stream_is_opened_and_the_attempt_while_that_is_made(self) -> None:
        desk, seen = Desk(), []

        class Layer:
            async def __call__(self, call: Any, call_next: Any) -> Any:
                seen.append(trace.get_current_span())
                call.around.append(lambda _: nullcontext(seen.append(trace.get_current_span())))
                return await call_next(call)

        provider = ScriptedProvider("Hello", layers=[*desk._layers, Layer()], clock=desk.clock)
        await provider.send_message(HI)
        assert [span.name for span in seen] == [f"chat {MODEL}", "claudeprov.attempt"]

    async def test_calls_that_interleave_keep_their_own_attempts(self) -> None:
        desk = Desk()
        provider = desk.provider([1, *text_events("a")])
        await desk.clock.run(asyncio.gather(*(collect(provider.send_message(HI)) for _ in range(2))))
        one, other = desk.named("chat")
        assert {parent(span) for span in desk.attempts} == {identity(one), identity(other)}
        assert one.context.trace_id != other.context.trace_id

    async def test_a_replay_says_that_it_is_one(self) -> None:
        desk = Desk(replay=True)
        await desk.ask("Hello")
        assert attributes(desk.call)["claudeprov.replay"] is True

    async def test_one_that_is_sampled_out_is_not_exported_and_keeps_nothing(self) -> None:
        desk = Desk(tracers=TracerProvider(sampler=ALWAYS_OFF))
        await desk.ask("Hello")
        assert desk.finished == []
        assert desk.spans._calls == {}


class TestOutcome:
    async def test_a_call_that_failed_before_the_first_chunk_is_an_error_by_its_code(self) -> None:
        desk = Desk()
        with pytest.raises(ServerError):
            await desk.ask(ServerError("500 sk-ant-no-secret"))
        span = desk.call
        assert span.status.status_code is StatusCode.ERROR
        assert not span.status.description
        assert (attributes(span)["error.type"], attributes(span)["claudeprov.end"]) == ("server_error", "failed")
        assert span.events == ()
        [attempt] = desk.attempts
        assert attributes(attempt)["error.type"] == "server_error"
        assert attempt.status.status_code is StatusCode.ERROR

    async def test_a_stream_that_broke_is_an_error_with_what_it_used_so_far(self) -> None:
        desk = Desk()
        with pytest.raises(StreamInterruptedError):
            await desk.ask([START, OPEN, text("Hel"), StreamInterruptedError("broken off", code="truncated")])
        told = attributes(desk.call)
        assert told["error.type"] == "truncated"
        assert told["gen_ai.usage.input_tokens"] == 1
        assert "gen_ai.usage.output_tokens" not in told
        [attempt] = desk.attempts
        assert attempt.status.status_code is StatusCode.UNSET

    async def test_a_bug_of_a_layer_is_an_error_by_the_name_of_its_class(self) -> None:
        desk = Desk()
        with pytest.raises(ZeroDivisionError):
            await desk.ask(ZeroDivisionError())
        assert attributes(desk.call)["error.type"] == "ZeroDivisionError"

    async def test_a_call_that_is_cancelled_while_it_is_opened_is_no_error_and_neither_is_its_attempt(self) -> None:
        desk = Desk()
        task = asyncio.ensure_future(collect(desk.provider([9, *text_events("a")]).send_message(HI)))
        await desk.clock.advance(1)
        task.cancel()
        await settle()
        [attempt] = desk.attempts
        assert {span.status.status_code for span in desk.finished} == {StatusCode.UNSET}
        assert attributes(desk.call)["claudeprov.end"] == "cancelled"
        assert "error.type" not in attributes(desk.call)
        assert "error.type" not in attributes(attempt)
        assert desk.at(desk.call.end_time) == desk.at(attempt.end_time) == pytest.approx(1)

    async def test_a_stream_that_is_left_early_is_no_error(self) -> None:
        desk = Desk()
        async with desk.provider("Hello").send_message(HI) as stream:
            async for _ in stream:
                break
        assert attributes(desk.call)["claudeprov.end"] == "cancelled"
        assert desk.call.status.status_code is StatusCode.UNSET

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    async def test_a_stream_that_is_abandoned_is_no_error(self) -> None:
        desk = Desk()
        async for _ in desk.provider("Hello").send_message(HI):
            break
        gc.collect()
        await settle()
        assert attributes(desk.call)["claudeprov.end"] == "abandoned"
        assert desk.call.status.status_code is StatusCode.UNSET
        assert desk.spans._calls == {}

    async def test_a_refusal_of_the_model_is_no_error(self) -> None:
        desk = Desk()
        await desk.ask(text_events("No.", model=MODEL, stop_reason="refusal"))
        assert desk.call.status.status_code is StatusCode.UNSET
        assert attributes(desk.call)["gen_ai.response.finish_reasons"] == ("refusal",)

    @pytest.mark.parametrize(
        ("overrides", "request_", "error"),
        [
            (["budget=standard", "budget.run.tokens=1"], {}, BudgetExceededError),
            (["preflight=error"], {"max_tokens": 10**9}, InvalidRequestError),
        ],
    )
    async def test_a_call_that_is_refused_before_any_attempt_has_none(
        self, overrides: list[str], request_: dict[str, Any], error: type[ProviderError]
    ) -> None:
        desk = Desk(*overrides)
        with pytest.raises(error) as raised:
            await desk.ask("Hello", **request_)
        assert desk.attempts == []
        assert attributes(desk.call)["error.type"] == raised.value.code
        assert attributes(desk.call)["claudeprov.attempts"] == 0

    async def test_the_breakers_change_is_an_event_of_the_calls_on_its_route_and_what_it_refuses_has_no_attempt(
        self,
    ) -> None:
        desk = Desk("breaker=standard", "breaker.failures=1")
        with pytest.raises(ServerError):
            await desk.ask(ServerError("500"))
        [event] = desk.call.events
        assert event.name == "claudeprov.breaker.changed"
        assert event.attributes is not None
        assert event.attributes["claudeprov.to"] == "open"
        with pytest.raises(CircuitOpenError):
            await desk.ask("Hello")
        refused = desk.named("chat")[1]
        assert attributes(refused)["error.type"] == "circuit_open"
        assert len(desk.attempts) == 1


class TestAttempts:
    async def test_each_attempt_is_a_child_with_its_time_and_error_and_the_wait_between_them_an_event(self) -> None:
        desk = Desk("retry=standard")
        await desk.ask([1, OverloadedError("529", request_id="req_1")], [2, *text_events("Hello")])
        first, second = desk.attempts
        assert {parent(first), parent(second)} == {identity(desk.call)}
        assert first.kind is second.kind is SpanKind.INTERNAL
        backoff = attributes(desk.call)["claudeprov.backoff"]
        assert backoff > 0
        assert (desk.at(first.start_time), desk.at(first.end_time)) == pytest.approx((0, 1))
        assert (desk.at(second.start_time), desk.at(second.end_time)) == pytest.approx((1 + backoff, 3 + backoff))
        assert (attributes(first)["error.type"], attributes(first)["claudeprov.request.id"]) == ("overloaded", "req_1")
        assert attributes(second)["http.request.resend_count"] == 1
        assert "http.request.resend_count" not in attributes(first)
        waiting = desk.call.events[0]
        assert waiting.attributes is not None
        assert (waiting.name, desk.at(waiting.timestamp)) == ("claudeprov.retry.waiting", pytest.approx(1))
        assert waiting.attributes["claudeprov.seconds"] == pytest.approx(backoff)
        assert waiting.attributes["claudeprov.error"] == "overloaded"
        assert desk.call.status.status_code is StatusCode.UNSET
        assert attributes(desk.call)["claudeprov.attempts"] == 2

    async def test_a_wait_for_a_rate_limit_is_an_event_and_an_attribute(self) -> None:
        desk = Desk("ratelimit=custom", "ratelimit.requests=6", "ratelimit.burst=10")
        await desk.ask("Hello")
        await desk.ask("Hello")
        second = desk.named("chat")[1]
        assert second.events[0].name == "claudeprov.ratelimit.waiting"
        assert attributes(second)["claudeprov.queue"] == pytest.approx(10)
        assert desk.at(desk.attempts[1].start_time) == pytest.approx(10)

    async def test_a_fallback_is_an_event_and_its_attempt_tells_its_model(self) -> None:
        desk = Desk("fallback=standard", "fallback.to=[{model: claude-sonnet-4-5}]")
        await desk.ask(OverloadedError("529"), text_events("Hello", model=OTHER))
        assert [attributes(span)["gen_ai.request.model"] for span in desk.attempts] == [MODEL, OTHER]
        assert "claudeprov.fallback.used" in [event.name for event in desk.call.events]
        told = attributes(desk.call)
        assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == (MODEL, OTHER)

    async def test_a_stream_that_is_gone_on_with_has_the_later_attempt_within_it_too(self) -> None:
        desk = Desk("resume=standard")
        said = "Once upon a time there was a stream that broke. "
        await desk.ask(
            [START, OPEN, text(said), StreamInterruptedError("broken off")], text_events("It went on.", model=MODEL)
        )
        first, second = desk.attempts
        assert {parent(first), parent(second)} == {identity(desk.call)}
        assert "claudeprov.resume.joined" in [event.name for event in desk.call.events]
        assert attributes(desk.call)["claudeprov.end"] == "read"


class TestNames:
    """Each name that a span of ours can bear is one of the conventions, or in a namespace of ours."""

    def used(self) -> set[str]:
        source = inspect.getsource(traces) + inspect.getsource(content_of)
        return set(re.findall(r'"((?:gen_ai|http|server|error|url|claudeprov)\.[a-z_.]+)"', source))

    def known(self) -> dict[str, str]:
        """What the conventions have, each with its documentation."""
        known = {}
        for module in (gen_ai_attributes, error_attributes, http_attributes, server_attributes):
            documented = re.findall(
                r'^[A-Z_]+: Final = "([\w.]+)"\n"""(.*?)"""', inspect.getsource(module), re.M | re.S
            )
            known |= dict(documented)
        return known

    def test_all_are_in_the_conventions_or_ours_and_none_is_replaced_or_removed(self) -> None:
        known, theirs = self.known(), {name for name in self.used() if not name.startswith("claudeprov.")}
        assert len(theirs) > 20
        assert theirs - known.keys() == set()
        # All of gen_ai.* has moved to a repository of its own, with its names.
        gone = {name for name in theirs if re.match(r"\s*Deprecated: (?!Moved)", known[name])}
        assert gone == set()

    def test_the_check_would_see_a_name_that_is_replaced(self) -> None:
        assert re.match(r"\s*Deprecated: (?!Moved)", self.known()["gen_ai.system"])

    def test_operations_and_providers_are_of_the_conventions(self) -> None:
        # Importing the values by name would warn that they have moved.
        source = inspect.getsource(gen_ai_attributes)
        for word in ("chat", "execute_tool", "invoke_agent", "anthropic", "aws.bedrock", "gcp.vertex_ai"):
            assert f' = "{word}"\n' in source

    def test_the_documents_table_has_every_name(self) -> None:
        section = DOCUMENT.read_text().partition("## Traces")[2].partition("\n## ")[0]
        told = set(re.findall(r"`((?:gen_ai|http|server|error|claudeprov)\.[a-z_.]+)`", section))
        assert self.used() <= told


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans that reach the tracer provider which the application has set up for the whole process."""
    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracers)
    return exporter


class TestProvider:
    def open(self, url: str, *overrides: str) -> claudeprov.AnthropicClaudeProvider:
        return claudeprov.open_provider(
            [
                "model=haiku",
                "endpoint=compatible",
                f"endpoint.base_url={url}",
                "cassette=live",
                "ledger=off",
                *overrides,
            ]
        )

    @pytest.fixture(autouse=True)
    def key(self, no_credentials: None, no_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "none")

    @pytest.mark.parametrize("stream", [True, False])
    async def test_a_call_has_exactly_one_client_span_and_the_sdk_makes_none_of_its_own(
        self, exported: InMemorySpanExporter, stream: bool
    ) -> None:
        message = {**START["message"], "stop_reason": "end_turn", "content": [{"type": "text", "text": "Hello"}]}
        plain = Answer(json.dumps(message).encode(), headers={"content-type": "application/json"})
        async with Server(Answer(sse(*text_events("Hello"))) if stream else plain) as server:
            async with self.open(server.url) as provider:
                await provider.send_message(HI | {"stream": stream})
            [asked] = server.asked
        attempt, span = exported.get_finished_spans()
        assert (span.kind, span.name, attempt.name) == (SpanKind.CLIENT, f"chat {MODEL}", "claudeprov.attempt")
        for each in (attempt, span):
            assert attributes(each)["server.address"] == "127.0.0.1"
            assert attributes(each)["server.port"] == int(server.url.rpartition(":")[2])
        assert attributes(attempt)["http.response.status_code"] == 200
        assert not {"traceparent", "tracestate", "baggage"} & set(asked.headers)

    async def test_an_attempt_tells_the_status_and_the_id_of_an_answer_that_is_an_error(
        self, exported: InMemorySpanExporter
    ) -> None:
        refusal = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": "No."}}).encode()
        headers = {"content-type": "application/json", "request-id": "req_1"}
        async with Server(Answer(refusal, 400, headers)) as server, self.open(server.url) as provider:
            with pytest.raises(InvalidRequestError):
                await provider.send_message(HI)
        attempt, _ = exported.get_finished_spans()
        told = attributes(attempt)
        assert (told["http.response.status_code"], told["claudeprov.request.id"]) == (400, "req_1")
        assert told["error.type"] == "invalid_request"

    async def test_a_stream_that_breaks_costs_something_between_two_bounds(
        self, exported: InMemorySpanExporter
    ) -> None:
        cut = Answer(sse(START, OPEN, text("Hel")), end="short")
        async with Server(cut) as server, self.open(server.url, "resume=off", "retry=off") as provider:
            with pytest.raises(StreamInterruptedError):
                await provider.send_message(HI)
        told = attributes(exported.get_finished_spans()[-1])
        assert "claudeprov.cost_usd" not in told
        assert 0 < told["claudeprov.cost_low_usd"] < told["claudeprov.cost_high_usd"]

    async def test_what_is_no_call_has_no_span(self, exported: InMemorySpanExporter) -> None:
        counted = Answer(b'{"input_tokens": 3}', headers={"content-type": "application/json"})
        async with Server(counted) as server, self.open(server.url) as provider:
            await provider.count_tokens(HI)
        assert exported.get_finished_spans() == ()

    async def test_the_context_of_the_attempt_travels_with_its_request_where_that_is_asked_for(
        self, exported: InMemorySpanExporter
    ) -> None:
        failed = Answer(b"{}", 500, {"content-type": "application/json"})
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        try:
            async with (
                Server(failed, Answer(sse(*text_events("Hello")))) as server,
                self.open(server.url, "telemetry.propagate=true", "retry.base=0") as provider,
            ):
                await provider.send_message(HI | {"betas": ["a-beta"]})
        finally:
            context.detach(token)
        attempts = [span for span in exported.get_finished_spans() if span.name == "claudeprov.attempt"]
        for asked, attempt in zip(server.asked, attempts, strict=True):
            assert attempt.context is not None
            trace_id, span_id = f"{attempt.context.trace_id:032x}", f"{attempt.context.span_id:016x}"
            assert asked.headers["traceparent"] == f"00-{trace_id}-{span_id}-03"
            assert asked.headers["baggage"] == "tenant=acme"
            assert asked.headers["anthropic-beta"] == "a-beta"

    async def test_a_cassette_holds_no_context_and_matches_whatever_it_is(
        self, exported: InMemorySpanExporter, tmp_path: Path
    ) -> None:
        cassette = f"cassette.path={tmp_path / 'one.yaml'}"
        async with Server(Answer(sse(*text_events("Hello")))) as server:
            async with self.open(server.url, "cassette=record", cassette, "telemetry.propagate=true") as provider:
                await provider.send_message(HI)
            assert "traceparent" in server.asked[0].headers
        assert "traceparent" not in (tmp_path / "one.yaml").read_text()
        async with self.open(server.url, "cassette=replay", cassette, "telemetry.propagate=true") as provider:
            assert (await provider.send_message(HI)).text == "Hello"
        recorded, replayed = [span for span in exported.get_finished_spans() if span.kind is SpanKind.CLIENT]
        assert "claudeprov.replay" not in attributes(recorded)
        assert attributes(replayed)["claudeprov.replay"] is True

    def test_without_a_tracer_provider_there_are_no_spans_and_their_module_is_not_even_loaded(self) -> None:
        script = """
import asyncio, sys, claudeprov
async def main():
    async with claudeprov.open_provider(["cassette=live"]):
        assert "claudeprov.middleware.telemetry" in sys.modules
        assert "claudeprov.telemetry.trace" not in sys.modules
asyncio.run(main())
"""
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

    async def test_a_run_of_tools_has_one_client_span_a_round(self, exported: InMemorySpanExporter) -> None:
        @claudeprov.tool
        def add(a: int, b: int) -> int:
            """Add."""
            return a + b

        asks = Answer(sse(*answer(call("t1", "add", {"a": 1, "b": 2}))))
        async with Server(asks, Answer(sse(*text_events("3")))) as server, self.open(server.url) as provider:
            await provider.run_tools(HI, [add])
        spans = exported.get_finished_spans()
        [run] = [span for span in spans if span.name == "invoke_agent"]
        assert [span.name for span in spans if span.parent and span.parent.span_id == identity(run)] == [
            f"chat {MODEL}",
            "execute_tool add",
            f"chat {MODEL}",
        ]
