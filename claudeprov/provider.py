"""The provider: what an application holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self
from weakref import WeakSet

from claudeprov.catalog import Capabilities, Model, catalog
from claudeprov.chain import Call, Next, chain
from claudeprov.clock import SYSTEM_CLOCK, Clock
from claudeprov.errors import AuthenticationError, CassetteError, ConfigurationError, ProviderError
from claudeprov.notice import Notices
from claudeprov.paths import cassettes_dir
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse
from claudeprov.settings import Settings
from claudeprov.stream import MessageStream, Stream

if TYPE_CHECKING:
    import httpx2

    from claudeprov.anthropic import Endpoint
    from claudeprov.cost import Cost

_log = logging.getLogger(__name__)

Mode = Literal["live", "replay", "record"]
"""Whether calls reach the endpoint, a cassette, or both."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many input tokens a request is."""

    input_tokens: int
    source: Literal["endpoint"]
    """Who counted."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the endpoint answers."""

    ok: bool
    seconds: float
    """Until its answer."""
    error: ProviderError | None = None


class AIProvider(Protocol):
    """The platform's contract of a provider."""

    async def initialize(self) -> None:
        """Make ready for calls."""
        ...

    async def dispose(self) -> None:
        """Close every connection, and write what is to be kept."""
        ...

    def send_message(self, request: MessageRequest | Mapping[str, Any]) -> MessageStream:
        """Answer *request*: iterate the result, or await it."""
        ...

    async def count_tokens(self, request: MessageRequest | Mapping[str, Any]) -> TokenCount:
        """Count the input tokens of *request*."""
        ...

    async def list_models(self, *, live: bool = False) -> Sequence[Model]:
        """The models that are known; *live* asks the endpoint, too."""
        ...

    def get_model(self, name: str | None = None) -> Model:
        """What is known of a model, by id or alias; the configured one if left out."""
        ...

    def capabilities(self, name: str | None = None) -> Capabilities:
        """What a model can do."""
        ...

    async def health_check(self) -> Health:
        """Whether the endpoint answers; costs no tokens."""
        ...

    def rate_limits(self) -> Mapping[str, str]:
        """The service's limits, what remains of them and when they reset."""
        ...


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
        self._endpoint: Endpoint | None = None
        self._cassette: httpx2.AsyncBaseTransport | None = None
        self._open_stream: Next = self._not_initialized
        self._defaults = _defaults(settings)
        self._mode: Mode | None = None
        self._without_credentials = False
        self._streams: WeakSet[MessageStream] = WeakSet()
        self.notices = Notices(clock)
        """What the layers tell while calls run: ``listen`` to it."""

    async def initialize(self) -> None:
        """Build the chain and the endpoint's client; opens no connection yet.

        Raises:
            AuthenticationError: There are no credentials for the endpoint.
            ConfigurationError: An extra is missing, or a layer of the user's own cannot be built.
            CassetteError: A cassette cannot be read.
        """
        if self._endpoint is not None:
            return
        from claudeprov.anthropic import Endpoint
        from claudeprov.middleware import build

        settings, transport = self.settings, self._transport
        mode = self.mode
        layers = build(settings, self._clock, notices=self.notices)
        if mode != "live":
            with self._explained():
                self._cassette = transport = self._open_cassette(mode)
            if self.cassette_note:
                _log.info("%s", self.cassette_note)
        self._endpoint = Endpoint(
            settings.endpoint,
            settings.deadline,
            self._clock,
            transport=transport,
            replay=mode == "replay" or self._transport is not None,
            price=self._price,
        )
        self._open_stream = chain(layers, self._attempt)

    async def dispose(self) -> None:
        """Cancel streams that are still open and close every connection; a recording is written to its cassette.

        Raises:
            CassetteError: The recording cannot be written; nothing of it was.
        """
        endpoint, self._endpoint = self._endpoint, None
        self._open_stream = self._not_initialized
        for stream in [stream for stream in self._streams if stream.active]:
            await stream.cancel()
        if endpoint is not None:
            await endpoint.close()

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

    def send_message(
        self, request: MessageRequest | Mapping[str, Any], *, tags: Mapping[str, Any] | None = None
    ) -> MessageStream:
        """Answer *request*: iterate the result for its chunks, or await it for the whole response.

        Args:
            request: The Messages API's parameters; ``model`` and ``max_tokens`` default to the configuration.
            tags: What to call it by in logs and results: a task, a user ...

        Raises:
            InvalidRequestError: A parameter has the wrong type.
        """
        request = MessageRequest.of(request).with_defaults(self._defaults)
        served = self._served(request.model)
        if served != request.model:
            request = request.model_copy(update={"model": served})
        call = Call(request, self._clock, dict(tags or {}), endpoint=self.settings.endpoint)
        stream = MessageStream(call, self._open)
        self._streams.add(stream)
        return stream

    async def count_tokens(self, request: MessageRequest | Mapping[str, Any]) -> TokenCount:
        """Ask the endpoint for the input tokens of *request*; free, with a rate limit of its own.

        Raises:
            ProviderError: The endpoint refused, or did not answer.
        """
        request = MessageRequest.of(request).with_defaults(self._defaults)
        body = request.model_copy(update={"model": self._served(request.model)}).body()
        counted = {name: value for name, value in body.items() if name not in _NOT_COUNTED}
        with self._explained():
            return TokenCount(await self._ready().count_tokens(counted, request.betas), "endpoint")

    async def list_models(self, *, live: bool = False) -> Sequence[Model]:
        """The catalogue's models; *live* keeps those that the endpoint names too, in its order.

        Raises:
            ProviderError: The endpoint refused, or did not answer.
        """
        known = catalog()
        if not live:
            return tuple(known)
        with self._explained():
            names = [str(model.get("id")) for model in await self._ready().models()]
        return tuple(model for name in names if (model := known.get(name)) is not None)

    def get_model(self, name: str | None = None) -> Model:
        """What is known of a model, by id or alias; the configured one if left out.

        Raises:
            ConfigurationError: The catalogue has no such model; the nearest names are in the message.
        """
        return self.settings.model if name is None else catalog().find(name)

    def capabilities(self, name: str | None = None) -> Capabilities:
        """What a model can do."""
        return self.get_model(name).capabilities

    async def health_check(self) -> Health:
        """Whether the endpoint answers: by its list of models, or on a platform, which has none, a count of tokens."""
        started = self._clock.monotonic()
        error: ProviderError | None = None
        try:
            if self.settings.endpoint.kind in ("anthropic", "compatible"):
                await self.list_models(live=True)
            else:
                await self.count_tokens({"messages": [{"role": "user", "content": "Hi"}]})
        except ProviderError as failure:
            error = failure
        return Health(error is None, self._clock.monotonic() - started, error)

    def rate_limits(self) -> Mapping[str, str]:
        """The rate-limit headers of the endpoint's latest answer, by name; empty before the first."""
        return dict(self._endpoint.rate_limits) if self._endpoint is not None else {}

    async def _open(self, call: Call) -> Stream:
        return await self._open_stream(call)

    async def _attempt(self, call: Call) -> Stream:
        with self._explained():
            return await self._ready()(call)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say of a cassette's error what it means where a replay only stands in: that there are no credentials."""
        try:
            yield
        except CassetteError as error:
            if not self._without_credentials:
                raise
            from claudeprov.anthropic import login_hint

            kind = self.settings.endpoint.kind
            raise AuthenticationError(
                f"no credentials for endpoint={kind}: {login_hint(kind)}. Cassettes were looked at in their place, and "
                f"{error.message}"
            ) from error

    async def _not_initialized(self, call: Call) -> Stream:
        self._ready()
        raise AssertionError

    def _ready(self) -> Endpoint:
        if self._endpoint is None:
            raise ConfigurationError("the provider is not open: use 'async with', or call initialize() first")
        return self._endpoint

    def _served(self, name: str | None) -> str | None:
        """The id to send: the platform's own on a platform, in place of a short name the model's; others as given."""
        model = catalog().get(name or "")
        if model is None:
            return name
        kind = self.settings.endpoint.kind
        if kind in ("anthropic", "compatible") and name in (*model.aliases, *model.platform_ids.known):
            return name
        return model.id_on(kind)

    def _price(self, response: MessageResponse) -> Cost:
        from claudeprov.cost import cost_of

        own = self.settings.model
        name = response.model or own.id
        served = catalog().get(name)
        prices = self.settings.pricing if served is None or served.id == own.id else None
        return cost_of(response.usage, name, at=response.timing.started_at, message=response.message, prices=prices)

    def _decide(self) -> Mode:
        mode = self.settings.cassette.mode
        if mode != "auto":
            return mode
        if self._transport is not None:
            return "live"
        from claudeprov.anthropic import has_credentials

        self._without_credentials = not has_credentials(self.settings.endpoint)
        return "replay" if self._without_credentials else "live"

    def _open_cassette(self, mode: Literal["replay", "record"]) -> httpx2.AsyncBaseTransport:
        import httpx2

        from claudeprov.cassette import open_transport

        cassette = self.settings.cassette
        path = Path(cassette.path) if cassette.path else default_cassettes(mode)
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


_NOT_COUNTED = frozenset(
    (
        "max_tokens",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "metadata",
        "service_tier",
        "inference_geo",
        "container",
        "diagnostics",
        "fallbacks",
    )
)
"""Parameters that the count endpoint does not take. Source: the official SDK's types."""


def default_cassettes(mode: Mode) -> Path:
    """The cassettes of a configuration that names none: ``cassettes`` in the current folder; where a replay finds none
    there, those that ship with claudeprov."""
    own = Path("cassettes")
    return cassettes_dir() if mode == "replay" and not own.is_dir() else own


def _defaults(settings: Settings) -> dict[str, Any]:
    """The parameters that a request gets where it leaves them out."""
    defaults: dict[str, Any] = {"model": settings.model.id, "max_tokens": settings.max_tokens}
    if settings.sampling is not None:
        defaults |= settings.sampling.model_dump(exclude_none=True)
    if settings.thinking is not None:
        thinking = settings.thinking.model_dump(exclude_none=True)
        effort = thinking.pop("effort", None)
        if thinking:
            defaults["thinking"] = thinking
        if effort:
            defaults["output_config"] = {"effort": effort}
    return defaults
