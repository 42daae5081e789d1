"""From the official SDK to a stream: the only module that imports it.

The SDK gives credentials, endpoints, HTTP and headers; its own retries and tracing are off. The bytes of its response
are read as they come.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic
import httpx2
from anthropic import AsyncStream, DefaultAioHttpClient
from anthropic._base_client import get_platform
from anthropic.lib.credentials import CredentialsFile, default_credentials

from claudeprov.chain import Call
from claudeprov.chunk import MessageChunk, chunk_of_message, chunks_of, lenient_json
from claudeprov.classify import error_of
from claudeprov.clock import Clock, within
from claudeprov.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    InvalidResponseError,
    ProviderError,
)
from claudeprov.fault import Limit, broken, late, unanswered
from claudeprov.login import aws_source, google_project, key_in, login_hint
from claudeprov.mask import credentials_in, masked_text, masked_within
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse
from claudeprov.snapshot import Snapshot
from claudeprov.sse import EventReader
from claudeprov.stream import Stream

if TYPE_CHECKING:
    from anthropic._types import RequestOptions

    from claudeprov.cost import Cost
    from claudeprov.settings.deadline import DeadlineSettings
    from claudeprov.settings.endpoint import EndpointSettings

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_LINGER = 0.25
"""Seconds that a body may take to end after the message has; a connection whose body ended is used again."""


class Endpoint:
    """A service that speaks the Messages API: the innermost of the chain, one HTTP request a call of it.

    Args:
        settings: Which service, and where.
        timeouts: The limits of the HTTP layer, in seconds.
        clock: Where time comes from.
        transport: What carries the requests; the SDK's aiohttp client if left out.
        replay: The transport answers by itself: no credentials are looked for.
        price: How to price the response to a request.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        timeouts: DeadlineSettings | None,
        clock: Clock,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        replay: bool = False,
        price: Callable[[MessageRequest, MessageResponse], Cost] | None = None,
    ) -> None:
        self._clock = clock
        self._price = price
        connect = timeouts.connect if timeouts else None
        self._total = timeouts.total if timeouts else None
        between_events = timeouts.between_events if timeouts else None
        self._plain = httpx2.Timeout(self._total, connect=connect)
        self._streamed = httpx2.Timeout(between_events, connect=connect)
        self._between_events = between_events
        self._times_out = transport is None
        """Whether the transport ends a read that hangs by itself."""
        self._first_event = timeouts.first_event if timeouts else None
        self._pings = (timeouts and timeouts.pings) or inf
        if transport is None:
            try:
                http: httpx2.AsyncClient = DefaultAioHttpClient()
            except (httpx2.InvalidURL, ValueError) as error:  # it looks at the environment
                raise ConfigurationError(
                    f"HTTPS_PROXY or its like names a proxy that cannot be used: {error}"
                ) from error
        else:
            http = httpx2.AsyncClient(transport=transport, follow_redirects=True)
        self._client = _client(settings, http, replay=replay)
        url = self._client.base_url
        self._server = url.host, url.port or (80 if url.scheme == "http" else 443)
        # Or else the first call asks a thread for it, whose time is not the clock's.
        self._client._platform = get_platform()
        self.date: tuple[str, datetime] | None = None
        """What the header ``date`` of the latest answer said, and when that was by this clock."""

    async def __call__(self, call: Call) -> Stream:
        """Send one attempt; return its stream once its first event other than a ping has been read.

        Raises:
            ProviderError: The attempt failed before that.
        """
        return await call.attempt(self._open)

    async def count_tokens(self, body: Mapping[str, Any], betas: Sequence[str] = ()) -> int:
        """Ask the endpoint how many input tokens *body* (a request without ``max_tokens``) is."""
        answer = await self._in_time(self._exchange("POST", "/v1/messages/count_tokens", body, betas=betas))
        count = answer.get("input_tokens")
        if not isinstance(count, int):
            raise InvalidResponseError("the count endpoint's answer has no input_tokens")
        return count

    async def models(self) -> list[dict[str, Any]]:
        """Ask the endpoint for its models, the retired ones too, all pages."""
        return await self._in_time(self._pages())

    @property
    def base_url(self) -> str:
        """Where requests go, without the path of the API."""
        return str(self._client.base_url)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def _pages(self) -> list[dict[str, Any]]:
        models: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": "1000", "lifecycle": ["active", "deprecated", "retired"]}
        seen: set[str] = set()
        while True:
            page = await self._exchange("GET", "/v1/models", query=query)
            data, last = page.get("data"), page.get("last_id")
            if not isinstance(data, list) or not all(isinstance(model, dict) for model in data):
                raise InvalidResponseError("the models endpoint's answer has no data")
            models += data
            if not page.get("has_more"):
                return models
            if not isinstance(last, str) or last in seen:
                raise InvalidResponseError("the models endpoint's pages do not end")
            seen.add(last)
            query["after_id"] = last

    async def _open(self, call: Call) -> Stream:
        limit = self._first_event
        if limit is None or not call.request.stream:
            return await self._opened(call)
        return await within(self._clock, limit, self._opened(call), lambda: late("first_event", limit))

    async def _opened(self, call: Call) -> Stream:
        request = call.request
        options: RequestOptions = {"timeout": self._streamed if request.stream else self._plain}
        response = await self._send(
            "POST", "/v1/messages", request.body(), options, betas=request.betas, stream=request.stream, call=call
        )
        content_type = response.headers.get("content-type", "").lower()
        streamed = "text/event-stream" in content_type or (request.stream and not content_type)
        snapshot = Snapshot()
        source = self._streamed_chunks(call, response, snapshot) if streamed else self._plain_chunk(response, snapshot)
        first: list[MessageChunk] = []
        while all(chunk.type == "ping" for chunk in first):
            first += await anext(source)
        stream = Stream(
            call,
            source,
            snapshot,
            first=first,
            request_id=_request_id(response),
            price=self._price and partial(self._price, request),
        )
        stream.first_chunk = self._clock.monotonic()
        return stream

    async def _streamed_chunks(
        self, call: Call, response: httpx2.Response, snapshot: Snapshot
    ) -> AsyncGenerator[Sequence[MessageChunk], None]:
        events = EventReader()
        # Raw bytes cost less, but not each answer has them: one may be compressed, or have been read at once.
        decoded = "content-encoding" in response.headers or response.is_stream_consumed
        reads: AsyncIterator[bytes] = response.aiter_bytes() if decoded else response.aiter_raw()
        quiet_since: float | None = None
        try:
            while True:
                data = await self._read(reads, call, snapshot, quiet_since)
                chunks: list[MessageChunk] = []
                try:
                    for chunk in chunks_of(events.finish() if data is None else events.feed(data)):
                        if chunk.type == "error":
                            raise self._error(chunk.data, response)
                        snapshot.add(chunk)
                        chunks.append(chunk)
                except ProviderError as error:
                    if chunks:
                        yield chunks
                    if snapshot.complete:
                        _log.debug("after the end of a message came what is no event of it: %s", error)
                        return
                    raise
                if snapshot.complete and snapshot.completed_at is None:
                    snapshot.completed_at = self._clock.monotonic()
                if chunks and (chunks[-1].type != "ping" or any(chunk.type != "ping" for chunk in chunks)):
                    quiet_since = None
                elif quiet_since is None:
                    quiet_since = self._clock.monotonic()
                if chunks:
                    yield chunks
                if data is None:
                    if not snapshot.complete:
                        snapshot.finish()
                        _log.warning("the stream ended after its stop reason, yet without message_stop")
                    return
        except ProviderError as error:
            error.request_id = error.request_id or _request_id(response)
            raise
        finally:
            await response.aclose()

    async def _read(
        self, reads: AsyncIterator[bytes], call: Call, snapshot: Snapshot, quiet_since: float | None
    ) -> bytes | None:
        """The bytes of the next network read; ``None`` at the end of the body."""
        limit = (_LINGER, TimeoutError) if snapshot.complete else self._limit_of_read(call, quiet_since)
        try:
            if limit is None:
                return await anext(reads, None)
            return await within(self._clock, limit[0], anext(reads, None), limit[1])
        except Exception as error:  # whatever a transport raises
            if snapshot.complete:
                _log.debug("the body of a complete message did not end well: %r", error)
                return None
            raise broken(error, streamed=call.request.stream) from error

    def _limit_of_read(self, call: Call, quiet_since: float | None) -> tuple[float, Callable[[], Exception]] | None:
        """Seconds that the next read may take, and what is raised past them; ``None`` where the transport sees to it,
        which costs less."""
        limit: Limit = "between_events"
        left = whole = inf if self._between_events is None else self._between_events
        if call.deadline is not None and (until := call.deadline - self._clock.monotonic()) < left:
            limit, left, whole = "total", until, call.deadline - call.started
        if quiet_since is not None and (until := quiet_since + self._pings - self._clock.monotonic()) < left:
            limit, left, whole = "pings", until, self._pings
        if left == inf or (limit == "between_events" and self._times_out):
            return None
        return left, partial(late, limit, whole)

    async def _plain_chunk(
        self, response: httpx2.Response, snapshot: Snapshot
    ) -> AsyncGenerator[Sequence[MessageChunk], None]:
        message = await self._json(response)
        if message.get("type") == "error":
            raise self._error(message, response)
        try:
            snapshot.take(message)
        except InvalidResponseError as error:
            error.request_id = _request_id(response)
            raise
        yield [chunk_of_message(message)]

    async def _exchange(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        betas: Sequence[str] = (),
    ) -> dict[str, Any]:
        options: RequestOptions = {"timeout": self._plain, "params": query or {}}
        return await self._json(await self._send(method, path, body, options, betas=betas))

    async def _in_time(self, work: Awaitable[_T]) -> _T:
        """Bound what is no call: the HTTP layer bounds each read by itself, and a body may come byte by byte."""
        limit = self._total
        return await (work if limit is None else within(self._clock, limit, work, lambda: late("total", limit)))

    async def _json(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            data = await response.aread()
        except Exception as error:  # whatever a transport raises
            raise broken(error, streamed=False) from error
        try:
            value = lenient_json(data)
        except ValueError as error:
            kind = response.headers.get("content-type", "no content type")
            raise InvalidResponseError(
                f"the answer is no JSON, but {len(data)} bytes of {kind}", request_id=_request_id(response)
            ) from error
        if not isinstance(value, dict):
            raise InvalidResponseError("the answer is no JSON object", request_id=_request_id(response))
        return value

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        options: RequestOptions,
        *,
        betas: Sequence[str] = (),
        stream: bool = False,
        call: Call | None = None,
    ) -> httpx2.Response:
        headers = {} if call is None else dict(call.headers)
        if betas:
            path += "?beta=true"
            headers["anthropic-beta"] = ",".join(betas)
        if headers:
            options["headers"] = headers
        if call is not None:
            call.server = self._server
        response: httpx2.Response
        try:
            if method == "GET":
                response = await self._client.get(path, cast_to=httpx2.Response, options=options)
            elif stream:
                response = await self._client.post(
                    path, body=body, cast_to=httpx2.Response, stream=True, stream_cls=_RawStream, options=options
                )
            else:
                response = await self._client.post(path, body=body, cast_to=httpx2.Response, options=options)
        except anthropic.APIStatusError as error:
            self._keep_head(error.response, call)
            refusal = self._error(error.body, error.response, error.status_code)
            _mask(error)
            if isinstance(refusal, AuthenticationError) and self._drops_token(call):
                refusal.retryable = True
            raise refusal from error
        except anthropic.APIConnectionError as error:
            raise unanswered(error, error.request.url.host, streamed=stream) from error
        except (httpx2.HTTPError, ConnectionError, TimeoutError) as error:  # in the middle of a refusal
            raise broken(error, streamed=stream) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from error
        except Exception as error:
            if _is_about_credentials(error):
                raise AuthenticationError(str(error)) from error
            raise InvalidResponseError(f"the answer cannot be read: {type(error).__name__}: {error}") from error
        self._keep_head(response, call)
        return response

    def _keep_head(self, response: httpx2.Response, call: Call | None) -> None:
        if date := response.headers.get("date"):
            self.date = date, self._clock.now()
        if call is not None:
            call.status = response.status_code
            call.limits = {name: value for name, value in response.headers.items() if name.startswith(_LIMIT_HEADERS)}

    def _error(self, body: object, response: httpx2.Response, status: int | None = None) -> ProviderError:
        credentials = credentials_in(response.request.headers)
        return error_of(status, body, response.headers, now=self._clock.now(), credentials=credentials)

    def _drops_token(self, call: Call | None) -> bool:
        """Let go of a short-lived token that was refused; whether another attempt would get a fresh one."""
        # The SDK does so in its own retries, which are off.
        cache = getattr(self._client, "_token_cache", None)
        if cache is None:
            return False
        cache.invalidate()
        return call is not None and all(attempt.error_code != AuthenticationError.code for attempt in call.attempts)


