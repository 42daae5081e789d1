"""The provider: what an application holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload
from weakref import WeakSet

from claudeprov.catalog import Capabilities, Catalog, Model, catalog
from claudeprov.chain import Call, Middleware, Next, chain
from claudeprov.clock import SYSTEM_CLOCK, Clock
from claudeprov.contract import Health
from claudeprov.counter import TokenCounter
from claudeprov.doctor.health import HealthCheck
from claudeprov.endpoints import Endpoints
from claudeprov.errors import AuthenticationError, CassetteError, ConfigurationError
from claudeprov.limits import RouteLimits, read_limits
from claudeprov.listing import merged
from claudeprov.notice import Notices
from claudeprov.paths import default_cassettes
from claudeprov.pricing import PriceBook
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse
from claudeprov.settings import Settings
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.state import Memory, State, open_state
from claudeprov.stream import MessageStream, Stream
from claudeprov.tokens import Estimator, TokenCount

if TYPE_CHECKING:
    import httpx2
    from pydantic import TypeAdapter
    from typing_extensions import TypeForm

    from claudeprov.anthropic import Endpoint
    from claudeprov.cost import Cost
    from claudeprov.output import OutputStream
    from claudeprov.tools import Tool
    from claudeprov.tools.permission import Ask, Permission
    from claudeprov.tools.stream import ToolStream

_log = logging.getLogger(__name__)

_NOT_OPEN = "the provider is not open: use 'async with', or call initialize() first"

T = TypeVar("T")

Mode = Literal["live", "replay", "record"]
"""Whether calls reach the endpoint, a cassette, or both."""


class AnthropicClaudeProvider:
    """Streams Claude models through the configured chain of layers.

    Enter it, or call :meth:`initialize` and :meth:`dispose`. One provider serves any number of calls at once, in one
    event loop.

    Args:
        settings: A composed configuration; see :func:`claudeprov.open_provider`.
        clock: Where time comes from.
        transport: What carries HTTP requests in place of the network, for tests; no credentials are looked for then.
        suite: The suite or test that is run, to be kept in a recording.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = SYSTEM_CLOCK,
        transport: httpx2.AsyncBaseTransport | None = None,
        suite: str | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._transport = transport
        self._suite = suite
        self._endpoints: Endpoints | None = None
        self._health: HealthCheck | None = None
        self._state: State | None = None
        self._layers: list[Middleware] = []
        self._limits: dict[str, Mapping[str, str]] = {}
        self._cassette: httpx2.AsyncBaseTransport | None = None
        self._open_stream: Next = self._not_initialized
        self._defaults = settings.defaults
        self._catalog = catalog().including(settings.model)
        self._mode: Mode | None = None
        self._without_credentials = False
        self._streams: WeakSet[MessageStream | ToolStream] = WeakSet()
        self.notices = Notices(clock)
        """What the layers tell while calls run: ``listen`` to it."""
        self.estimator = Estimator()
        """What estimates tokens offline; it learns from the calls that are made."""
        self._counter = TokenCounter(
            lambda body, betas: self._ready().count_tokens(body, betas),
            self.estimator,
            clock,
            optional=settings.endpoint.kind != "anthropic",
        )
        self._prices = PriceBook(settings.pricing, settings.model)

    async def initialize(self) -> None:
        """Build the chain and the endpoints' clients; opens no connection yet.

        A candidate of ``fallback.to`` whose endpoint has no credentials, or needs an extra, is logged as a warning: the
        calls are none the worse for it until it would stand in.

        Raises:
            AuthenticationError: There are no credentials for the endpoint.
            ConfigurationError: An extra is missing, a layer of the user's own cannot be built, or the shared state
                cannot be reached.
            CassetteError: A cassette cannot be read.
        """
        if self._endpoints is not None:
            return
        from claudeprov.middleware import build

        settings, mode = self.settings, self.mode
        # A replay opens no connection, and what it plays is not to be counted against anyone.
        make_state = Memory if mode == "replay" else open_state
        self._state = make_state(settings, self._clock, self.notices)
        try:
            build(
                settings,
                self._clock,
                notices=self.notices,
                state=self._state,
                estimator=self.estimator,
                models=lambda name: self._catalog.get(name),
                limits=self.rate_limits,
                replay=mode == "replay",
                layers=self._layers,
            )
            if mode != "live":
                with self._explained():
                    self._cassette = self._open_cassette(mode)
                if self.cassette_note:
                    _log.info("%s", self.cassette_note)
            self._endpoints = Endpoints(
                settings.deadline,
                self._clock,
                transport=self._cassette or self._transport,
                replay=mode == "replay" or self._transport is not None,
                price=self._price,
            )
            self._open_stream = chain(self._layers, self._attempt)
            self._health = HealthCheck(
                settings, self._clock, self._state, service=self._ready, explained=self._explained
            )
            self._endpoints.get(settings.endpoint)
            if settings.fallback is not None:
                self._endpoints.look_at(candidate.endpoint for candidate in settings.fallback.to if candidate.endpoint)
            await self._state.open()
            for layer in self._layers:
                if begin := getattr(layer, "open", None):
                    await begin()
        except BaseException:
            await self.dispose()
            raise

    async def dispose(self) -> None:
        """Cancel streams that are still open and close every connection; a recording is written to its cassette.

        Raises:
            CassetteError: The recording cannot be written; nothing of it was.
        """
        endpoints, self._endpoints = self._endpoints, None
        state, self._state = self._state, None
        layers, self._layers = self._layers, []
        health, self._health = self._health, None
        self._open_stream = self._not_initialized
        async with AsyncExitStack() as closing:  # in reverse, and each even if another fails to
            if state is not None:
                closing.push_async_callback(state.close)
            for layer in layers:
                if close := getattr(layer, "close", None):
                    closing.push_async_callback(close)
            if endpoints is not None:
                closing.push_async_callback(endpoints.close)
            if health is not None:
                closing.push_async_callback(health.close)
            for stream in [stream for stream in self._streams if stream.active]:
                closing.push_async_callback(stream.cancel)

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.dispose()

    @property
    def mode(self) -> Mode:
        """Whether calls go live, are recorded, or are replayed; ``cassette=auto`` replays without credentials."""
        if self._mode is None:
            self._mode = self._decide()
        return self._mode

    @property
    def cassette(self) -> httpx2.AsyncBaseTransport | None:
        """The transport that records or replays, if any: its counts tell what was played, missed or recorded."""
        return self._cassette

    @property
    def cassette_note(self) -> str | None:
        """Whose answers a replay gives, in one line; ``None`` where calls reach the endpoint."""
        return getattr(self._cassette, "note", None)

    @property
    def metrics_url(self) -> str | None:
        """Where Prometheus scrapes while the provider is open; ``None`` where telemetry serves no metrics."""
        return next((url for layer in self._layers if (url := getattr(layer, "metrics_url", None))), None)

    @overload
    def send_message(
        self, request: MessageRequest | Mapping[str, Any], *, tags: Mapping[str, Any] | None = None
    ) -> MessageStream: ...
    @overload
    def send_message(
        self,
        request: MessageRequest | Mapping[str, Any],
        *,
        output: TypeAdapter[T],
        tags: Mapping[str, Any] | None = None,
    ) -> OutputStream[T]: ...
    @overload
    def send_message(
        self,
        request: MessageRequest | Mapping[str, Any],
        *,
        output: Mapping[str, Any],
        tags: Mapping[str, Any] | None = None,
    ) -> OutputStream[Any]: ...
    @overload
    def send_message(
        self, request: MessageRequest | Mapping[str, Any], *, output: TypeForm[T], tags: Mapping[str, Any] | None = None
    ) -> OutputStream[T]: ...
    def send_message(
        self, request: MessageRequest | Mapping[str, Any], *, output: Any = None, tags: Mapping[str, Any] | None = None
    ) -> MessageStream | OutputStream[Any]:
        """Answer *request*: iterate the result for its chunks, or await it for the whole response.

        Args:
            request: The Messages API's parameters; ``model`` and ``max_tokens`` default to the configuration.
            output: The shape of the answer: a pydantic model or any type that pydantic takes, a ``TypeAdapter``, or a
                JSON Schema. The response's ``parsed`` is then the answer, checked, and asked for again where it does
                not fit, at most ``max_repairs`` times.
            tags: What to call it by in logs and results: a task, a user ...

        Raises:
            InvalidRequestError: A parameter has the wrong type, or ``output`` cannot be asked for.
        """
        request = MessageRequest.of(request).with_defaults(self._defaults)
        if output is not None:
            from claudeprov.output import OutputStream

            model = self._catalog.get(request.model or "")
            return OutputStream(
                lambda request: self.send_message(request, tags=tags),
                request,
                output,
                capabilities=None if model is None else model.capabilities,
                max_repairs=self.settings.max_repairs,
            )
        served = self._served(request.model)
        if served != request.model:
            request = request.model_copy(update={"model": served})
        call = Call(request, self._clock, dict(tags or {}), endpoint=self.settings.endpoint)
        stream = MessageStream(call, self._open)
        self._streams.add(stream)
        return stream

    def run_tools(
        self,
        request: MessageRequest | Mapping[str, Any],
        tools: Sequence[Tool | Mapping[str, Any]] | None = None,
        *,
        max_rounds: int | None = None,
        timeout: float | None = None,
        total: float | None = None,
        permission: Permission | None = None,
        ask: Ask | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> ToolStream:
        """Answer *request*, and let the model use *tools* until it is done: one stream over all rounds.

        Calls are checked against their schemas and permitted, then made, several at a time; all results go back in one
        message. A call that fails is told to the model. It stops when the model does, at ``max_rounds``, when time or
        a budget is up, or when it is cancelled; what was done is in the stream's ``run`` at any time.

        Args:
            request: As for :meth:`send_message`; tools of its own are told to the model beside *tools*.
            tools: Tools, or definitions of the API's, which pass as they are; those configured if left out.
            max_rounds: Answers of the model before it stops; ``tools.max_rounds`` if left out.
            timeout: Most seconds of a call of a tool that does not say itself; ``tools.timeout`` if left out.
            total: Most seconds of the whole; ``tools.total`` if left out.
            permission: Decides on each call; ``tools.permissions`` if left out, which deny all effects but ``read``.
            ask: Asks a person where permission is to be asked for; without it, that is denied.
            tags: What to call it by in logs and results.

        Raises:
            ConfigurationError: The tools have a name twice, or are more than the API takes; or a limit is none.
            InvalidRequestError: A parameter has the wrong type.
        """
        from claudeprov.tools.run import configured, run_tools

        request = MessageRequest.of(request).with_defaults(self._defaults)
        model = self._catalog.get(request.model or "")
        stream = run_tools(
            self,
            request,
            self.tools if tools is None else tools,
            settings=configured(self.settings.tools, max_rounds=max_rounds, timeout=timeout, total=total),
            permission=permission,
            ask=ask,
            clock=self._clock,
            notices=self.notices,
            with_content=self.settings.telemetry is not None and self.settings.telemetry.content,
            most_tokens=model.max_output_tokens if model else None,
            tags=tags,
        )
        self._streams.add(stream)
        return stream

    @cached_property
    def tools(self) -> tuple[Tool, ...]:
        """The tools that the configuration declares."""
        from claudeprov.tools.load import load

        return load(self.settings.tools, self.settings.allow_targets) if self.settings.tools else ()

    async def count_tokens(self, request: MessageRequest | Mapping[str, Any]) -> TokenCount:
        """Count the input tokens of *request*: the endpoint does so free, and within a rate limit of its own.

        Past that, or where the endpoint is out of order or cannot count, it is an estimate; ``source`` says so, and
        ``low`` and ``high`` how good it is. A request that was counted is not asked for again.

        Raises:
            ProviderError: The endpoint refused the request or the credentials.
        """
        request = MessageRequest.of(request).with_defaults(self._defaults)
        request = request.model_copy(update={"model": self._served(request.model)})
        self._ready()
        with self._explained():
            return await self._counter.count(request, self._catalog.get(request.model or ""))

    async def list_models(self, *, live: bool = False) -> Sequence[Model]:
        """The models that are known, line by line and the newest first.

        Args:
            live: Ask the endpoint first. What it tells wins over the catalogue, and counts for this provider from then
                on; a model that the catalogue lacks is known by what the endpoint tells, its price is not.

        Raises:
            ProviderError: The endpoint refused, or did not answer.
        """
        if live:
            with self._explained():
                self._catalog = merged(self._catalog, await self._ready().models())
        return tuple(self._catalog)

    def get_model(self, name: str | None = None) -> Model:
        """What is known of a model, by id or alias; the configured one if left out.

        Raises:
            ConfigurationError: The catalogue has no such model; the nearest names are in the message.
        """
        return self._catalog.find(self.settings.model.id if name is None else name)

    def capabilities(self, name: str | None = None) -> Capabilities:
        """What a model can do."""
        return self.get_model(name).capabilities

    @property
    def catalog(self) -> Catalog:
        """What this provider knows of models, and which of it an endpoint has told."""
        return self._catalog

    async def health_check(self) -> Health:
        """Whether calls can be expected to work: the endpoint, the clock, the breaker, Redis and the ledger's database.

        It costs no tokens, raises nothing, and looks at most once in ten seconds, for five at most.
        """
        if self._health is None:
            return Health(False, 0.0, ConfigurationError(_NOT_OPEN))
        return await self._health()

    def rate_limits(self) -> Mapping[str, RouteLimits]:
        """What is known of the rate limits of each route that was used, by its name; empty before the first call."""
        from claudeprov.middleware.ratelimit import RateLimit

        own: dict[str, RouteLimits] = {}
        for layer in self._layers:
            if isinstance(layer, RateLimit):
                own |= layer.limits()
        headers = self._limits
        return {
            route: replace(own.get(route, RouteLimits()), service=read_limits(told), headers=dict(told))
            for route in {**headers, **own}
            for told in [headers.get(route, {})]
        }

    async def _open(self, call: Call) -> Stream:
        return await self._open_stream(call)

    async def _attempt(self, call: Call) -> Stream:
        with self._explained():
            try:
                stream = await self._ready(call.endpoint)(call)
            finally:
                if call.limits:
                    self._limits[call.route] = call.limits
        if self.estimator.asked:
            request, model = call.request, self._catalog.get(call.request.model or "")
            stream.on_end(lambda _: self.estimator.learn(request, model, stream.response.usage))
        return stream

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say of a cassette's error what it means where a replay only stands in: that there are no credentials."""
        try:
            yield
        except CassetteError as error:
            if not self._without_credentials:
                raise
            from claudeprov.login import login_hint

            kind = self.settings.endpoint.kind
            raise AuthenticationError(
                f"no credentials for endpoint={kind}: {login_hint(kind)}. Cassettes were looked at in their place, and "
                f"{error.message}"
            ) from error

    async def _not_initialized(self, call: Call) -> Stream:
        self._ready()
        raise AssertionError

    def _ready(self, endpoint: EndpointSettings | None = None) -> Endpoint:
        if self._endpoints is None:
            raise ConfigurationError(_NOT_OPEN)
        return self._endpoints.get(endpoint or self.settings.endpoint)

    def _served(self, name: str | None) -> str | None:
        """The id to send: the platform's own on a platform, in place of a short name the model's; others as given."""
        model = self._catalog.get(name or "")
        if model is None:
            return name
        kind = self.settings.endpoint.kind
        if kind in ("anthropic", "compatible") and name in (*model.aliases, *model.platform_ids.known):
            return name
        return model.id_on(kind)

    def _price(self, request: MessageRequest, response: MessageResponse) -> Cost:
        name = response.model or request.model or self.settings.model.id
        if response.usage.raw and response.stop_reason is None:
            from claudeprov.bound import cost_so_far

            model = self._catalog.get(name)
            return cost_so_far(response, request, model, self._prices, self.estimator)
        from claudeprov.cost import cost_of

        at, message = response.timing.started_at, response.message
        return cost_of(response.usage, name, at=at, message=message, prices=self._prices)

    def _decide(self) -> Mode:
        mode = self.settings.cassette.mode
        if mode != "auto":
            return mode
        if self._transport is not None:
            return "live"
        from claudeprov.anthropic import credentials_source

        self._without_credentials = credentials_source(self.settings.endpoint) is None
        return "replay" if self._without_credentials else "live"

    def _open_cassette(self, mode: Literal["replay", "record"]) -> httpx2.AsyncBaseTransport:
        import httpx2

        from claudeprov.cassette import open_transport

        cassette = self.settings.cassette
        path = Path(cassette.path) if cassette.path else default_cassettes(replay=mode == "replay")
        return open_transport(
            mode,
            path,
            # Each connection is used once: what a server does to an idle one is no part of a session.
            lambda: self._transport or httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_keepalive_connections=0)),
            clock=self._clock,
            speed=cassette.speed,
            suite=self._suite,
            new_only=cassette.new_only,
            ignore=cassette.ignore,
            scrub=cassette.scrub,
        )
