"""Breakpoints of the prompt cache, put where they are of use."""

from __future__ import annotations

from collections.abc import Callable

from claudeprov.caching import with_breakpoints
from claudeprov.catalog import Model
from claudeprov.chain import Call, Next
from claudeprov.settings.request import CachingSettings
from claudeprov.stream import Stream
from claudeprov.tokens import Estimator


class Caching:
    """Puts breakpoints on the tools, the system prompt and the conversation of each request.

    The estimates that decide are those of an estimator that learns nothing: the same request always gets the same
    breakpoints, in a replay too.

    Args:
        settings: The group ``caching``.
        models: What is known of a model, by any of its names.
    """

    def __init__(self, settings: CachingSettings, *, models: Callable[[str], Model | None]) -> None:
        self._ttl = settings.ttl
        self._models = models
        self._estimate = Estimator().estimate

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        model = self._models(call.request.model or "")
        call.request = with_breakpoints(call.request, model, self._ttl, self._estimate)
        return await call_next(call)
