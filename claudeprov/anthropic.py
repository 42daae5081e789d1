"""From the official SDK to a stream: the only module that imports it.

The SDK gives credentials, endpoints, HTTP and headers; its own retries and tracing are off. The bytes of its response
are read as they come.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
from anthropic import AsyncStream, DefaultAioHttpClient
from anthropic._base_client import get_platform
from anthropic.lib.credentials import default_credentials

from claudeprov.chain import Call
from claudeprov.chunk import MessageChunk, chunk_of_message, chunks_of, lenient_json
from claudeprov.classify import error_of
from claudeprov.clock import Clock
from claudeprov.errors import (
    AuthenticationError,
    CallTimeoutError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidRequestError,
    InvalidResponseError,
    ProviderError,
    StreamInterruptedError,
)
from claudeprov.response import Attempt, MessageResponse
from claudeprov.snapshot import Snapshot
from claudeprov.sse import EventReader
from claudeprov.stream import Stream

if TYPE_CHECKING:
    from anthropic._types import RequestOptions

    from claudeprov.cost import Cost
    from claudeprov.settings.deadline import DeadlineSettings
    from claudeprov.settings.endpoint import EndpointSettings

_log = logging.getLogger(__name__)
_LINGER = 0.25
"""Seconds that a body may take to end after the message has; a connection whose body ended is used again."""
_LOGIN = "set ANTHROPIC_API_KEY, or log in with a profile of the official SDK"
_LOGINS = {
    "bedrock": "set AWS_BEARER_TOKEN_BEDROCK, or configure AWS credentials",
    "vertex": "run 'gcloud auth application-default login'",
    "foundry": "set ANTHROPIC_FOUNDRY_API_KEY",
}


class Endpoint:
    """A service that speaks the Messages API: the innermost of the chain, one HTTP request a call of it.

    Args:
        settings: Which service, and where.
        timeouts: The limits of the HTTP layer, in seconds.
        clock: Where time comes from.
        transport: What carries the requests; the SDK's aiohttp client if left out.
        replay: The transport answers by itself: no credentials are looked for.
        price: How to price a response.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        timeouts: DeadlineSettings | None,
        clock: Clock,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        replay: bool = False,
        price: Callable[[MessageResponse], Cost] | None = None,
    ) -> None:
        self._clock = clock
        self._price = price
        connect = timeouts.connect if timeouts else None
        between_events = timeouts.between_events if timeouts else None
        self._plain = httpx2.Timeout(timeouts.total if timeouts else None, connect=connect)
        self._streamed = httpx2.Timeout(between_events, connect=connect)
        self._between_events = between_events
        self._times_out = transport is None
        """Whether the transport ends a read that hangs by itself."""
        self._first_event = timeouts.first_event if timeouts else None
        if transport is None:
            http: httpx2.AsyncClient = DefaultAioHttpClient()
        else:
            http = httpx2.AsyncClient(transport=transport, follow_redirects=True)
        self._client = _client(settings, http, replay=replay)
        # Or else the first call asks a thread for it, whose time is not the clock's.
        self._client._platform = get_platform()
        self.rate_limits: Mapping[str, str] = {}
        """The rate-limit headers of the latest answer."""

    async def __call__(self, call: Call) -> Stream:
        """Send one attempt; return its stream once its first event other than a ping has been read.

        Raises:
            ProviderError: The attempt failed before that.
        """
        started = self._clock.monotonic()
        number = len(call.attempts) + 1
        waited = call.backoff - sum(attempt.waited for attempt in call.attempts)
        call.limits = {}
        try:
            stream = await self._open(call)
        except (ProviderError, asyncio.CancelledError) as error:
            seconds = self._clock.monotonic() - started
            known = (error.request_id, error.code) if isinstance(error, ProviderError) else (None, "cancelled")
            call.attempts.append(Attempt(number, waited, seconds, *known))
            raise
        seconds = self._clock.monotonic() - started
        call.attempts.append(Attempt(number, waited, seconds, stream.request_id))
        return stream

    async def count_tokens(self, body: Mapping[str, Any], betas: Sequence[str] = ()) -> int:
        """Ask the endpoint how many input tokens *body* (a request without ``max_tokens``) is."""
        answer = await self._exchange("POST", "/v1/messages/count_tokens", body, betas=betas)
        count = answer.get("input_tokens")
        if not isinstance(count, int):
            raise InvalidResponseError("the count endpoint's answer has no input_tokens")
        return count

    async def models(self) -> list[dict[str, Any]]:
        """Ask the endpoint for its models, all pages."""
        models: list[dict[str, Any]] = []
        query = {"limit": "1000"}
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

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def _open(self, call: Call) -> Stream:
        limit = self._first_event
        if limit is None or not call.request.stream:
            return await self._opened(call)
        try:
            async with self._clock.timeout(limit):
                return await self._opened(call)
        except CallTimeoutError:  # another limit's
            raise
        except TimeoutError as error:
            raise CallTimeoutError(
                "no event came within deadline.first_event", code="first_event_timeout", context={"first_event": limit}
            ) from error

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
            price=self._price,
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
        try:
            while True:
                data = await self._read(reads, call, snapshot)
                chunks: list[MessageChunk] = []
                try:
                    for chunk in chunks_of(events.finish() if data is None else events.feed(data)):
                        if chunk.type == "error":
                            raise error_of(None, chunk.data, response.headers, now=self._clock.now())
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
                if chunks:
                    yield chunks
                if data is None:
                    snapshot.finish()
                    return
        except ProviderError as error:
            error.request_id = error.request_id or _request_id(response)
            raise
        finally:
            await response.aclose()

    async def _read(self, reads: AsyncIterator[bytes], call: Call, snapshot: Snapshot) -> bytes | None:
        """The bytes of the next network read; ``None`` at the end of the body."""
        limit = _LINGER if snapshot.complete else self._read_limit(call)
        try:
            if limit is None:
                return await anext(reads, None)
            async with self._clock.timeout(limit):
                return await anext(reads, None)
        except (TimeoutError, httpx2.HTTPError, httpx2.StreamError) as error:
            if snapshot.complete:
                _log.debug("the body of a complete message did not end well: %r", error)
                return None
            if isinstance(error, TimeoutError) and (call.deadline is None or self._clock.monotonic() < call.deadline):
                raise CallTimeoutError(_TIMEOUTS["read"][1], code=_TIMEOUTS["read"][0]) from error
            raise _broken(error) from error

    def _read_limit(self, call: Call) -> float | None:
        """Seconds that the next read may take; ``None`` where the transport sees to it, which costs less."""
        left = None if call.deadline is None else call.deadline - self._clock.monotonic()
        between = self._between_events
        if left is None or (between is not None and between < left):
            return None if self._times_out else between
        return left

    async def _plain_chunk(
        self, response: httpx2.Response, snapshot: Snapshot
    ) -> AsyncGenerator[Sequence[MessageChunk], None]:
        message = await self._json(response)
        if message.get("type") == "error":
            raise error_of(None, message, response.headers, now=self._clock.now())
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
        query: Mapping[str, str] | None = None,
        betas: Sequence[str] = (),
    ) -> dict[str, Any]:
        options: RequestOptions = {"timeout": self._plain, "params": query or {}}
        return await self._json(await self._send(method, path, body, options, betas=betas))

    async def _json(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            data = await response.aread()
        except httpx2.HTTPError as error:
            raise _broken(error) from error
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
        if betas:
            path += "?beta=true"
            options["headers"] = {"anthropic-beta": ",".join(betas)}
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
            self._keep_limits(error.response, call)
            secret = error.request.headers.get("authorization", "").removeprefix("Bearer ")
            raise error_of(
                error.status_code, error.body, error.response.headers, now=self._clock.now(), secret=secret
            ) from error
        except anthropic.APIConnectionError as error:
            raise _not_sent(error) from error
        except httpx2.HTTPError as error:  # in the middle of a refusal
            raise _broken(error) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from error
        except Exception as error:
            if _is_about_credentials(error):
                raise AuthenticationError(str(error)) from error
            raise InvalidResponseError(f"the answer cannot be read: {error!r}") from error
        self._keep_limits(response, call)
        return response

    def _keep_limits(self, response: httpx2.Response, call: Call | None) -> None:
        if limits := {name: value for name, value in response.headers.items() if name.startswith(_LIMIT_HEADERS)}:
            self.rate_limits = limits
            if call is not None:
                call.limits = limits


_RawStream = AsyncStream[object]
_LIMIT_HEADERS = ("anthropic-ratelimit-", "anthropic-priority-", "anthropic-fast-")


def has_credentials(settings: EndpointSettings) -> bool:
    """Whether there are credentials for the endpoint. A platform's library may ask the machine that it runs on.

    Raises:
        AuthenticationError: Those that the environment names cannot be used.
        ConfigurationError: The extra that looks for them is missing.
    """
    try:
        match settings.kind:
            case "bedrock":
                return any(map(os.environ.get, _BEDROCK_KEYS)) or _has_aws_credentials()
            case "vertex":
                return _google_project() is not None
            case "foundry":
                return bool(os.environ.get("ANTHROPIC_FOUNDRY_API_KEY"))
        return bool(os.environ.get("ANTHROPIC_API_KEY")) or default_credentials() is not None
    except ImportError as error:
        raise ConfigurationError(
            f"endpoint={settings.kind} needs an extra: pip install 'claudeprov[{settings.kind}]'"
        ) from error
    except Exception as error:
        if _is_about_credentials(error):
            raise AuthenticationError(f"endpoint={settings.kind}: {error}") from error
        raise


_BEDROCK_KEYS = ("AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_AWS_API_KEY")


def _has_aws_credentials() -> bool:
    import boto3

    return boto3.Session().get_credentials() is not None


def _google_project() -> str | None:
    """The project of Google's default credentials, empty if they have none; ``None`` if there are none."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        _, project = google.auth.default()
    except DefaultCredentialsError:
        return None
    return project or ""


def _is_about_credentials(error: Exception) -> bool:
    """Whether the SDK or a platform's library failed to find, read or refresh credentials."""
    return type(error).__module__.partition(".")[0] in ("anthropic", "botocore", "google")


def login_hint(kind: str) -> str:
    """What to do where there are no credentials for an endpoint of that kind."""
    return _LOGINS.get(kind, _LOGIN)


def _client(settings: EndpointSettings, http: httpx2.AsyncClient, *, replay: bool) -> Any:
    """The SDK's client for the endpoint. A replay gets one that looks for no credentials."""
    kind = settings.kind
    if kind == "compatible" and settings.base_url is None and not replay:
        raise ConfigurationError("endpoint=compatible needs endpoint.base_url, such as http://127.0.0.1:8085")
    if not replay and not has_credentials(settings):
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
                if not (project := project or _google_project()):
                    raise ValueError("no project: set endpoint.project_id or ANTHROPIC_VERTEX_PROJECT_ID")
                return anthropic.AsyncAnthropicVertex(region=region, project_id=project, access_token=key, **shared)
            case "foundry":
                resource = settings.resource or (key if settings.base_url is None else None)
                return anthropic.AsyncAnthropicFoundry(api_key=key, resource=resource, **shared)
        return anthropic.AsyncAnthropic(api_key=key, **shared)
    except (anthropic.AnthropicError, ValueError) as error:
        raise ConfigurationError(f"endpoint={kind}: {error}") from error


def _not_sent(error: anthropic.APIConnectionError) -> ProviderError:
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, ProviderError):  # raised by a transport of ours
            return cause
        if isinstance(cause, httpx2.TimeoutException):
            return _timeout(cause)
        cause = cause.__cause__
    reason = error.__cause__ or error
    return ConnectionFailedError(f"no answer from {error.request.url.host}: {_reason(reason)}")


def _broken(error: Exception) -> ProviderError:
    if isinstance(error, httpx2.TimeoutException):
        return _timeout(error)
    if isinstance(error, TimeoutError):
        return CallTimeoutError("the call's deadline passed", code="deadline_exceeded")
    return StreamInterruptedError(f"the connection broke in the middle of the answer: {_reason(error)}")


def _timeout(error: httpx2.TimeoutException) -> CallTimeoutError:
    kind = type(error).__name__.removesuffix("Timeout").lower()
    code, what = _TIMEOUTS.get(kind, ("timeout", "a time limit passed"))
    return CallTimeoutError(what, code=code)


_TIMEOUTS = {
    "connect": ("connect_timeout", "no connection could be made within deadline.connect"),
    "read": ("read_timeout", "nothing came in time: deadline.between_events, of a plain exchange deadline.total"),
    "write": ("write_timeout", "the request could not be written in time"),
    "pool": ("pool_timeout", "no connection of the pool became free in time"),
}


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _request_id(response: httpx2.Response) -> str | None:
    return response.headers.get("request-id")
