"""The metrics: one table, from which instruments, documentation, dashboard and rules are made.

Names, units and descriptions of ``gen_ai.client.*`` are those of OpenTelemetry's generative-AI conventions, and so are
their labels and buckets; all others are ours. The times of a call and of its first chunk have more buckets than are
advised, at round numbers and up to 20 minutes: an alert is exact only at a bucket's bound. What is a share or a rate is
not measured, but divided by whoever asks: the success rate is ``claudeprov.calls`` whose outcome is ``read`` among
those ``read`` and ``failed``, the share of the prompt that came from the cache ``claudeprov.tokens`` of type
``cache_read`` among all but ``output``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from claudeprov.errors import CODES
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.stream import EndKind
from claudeprov.tools.result import ToolOutcome

OTHER = "other"
"""What stands for a value that a label has no more room for."""

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """What a metric is told apart by; its values are bounded, so that its series are."""

    name: str
    values: tuple[str, ...]
    """Those that it may always have."""
    more: int = 0
    """How many others it may have, first come, first served; from then on they are ``other``."""

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus."""
        return self.name.replace(".", "_")


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """What is measured, and how."""

    name: str
    kind: Kind
    unit: str
    """By the Unified Code for Units of Measure; in braces it only says what is counted."""
    description: str
    labels: tuple[Label, ...]
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus; a histogram's series have ``_bucket``, ``_sum`` and ``_count`` after it."""
        unit = "_seconds" if self.unit == "s" else ""
        return self.name.replace(".", "_") + unit + ("_total" if self.kind == "counter" else "")


