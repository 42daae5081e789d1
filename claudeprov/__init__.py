"""Declared configuration becomes a resilient, measured, replayable streaming provider for Claude models.

async with claudeprov.open_provider(["model=sonnet", "retry=patient"]) as provider:
    async for chunk in provider.send_message({"messages": [{"role": "user", "content": "Hi"}]}):
        print(chunk.text, end="")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claudeprov.caching import Caching
    from claudeprov.chain import Call, Middleware, Next
    from claudeprov.chunk import MessageChunk
    from claudeprov.clock import Clock
    from claudeprov.contract import AIProvider, Health
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
        OutputError,
        OverloadedError,
        PermissionDeniedError,
        ProviderError,
        RateLimitError,
        RequestError,
        RequestTooLargeError,
        SandboxUnavailableError,
        ServerError,
        ServiceError,
        SpendLimitError,
        StateUnavailableError,
        StreamInterruptedError,
    )
    from claudeprov.limits import RouteLimits
    from claudeprov.opening import open_provider
    from claudeprov.output import OutputResponse, OutputStream
    from claudeprov.preflight import ModelDeprecatedWarning, RequestAdaptedWarning
    from claudeprov.provider import AnthropicClaudeProvider
    from claudeprov.request import MessageRequest
    from claudeprov.response import Attempt, Join, MessageResponse, Timing, ToolCall, Usage
    from claudeprov.settings import Settings
    from claudeprov.stream import MessageStream, Outcome, Stream
    from claudeprov.tokens import Estimator, TokenCount
    from claudeprov.tools.permission import PermissionRequest
    from claudeprov.tools.result import ToolResult, ToolRun
    from claudeprov.tools.signature import tool
    from claudeprov.tools.stream import ToolStream
    from claudeprov.tools.tool import Tool, ToolError

__version__ = "0.1.0"

# Each name is imported when it is first used, so that a command pays only for what it needs.
_HOMES = {
    "caching": "Caching",
    "chain": "Call Middleware Next",
    "chunk": "MessageChunk",
    "clock": "Clock",
    "cost": "Cost LineItem cost_of",
    "errors": (
        "AccessError AuthenticationError BillingError BudgetExceededError CallTimeoutError CassetteError "
        "CassetteMissError CircuitOpenError ConfigurationError ConflictError ConnectionFailedError "
        "ContextWindowExceededError InvalidRequestError InvalidResponseError LimitError ModelNotFoundError "
        "OutputError OverloadedError PermissionDeniedError ProviderError RateLimitError RequestError "
        "RequestTooLargeError SandboxUnavailableError ServerError ServiceError SpendLimitError StateUnavailableError "
        "StreamInterruptedError"
    ),
    "limits": "RouteLimits",
    "opening": "open_provider",
    "output": "OutputResponse OutputStream",
    "preflight": "ModelDeprecatedWarning RequestAdaptedWarning",
    "contract": "AIProvider Health",
    "provider": "AnthropicClaudeProvider",
    "request": "MessageRequest",
    "response": "Attempt Join MessageResponse Timing ToolCall Usage",
    "settings": "Settings",
    "stream": "MessageStream Outcome Stream",
    "tokens": "Estimator TokenCount",
    "tools.permission": "PermissionRequest",
    "tools.result": "ToolResult ToolRun",
    "tools.signature": "tool",
    "tools.stream": "ToolStream",
    "tools.tool": "Tool ToolError",
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
    "Caching",
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
    "Estimator",
    "Health",
    "InvalidRequestError",
    "InvalidResponseError",
    "Join",
    "LimitError",
    "LineItem",
    "MessageChunk",
    "MessageRequest",
    "MessageResponse",
    "MessageStream",
    "Middleware",
    "ModelDeprecatedWarning",
    "ModelNotFoundError",
    "Next",
    "Outcome",
    "OutputError",
    "OutputResponse",
    "OutputStream",
    "OverloadedError",
    "PermissionDeniedError",
    "PermissionRequest",
    "ProviderError",
    "RateLimitError",
    "RequestAdaptedWarning",
    "RequestError",
    "RequestTooLargeError",
    "RouteLimits",
    "SandboxUnavailableError",
    "ServerError",
    "ServiceError",
    "Settings",
    "SpendLimitError",
    "StateUnavailableError",
    "Stream",
    "StreamInterruptedError",
    "Timing",
    "TokenCount",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolResult",
    "ToolRun",
    "ToolStream",
    "Usage",
    "cost_of",
    "open_provider",
    "tool",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
