"""Counting a request's tokens: by the endpoint, or where that cannot, by an estimate that says so."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from claudeprov.catalog import Model
from claudeprov.clock import Clock
from claudeprov.errors import ModelNotFoundError, RateLimitError, ServiceError
from claudeprov.request import MessageRequest
from claudeprov.tokens import Estimator, TokenCount

_log = logging.getLogger(__name__)

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
_MOST_KNOWN = 1024
_PAUSE = 1.0
"""Seconds without a question after a 429 that does not say how long."""


class TokenCounter:
    """Asks the endpoint once for each request, and remembers the latest 1,024 answers.

    The endpoint has a rate limit for counting; until it passes, and where the endpoint is out of order or has no such
    service, counts are estimates.

    Args:
        ask: Asks the endpoint for the tokens of a body with the named beta features.
        estimator: What estimates.
        clock: Where time comes from.
        optional: Whether an endpoint of this kind may be without the service, so that a 404 says that.
    """

    def __init__(
        self,
        ask: Callable[[Mapping[str, Any], Sequence[str]], Awaitable[int]],
        estimator: Estimator,
        clock: Clock,
        *,
        optional: bool,
    ) -> None:
        self._ask = ask
        self._estimator = estimator
        self._clock = clock
        self._fallback_on = (RateLimitError, ServiceError, *((ModelNotFoundError,) if optional else ()))
        self._known: OrderedDict[bytes, TokenCount] = OrderedDict()
        self._resumes = 0.0
        """When to ask again, in the clock's monotonic seconds."""

    async def count(self, request: MessageRequest, model: Model | None) -> TokenCount:
        """Count the input tokens of *request* to *model*.

        Raises:
            ProviderError: The endpoint refused the request or the credentials.
        """
        body = {name: value for name, value in request.body().items() if name not in _NOT_COUNTED}
        key = _digest(body, request.betas)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        if self._clock.monotonic() < self._resumes:
            return self._estimator.estimate(request, model)
        try:
            tokens = await self._ask(body, request.betas)
        except self._fallback_on as error:
            if isinstance(error, RateLimitError):
                self._resumes = self._clock.monotonic() + (error.retry_after or _PAUSE)
            _log.info("tokens are estimated, since the endpoint did not count them: %s", error)
            return self._estimator.estimate(request, model)
        count = self._known[key] = TokenCount(tokens, "endpoint", tokens, tokens)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return count


def _digest(body: Mapping[str, Any], betas: Sequence[str]) -> bytes:
    text = json.dumps([body, sorted(betas)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
