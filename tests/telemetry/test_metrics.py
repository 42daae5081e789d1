"""What is measured of calls: every row of the table, by OpenTelemetry's own SDK."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes

from claudeprov.catalog import catalog
from claudeprov.errors import CODES
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.telemetry import table
from claudeprov.telemetry.book import Book, Bound
from claudeprov.telemetry.instruments import Instruments
from claudeprov.telemetry.table import METRICS, OTHER, provider_name
from claudeprov.testing import check_middleware
from claudeprov.testing.clock import settle
from tests.telemetry.scenario import MODEL, ROUTE, Scenario

DOCUMENT = Path(__file__).parents[2] / "docs" / "telemetry.md"
CONVENTION = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": MODEL}
OTHER_MODEL = "claude-sonnet-5-5"
FALLBACK = (
    "fallback=standard",
    "fallback.to=[{model: claude-sonnet-5-5}]",
    "ratelimit.requests=null",
    "breaker.failures=9",
)

Series = dict[frozenset[tuple[str, Any]], Any]


class Host:
    """An application that has set up OpenTelemetry."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider((self.reader,), shutdown_on_exit=False)

    def metrics(self) -> dict[str, Any]:
        """All metrics that have data, by name."""
        data = self.reader.get_metrics_data()
        resources = data.resource_metrics if data else ()
        return {one.name: one for of in resources for scope in of.scope_metrics for one in scope.metrics}

    def series(self, name: str) -> Series:
        """Data points of a metric, by their attributes."""
        found = self.metrics().get(name)
        return {frozenset(point.attributes.items()): point for point in found.data.data_points} if found else {}

    def value(self, name: str, **labels: Any) -> float | None:
        """The one value of a counter or gauge with such labels; ``None`` where there is none."""
        wanted = {
            label.replace("_", ".") if label in ("error_type",) else label: value for label, value in labels.items()
        }
        points = [point.value for key, point in self.series(name).items() if wanted.items() <= dict(key).items()]
        assert len(points) < 2, points
        return points[0] if points else None


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", host.meters)
    return host


class TestTheTable:
    def test_metrics_of_the_conventions_are_those_of_the_installed_package(self) -> None:
        meter = MeterProvider(shutdown_on_exit=False).get_meter("it")
        for metric, create in (
            (table.DURATION, gen_ai_metrics.create_gen_ai_client_operation_duration),
            (table.TOKEN_USAGE, gen_ai_metrics.create_gen_ai_client_token_usage),
            (table.FIRST_CHUNK, gen_ai_metrics.create_gen_ai_client_operation_time_to_first_chunk),
            (table.OUTPUT_CHUNK, gen_ai_metrics.create_gen_ai_client_operation_time_per_output_chunk),
        ):
            theirs: Any = create(meter)
            assert metric.kind == "histogram"
            assert (metric.name, metric.unit, metric.description) == (theirs.name, theirs.unit, theirs.description)

    def test_its_labels_are_attributes_of_the_conventions_or_ours(self) -> None:
        theirs = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
        labels = {label for metric in METRICS for label in metric.labels if "." in label.name}
        assert {label.name for label in labels} <= theirs | {error_attributes.ERROR_TYPE}
        values = {each.value for each in gen_ai_attributes.GenAiProviderNameValues}
        assert set(table.PROVIDER.values) <= values
        assert set(table.TOKEN.values) <= {each.value for each in gen_ai_attributes.GenAiTokenTypeValues}

    def test_every_endpoint_has_a_name_that_the_table_knows(self) -> None:
        kinds = ("anthropic", "bedrock", "vertex", "foundry", "compatible")
        named = [provider_name(EndpointSettings(kind=kind)) for kind in kinds]
        assert named == ["anthropic", "aws.bedrock", "gcp.vertex_ai", "azure.ai.inference", "anthropic"]

    def test_no_name_is_there_twice(self) -> None:
        assert (
            len({metric.name for metric in METRICS}) == len({metric.prometheus for metric in METRICS}) == len(METRICS)
        )

    def test_the_document_has_it(self) -> None:
        rows = re.findall(
            r"^\| `([\w.]+)` \| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", DOCUMENT.read_text(), re.MULTILINE
        )
        wanted = [
            (
                metric.name,
                metric.prometheus,
                metric.kind,
                ", ".join(f"`{label.name}`" for label in metric.labels),
                metric.description,
            )
            for metric in METRICS
        ]
        assert rows == wanted


