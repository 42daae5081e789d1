"""The errors of claudeprov: one tree, so that a caller can catch as widely or as narrowly as needed.

    ProviderError
    ├── ConfigurationError (ValueError)     a wrong group, key, value or type; nothing was sent
    ├── RequestError                        the request cannot succeed as it is
    │   ├── InvalidRequestError             400, 412, 422 and other refused requests
    │   │   └── ContextWindowExceededError  prompt and max_tokens do not fit the model
    │   ├── RequestTooLargeError            413, 431
    │   ├── ModelNotFoundError              404: a retired or unknown model, or another resource
    │   └── ConflictError                   409
    ├── AccessError                         the credentials do not reach that far
    │   ├── AuthenticationError             401, or no credentials at all
    │   ├── PermissionDeniedError           403
    │   └── BillingError                    402
    ├── LimitError                          a limit of the service or of the user's own
    │   ├── RateLimitError                  429 that passes with time
    │   ├── SpendLimitError                 a spend limit: 429 or 400; passes with the month, a contract or a setting
    │   └── BudgetExceededError             the user's own budget
    ├── ServiceError                        the service or the way to it failed; another attempt may succeed
    │   ├── ServerError                     500 to 599
    │   │   └── OverloadedError             529
    │   ├── ConnectionFailedError           no connection, or reset before an answer
    │   ├── CallTimeoutError (TimeoutError) a deadline passed; ``code`` says which
    │   ├── InvalidResponseError            a 200 that is no answer of the Messages API
    │   └── StreamInterruptedError          a stream that broke off; ``partial`` holds what arrived
    ├── CircuitOpenError                    the breaker is open; nothing was sent
    ├── StateUnavailableError               what processes share is out of reach; nothing was sent
    ├── OutputError                         the answer has not the shape that was asked for
    ├── SandboxUnavailableError             code cannot be locked in as the configuration asks; it was not run
    └── CassetteError                       a cassette cannot be read or written
        └── CassetteMissError               the request was not recorded

Branch on the class or on ``code``, never on the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from claudeprov.mask import masked_text

if TYPE_CHECKING:
    from claudeprov.response import MessageResponse

Severity = Literal["warning", "error", "critical"]
"""``warning`` may pass by itself, ``error`` needs another request, ``critical`` needs a person."""


class ProviderError(Exception):
    """Anything that went wrong with a call.

    Args:
        message: One sentence for a person; what looks like a credential in it is masked.
        code: A stable word for programs; the class's own if left out.
        context: What was involved (model, endpoint, limits ...), never a secret.
        retryable: Whether the same request may succeed later; the class's own if left out.
        retry_after: Seconds until another attempt makes sense, where known.
        request_id: The service's id of the attempt, where it answered.
        partial: What had arrived, where a stream broke off.
    """

    code: str = "provider_error"
    retryable: bool = False
    severity: ClassVar[Severity] = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        context: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        partial: MessageResponse | None = None,
    ) -> None:
        self.message = masked_text(message)
        super().__init__(self.message)
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable
        self.context: dict[str, Any] = dict(context or {})
        self.retry_after = retry_after
        self.request_id = request_id
        self.partial = partial

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,), self.__dict__


class ConfigurationError(ProviderError, ValueError):
    """A wrong group, key, value or type; found before anything was sent."""

    code = "configuration"


class RequestError(ProviderError):
    """The request cannot succeed as it is."""

    code = "request"


class InvalidRequestError(RequestError):
    """The API refused the request's parameters."""

    code = "invalid_request"


class ContextWindowExceededError(InvalidRequestError):
    """Prompt and ``max_tokens`` do not fit the model's context window."""

    code = "context_window_exceeded"


class RequestTooLargeError(RequestError):
    """The request's body or headers are larger than the API takes."""

    code = "request_too_large"


class ModelNotFoundError(RequestError):
    """The API does not know the model, or not any more, or another resource that was named."""

    code = "not_found"


class ConflictError(RequestError):
    """The resource changed meanwhile; read it again, then retry."""

    code = "conflict"
    retryable = True


class AccessError(ProviderError):
    """The credentials do not reach that far."""

    code = "access"
    severity = "critical"


class AuthenticationError(AccessError):
    """No credentials, or refused ones."""

    code = "authentication"


