"""Where metrics and spans go: a real endpoint that is scraped, a real collector, standard error, nowhere."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.parser import text_string_to_metric_families

from claudeprov.errors import ConfigurationError
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.telemetry import exporter, table
from claudeprov.telemetry.exporter import Seldom, open_exporting
from claudeprov.telemetry.table import METRICS
from tests.telemetry.scenario import MODEL, Scenario

PROMETHEUS = ("telemetry=prometheus", "telemetry.port=0", "telemetry.per_chunk=true")


def scraped(url: str, **headers: str) -> dict[str, Any]:
    """The families of an answer to a scrape, by the name that the table gives."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        text = answer.read().decode()
    families = {}
    for family in text_string_to_metric_families(text):
        families[family.name + ("_total" if family.type == "counter" else "")] = family
    return families


def where() -> str:
    [open_one] = exporter._OPEN.values()
    assert open_one.url is not None
    return open_one.url


class TestPrometheus:
    async def test_a_scrape_has_every_metric_of_the_table_under_its_name(self) -> None:
        scenario = Scenario(*PROMETHEUS)
        async with scenario.provider:
            await scenario.play()
            families = await asyncio.to_thread(scraped, where())
        target = families.pop("target_info")
        assert target.samples[0].labels["service_name"] == "claudeprov"
        assert families.keys() == {metric.prometheus for metric in METRICS}
        for metric in METRICS:
            family = families[metric.prometheus]
            assert (family.type, family.documentation) == (metric.kind, metric.description)
            labels = {label.prometheus for label in metric.labels}
            assert all(sample.labels.keys() - {"le"} == labels for sample in family.samples)

    async def test_a_histogram_counts_what_is_within_each_bound(self) -> None:
        book = open_exporting(TelemetrySettings(exporter="prometheus", port=0))
        assert book.book is not None
        for amount in (0.01, 0.02, 0.03, 500.0):
            book.book.add(table.FIRST_CHUNK, ("chat", "anthropic", MODEL), amount)
        families = await asyncio.to_thread(scraped, where())
        samples = families[table.FIRST_CHUNK.prometheus].samples
        buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
        assert len(buckets) == len(table.FIRST_CHUNK.buckets) + 1
        assert [buckets[bound] for bound in ("0.01", "0.02", "0.04", "81.92", "+Inf")] == [1, 2, 3, 3, 4]
        assert {sample.name.rpartition("_")[2]: sample.value for sample in samples[-2:]} == {"count": 4, "sum": 500.06}
        await book.close()

    async def test_providers_of_a_process_share_an_endpoint_that_goes_with_the_last(self) -> None:
        one, two = Scenario(*PROMETHEUS), Scenario(*PROMETHEUS)
        async with one.provider:
            url = where()
            async with two.provider:
                assert where() == url
                await two.ask("fine")
            await one.ask("fine")
            calls = (await asyncio.to_thread(scraped, url))[table.CALLS.prometheus].samples
            assert [sample.value for sample in calls] == [2]
        assert not exporter._OPEN
        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(scraped, url)

    async def test_a_port_that_another_has_is_an_error_that_says_what_to_do(self) -> None:
        taken = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        port = taken.server_port
        scenario = Scenario("telemetry=prometheus", f"telemetry.port={port}")
        with pytest.raises(ConfigurationError, match=rf"{port}.*telemetry.port={port + 1}; telemetry.port=0"):
            await scenario.provider.initialize()
        assert not exporter._OPEN
        taken.server_close()

    def test_beside_the_last_port_is_the_one_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("claudeprov.telemetry.scrape.Server", _taken)
        with pytest.raises(ConfigurationError, match=r"such as telemetry\.port=65534;"):
            open_exporting(TelemetrySettings(exporter="prometheus", port=65535))

    async def test_a_provider_that_cannot_be_opened_gives_its_endpoint_back(self) -> None:
        target = f"{__name__}.Impossible"
        scenario = Scenario(*PROMETHEUS, f"allow_targets=[{__name__}]", f"chain=[telemetry, {{_target_: {target}}}]")
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="cannot be made"):
                await scenario.provider.initialize()
            assert not exporter._OPEN
            assert not [thread for thread in threading.enumerate() if thread.name == "claudeprov-prometheus"]

    async def test_the_provider_says_where_it_is_while_it_is_open(self) -> None:
        provider = Scenario(*PROMETHEUS).provider
        async with provider:
            assert provider.metrics_url == where()
            assert table.STREAMS.prometheus in await asyncio.to_thread(scraped, where())
        assert provider.metrics_url is None
        async with Scenario("telemetry=otlp").provider as other:
            assert other.metrics_url is None

    async def test_spans_go_to_the_application_that_has_been_set_up_since(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = TelemetrySettings(exporter="prometheus", port=0)
        one = open_exporting(settings)
        assert one.tracers is None
        tracers = TracerProvider(shutdown_on_exit=False)
        monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", tracers)
        two = open_exporting(settings)
        assert (two is one, two.tracers) == (True, tracers)
        await one.close()
        await two.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
    def test_a_forked_child_serves_what_is_its_own_and_leaves_the_parent_its_port(self) -> None:
        forked = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=False)
        assert (forked.returncode, forked.stderr) == (0, "")
        parent, child, refused, again = forked.stdout.split()
        assert (parent, child, refused, again) == ("parent:1", "child:2", "child:refused", "parent:free")

    async def test_what_is_counted_stays_single_when_a_provider_is_opened_again(self) -> None:
        keeps, scenario = Scenario(*PROMETHEUS), Scenario(*PROMETHEUS)
        async with keeps.provider:
            for _ in range(3):
                async with scenario.provider:
                    pass
            async with scenario.provider:
                await scenario.play()
            families = await asyncio.to_thread(scraped, where())
        for metric in (table.RATELIMIT_HOLDS, table.TOOL_EXECUTIONS, table.TRANSITIONS):
            assert [sample.value for sample in families[metric.prometheus].samples] == [1], metric.name

    async def test_a_port_that_was_given_back_can_be_taken_at_once(self) -> None:
        first = open_exporting(TelemetrySettings(exporter="prometheus", port=0))
        assert first.url is not None
        port = int(first.url.rpartition(":")[2].partition("/")[0])
        await asyncio.to_thread(scraped, first.url)
        await first.close()
        again = open_exporting(TelemetrySettings(exporter="prometheus", port=port))
        assert again.url == first.url
        await again.close()

    async def test_scrapes_at_once_are_all_whole(self) -> None:
        scenario = Scenario(*PROMETHEUS)
        async with scenario.provider:
            await scenario.ask("fine")
            url = where()
            answers = await asyncio.gather(*(asyncio.to_thread(scraped, url) for _ in range(10)))
        assert all(answer.keys() == answers[0].keys() for answer in answers)

    def test_without_the_extra_it_says_which(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'claudeprov\[prometheus\]'"):
            open_exporting(TelemetrySettings(exporter="prometheus"))


class Collector:
    """A collector of OTLP over HTTP."""

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {}
        self.spans: list[Any] = []
        self.resource: dict[str, str] = {}
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.asked = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.headers.append(dict(self.headers))
                collector.asked.set()
                if collector.status == 200:
                    collector.take(self.path, body)
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/metrics":
            for of in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.resource |= {each.key: each.value.string_value for each in of.resource.attributes}
                self.metrics |= {metric.name: metric for scope in of.scope_metrics for metric in scope.metrics}
        elif path == "/v1/traces":
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [span for scope in of.scope_spans for span in scope.spans]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


class TestOtlp:
    async def test_metrics_and_spans_reach_a_collector(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue")
        scenario = Scenario("telemetry=otlp", f"telemetry.endpoint={collector.url}/", "telemetry.per_chunk=true")
        async with scenario.provider:
            await scenario.play()
        assert collector.metrics.keys() == {metric.name for metric in METRICS}
        [retries] = collector.metrics["claudeprov.retries"].sum.data_points
        assert retries.as_double == 2
        assert collector.metrics["claudeprov.calls"].sum.is_monotonic
        assert any(span.name == f"chat {MODEL}" for span in collector.spans)
        assert collector.resource["service.name"] == "shop"
        assert all(headers["x-team"] == "blue" for headers in collector.headers)

    async def test_the_environment_says_where_it_is(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        scenario = Scenario("telemetry=otlp")
        async with scenario.provider:
            await scenario.ask("fine")
        assert "claudeprov.calls" in collector.metrics

    @pytest.mark.parametrize("status", [500, 503])
    async def test_a_collector_that_fails_touches_no_call(
        self, collector: Collector, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporter, "_CLOSES_WITHIN", 0.2)
        collector.status = status
        scenario = Scenario("telemetry=otlp", f"telemetry.endpoint={collector.url}")
        async with scenario.provider as provider:
            request = {"messages": [{"role": "user", "content": "fine"}]}
            response = await scenario.clock.run(_read(provider.send_message(request)))
            assert response.text == "abc"
        assert collector.asked.is_set()
        assert not exporter._OPEN

    async def test_a_collector_that_is_away_is_complained_of_once(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporter, "_CLOSES_WITHIN", 0.2)
        away = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        port = away.server_port
        away.server_close()
        scenario = Scenario("telemetry=otlp", f"telemetry.endpoint=http://127.0.0.1:{port}")
        async with scenario.provider:
            await scenario.ask("fine")
        said = [(record.name, record.msg) for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(said) == len(set(said))

    async def test_the_applications_own_exporters_are_let_alone_when_ours_are_closed(
        self, collector: Collector, caplog: pytest.LogCaptureFixture
    ) -> None:
        logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        async with Scenario("telemetry=otlp", f"telemetry.endpoint={collector.url}").provider:
            assert logger.filters
        assert not logger.filters

    def test_without_the_extra_it_says_which(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'claudeprov\[otlp\]'"):
            open_exporting(TelemetrySettings(exporter="otlp"))


class TestSeldom:
    def test_a_thing_is_said_once_a_minute(self) -> None:
        seldom = Seldom()

        def says(at: float, fault: str) -> bool:
            record = logging.LogRecord("exporter", logging.ERROR, "f", 1, "%s, again in %.1f s", (fault, at / 7), None)
            record.created = at
            return seldom.filter(record)

        assert [says(0, "away"), says(59, "away"), says(59, "401"), says(61, "away")] == [True, False, True, True]
        says(600, "401")
        assert len(seldom._said) == 1


class TestConsole:
    async def test_both_are_printed_on_standard_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        scenario = Scenario("telemetry.exporter=console")
        async with scenario.provider:
            await scenario.ask("fine")
        printed = capsys.readouterr()
        assert printed.out == ""
        documents = list(_documents(printed.err))
        assert any(document.get("name") == f"chat {MODEL}" for document in documents)
        [metrics] = [document for document in documents if "resource_metrics" in document]
        assert "claudeprov.calls" in json.dumps(metrics)


class TestNone:
    def test_where_the_application_has_set_up_nothing_nothing_is_imported(self) -> None:
        script = (
            "import sys\n"
            "from claudeprov.settings.telemetry import TelemetrySettings\n"
            "from claudeprov.telemetry.exporter import open_exporting\n"
            "exporting = open_exporting(TelemetrySettings())\n"
            "assert (exporting.tracers, exporting.book) == (None, None)\n"
            "found = [name for name in sys.modules if name.startswith('opentelemetry')]\n"
            "assert not found, found\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True)

    async def test_stand_ins_of_the_api_are_nothing(self) -> None:
        from opentelemetry import metrics, trace

        assert None not in (metrics, trace)
        exporting = open_exporting(TelemetrySettings())
        assert (exporting.tracers, exporting.book) == (None, None)
        await exporting.close()


class Impossible:
    """A layer that cannot be made."""

    def __init__(self) -> None:
        raise ValueError("no")


def _taken(*_: object) -> None:
    raise OSError(98, "Address already in use")


FORKS = """
import asyncio, os, socket
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.telemetry import exporter, table
from claudeprov.telemetry.exporter import open_exporting
from claudeprov.errors import ConfigurationError
from tests.telemetry.test_exporter import scraped

def count(exporting):
    [sample] = scraped(exporting.url)[table.CALLS.prometheus].samples
    return int(sample.value)

async def served(who, port, calls):
    exporting = open_exporting(TelemetrySettings(exporter="prometheus", port=port))
    exporting.book.add(table.CALLS, ("m", "read", None, None), calls)
    print(f"{who}:{await asyncio.to_thread(count, exporting)}", flush=True)
    return exporting

async def child(inherited, port):
    own = await served("child", 0, 2)
    try:
        open_exporting(TelemetrySettings(exporter="prometheus", port=port))
    except ConfigurationError:
        print("child:refused", flush=True)
    await own.close()
    await inherited.close()

parent = asyncio.run(served("parent", 0, 1))
port = int(parent.url.rpartition(":")[2].partition("/")[0])
ready, tell_ready = os.pipe()
go, tell_go = os.pipe()
exporter._OPENING.acquire(), parent.book._entering.acquire()
pid = os.fork()
if pid == 0:
    asyncio.run(child(parent, port))
    os.write(tell_ready, b"1")
    os.read(go, 1)
    os._exit(0)
exporter._OPENING.release(), parent.book._entering.release()
os.read(ready, 1)
asyncio.run(parent.close())
with socket.create_server(("127.0.0.1", port)):
    print("parent:free")
os.write(tell_go, b"1")
raise SystemExit(os.waitpid(pid, 0)[1])
"""


def _documents(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    while start := text.find("{") + 1:
        document, end = decoder.raw_decode(text[start - 1 :])
        yield document
        text = text[start - 1 + end :]


async def _read(stream: Any) -> Any:
    return await stream
