"""Declared configuration becomes a resilient, measured, replayable streaming provider for Claude models.

async with claudeprov.open_provider(["model=sonnet", "retry=patient"]) as provider:
    async for chunk in provider.send_message({"messages": [{"role": "user", "content": "Hi"}]}):
        print(chunk.text, end="")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claudeprov.chain import Call, Middleware, Next
    from claudeprov.chunk import MessageChunk
    from claudeprov.clock import Clock
    from claudeprov.cost import Cost, LineItem, cost_of
    from claudeprov.errors import (
        AccessError,
        AuthenticationError,
        BillingError,
        BudgetExceededError,
        CallTimeoutError,
        CassetteError,
        CassetteMissError,
        CircuitOpenError,
        ConfigurationError,
        ConflictError,
        ConnectionFailedError,
        ContextWindowExceededError,
        InvalidRequestError,
        InvalidResponseError,
        LimitError,
        ModelNotFoundError,
        OverloadedError,
        PermissionDeniedError,
        ProviderError,
        RateLimitError,
        RequestError,
        RequestTooLargeError,
        ServerError,
        ServiceError,
        SpendLimitError,
        StreamInterruptedError,
    )
    from claudeprov.opening import open_provider
    from claudeprov.provider import AIProvider, AnthropicClaudeProvider, Health, TokenCount
    from claudeprov.request import MessageRequest
    from claudeprov.response import Attempt, MessageResponse, Timing, ToolCall, Usage
    from claudeprov.settings import Settings
    from claudeprov.stream import MessageStream, Outcome, Stream

__version__ = "0.1.0"

# Each name is imported when it is first used, so that a command pays only for what it needs.
_HOMES = {
    "chain": "Call Middleware Next",
    "chunk": "MessageChunk",
    "clock": "Clock",
    "cost": "Cost LineItem cost_of",
    "errors": (
        "AccessError AuthenticationError BillingError BudgetExceededError CallTimeoutError CassetteError "
        "CassetteMissError CircuitOpenError ConfigurationError ConflictError ConnectionFailedError "
        "ContextWindowExceededError InvalidRequestError InvalidResponseError LimitError ModelNotFoundError "
        "OverloadedError PermissionDeniedError ProviderError RateLimitError RequestError RequestTooLargeError "
        "ServerError ServiceError SpendLimitError StreamInterruptedError"
    ),
    "opening": "open_provider",
    "provider": "AIProvider AnthropicClaudeProvider Health TokenCount",
    "request": "MessageRequest",
    "response": "Attempt MessageResponse Timing ToolCall Usage",
    "settings": "Settings",
    "stream": "MessageStream Outcome Stream",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AIProvider",
    "AccessError",
    "AnthropicClaudeProvider",
    "Attempt",
    "AuthenticationError",
    "BillingError",
    "BudgetExceededError",
    "Call",
    "CallTimeoutError",
    "CassetteError",
    "CassetteMissError",
    "CircuitOpenError",
    "Clock",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "ContextWindowExceededError",
    "Cost",
    "Health",
    "InvalidRequestError",
    "InvalidResponseError",
    "LimitError",
    "LineItem",
    "MessageChunk",
    "MessageRequest",
    "MessageResponse",
    "MessageStream",
    "Middleware",
    "ModelNotFoundError",
    "Next",
    "Outcome",
    "OverloadedError",
    "PermissionDeniedError",
    "ProviderError",
    "RateLimitError",
    "RequestError",
    "RequestTooLargeError",
    "ServerError",
    "ServiceError",
    "Settings",
    "SpendLimitError",
    "Stream",
    "StreamInterruptedError",
    "Timing",
    "TokenCount",
    "ToolCall",
    "Usage",
    "cost_of",
    "open_provider",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