class PermissionDeniedError(AccessError):
    """The credentials may not do this."""

    code = "permission_denied"


class BillingError(AccessError):
    """The account cannot be billed."""

    code = "billing"


class LimitError(ProviderError):
    """A limit of the service, or of the user's own."""

    code = "limit"


class RateLimitError(LimitError):
    """Too many requests or tokens a minute; passes with time."""

    code = "rate_limited"
    retryable = True
    severity = "warning"


class SpendLimitError(LimitError):
    """A spend limit is reached: the tier's, the contract's or the one that the customer set."""

    code = "spend_limit_reached"
    severity = "critical"


class BudgetExceededError(LimitError):
    """The call could break the user's own budget, and was not sent; or it was stopped at its limit.

    ``retryable`` where it fits once calls under way are settled with less than was set aside for them.
    """

    code = "budget_exceeded"


class ServiceError(ProviderError):
    """The service, or the way to it, failed."""

    code = "service"
    retryable = True


class ServerError(ServiceError):
    """The API answered with a status from 500 on."""

    code = "server_error"


class OverloadedError(ServerError):
    """The API, or the model, is overloaded."""

    code = "overloaded"
    severity = "warning"


class ConnectionFailedError(ServiceError):
    """No connection could be made, or it was lost before an answer."""

    code = "connection_failed"


class CallTimeoutError(ServiceError, TimeoutError):
    """A time limit passed; ``code`` says which one."""

    code = "timeout"


class InvalidResponseError(ServiceError):
    """The answer is none of the Messages API: a proxy's page, broken JSON, another content type."""

    code = "invalid_response"


class StreamInterruptedError(ServiceError):
    """The stream broke off, or left the API's grammar; ``partial`` holds what arrived."""

    code = "stream_interrupted"


class CircuitOpenError(ProviderError):
    """The breaker is open; nothing was sent. ``retry_after`` says when it lets a trial through."""

    code = "circuit_open"
    retryable = True


class StateUnavailableError(ProviderError):
    """The state that processes share is out of reach; nothing was sent. ``retry_after`` says when it is tried again."""

    code = "state_unavailable"
    retryable = True


class SandboxUnavailableError(ProviderError):
    """Code cannot be locked in as the configuration asks, and was not run; or the sandbox itself broke down."""

    code = "sandbox_unavailable"


class OutputError(ProviderError):
    """The answer has not the shape that was asked for, and is not asked for again; ``partial`` holds the last one.

    ``context`` has ``problems`` (what does not fit), ``text`` (what the model wrote), ``stop_reason`` and ``repairs``.
    """

    code = "output_invalid"


class CassetteError(ProviderError):
    """A cassette cannot be read or written."""

    code = "cassette"


class CassetteMissError(CassetteError):
    """The request was not recorded."""

    code = "not_recorded"


CODES: tuple[str, ...] = (
    *(found.code for found in list(vars().values()) if isinstance(found, type) and issubclass(found, ProviderError)),
    # of a ServerError
    *("service_unavailable", "gateway_timeout"),
    *("cmek_key_unreachable", "cmek_context_unavailable", "compaction_unavailable"),
    # of a CallTimeoutError
    *("deadline_exceeded", "connect_timeout", "first_event_timeout", "between_events_timeout", "ping_timeout"),
    *("write_timeout", "pool_timeout", "request_timeout"),
    # of a StreamInterruptedError
    *("truncated", "out_of_grammar", "invalid_json", "event_too_large", "cancelled", "abandoned"),
    # of a RateLimitError
    *("ramp_limit_exceeded", "queue_too_long"),
    # of an InvalidRequestError
    *("image_dimensions_too_large", "organization_on_hold", "refused_by_model"),
    # of a ModelNotFoundError
    "model_retired",
    # of a SpendLimitError
    *("enforced_spend_limit_reached", "contract_spend_limit_reached", "linked_organization_spend_limit_reached"),
    "customer_spend_limit_reached",
    # of a BudgetExceededError
    *("unbounded", "budget_stopped"),
    # of an OutputError
    *("output_unfinished", "output_refused"),
    # of a CassetteError
    *("malformed", "secret_found", "not_scrubbed", "recording_cancelled"),
)
"""Every code that an error may have: of each class, then of single errors. The API may send further ones."""