class TestCalls:
    async def test_every_metric_of_the_table_has_data_and_no_other_is_there(self, host: Host) -> None:
        scenario = Scenario()
        async with scenario.provider:
            await scenario.play()
            measured = host.metrics()
        assert measured.keys() == {metric.name for metric in METRICS}
        for metric in METRICS:
            got = measured[metric.name]
            assert (got.unit, got.description) == (metric.unit, metric.description)
            names = {label.name for label in metric.labels}
            assert all(names >= point.attributes.keys() for point in got.data.data_points)
            if metric.buckets:
                assert {point.explicit_bounds for point in got.data.data_points} == {metric.buckets}

    async def test_calls_are_told_apart_by_how_they_ended(self, host: Host) -> None:
        scenario = Scenario()
        async with scenario.provider as provider:
            async with provider.send_message({"messages": [{"role": "user", "content": "fine"}]}):
                pass
            await scenario.play()
        calls = {
            tuple(dict(key).get(name) for name in ("outcome", "error.type", "stop_reason")): point.value
            for key, point in host.series("claudeprov.calls").items()
        }
        assert calls == {
            ("read", None, "end_turn"): 4,
            ("read", None, "tool_use"): 1,
            ("failed", "truncated", None): 1,
            ("failed", "overloaded", None): 1,
            ("failed", "circuit_open", None): 1,
            ("cancelled", "cancelled", "end_turn"): 1,
        }

    async def test_attempts_retries_and_waits(self, host: Host) -> None:
        scenario = Scenario()
        async with scenario.provider:
            await scenario.ask("limited")
            await scenario.ask("fine")
        assert host.value("claudeprov.attempts", error_type="rate_limited") == 1
        assert sum(point.value for point in host.series("claudeprov.attempts").values()) == 3
        assert host.value("claudeprov.retries") == 1
        assert host.value("claudeprov.backoff") == 3
        assert host.value("claudeprov.ratelimit.holds", route=ROUTE) == 1
        assert host.value("claudeprov.ratelimit.waits", route=ROUTE) == 2
        assert host.value("claudeprov.queue") == pytest.approx(17)

    async def test_a_call_that_waited_for_nothing_has_no_such_series(self, host: Host) -> None:
        scenario = Scenario("ratelimit.requests=null")
        async with scenario.provider:
            await scenario.ask("fine")
        assert not {"claudeprov.backoff", "claudeprov.queue", "claudeprov.retries"} & host.metrics().keys()

    async def test_tokens_and_cost_are_those_of_the_response(self, host: Host) -> None:
        scenario = Scenario()
        async with scenario.provider as provider:
            request = {"messages": [{"role": "user", "content": "fine"}]}
            response = await scenario.clock.run(_read(provider.send_message(request)))
        for kind, count in (("input", 100), ("cache_read", 300), ("cache_write", 600), ("output", 50)):
            assert host.value("claudeprov.tokens", type=kind) == count
        usage = host.series("gen_ai.client.token.usage")
        assert {dict(key)["gen_ai.token.type"]: point.sum for key, point in usage.items()} == {
            "input": 1000,
            "output": 50,
        }
        assert host.value("claudeprov.cost.usd") == float(response.cost.total_usd)
        assert "claudeprov.calls.unpriced" not in host.metrics()

    async def test_what_was_cut_off_counts_with_the_least_that_it_cost(self, host: Host) -> None:
        scenario = Scenario("retry.max_attempts=1")
        async with scenario.provider:
            await scenario.ask("cut")
        assert host.value("claudeprov.calls.unpriced") == 1
        assert host.value("claudeprov.cost.usd") > 0

    async def test_what_a_fallback_uses_is_each_models_own_and_the_call_is_that_of_the_model_asked_for(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exported = InMemorySpanExporter()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(exported))
        monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", tracers)
        scenario = Scenario(*FALLBACK)
        async with scenario.provider as provider:
            request = {"messages": [{"role": "user", "content": "refused"}], "max_tokens": 200}
            response = await scenario.clock.run(_read(provider.send_message(request)))
        for model, usd in (
            (MODEL, response.attempts[0].cost.total_usd),
            (OTHER_MODEL, response.cost.total_usd - response.attempts[0].cost.total_usd),
        ):
            of = {"gen_ai.request.model": model}
            for kind, count in (("input", 100), ("cache_read", 300), ("cache_write", 600), ("output", 50)):
                assert host.value("claudeprov.tokens", type=kind, **of) == count
            assert host.value("claudeprov.cost.usd", **of) == (float(usd) or None)
        attempts = {
            (dict(key)["gen_ai.request.model"], dict(key).get("error.type")): point.value
            for key, point in host.series("claudeprov.attempts").items()
        }
        assert attempts == {(MODEL, "refusal"): 1, (OTHER_MODEL, None): 1}
        assert host.value("claudeprov.retries", **{"gen_ai.request.model": OTHER_MODEL}) == 1
        assert host.value("claudeprov.calls", **{"gen_ai.request.model": MODEL}) == 1
        usage = {dict(key)["gen_ai.token.type"]: point for key, point in host.series(table.TOKEN_USAGE.name).items()}
        [span] = [span for span in exported.get_finished_spans() if span.name.startswith("chat")]
        told = span.attributes
        assert told is not None
        assert {point.attributes["gen_ai.request.model"] for point in usage.values()} == {MODEL}
        assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == (MODEL, OTHER_MODEL)
        assert told["gen_ai.usage.input_tokens"] == usage["input"].sum == 2000
        assert told["gen_ai.usage.output_tokens"] == usage["output"].sum == 100
        assert told["gen_ai.usage.cache_read.input_tokens"] == 600
        assert told["gen_ai.usage.cache_creation.input_tokens"] == 1200

    async def test_a_model_that_is_retried_and_given_up_has_its_own_attempts_and_retries(self, host: Host) -> None:
        scenario = Scenario(*FALLBACK)
        async with scenario.provider:
            await scenario.ask("dear")
        assert {dict(key)["gen_ai.request.model"]: p.value for key, p in host.series("claudeprov.retries").items()} == {
            MODEL: 1,
            OTHER_MODEL: 1,
        }
        assert host.value("claudeprov.attempts", error_type="overloaded") == 2

    async def test_within_a_fallback_each_pass_is_a_call_with_its_own_attempts(self, host: Host) -> None:
        scenario = Scenario(*FALLBACK, "chain=[fallback, telemetry, retry]")
        async with scenario.provider:
            await scenario.ask("dear")
            await scenario.ask("refused")
        calls, attempts = (host.series(f"claudeprov.{name}") for name in ("calls", "attempts"))
        assert sum(point.value for point in calls.values()) == 4
        assert sum(point.value for point in attempts.values()) == 5
        assert sum(point.value for point in host.series("claudeprov.tokens").values()) == 3 * 1050

    async def test_a_stream_that_broke_is_an_attempt_that_failed(self, host: Host) -> None:
        scenario = Scenario("retry.max_attempts=1")
        async with scenario.provider:
            await scenario.ask("cut")
        [attempt] = host.series("claudeprov.attempts")
        assert dict(attempt)["error.type"] == "truncated"

    async def test_an_answer_in_one_piece_has_no_first_chunk(self, host: Host) -> None:
        scenario = Scenario()
        async with scenario.provider:
            await scenario.ask("plain", stream=False)
        assert host.value("claudeprov.calls", outcome="read") == 1
        assert table.FIRST_CHUNK.name not in host.metrics()

    async def test_durations_are_of_the_call_and_first_chunks_of_those_that_came(self, host: Host) -> None:
        scenario = Scenario("retry.max_attempts=1")
        async with scenario.provider:
            await scenario.ask("fine")
            await scenario.ask("down")
        duration = host.series("gen_ai.client.operation.duration")
        assert duration.keys() == {
            frozenset(CONVENTION.items()),
            frozenset((CONVENTION | {"error.type": "overloaded"}).items()),
        }
        [first] = host.series("gen_ai.client.operation.time_to_first_chunk").values()
        assert (first.count, dict(first.attributes)) == (1, CONVENTION)

    async def test_chunks_are_measured_only_where_that_is_configured(self, host: Host) -> None:
        scenario = Scenario("telemetry.per_chunk=false")
        async with scenario.provider as provider:
            async with provider.send_message({"messages": [{"role": "user", "content": "fine"}]}) as stream:
                async for _ in stream:
                    break
                assert not stream._stream._taps
            assert "gen_ai.client.operation.time_per_output_chunk" not in host.metrics()

    async def test_with_per_chunk_each_chunk_after_the_first_is_measured(self, host: Host) -> None:
        scenario = Scenario()
        async with scenario.provider:
            await scenario.ask("fine")
        [paced] = host.series("gen_ai.client.operation.time_per_output_chunk").values()
        assert paced.count == 2

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    async def test_a_stream_that_nobody_reads_is_measured_when_it_is_collected(self, host: Host) -> None:
        scenario = Scenario()
        async with scenario.provider as provider:

            async def leave() -> None:
                async for _ in provider.send_message({"messages": [{"role": "user", "content": "fine"}]}):
                    assert host.value("claudeprov.streams.open") == 1
                    break

            await leave()
            gc.collect()
            await settle()
            assert host.value("claudeprov.streams.open") == 0
            assert host.value("claudeprov.calls", outcome="abandoned") == 1


