"""Which error an answer is."""

from datetime import UTC, datetime

import pytest

from claudeprov.classify import error_of, retry_after
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
    RateLimitError,
    RequestTooLargeError,
    ServerError,
    SpendLimitError,
)
from claudeprov.mask import MASK

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def found(status, kind=None, message="no", *, code=None, headers=None, **body):
    """The error for an answer of the API's own form."""
    details = {"error_code": code} if code else None
    error = {"type": kind, "message": message} | ({"details": details} if details else {})
    return error_of(status, {"type": "error", "error": error, **body}, headers, now=NOW)


@pytest.mark.parametrize(
    ("status", "kind", "cls", "code", "retryable"),
    [
        (400, "invalid_request_error", InvalidRequestError, "invalid_request", False),
        (401, "authentication_error", AuthenticationError, "authentication", False),
        (402, "billing_error", BillingError, "billing", False),
        (403, "permission_error", PermissionDeniedError, "permission_denied", False),
        (404, "not_found_error", ModelNotFoundError, "not_found", False),
        (408, None, CallTimeoutError, "request_timeout", True),
        (409, "conflict_error", ConflictError, "conflict", True),
        (412, None, InvalidRequestError, "invalid_request", False),
        (413, "request_too_large", RequestTooLargeError, "request_too_large", False),
        (422, None, InvalidRequestError, "invalid_request", False),
        (429, "rate_limit_error", RateLimitError, "rate_limited", True),
        (431, None, RequestTooLargeError, "request_too_large", False),
        (499, None, InvalidRequestError, "invalid_request", False),
        (500, "api_error", ServerError, "server_error", True),
        (501, "api_error", ServerError, "server_error", False),
        (502, None, ServerError, "server_error", True),
        (503, None, ServerError, "service_unavailable", True),
        (504, "timeout_error", ServerError, "gateway_timeout", True),
        (529, "overloaded_error", OverloadedError, "overloaded", True),
        (599, None, ServerError, "server_error", True),
        (400, "exceed_context_size_error", ContextWindowExceededError, "context_window_exceeded", False),
        (400, "a_new_error", InvalidRequestError, "invalid_request", False),
        (500, "a_new_error", ServerError, "server_error", True),
        (304, None, InvalidRequestError, "invalid_request", False),
    ],
)
def test_an_answer_is_told_by_its_status_and_type(status, kind, cls, code, retryable):
    error = found(status, kind)
    assert type(error) is cls
    assert (error.code, error.retryable) == (code, retryable)
    assert error.context["status"] == status


@pytest.mark.parametrize(
    ("kind", "cls", "code"),
    [
        ("overloaded_error", OverloadedError, "overloaded"),
        ("api_error", ServerError, "server_error"),
        ("timeout_error", ServerError, "gateway_timeout"),
        ("rate_limit_error", RateLimitError, "rate_limited"),
        ("invalid_request_error", InvalidRequestError, "invalid_request"),
        ("a_new_error", ServerError, "server_error"),
        (None, ServerError, "server_error"),
    ],
)
def test_an_error_event_is_told_by_its_type(kind, cls, code):
    error = found(None, kind)
    assert (type(error), error.code) == (cls, code)
    assert "status" not in error.context


@pytest.mark.parametrize(
    "code", ["enforced_spend_limit_reached", "contract_spend_limit_reached", "linked_organization_spend_limit_reached"]
)
def test_a_spend_limit_is_no_rate_limit_and_no_advice_makes_it_retryable(code):
    error = found(429, "rate_limit_error", code=code, headers={"x-should-retry": "true"})
    assert type(error) is SpendLimitError
    assert (error.code, error.retryable, error.severity) == (code, False, "critical")