def _mask(error: anthropic.APIStatusError) -> None:
    """Mask what the SDK's error shows: the whole body stands in its text, and so in a traceback of ours."""
    credentials = credentials_in(error.request.headers)
    body, headers = masked_within(error.body, credentials), masked_within(error.response.headers, credentials)
    error.response = httpx2.Response(error.status_code, headers=headers, request=error.request)
    message = masked_text(error.message, credentials)
    anthropic.APIStatusError.__init__(error, message, response=error.response, body=body)


_RawStream = AsyncStream[object]
_LIMIT_HEADERS = ("anthropic-ratelimit-", "anthropic-priority-", "anthropic-fast-")


def credentials_source(settings: EndpointSettings) -> str | None:
    """Name where the credentials for the endpoint come from, such as a variable; ``None`` if there are none.

    A platform's library may ask the machine that it runs on.

    Raises:
        AuthenticationError: Those that the environment names cannot be used.
        ConfigurationError: The extra that looks for them is missing.
    """
    try:
        match settings.kind:
            case "bedrock":
                return key_in("AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_AWS_API_KEY") or aws_source()
            case "vertex":
                return None if google_project() is None else "Google's default credentials"
            case "foundry":
                return key_in("ANTHROPIC_FOUNDRY_API_KEY")
        return key_in("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN") or _profile_source()
    except ImportError as error:
        raise ConfigurationError(
            f"endpoint={settings.kind} needs an extra: pip install 'claudeprov[{settings.kind}]'"
        ) from error
    except Exception as error:
        if _is_about_credentials(error):
            raise AuthenticationError(f"endpoint={settings.kind}: {error}") from error
        raise