class TestStates:
    async def test_the_breaker_is_in_one_state_and_its_changes_are_counted(self, host: Host) -> None:
        scenario = Scenario("retry.max_attempts=1", "breaker.failures=1")
        async with scenario.provider:
            await scenario.ask("fine")
            assert _states(host) == {"closed"}
            await scenario.ask("down")
            assert _states(host) == {"open"}
            await scenario.clock.advance(300)
            await scenario.ask("fine")
            assert _states(host) == {"closed"}
        changes = [dict(key) for key in host.series("claudeprov.breaker.transitions")]
        assert {(each["from"], each["to"]) for each in changes} == {
            ("closed", "open"),
            ("open", "half_open"),
            ("half_open", "closed"),
        }

    async def test_limits_are_the_services_and_the_clients(self, host: Host) -> None:
        scenario = Scenario()
        async with scenario.provider:
            await scenario.ask("fine")
            remaining = "claudeprov.ratelimit.remaining"
            assert host.value(remaining, side="service", counter="requests") == 49
            assert host.value(remaining, side="client", counter="requests") == pytest.approx(0, abs=0.01)
            assert host.value("claudeprov.ratelimit.limit", side="service", counter="requests") == 50
            assert host.value("claudeprov.ratelimit.limit", side="client", counter="requests") == 6
            await scenario.clock.advance(3600)  # by then all is back, whatever the last answer said
            assert host.value(remaining, side="service", counter="requests") == 50

    async def test_a_budget_has_what_is_spent_and_set_aside(self, host: Host) -> None:
        scenario = Scenario("budget.month.usd=null", "budget.tags.user.day.usd=3")
        async with scenario.provider as provider:
            stream = provider.send_message({"messages": [{"role": "user", "content": "fine"}]}, tags={"user": "ann"})
            async for _ in stream:
                break
            day = {"setting": "budget.day.usd"}
            assert host.value("claudeprov.budget.limit", **day) == 20
            assert host.value("claudeprov.budget.spent", **day) == 0
            assert host.value("claudeprov.budget.reserved", **day) > 0
            response = await stream
            assert host.value("claudeprov.budget.reserved", **day) == 0
            assert host.value("claudeprov.budget.spent", **day) == float(response.cost.total_usd)
            settings = {dict(key)["setting"] for key in host.series("claudeprov.budget.spent")}
            assert settings == {"budget.day.usd", "budget.run.usd"}
            await scenario.clock.advance(86400)
            assert {dict(key)["setting"] for key in host.series("claudeprov.budget.spent")} == {"budget.run.usd"}

    async def test_providers_of_one_process_share_series_until_they_close(self, host: Host) -> None:
        one, two = Scenario("ratelimit.requests=null"), Scenario("ratelimit.requests=null")
        request = {"messages": [{"role": "user", "content": "fine"}]}
        async with one.provider as first:
            async with two.provider as second, first.send_message(request) as a, second.send_message(request) as b:
                await anext(aiter(a)), await anext(aiter(b))
                assert host.value("claudeprov.streams.open") == 2
            assert host.value("claudeprov.streams.open") == 0
            assert host.value("claudeprov.calls", outcome="cancelled") == 2
        assert "claudeprov.streams.open" not in host.metrics()
        assert host.value("claudeprov.calls", outcome="cancelled") == 2


