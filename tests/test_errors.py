"""The tree of errors."""

import copy
import pickle
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import claudeprov
from claudeprov import classify, errors, fault
from claudeprov.errors import (
    AuthenticationError,
    CallTimeoutError,
    CassetteMissError,
    CircuitOpenError,
    ConfigurationError,
    OverloadedError,
    ProviderError,
    RateLimitError,
    StateUnavailableError,
    StreamInterruptedError,
)
from claudeprov.response import MessageResponse, Timing

CLASSES = [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, ProviderError)]


@pytest.mark.parametrize("cls", CLASSES)
def test_each_error_has_a_code_of_its_own_a_place_in_the_drawing_and_a_public_name(cls):
    codes = [other.code for other in CLASSES]
    assert codes.count(cls.code) == 1
    assert re.search(rf"\b{cls.__name__}\b", errors.__doc__)
    assert getattr(claudeprov, cls.__name__) is cls


@pytest.mark.parametrize("cls", CLASSES)
def test_each_error_tells_its_message_and_survives_a_copy_and_a_pickle(cls):
    partial = MessageResponse({"id": "msg_1"}, Timing(datetime.now(UTC), 0.0, 0.0, None, 0.0))
    error = cls(
        "it broke", code="x", context={"a": 1}, retryable=True, retry_after=2.0, request_id="req", partial=partial
    )
    for same in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(same) is cls
        assert (str(same), same.message, same.code) == ("it broke", "it broke", "x")
        assert (same.context, same.retryable, same.retry_after, same.request_id) == ({"a": 1}, True, 2.0, "req")
        assert same.partial.id == "msg_1"


def test_what_is_not_said_is_the_classes_own():
    error = RateLimitError("wait")
    assert (error.code, error.retryable, error.severity) == ("rate_limited", True, "warning")
    assert (error.context, error.retry_after, error.request_id, error.partial) == ({}, None, None, None)


def test_one_error_does_not_change_its_class():
    RateLimitError("wait", code="other", retryable=False)
    assert (RateLimitError.code, RateLimitError.retryable) == ("rate_limited", True)


def test_the_context_is_the_errors_own():
    context = {"a": 1}
    error = ProviderError("no", context=context)
    error.context["b"] = 2
    assert context == {"a": 1}


@pytest.mark.parametrize(("cls", "builtin"), [(ConfigurationError, ValueError), (CallTimeoutError, TimeoutError)])
def test_errors_of_a_builtin_kind_are_caught_as_such(cls, builtin):
    with pytest.raises(builtin):
        raise cls("no")


@pytest.mark.parametrize(
    ("cls", "retryable", "severity"),
    [
        (OverloadedError, True, "warning"),
        (StreamInterruptedError, True, "error"),
        (CircuitOpenError, True, "error"),
        (StateUnavailableError, True, "error"),
        (AuthenticationError, False, "critical"),
        (CassetteMissError, False, "error"),
    ],
)
def test_what_can_be_done_about_it(cls, retryable, severity):
    assert (cls.retryable, cls.severity) == (retryable, severity)


def test_every_code_that_an_error_is_given_is_listed():
    sources = "".join(file.read_text() for file in Path(errors.__file__).parent.rglob("*.py"))
    given = set(re.findall(r"""\bcode="(\w+)\"""", sources))
    given |= {code for code, _ in fault._LATE.values()} | set(classify._CODE_BY_STATUS.values())
    assert given | classify._SPEND_LIMITS | classify._TRANSIENT <= set(errors.CODES)
    assert {cls.code for cls in CLASSES} <= set(errors.CODES)
    assert len(errors.CODES) == len(set(errors.CODES))
