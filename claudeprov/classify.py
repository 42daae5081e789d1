"""Which error an answer of the API is: by status, ``error.type`` and ``error.details.error_code``, not by its words.

Source: the Messages API's error documentation and the official SDK's table of classes. One kind has no mark but its
words, and is told by them: a spend limit that the customer has set is an ``invalid_request_error`` like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan
from typing import Any

from claudeprov.errors import (
    AuthenticationError,
    BillingError,
    CallTimeoutError,
    ConflictError,
    ContextWindowExceededError,
    InvalidRequestError,
    ModelNotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
    SpendLimitError,
)
from claudeprov.mask import MASK

_CUSTOMER_SPEND_LIMIT = "You have reached your specified API usage limits"
_SPEND_LIMITS = frozenset(
    ("enforced_spend_limit_reached", "contract_spend_limit_reached", "linked_organization_spend_limit_reached")
)
_TRANSIENT = frozenset(("cmek_key_unreachable", "cmek_context_unavailable", "compaction_unavailable"))

_BY_TYPE: dict[str, type[ProviderError]] = {
    "invalid_request_error": InvalidRequestError,
    "authentication_error": AuthenticationError,
    "billing_error": BillingError,
    "permission_error": PermissionDeniedError,
    "not_found_error": ModelNotFoundError,
    "conflict_error": ConflictError,
    "request_too_large": RequestTooLargeError,
    "rate_limit_error": RateLimitError,
    "api_error": ServerError,
    "timeout_error": ServerError,
    "overloaded_error": OverloadedError,
    "exceed_context_size_error": ContextWindowExceededError,  # llama.cpp's server
}
_BY_STATUS: dict[int, type[ProviderError]] = {
    401: AuthenticationError,
    402: BillingError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: CallTimeoutError,
    409: ConflictError,
    413: RequestTooLargeError,
    429: RateLimitError,
    431: RequestTooLargeError,
    529: OverloadedError,
}
_TIMEOUT_CODE = "gateway_timeout"
_CODE_BY_STATUS = {408: "request_timeout", 503: "service_unavailable", 504: _TIMEOUT_CODE}
_NOT_RETRYABLE = frozenset((499, 501))
_YEAR = 366 * 24 * 3600.0


def error_of(
    status: int | None, body: object, headers: Mapping[str, str] | None = None, *, now: datetime, secret: str = ""
) -> ProviderError:
    """The error that an answer is.

    Args:
        status: The HTTP status; ``None`` for an error event inside a stream.
        body: The answer's JSON, or its text where it is none.
        headers: The answer's headers.
        now: The time against which a ``retry-after`` date is read.
        secret: The credential that was sent; a gateway may echo it.
    """
    headers = headers or {}
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    kind = error.get("type")
    details = error.get("details")
    error_code = details.get("error_code") if isinstance(details, dict) else None
    error_code = error_code if isinstance(error_code, str) else None
    message = error.get("message")
    message = message if isinstance(message, str) else f"the API answered with status {status}"
    if secret:
        message = message.replace(secret, MASK)
    wait = retry_after(headers, now=now)
    should_retry = headers.get("x-should-retry")

    cls = _class_of(status, kind, error_code, message)
    retryable = cls.retryable and status not in _NOT_RETRYABLE
    if error_code in _TRANSIENT:
        retryable = True
    if cls is not SpendLimitError and should_retry in ("true", "false"):
        retryable = should_retry == "true"
    if cls is AuthenticationError:
        message += "; check ANTHROPIC_API_KEY, or the profile that the SDK would use, and that it fits the endpoint"
    code = error_code or _CODE_BY_STATUS.get(status or 0) or (_TIMEOUT_CODE if kind == "timeout_error" else None)
    if cls is SpendLimitError and error_code is None:
        code = "customer_spend_limit_reached"
    request_id = headers.get("request-id") or (body.get("request_id") if isinstance(body, dict) else None)
    context: dict[str, Any] = {"status": status, "type": kind}
    if details is not None:
        context["details"] = details
    return cls(
        message,
        code=code,
        context={name: value for name, value in context.items() if value is not None},
        retryable=retryable,
        retry_after=wait,
        request_id=request_id if isinstance(request_id, str) else None,
    )


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` (seconds or a date); ``None`` if neither says.

    Never more than a year, so that a date can be made of it.
    """
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        return None if isnan(seconds) else min(max(seconds, 0.0), _YEAR)
    try:
        date = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    wait = date.replace(tzinfo=date.tzinfo or UTC) - now  # a date "-0000" is in UTC, too
    return min(max(wait.total_seconds(), 0.0), _YEAR)


def _class_of(status: int | None, kind: object, error_code: str | None, message: str) -> type[ProviderError]:
    if error_code in _SPEND_LIMITS:
        return SpendLimitError
    if status in (400, None) and message.startswith(_CUSTOMER_SPEND_LIMIT):
        return SpendLimitError
    by_type = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    if status is None:
        return by_type or ServerError
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if by_type is not None:
        return by_type
    return ServerError if status >= 500 else InvalidRequestError