class TestBounds:
    def test_ten_thousand_made_up_names_make_few_series(self) -> None:
        host = Host()
        book = Instruments.of(host.meters)
        for number in range(10_000):
            made_up = f"made-up-{number}"
            for metric in METRICS:
                if metric.kind != "gauge":
                    book.add(metric, (made_up,) * len(metric.labels))
        for metric in METRICS:
            most = sum(len(label.values) + label.more for label in metric.labels) + 1
            series = host.series(metric.name)
            assert len(series) <= most or metric.kind == "gauge"
            if metric.labels and metric.kind != "gauge":
                assert any(set(dict(key).values()) == {OTHER} for key in series)

    def test_gauges_are_bounded_too(self) -> None:
        host = Host()
        book = Instruments.of(host.meters)
        book.watch(lambda metric: [((f"r{n}",) * len(metric.labels), n) for n in range(500)])
        assert len(host.series("claudeprov.ratelimit.waiting")) == table.ROUTE.more + 1

    def test_what_is_known_keeps_its_name_whatever_came_before(self) -> None:
        bound = Bound(table.ERROR)
        for number in range(1000):
            bound.of(f"code_{number}")
        assert [bound.of(code) for code in CODES] == list(CODES)
        assert bound.of("code_1") == "code_1"
        assert bound.of("code_999") == OTHER

    def test_a_value_is_short_and_holds_no_secret(self) -> None:
        bound = Bound(table.MODEL)
        assert bound.of("sk-" + "ant-api03-" + "a" * 40) == "**********"
        assert bound.of("m" * 1000) == "m" * 100
        assert bound.of("\ud800") == "?"
        assert bound.of(["odd"]) == "['odd']"

    async def test_tags_are_no_labels(self, host: Host) -> None:
        scenario = Scenario()
        async with scenario.provider as provider:
            request = {"messages": [{"role": "user", "content": "fine"}]}
            await scenario.clock.run(_read(provider.send_message(request, tags={"user": "somebody", "run": "r-1"})))
        told = [value for name in host.metrics() for key in host.series(name) for value in dict(key).values()]
        assert told
        assert not {"somebody", "r-1"} & set(told)

    def test_the_catalogue_has_room_in_a_label(self) -> None:
        assert len([*catalog()]) <= table.MODEL.more


