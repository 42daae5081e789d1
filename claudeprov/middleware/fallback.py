"""Another model, or another endpoint, where one does not serve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from claudeprov.catalog import Model
from claudeprov.chain import Call, Next
from claudeprov.chunk import MessageChunk
from claudeprov.errors import AuthenticationError, ConfigurationError, ProviderError, ServiceError
from claudeprov.notice import Notices
from claudeprov.request import MessageRequest
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.settings.fallback import FallbackSettings
from claudeprov.stream import Stream


class Fallback:
    """Sends a call to the candidates of ``to`` in turn where its own model fails for one of ``reasons``.

    An error does so whose code, or whose class's, is among them; so does a refusal without any output, for which the
    beginning of the stream is looked at. Once there is output there is no other model. A candidate that cannot be used,
    as its credentials or an extra are missing, is passed over. The last answer stands, a refusal too, and so does the
    last error of those that could be used; its ``context["tried"]`` says how each fared. ``response.model`` is the
    model that served; what a refusal cost is in ``response.attempts``. The layers within see each candidate as a new
    call. Posts ``fallback.used``.

    What a conversation holds that is bound to the model which wrote it, as thinking blocks of some models are, is sent
    on as it is; the other model may refuse it.
    """

    def __init__(self, settings: FallbackSettings, *, models: Callable[[str], Model | None], notices: Notices) -> None:
        self._candidates = settings.to
        self._reasons = frozenset(settings.reasons)
        self._models = models
        self._notices = notices

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        others = list(self._others(call))
        tried: list[str] = []
        failure: ProviderError | None = None
        while True:
            place = _place(call)
            try:
                stream = await call_next(call)
                if not others or "refusal" not in self._reasons or not await _is_refused(stream):
                    return stream
                await _give_up(stream)
                reason, failure = "refusal", None
                tried.append(f"{place}: {reason}")
            except ProviderError as error:
                reason = error.code
                tried.append(f"{place}: {reason}")
                is_unusable = len(tried) > 1 and isinstance(error, (AuthenticationError, ConfigurationError))
                if failure is None or not is_unusable:
                    failure = error
                if not others or not (is_unusable or self._reasons & {error.code, type(error).code}):
                    if len(tried) > 1:
                        failure.context["tried"] = tried
                    raise failure from failure.__cause__
            call.request, call.endpoint = others.pop(0)
            self._notices.post("fallback.used", call.id, **{"from": place, "to": _place(call), "reason": reason})

    def _others(self, call: Call) -> Iterator[tuple[MessageRequest, EndpointSettings]]:
        asked = call.request
        own = self._id(asked.model), call.endpoint
        for candidate in self._candidates:
            endpoint = candidate.endpoint or call.endpoint
            if (name := self._id(candidate.model or asked.model), endpoint) != own:
                known = self._models(name or "")
                model = known.id_on(endpoint.kind) if known else name
                yield asked.model_copy(update={"model": model}), endpoint

    def _id(self, name: str | None) -> str | None:
        known = self._models(name or "")
        return known.id if known else name


def _place(call: Call) -> str:
    return f"{call.endpoint.kind}/{call.request.model}"


async def _is_refused(stream: Stream) -> bool:
    """Whether the answer is a refusal without any output; reads up to where that is known."""
    await stream.peek(_tells)
    response = stream.response
    return response.stop_reason == "refusal" and not any(_says(block) for block in response.content)


def _tells(chunk: MessageChunk) -> bool:
    """Whether it is known from *chunk* on if there is any output."""
    if chunk.type == "content_block_start":
        return _says(chunk.data["content_block"])
    return chunk.type in ("content_block_delta", "message_delta", "message")


def _says(block: dict[str, object]) -> bool:
    return block["type"] != "text" or bool(block.get("text"))


async def _give_up(stream: Stream) -> None:
    """Read *stream* to its end, which is near, and take down what it used. It is refused even if it breaks there."""
    with suppress(ServiceError):
        while await stream.read():
            pass
    call, paid = stream.call, replace(stream.response, attempts=())
    call.attempts[-1] = replace(call.attempts[-1], error_code="refusal", usage=paid.usage, cost=paid.cost)
