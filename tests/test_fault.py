"""Which error a failure of the HTTP layer is."""

from __future__ import annotations

import ssl
from typing import get_args

import httpx2
import pytest

from claudeprov.errors import (
    CallTimeoutError,
    CassetteMissError,
    ConnectionFailedError,
    InvalidRequestError,
    StreamInterruptedError,
)
from claudeprov.fault import Limit, broken, late, unanswered


def caused(by: Exception) -> Exception:
    error = RuntimeError("Connection error.")
    error.__cause__ = by
    return error


def test_each_limit_of_time_has_a_code_of_its_own():
    errors = [late(limit, 3) for limit in get_args(Limit)]
    assert len({error.code for error in errors}) == len(errors)
    assert late("pings", 3).context == {"pings": 3}
    assert late("pings").context == {}


@pytest.mark.parametrize(
    ("cause", "cls", "message"),
    [
        (httpx2.ConnectError("refused"), ConnectionFailedError, "no answer from api.test: refused"),
        (httpx2.ReadError(""), ConnectionFailedError, "no answer from api.test: ReadError"),
        (caused(httpx2.ConnectError("refused")), ConnectionFailedError, "no answer from api.test: Connection error."),
        (ssl.CertificateError(1, "expired"), ConnectionFailedError, "no answer from api.test: expired"),
        (ValueError("bad header"), InvalidRequestError, "the request cannot be sent to api.test: bad header"),
        (
            caused(httpx2.ConnectTimeout("slow")),
            CallTimeoutError,
            "no connection could be made within deadline.connect",
        ),
    ],
)
def test_a_request_without_an_answer_is_told_by_its_cause(cause, cls, message):
    error = unanswered(caused(cause), "api.test", streamed=True)
    assert (type(error), error.message) == (cls, message)


def test_an_error_of_a_transport_of_ours_is_told_as_it_is():
    miss = CassetteMissError("not recorded")
    assert unanswered(caused(miss), "api.test", streamed=True) is miss
    assert broken(miss, streamed=True) is miss


@pytest.mark.parametrize(("streamed", "code"), [(True, "between_events_timeout"), (False, "deadline_exceeded")])
def test_silence_is_bounded_by_another_limit_in_a_stream_than_in_a_plain_exchange(streamed, code):
    assert broken(httpx2.ReadTimeout("slow"), streamed=streamed).code == code
    assert unanswered(httpx2.ReadTimeout("slow"), "api.test", streamed=streamed).code == code


@pytest.mark.parametrize("raised", [httpx2.ReadError("cut"), httpx2.StreamClosed(), OSError("cut"), TimeoutError()])
def test_whatever_else_breaks_an_answer_is_an_interruption(raised):
    error = broken(raised, streamed=True)
    assert (type(error), error.retryable) == (StreamInterruptedError, True)