@pytest.mark.parametrize(
    ("now", "resets_at"),
    [
        (NOW, "2026-12-01T00:00:00+00:00"),
        (datetime(2026, 12, 31, 23, 59, 50, tzinfo=UTC), "2027-01-01T00:00:00+00:00"),
        (datetime(2026, 12, 1, tzinfo=UTC), "2027-01-01T00:00:00+00:00"),
    ],
)
def test_the_tiers_spend_limit_passes_with_the_month_in_utc(now, resets_at):
    details = {"error_code": "enforced_spend_limit_reached"}
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "no", "details": details}}
    error = error_of(429, body, now=now)
    assert error.context["resets_at"] == resets_at
    assert error.retry_after == (datetime.fromisoformat(resets_at) - now).total_seconds()
    assert not error.retryable


@pytest.mark.parametrize(
    ("said", "resets_at"),
    [
        ("You will regain access on 2026-12-01 at 00:00 UTC.", "2026-12-01T00:00:00+00:00"),
        ("You will regain access on 2026-13-01 at 00:00 UTC.", None),
        ("", None),
    ],
)
def test_the_customers_spend_limit_passes_when_its_message_says(said, resets_at):
    error = found(400, "invalid_request_error", f"You have reached your specified API usage limits. {said}")
    assert error.context.get("resets_at") == resets_at
    assert error.retry_after == (8.5 * 24 * 3600 if resets_at else None)


@pytest.mark.parametrize("code", ["contract_spend_limit_reached", "linked_organization_spend_limit_reached"])
def test_nobody_knows_when_other_spend_limits_pass(code):
    error = found(429, "rate_limit_error", code=code)
    assert (error.retry_after, "resets_at" in error.context) == (None, False)


def test_a_ramp_limit_passes():
    error = found(429, "rate_limit_error", code="ramp_limit_exceeded", headers={"retry-after": "7"})
    assert (type(error), error.code, error.retryable, error.retry_after) == (
        RateLimitError,
        "ramp_limit_exceeded",
        True,
        7,
    )


def test_the_customers_own_spend_limit_is_told_by_its_words():
    message = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."
    error = found(400, "invalid_request_error", message)
    assert (type(error), error.code, error.retryable) == (SpendLimitError, "customer_spend_limit_reached", False)


@pytest.mark.parametrize("code", ["cmek_key_unreachable", "cmek_context_unavailable", "compaction_unavailable"])
def test_some_refusals_pass(code):
    error = found(400, "invalid_request_error", code=code)
    assert (type(error), error.code, error.retryable) == (InvalidRequestError, code, True)


@pytest.mark.parametrize(
    ("status", "advice", "retryable"), [(500, "false", False), (400, "true", True), (500, "?", True)]
)
def test_the_service_may_say_whether_to_retry(status, advice, retryable):
    assert found(status, "api_error", headers={"x-should-retry": advice}).retryable is retryable


def test_what_is_wrong_with_an_image_is_told_by_its_place():
    details = {"error_code": "image_dimensions_too_large", "paths": ["messages.0.content.1"]}
    details["max_side_length_pixels"] = 8000
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": "no", "details": details}}
    error = error_of(400, body, now=NOW)
    assert (type(error), error.code, error.retryable) == (InvalidRequestError, "image_dimensions_too_large", False)
    assert error.context["details"] == details


@pytest.mark.parametrize(("status", "cls"), [(400, InvalidRequestError), (403, PermissionDeniedError)])
def test_an_organization_on_hold_is_not_worth_another_attempt(status, cls):
    error = found(status, None, code="organization_on_hold")
    assert (type(error), error.code, error.retryable) == (cls, "organization_on_hold", False)


@pytest.mark.parametrize("headers", [{"x-should-retry": "true"}, {}])
def test_a_spend_limit_of_the_customers_own_passes_with_no_attempt(headers):
    message = "You have reached your specified API usage limits."
    assert not found(400, "invalid_request_error", message, headers=headers).retryable


