from __future__ import annotations

import json

import pytest
from vcr.request import Request

from claudeprov.cassette.redact import pseudonym, redact_request, redact_response

REQUEST_ID = "req_011CSHoEeqs5C35K2UUqR7Fy"
ORGANIZATION = "6d5d9d5a-59b0-4f4b-8f0e-2f6f4d3a1b22"


def redacted(headers: dict[str, list[str]], body: bytes = b"") -> dict[str, object]:
    return redact_response({"status": {"code": 200}, "headers": headers, "body": {"string": body}, "claudeprov": 1})


def test_of_a_requests_headers_only_the_allowed_are_kept():
    headers = {
        "Authorization": "Bearer x",
        "X-Api-Key": "x",
        "Cookie": "x",
        "X-New-Secret": "x",
        "Anthropic-Beta": "b",
        "content-type": "application/json",
    }
    kept = redact_request(Request("POST", "https://x/v1/messages", b"{}", headers)).headers
    assert dict(kept) == {"Anthropic-Beta": "b", "content-type": "application/json"}


def test_of_a_responses_headers_only_the_allowed_are_kept():
    headers = {"retry-after": ["3"], "Anthropic-RateLimit-Tokens-Reset": ["t"], "set-cookie": ["x"], "cf-ray": ["x"]}
    assert redacted(headers)["headers"] == {"retry-after": ["3"], "Anthropic-RateLimit-Tokens-Reset": ["t"]}


def test_an_id_becomes_the_same_pseudonym_wherever_it_stands():
    headers = {"request-id": [REQUEST_ID], "anthropic-organization-id": [ORGANIZATION]}
    body = json.dumps({"request_id": REQUEST_ID, "organization": ORGANIZATION}).encode()
    response = redacted(headers, body)
    assert response["headers"] == {
        "request-id": [pseudonym(REQUEST_ID)],
        "anthropic-organization-id": [pseudonym(ORGANIZATION)],
    }
    assert json.loads(response["body"]["string"]) == {
        "request_id": pseudonym(REQUEST_ID),
        "organization": pseudonym(ORGANIZATION),
    }


def test_a_request_id_that_stands_only_in_the_body_is_replaced_too():
    assert REQUEST_ID.encode() not in redacted({}, f"id {REQUEST_ID}.".encode())["body"]["string"]


@pytest.mark.parametrize("value", [REQUEST_ID, ORGANIZATION, "wrkspc_01ABCDEFG", "short", ""])
def test_a_pseudonym_has_the_shape_and_the_length_of_the_id(value):
    other = pseudonym(value)
    assert len(other) == len(value)
    assert [mark for mark in other if not mark.isalnum()] == [mark for mark in value if not mark.isalnum()]
    assert pseudonym(value) == other
    assert (other != value) == bool(value)


def test_what_else_an_answer_holds_stays_as_it_is():
    body = b'data: {"type": "ping"}\n\n'
    assert redacted({"request-id": [""], "x-request-id": ["1"]}, body + b"1")["body"] == {"string": body + b"1"}
    assert redacted({})["claudeprov"] == 1


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("https://user:pass@host:1/v1/messages?beta=true&key=abc", "https://host:1/v1/messages?beta=true"),
        ("https://acme.services.ai.azure.com/anthropic/v1/x", "https://resource.services.ai.azure.com/anthropic/v1/x"),
        ("https://eu/v1/projects/acme/locations/eu/x", "https://eu/v1/projects/project/locations/eu/x"),
    ],
)
def test_an_address_names_no_account(uri, kept):
    assert redact_request(Request("POST", uri, b"{}", {})).uri == kept


def test_a_body_that_is_no_json_stays_as_it_is():
    assert redact_request(Request("POST", "https://x/", b"no json", {})).body == b"no json"
    assert redact_request(Request("GET", "https://x/", None, {})).body is None
