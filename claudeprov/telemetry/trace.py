"""Traces: the spans of calls, of their attempts and of runs of tools, by OpenTelemetry's generative-AI conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from opentelemetry.context import Context, attach
from opentelemetry.propagate import inject
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, set_span_in_context, use_span
from opentelemetry.util.types import AttributeValue

from claudeprov import __version__
from claudeprov.chain import Call
from claudeprov.cost import Cost
from claudeprov.notice import Notice
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.stream import Outcome
from claudeprov.telemetry import Observer, error_code, tokens_of
from claudeprov.telemetry.messages import content_of, finish_reason
from claudeprov.telemetry.scrub import heed_environment, scrubbed, text_without_secrets
from claudeprov.telemetry.table import provider_name


class _Open(NamedTuple):
    """A call that has not ended."""

    call: Call
    request: MessageRequest
    """What was asked; layers may have the call ask something else."""
    span: Span


class Spans(Observer):
    """Makes a CLIENT span of each call, which is current while its stream is being opened.

    Within it are a span ``claudeprov.attempt`` for each HTTP request, current while that is made, and an event for the
    first chunk and for each notice: waits, retries, fallbacks ... A run of tools is a span ``invoke_agent``; within it
    are the spans of its calls and an ``execute_tool`` for each call of a tool, current while the tool runs. Times are
    those of the calls' clock. Where the sampler leaves a call out, next to nothing is done.

    Args:
        tracers: Whose spans they are.
        settings: Whether content is told, and whether requests carry the trace's context.
        replay: Whether a cassette answers; the spans say so.
    """

    def __init__(self, tracers: TracerProvider, settings: TelemetrySettings, *, replay: bool = False) -> None:
        self._tracer = tracers.get_tracer("claudeprov", __version__)
        self._settings = settings
        self._replay = replay
        heed_environment()
        self._calls: dict[str, _Open] = {}
        self._runs: dict[str, Span] = {}
        self._tools: dict[tuple[str | None, str], Span] = {}

    @contextmanager
    def opening(self, call: Call) -> Iterator[None]:
        request = call.request
        span = self._tracer.start_span(
            self._text(f"chat {request.model}"),
            self._within(call.tags.get("tool_run")),
            SpanKind.CLIENT,
            self._known(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": provider_name(call.endpoint),
                    "gen_ai.request.model": request.model,
                    "gen_ai.request.max_tokens": request.max_tokens,
                    "gen_ai.request.stream": request.stream or None,
                    "gen_ai.request.temperature": _number(getattr(request, "temperature", None)),
                    "gen_ai.request.top_p": _number(getattr(request, "top_p", None)),
                    "gen_ai.request.top_k": _number(getattr(request, "top_k", None)),
                    "gen_ai.output.type": _output_type(getattr(request, "output_config", None)),
                    "claudeprov.call.id": call.id,
                    "claudeprov.replay": self._replay or None,
                    **{self._text(f"claudeprov.tag.{name}"): value for name, value in call.tags.items()},
                }
            ),
            start_time=_at(call, call.started),
        )
        self._calls[call.id] = _Open(call, request, span)
        with use_span(span, record_exception=False, set_status_on_exception=False):
            yield

    @contextmanager
    def attempting(self, call: Call) -> Iterator[None]:
        resent = len(call.attempts)
        span = self._tracer.start_span(
            "claudeprov.attempt",
            set_span_in_context(self._calls[call.id].span),
            attributes=self._known(
                {
                    "gen_ai.request.model": call.request.model,
                    "claudeprov.route": call.route,
                    "http.request.resend_count": resent or None,
                }
            ),
            start_time=_now(call),
        )
        with use_span(span, record_exception=False, set_status_on_exception=False):
            if self._settings.propagate:
                inject(call.headers)
            try:
                yield
            finally:
                attempt = call.attempts[-1]
                span.set_attributes(
                    self._known(
                        {
                            **_server(call),
                            "http.response.status_code": call.status,
                            "claudeprov.request.id": attempt.request_id,
                        }
                    )
                )
                _fail(span, None if attempt.error_code == "cancelled" else attempt.error_code)
                span.end(_now(call))

    def ended(self, call: Call, outcome: Outcome, answered: Callable[[], MessageResponse]) -> None:
        _, request, span = self._calls.pop(call.id)
        response = answered()
        if span.is_recording():
            span.set_attributes(self._known(_answer(call, outcome, response)))
            if self._settings.content:
                span.set_attributes(content_of(request, response, self._settings.content_limit))
            if response.timing.first_chunk is not None:
                at = _at(call, call.started + response.timing.first_chunk)
                span.add_event("claudeprov.first_chunk", timestamp=at)
            _fail(span, error_code(outcome.error))
        span.end(_at(call, call.started + response.timing.total))

    def noticed(self, notice: Notice) -> None:
        match notice.name:
            case "tools.started":
                self._run_started(notice)
            case "tools.ended":
                self._run_ended(notice)
            case "tool.started":
                self._tool_started(notice)
            case "tool.ended":
                self._tool_ended(notice)
            case _:
                self._told(notice)

    def _told(self, notice: Notice) -> None:
        """Note what a layer tells with the call that it concerns: a breaker's change with all on its route."""
        fields = notice.fields
        if notice.call_id is None:
            concerned = [one for one in self._calls.values() if one.call.route == fields.get("route")]
        else:
            concerned = [self._calls[notice.call_id]] if notice.call_id in self._calls else []
        attributes = self._known({f"claudeprov.{name}": value for name, value in fields.items()})
        for one in concerned:
            one.span.add_event(f"claudeprov.{notice.name}", attributes, _ns(notice.at))

    def _known(self, attributes: Mapping[str, Any]) -> dict[str, AttributeValue]:
        return {name: self._plain(value) for name, value in attributes.items() if value is not None}

    def _plain(self, value: Any) -> AttributeValue:
        """As an attribute may be."""
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, Decimal):
            return float(value)
        return [self._text(str(item)) for item in value] if isinstance(value, list | tuple) else self._text(str(value))

    def _text(self, text: str) -> str:
        """Without secrets, and without lone surrogates: a model writes some, and an exporter loses a batch for one."""
        return text_without_secrets(text).encode("utf-8", "replace").decode()

    def _within(self, run_id: Any) -> Context | None:
        """The context of a run of tools; ``None``, the current one, where there is none."""
        run = self._runs.get(run_id) if isinstance(run_id, str) else None
        return None if run is None else set_span_in_context(run)

    def _run_started(self, notice: Notice) -> None:
        assert notice.call_id is not None
        fields = notice.fields
        attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": fields["model"]}
        self._runs[notice.call_id] = self._tracer.start_span(
            "invoke_agent", attributes=self._known(attributes), start_time=_ns(notice.at)
        )

    def _run_ended(self, notice: Notice) -> None:
        span = self._runs.pop(notice.call_id or "", None)
        if span is not None:
            fields = notice.fields
            span.set_attributes(
                {
                    "claudeprov.tools.stopped": fields["stopped"],
                    "claudeprov.tools.rounds": fields["rounds"],
                    "claudeprov.tools.calls": fields["calls"],
                }
            )
            _fail(span, fields.get("error", "failed" if fields["stopped"] == "failed" else None))
            span.end(_ns(notice.at))

    def _tool_started(self, notice: Notice) -> None:
        span = self._tools[notice.call_id, notice.fields["tool_use_id"]] = self._tool(notice)
        # In the context of the task that makes this call and nothing else: it ends with that.
        attach(set_span_in_context(span))

    def _tool_ended(self, notice: Notice) -> None:
        fields = notice.fields
        outcome = fields["outcome"]
        span = self._tools.pop((notice.call_id, fields["tool_use_id"]), None) or self._tool(notice)
        if span.is_recording():
            span.set_attributes({"claudeprov.tool.outcome": outcome, "claudeprov.tool.size": fields["size"]})
            if self._settings.content:
                told = {
                    "gen_ai.tool.call.arguments": fields.get("arguments"),
                    "gen_ai.tool.call.result": fields.get("content"),
                }
                for name, value in told.items():
                    if value is not None:
                        span.set_attribute(name, self._text(scrubbed(value, self._settings.content_limit)))
            if outcome not in ("ok", "cancelled"):
                _fail(span, fields.get("error") if outcome == "failed" else outcome)
        span.end(_ns(notice.at))

    def _tool(self, notice: Notice) -> Span:
        fields = notice.fields
        return self._tracer.start_span(
            self._text(f"execute_tool {fields['tool']}"),
            self._within(notice.call_id),
            attributes=self._known(
                {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": fields["tool"],
                    "gen_ai.tool.type": "function",
                    "gen_ai.tool.call.id": fields["tool_use_id"],
                    "claudeprov.tool.round": fields["round"],
                }
            ),
            start_time=_ns(notice.at),
        )


