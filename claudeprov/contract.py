"""The platform's contract of a provider, which an application can hold in place of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from claudeprov.catalog import Capabilities, Model
from claudeprov.doctor.check import Check
from claudeprov.errors import ProviderError
from claudeprov.limits import RouteLimits
from claudeprov.request import MessageRequest
from claudeprov.stream import MessageStream
from claudeprov.tokens import TokenCount


@dataclass(frozen=True, slots=True)
class Health:
    """Whether calls can be expected to work."""

    ok: bool
    """Whether nothing is at fault that calls need; a ledger's database is not, for rows wait for it."""
    seconds: float
    """How long the look took."""
    error: ProviderError | None = None
    """What calls would meet, by the first such fault."""
    checks: tuple[Check, ...] = ()
    """What was looked at: ``endpoint``, ``clock``, ``breaker``, ``redis``, ``database``."""


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
        """Whether calls can be expected to work; costs no tokens, and may be asked each second."""
        ...

    def rate_limits(self) -> Mapping[str, RouteLimits]:
        """By route: the limits, what remains of them, when they reset, and the queue."""
        ...
