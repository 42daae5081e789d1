"""Which error an answer of the API is: by status, ``error.type`` and ``error.details.error_code``, not by its words.

Source: the Messages API's error documentation and the official SDK's table of classes. One kind has no mark but its
words, and is told by them: a spend limit that the customer has set is an ``invalid_request_error`` like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan
from typing import Any

from claudeprov.clock import month_of
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
from claudeprov.mask import masked_text, masked_within

_CUSTOMER_SPEND_LIMIT = "You have reached your specified API usage limits"
_REGAINED = re.compile(r"regain access on (\d{4}-\d\d-\d\d) at (\d\d:\d\d) UTC")
_MONTHLY_SPEND_LIMIT = "enforced_spend_limit_reached"
_SPEND_LIMITS = frozenset(
    (_MONTHLY_SPEND_LIMIT, "contract_spend_limit_reached", "linked_organization_spend_limit_reached")
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
_NO_MESSAGE = "the API sent an error that does not say what is wrong"


def error_of(
    status: int | None,
    body: object,
    headers: Mapping[str, str] | None = None,
    *,
    now: datetime,
    credentials: Sequence[str] = (),
) -> ProviderError:
    """The error that an answer is.

    Args:
        status: The HTTP status; ``None`` for an error inside an answer of status 200.
        body: The answer's JSON, or its text where it is none.
        headers: The answer's headers.
        now: The time against which a ``retry-after`` date is read, where the answer has no ``date``.
        credentials: What was sent as such; a gateway may echo it.
    """
    headers = headers or {}
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    kind = error.get("type")
    details = error.get("details")
    error_code = details.get("error_code") if isinstance(details, dict) else None
    error_code = error_code if isinstance(error_code, str) else None
    message = error.get("message")
    if not isinstance(message, str):
        message = f"the API answered with status {status}" if status else _NO_MESSAGE
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
    resets_at = _resets_at(code, message, now) if cls is SpendLimitError else None
    if resets_at is not None:  # such an answer has no retry-after
        context["resets_at"] = resets_at.isoformat()
        wait = max((resets_at - now).total_seconds(), 0.0)
    return cls(
        masked_text(message, credentials),
        code=code and masked_text(code, credentials),
        context=masked_within({name: value for name, value in context.items() if value is not None}, credentials),
        retryable=retryable,
        retry_after=wait,
        request_id=masked_text(request_id, credentials) if isinstance(request_id, str) else None,
    )


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` (seconds or a date); ``None`` if neither says.

    A date is as far off as it is from the answer's own ``date``, for the two clocks may differ, or else from *now*.
    Never more than a year, so that a date can be made of it.
    """
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        return None if isnan(seconds) else min(max(seconds, 0.0), _YEAR)
    until = _date(headers, "retry-after")
    if until is None:
        return None
    return min(max((until - (_date(headers, "date") or now)).total_seconds(), 0.0), _YEAR)


def _date(headers: Mapping[str, str], name: str) -> datetime | None:
    """The date that a header says, if that can be read."""
    try:
        date = parsedate_to_datetime(headers[name])
    except (KeyError, ValueError, OverflowError, IndexError, TypeError):  # all that the parser raises
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)  # a date "-0000" is in UTC, too


def _resets_at(code: str | None, message: str, now: datetime) -> datetime | None:
    """When a spend limit passes, if that is known: the tier's with the month, the customer's when its message says."""
    if code == _MONTHLY_SPEND_LIMIT:
        return month_of(now)[1]
    told = _REGAINED.search(message)
    try:
        return told and datetime.fromisoformat(f"{told[1]}T{told[2]}Z")
    except ValueError:
        return None


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