def _profile_source() -> str | None:
    found = default_credentials()
    if found is None:
        return None
    if not isinstance(found.provider, CredentialsFile):
        return "workload identity federation"
    name = os.environ.get("ANTHROPIC_PROFILE")
    return f"a profile of the official SDK{f' ({name})' if name else ''}"


def _is_about_credentials(error: Exception) -> bool:
    """Whether the SDK or a platform's library failed to find, read or refresh credentials."""
    return type(error).__module__.partition(".")[0] in ("anthropic", "botocore", "google")


def _client(settings: EndpointSettings, http: httpx2.AsyncClient, *, replay: bool) -> Any:
    """The SDK's client for the endpoint. A replay gets one that looks for no credentials."""
    kind = settings.kind
    if kind == "compatible" and settings.base_url is None and not replay:
        raise ConfigurationError("endpoint=compatible needs endpoint.base_url, such as http://127.0.0.1:8085")
    if not replay and credentials_source(settings) is None:
        raise AuthenticationError(
            f"no credentials for endpoint={kind}: {login_hint(kind)}; or replay recorded sessions with cassette=replay"
        )
    shared: dict[str, Any] = {
        "base_url": settings.base_url,
        "http_client": http,
        "max_retries": 0,
        "open_telemetry": False,
    }
    key = "replay" if replay else None
    try:
        match kind:
            case "bedrock":
                region = settings.region or ("us-east-1" if replay else None)
                return anthropic.AsyncAnthropicBedrockMantle(aws_region=region, skip_auth=replay, **shared)
            case "vertex":
                project = settings.project_id or os.environ.get("ANTHROPIC_VERTEX_PROJECT_ID") or key
                region = settings.region or os.environ.get("CLOUD_ML_REGION") or "global"
                if not (project := project or google_project()):
                    raise ValueError("no project: set endpoint.project_id or ANTHROPIC_VERTEX_PROJECT_ID")
                return anthropic.AsyncAnthropicVertex(region=region, project_id=project, access_token=key, **shared)
            case "foundry":
                resource = settings.resource or (key if settings.base_url is None else None)
                return anthropic.AsyncAnthropicFoundry(api_key=key, resource=resource, **shared)
        return anthropic.AsyncAnthropic(api_key=key, **shared)
    except (anthropic.AnthropicError, ValueError) as error:
        raise ConfigurationError(f"endpoint={kind}: {error}") from error


def _request_id(response: httpx2.Response) -> str | None:
    """The service's id of the attempt. A gateway may write anything there."""
    id_ = response.headers.get("request-id")
    return id_ and masked_text(id_, credentials_in(response.request.headers))