def _answer(call: Call, outcome: Outcome, response: MessageResponse) -> dict[str, Any]:
    usage, timing, stopped = response.usage, response.timing, response.stop_reason
    thought = sum((one.usage for one in response.attempts if one.usage is not None), start=usage).thinking_tokens
    cost = response.cost if usage.raw or any(attempt.cost for attempt in response.attempts) else None
    # Where nothing is used of a kind, the answer's own count says whether that is known.
    used = {
        "input": usage.input_tokens,
        "cache_read": usage.cache_read_input_tokens,
        "cache_write": usage.cache_creation_input_tokens,
        "output": usage.output_tokens,
    }
    if cost is not None:
        used |= _by_kind(cost)
    prompt = [used[kind] for kind in ("input", "cache_read", "cache_write")]
    return {
        **_server(call),
        "gen_ai.provider.name": provider_name(call.endpoint),
        "gen_ai.response.id": response.id,
        "gen_ai.response.model": response.model,
        "gen_ai.response.finish_reasons": stopped and [finish_reason(stopped)],
        "gen_ai.response.time_to_first_chunk": timing.first_chunk if call.request.stream else None,
        # By the conventions all of the prompt; the API's own count leaves out what the cache had or got.
        "gen_ai.usage.input_tokens": None if prompt == [None] * 3 else sum(count or 0 for count in prompt),
        "gen_ai.usage.cache_creation.input_tokens": used["cache_write"],
        "gen_ai.usage.cache_read.input_tokens": used["cache_read"],
        # Until the model has stopped they say nothing.
        "gen_ai.usage.output_tokens": stopped and used["output"],
        "gen_ai.usage.reasoning.output_tokens": stopped and thought,
        "claudeprov.end": outcome.kind,
        "claudeprov.stop_reason": stopped,
        "claudeprov.request.id": response.request_id,
        "claudeprov.route": call.route,
        "claudeprov.attempts": len(response.attempts),
        "claudeprov.queue": timing.queue,
        "claudeprov.backoff": timing.backoff,
        "claudeprov.cost_usd": cost and cost.total_usd,
        **({} if cost is None or cost.total_usd is not None else _interval(cost)),
    }


def _by_kind(cost: Cost) -> dict[str, int]:
    used: dict[str, int] = {}
    for (_, kind), count in tokens_of(cost).items():
        used[kind] = used.get(kind, 0) + count
    return used


def _interval(cost: Cost) -> dict[str, Any]:
    return {"claudeprov.cost_low_usd": cost.low_usd, "claudeprov.cost_high_usd": cost.high_usd}


def _server(call: Call) -> dict[str, Any]:
    host, port = call.server or (None, None)
    return {"server.address": host, "server.port": port}


def _output_type(config: Any) -> str | None:
    return "json" if isinstance(config, Mapping) and config.get("format") else None


def _fail(span: Span, code: str | None) -> None:
    """Note an error by its code: a cancelled or abandoned call has none, and a status of its own is only for errors."""
    if code is not None:
        span.set_attribute("error.type", code)
        span.set_status(Status(StatusCode.ERROR))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _now(call: Call) -> int:
    return _at(call, call.clock.monotonic())


def _at(call: Call, monotonic: float) -> int:
    return _ns(call.started_at) + round((monotonic - call.started) * 1e9)


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1e6) * 1000
