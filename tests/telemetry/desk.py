"""What the tests of spans share: a scripted provider whose spans are kept."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from claudeprov.compose import compose
from claudeprov.middleware import build
from claudeprov.middleware.telemetry import Telemetry
from claudeprov.notice import Notices
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.telemetry.trace import Spans
from claudeprov.testing import ManualClock, ScriptedProvider, text_events

MODEL, OTHER = "claude-haiku-4-5", "claude-sonnet-4-5-20250929"
HI = {"messages": [{"role": "user", "content": "Hi"}], "model": MODEL, "max_tokens": 100}
START, OPEN, *_, CLOSE, DELTA, STOP = text_events("", model=MODEL)
ALL_OFF = [
    f"{group}=off"
    for group in ("telemetry", "ledger", "deadline", "fallback", "budget", "resume", "breaker", "retry", "ratelimit")
]


def text(piece: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}


class Desk:
    """A scripted provider behind the layers that *overrides* configure, and the spans of its calls."""

    def __init__(
        self, *overrides: str, tracers: TracerProvider | None = None, replay: bool = False, **told: Any
    ) -> None:
        self.clock = ManualClock()
        self.notices = Notices(self.clock)
        self.exporter = InMemorySpanExporter()
        self.tracers = tracers or TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.spans = Spans(self.tracers, TelemetrySettings(**told), replay=replay)
        settings = compose([*ALL_OFF, "~preflight", "caching=off", *overrides])
        self._layers = [
            Telemetry([self.spans], self.notices),
            *build(settings, self.clock, notices=self.notices, random=Random(1)),
        ]

    def provider(self, *answers: Any) -> ScriptedProvider:
        return ScriptedProvider(*answers, layers=self._layers, clock=self.clock)

    async def ask(self, *answers: Any, **request: Any) -> Any:
        tags = request.pop("tags", None)
        return await self.clock.run(self.provider(*answers).send_message(HI | request, tags=tags))

    @property
    def finished(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.finished if span.name.startswith(name)]

    @property
    def call(self) -> ReadableSpan:
        [span] = self.named("chat")
        return span

    @property
    def attempts(self) -> list[ReadableSpan]:
        return self.named("claudeprov.attempt")

    def at(self, nanoseconds: int | None) -> float:
        """Seconds of the clock."""
        assert nanoseconds is not None
        return nanoseconds / 1e9 - ManualClock().now().timestamp()


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def identity(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def collect(stream: Any) -> Any:
    return await stream