def test_the_four_kinds_of_429_and_the_400_that_is_a_fifth_are_told_apart():
    codes = [None, "ramp_limit_exceeded", "enforced_spend_limit_reached", "contract_spend_limit_reached"]
    errors = [found(429, "rate_limit_error", code=code) for code in codes]
    assert [(type(error), error.code, error.retryable) for error in errors] == [
        (RateLimitError, "rate_limited", True),
        (RateLimitError, "ramp_limit_exceeded", True),
        (SpendLimitError, "enforced_spend_limit_reached", False),
        (SpendLimitError, "contract_spend_limit_reached", False),
    ]


def test_details_are_kept():
    assert found(400, "invalid_request_error", code="organization_on_hold").context == {
        "status": 400,
        "type": "invalid_request_error",
        "details": {"error_code": "organization_on_hold"},
    }


@pytest.mark.parametrize(
    ("headers", "body", "request_id"),
    [
        ({"request-id": "req_header"}, {"request_id": "req_body"}, "req_header"),
        ({}, {"request_id": "req_body"}, "req_body"),
        ({}, {"request_id": 5}, None),
        ({}, {}, None),
    ],
)
def test_the_request_id_is_that_of_the_headers_or_the_body(headers, body, request_id):
    assert found(500, headers=headers, **body).request_id == request_id


@pytest.mark.parametrize(
    "body", [None, "", "<html>Bad gateway</html>", [], {}, {"error": "no"}, {"error": {"message": 5}}]
)
def test_an_answer_of_another_form_is_told_by_its_status(body):
    error = error_of(502, body, now=NOW)
    assert type(error) is ServerError
    assert error.message == "the API answered with status 502"


@pytest.mark.parametrize("details", [None, "no", {}, {"error_code": 5}])
def test_details_of_another_form_are_no_trouble(details):
    body = {"error": {"type": "rate_limit_error", "message": "no", "details": details}}
    assert error_of(429, body, now=NOW).code == "rate_limited"


@pytest.mark.parametrize("body", [{"error": {}}, {"error": None}, {"error": {"type": "api_error", "message": 5}}])
def test_an_error_without_a_word_inside_an_answer_has_no_status(body):
    assert error_of(None, body, now=NOW).message == "the API sent an error that does not say what is wrong"


def test_a_credential_that_is_echoed_is_masked_wherever_it_stands():
    for secret in ("opaque-word", "sk-" + "ant-" + "0123456789"):
        error = {"type": secret, "message": secret, "details": {"error_code": secret, "got": [{"key": secret}]}}
        found = error_of(400, {"error": error, "request_id": secret}, now=NOW, credentials=["opaque-word"])
        assert secret not in repr(found) + repr(vars(found))
        assert found.context == {
            "status": 400,
            "type": MASK,
            "details": {"error_code": MASK, "got": [{"key": MASK}]},
        }
        assert (found.message, found.code, found.request_id) == (MASK, MASK, MASK)


def test_refused_credentials_are_told_where_to_look():
    assert "ANTHROPIC_API_KEY" in found(401, "authentication_error", "invalid x-api-key").message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after-ms": "250", "retry-after": "12"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "12"}, 12),
        ({"retry-after": "Sun, 22 Nov 2026 12:01:30 GMT"}, 90),
        ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "Sun, 22 Nov 2026 12:01:30 -0000"}, 90),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT"}, None),
        ({"retry-after": "Mon, 1 Jan 99999999999999999999 00:00:00 GMT"}, None),
        ({"retry-after": "Mon, 1 Jan 2026 00:00:00 +99999999999999999999"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 15:01:30 GMT", "date": "Sun, 22 Nov 2026 15:01:00 GMT"}, 30),
        ({"retry-after": "Sun, 22 Nov 2026 12:01:30 GMT", "date": "today"}, 90),
        ({"retry-after": "12", "date": "Sun, 22 Nov 2026 15:01:00 GMT"}, 12),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, 366 * 24 * 3600),
        ({"retry-after": "Sun, 22 Nov 9999 11:00:00 GMT"}, 366 * 24 * 3600),
    ],
)
def test_when_to_try_again(headers, seconds):
    assert retry_after(headers, now=NOW) == seconds