class TestBook:
    def test_what_is_noted_is_entered_when_there_is_much_of_it(self) -> None:
        book = _Plain()
        for _ in range(3):
            book.add(table.BACKOFF, ("m",), 2.0)
        book.enter(at_least=4)
        assert book._noted
        book.enter(at_least=3)
        assert not book._noted
        assert book.series(table.BACKOFF) == [(("m",), 6.0)]

    def test_a_value_that_is_left_out_stays_out(self) -> None:
        book = _Plain()
        book.add(table.DURATION, ("chat", "anthropic", "m", None), 1.5)
        book.enter()
        assert book.observed == [(table.DURATION, ("chat", "anthropic", "m", None), 1.5)]


class _Plain(Book):
    def __init__(self) -> None:
        super().__init__()
        self.observed: list[Any] = []

    def _observe(self, *args: Any) -> None:
        self.observed.append(args)


async def test_the_layer_keeps_the_contract_with_it() -> None:
    from claudeprov.middleware.telemetry import Telemetry
    from claudeprov.telemetry.metrics import Metrics

    parts: Any = SimpleNamespace(settings=Scenario().provider.settings, replay=False)
    await check_middleware(lambda: Telemetry([Metrics(_Plain(), parts)]))


def _states(host: Host) -> set[str]:
    return {dict(key)["state"] for key, point in host.series("claudeprov.breaker.state").items() if point.value}


async def _read(stream: Any) -> Any:
    return await stream
