"""Requests that their model is known to refuse, stopped or adapted before they cost anything."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from claudeprov.catalog import Model
from claudeprov.chain import Call, Next
from claudeprov.clock import Clock
from claudeprov.errors import ContextWindowExceededError, InvalidRequestError, ModelNotFoundError
from claudeprov.notice import Notices
from claudeprov.preflight import Estimate, Fault, ModelDeprecatedWarning, RequestAdaptedWarning, adapted, faults
from claudeprov.request import MessageRequest
from claudeprov.settings.request import PreflightSettings
from claudeprov.stream import Stream


class Preflight:
    """Checks each request against what is known of its model.

    ``error`` refuses a request with all that is wrong with it, ``adapt`` changes what can be changed and refuses the
    rest, ``send`` lets everything through. A retired model is refused, but on platforms with a calendar of their own
    (Bedrock, Vertex AI). Of a model that nobody knows nothing is refused.

    Each adapted request posts the notice ``preflight.adapted`` with ``model`` and ``rules``, and warns once a rule and
    model. A deprecated model warns once, with the notice ``model.deprecated``: ``model``, ``retires``, ``replacement``.
    A model that is past its day is still sent to: the day may have been put off, and the service says so for nothing.

    Args:
        settings: The group ``preflight``.
        clock: Whose day it is.
        notices: Where it tells what happens.
        models: What is known of a model, by any of its names.
        estimate: How many input tokens a request is.
        replay: Requests go to a cassette: they are adapted as they were when they were recorded, and none is refused.

    Raises:
        ModelNotFoundError: The model is retired; ``code`` is ``model_retired``.
        ContextWindowExceededError: The request is too long, and nothing else is wrong with it.
        InvalidRequestError: ``code`` is ``refused_by_model``; the ``context`` names the ``model`` and the ``rules``.
    """

    def __init__(
        self,
        settings: PreflightSettings,
        *,
        clock: Clock,
        notices: Notices,
        models: Callable[[str], Model | None],
        estimate: Estimate,
        replay: bool = False,
    ) -> None:
        self._mode = settings.mode
        self._clock = clock
        self._notices = notices
        self._models = models
        self._estimate = estimate
        self._replay = replay
        self._warned: set[tuple[str, str]] = set()

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        if self._mode != "send" and (model := self._models(call.request.model or "")) is not None:
            if not self._replay:
                self._check_lifecycle(call, model)
            if self._mode == "adapt":
                call.request = self._adapt(call, model)
            if not self._replay and (found := faults(call.request, model, self._estimate)):
                raise _refusal(model, found)
        return await call_next(call)

    def _check_lifecycle(self, call: Call, model: Model) -> None:
        life = model.lifecycle
        successor = f"its successor is {life.replacement}" if life.replacement else "no successor is known"
        if life.status == "retired" and call.endpoint.kind not in ("bedrock", "vertex"):
            raise ModelNotFoundError(
                f"{model.id} is retired since {life.retires or 'a day that is not known'}; {successor}",
                code="model_retired",
                context={"model": model.id, "retired": str(life.retires), "replacement": life.replacement},
            )
        if life.status == "deprecated" and self._is_first("deprecated", model):
            fields = {"model": model.id, "retires": life.retires and str(life.retires), "replacement": life.replacement}
            self._notices.post("model.deprecated", call.id, **fields)
            is_over = life.retires is not None and life.retires <= self._clock.now().date()
            end = (
                f"was to be retired on {life.retires}"
                if is_over
                else f"retires on {life.retires or 'a day not yet named'}"
            )
            _warn(f"{model.id} is deprecated and {end}; {successor}", ModelDeprecatedWarning)

    def _adapt(self, call: Call, model: Model) -> MessageRequest:
        request, lost = adapted(call.request, model, self._estimate)
        if lost and not self._replay:
            self._notices.post("preflight.adapted", call.id, model=model.id, rules=[fault.rule for fault in lost])
            for fault in lost:
                if self._is_first(fault.rule, model):
                    _warn(f"a request to {model.id} was adapted: {fault.text}", RequestAdaptedWarning)
        return request

    def _is_first(self, what: str, model: Model) -> bool:
        is_first = (what, model.id) not in self._warned
        self._warned.add((what, model.id))
        return is_first


def _refusal(model: Model, found: list[Fault]) -> InvalidRequestError:
    texts = "; ".join(fault.text for fault in found)
    rules = [fault.rule for fault in found]
    message = (
        f"{model.id} would refuse this: {texts} (preflight=adapt changes what it can, preflight=send sends it as it is)"
    )
    context = {"model": model.id, "rules": rules}
    if rules == ["context"]:
        return ContextWindowExceededError(message, context=context)
    return InvalidRequestError(message, code="refused_by_model", context=context)


def _warn(text: str, category: type[Warning]) -> None:
    warnings.warn(text, category, stacklevel=2)