OPERATION = Label("gen_ai.operation.name", ("chat",))
PROVIDER = Label("gen_ai.provider.name", ("anthropic", "aws.bedrock", "gcp.vertex_ai", "azure.ai.inference"))
MODEL = Label("gen_ai.request.model", (), more=50)
"""Of a call the model asked for, whichever answered; of attempts, tokens and costs the one that they are of."""
TOKEN = Label("gen_ai.token.type", ("input", "output"))
ERROR = Label("error.type", CODES, more=20)
"""Code of the error, ``cancelled`` or ``abandoned``; left out where there is none."""
OUTCOME = Label("outcome", get_args(EndKind))
STOP = Label(
    "stop_reason",
    (
        *("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "compaction", "refusal"),
        "model_context_window_exceeded",
    ),
    more=5,
)
"""Why the model stopped; left out where it did not."""
KIND = Label("type", ("input", "cache_read", "cache_write", "output"))
"""Of the prompt's tokens ``input`` are those that were neither read from the cache nor written to it."""
ROUTE = Label("route", (), more=50)
"""The endpoint and the group of models that share limits and a breaker."""
STATE = Label("state", ("closed", "open", "half_open", "forced_open", "disabled"))
FROM = Label("from", STATE.values)
TO = Label("to", STATE.values)
SIDE = Label("side", ("service", "client"))
"""Whose count it is: by the headers of the service's latest answer, or the client's own buckets."""
COUNTER = Label("counter", ("requests", "input_tokens", "output_tokens", "tokens"), more=10)
SETTING = Label(
    "setting", tuple(f"budget.{period}.{unit}" for period in ("run", "day", "month") for unit in ("usd", "tokens"))
)
"""The limit, by its place in the configuration. Those of a tag have no series: there is no bound to its values."""
TOOL = Label("gen_ai.tool.name", (), more=50)
TOOL_OUTCOME = Label("outcome", get_args(ToolOutcome))

_CONVENTION = (OPERATION, PROVIDER, MODEL)
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_LONG_SECONDS = tuple(sorted((*_SECONDS, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)))
_TOKENS = tuple(4.0**power for power in range(14))

DURATION = Metric(
    "gen_ai.client.operation.duration",
    "histogram",
    "s",
    "GenAI operation duration.",
    (*_CONVENTION, ERROR),
    _LONG_SECONDS,
)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    "Number of input and output tokens used.",
    (*_CONVENTION, TOKEN),
    _TOKENS,
)
FIRST_CHUNK = Metric(
    "gen_ai.client.operation.time_to_first_chunk",
    "histogram",
    "s",
    "Time to receive the first chunk, measured from when the client issues the generation request to when the first "
    "chunk is received in the response stream.",
    _CONVENTION,
    _LONG_SECONDS,
)
OUTPUT_CHUNK = Metric(
    "gen_ai.client.operation.time_per_output_chunk",
    "histogram",
    "s",
    "Time per output chunk, recorded for each chunk received after the first one, measured as the time elapsed from "
    "the end of the previous chunk to the end of the current chunk.",
    _CONVENTION,
    _SECONDS,
)
"""Only with ``telemetry.per_chunk``."""
CALLS = Metric(
    "claudeprov.calls", "counter", "{call}", "Calls that have ended, however they did.", (MODEL, OUTCOME, ERROR, STOP)
)
ATTEMPTS = Metric(
    "claudeprov.attempts", "counter", "{attempt}", "HTTP requests made, and why those failed that did.", (MODEL, ERROR)
)
RETRIES = Metric(
    "claudeprov.retries", "counter", "{attempt}", "HTTP requests beyond the first of their call.", (MODEL,)
)
BACKOFF = Metric("claudeprov.backoff", "counter", "s", "Time that calls waited between attempts.", (MODEL,))
QUEUE = Metric("claudeprov.queue", "counter", "s", "Time that calls waited for a rate limit.", (MODEL,))
TOKENS = Metric(
    "claudeprov.tokens", "counter", "{token}", "Tokens of all attempts that are paid for, by price.", (MODEL, KIND)
)
COST = Metric(
    "claudeprov.cost.usd",
    "counter",
    "{USD}",
    "What calls cost; the least that it can be where that is not known exactly.",
    (MODEL,),
)
UNPRICED = Metric("claudeprov.calls.unpriced", "counter", "{call}", "Calls whose cost is not known exactly.", (MODEL,))
STREAMS = Metric("claudeprov.streams.open", "gauge", "{stream}", "Streams that are open.", ())
BREAKER = Metric(
    "claudeprov.breaker.state",
    "gauge",
    "1",
    "1 for the state that the breaker is in, 0 for the others.",
    (ROUTE, STATE),
)
TRANSITIONS = Metric(
    "claudeprov.breaker.transitions", "counter", "{transition}", "Changes of a breaker's state.", (ROUTE, FROM, TO)
)
RATELIMIT_REMAINING = Metric(
    "claudeprov.ratelimit.remaining",
    "gauge",
    "{count}",
    "What is left of a rate limit; below 0 where a correction took more.",
    (ROUTE, SIDE, COUNTER),
)
RATELIMIT_LIMIT = Metric(
    "claudeprov.ratelimit.limit", "gauge", "{count}", "What a rate limit allows in a minute.", (ROUTE, SIDE, COUNTER)
)
RATELIMIT_WAITING = Metric(
    "claudeprov.ratelimit.waiting", "gauge", "{call}", "Calls that wait for a rate limit.", (ROUTE,)
)
RATELIMIT_WAITS = Metric(
    "claudeprov.ratelimit.waits", "counter", "{wait}", "Times that an attempt had to wait for a rate limit.", (ROUTE,)
)
RATELIMIT_HOLDS = Metric(
    "claudeprov.ratelimit.holds", "counter", "{hold}", "Times that the service held a route, by a 429.", (ROUTE,)
)
BUDGET_SPENT = Metric(
    "claudeprov.budget.spent", "gauge", "{amount}", "What is spent under a limit in its period.", (SETTING,)
)
BUDGET_RESERVED = Metric(
    "claudeprov.budget.reserved", "gauge", "{amount}", "What is set aside for calls under way.", (SETTING,)
)
BUDGET_LIMIT = Metric("claudeprov.budget.limit", "gauge", "{amount}", "The limit.", (SETTING,))
TOOL_EXECUTIONS = Metric(
    "claudeprov.tool.executions",
    "counter",
    "{execution}",
    "Executions of tools, by their outcome.",
    (TOOL, TOOL_OUTCOME),
)
TOOL_SECONDS = Metric("claudeprov.tool.duration", "counter", "s", "Time for which tools ran.", (TOOL,))

_PROVIDERS = {"bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai", "foundry": "azure.ai.inference"}


def provider_name(endpoint: EndpointSettings) -> str:
    """The conventions' name of a service; what is compatible with Anthropic's counts as that."""
    return _PROVIDERS.get(endpoint.kind, "anthropic")


METRICS: tuple[Metric, ...] = tuple(found for found in list(vars().values()) if isinstance(found, Metric))
"""Every metric there is."""
