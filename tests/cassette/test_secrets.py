from __future__ import annotations

import base64
import json
import random
import string
from pathlib import Path

import pytest
from vcr.cassette import Cassette
from vcr.request import Request

from claudeprov.cassette.interaction import Interaction, interactions
from claudeprov.cassette.secrets import find_secrets
from tests.cassette.sessions import exchange as session
from tests.cassette.sessions import recording

# Made when the tests run, so that no scanner takes this file for a leak.
TAIL = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=64))
SECRETS = {
    "an Anthropic key": "sk-" + "ant-api03-" + TAIL[:40],
    "an AWS access key": "AK" + "IA" + TAIL[:16].upper(),
    "a Google API key": "AI" + "za" + TAIL[:35],
    "a Google access token": "ya" + "29." + TAIL[:30],
    "a Google client secret": "GOC" + "SPX-" + TAIL[:28],
    "a GitHub token": "gh" + "p_" + TAIL[:36],
    "an OpenAI key": "sk-" + "proj-" + TAIL[:40],
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + TAIL,
    "a JSON web token": "ey" + f"J{TAIL[:20]}.ey" + f"J{TAIL[:20]}.{TAIL[:20]}",
    "a bearer token": f"Authorization: Bearer {TAIL[:24]}",
    "a named secret": f'DB_PASSWORD="{TAIL[:24]}"',
    "a random key": TAIL[:40],
}


def exchange(request: object = "", body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> Interaction:
    sent = Request("POST", "https://x/v1/messages", json.dumps(request).encode(), {})
    return Interaction(Cassette(Path("x")), 0, sent, 200, list(headers), body, None)


def stream(*pieces: str, index: int = 0, kind: str = "text") -> bytes:
    deltas = ({"type": "content_block_delta", "index": index, "delta": {kind: piece}} for piece in pieces)
    return b"".join(b"data: %s\n\n" % json.dumps(delta).encode() for delta in deltas)


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_is_found_in_a_request_and_its_place_is_named(kind):
    found = find_secrets(exchange({"messages": [{"content": f"see {SECRETS[kind]} there"}]}))
    assert ("request body at $.messages[0].content", kind) in found
    assert SECRETS[kind] not in str(found)


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_is_found_in_a_stream_that_cuts_it_in_pieces(kind):
    body = stream(*(SECRETS[kind] + " "), index=3, kind="partial_json")
    assert find_secrets(exchange(body=body)) == [("response body, joined partial_json of block 3", kind)]


def test_blocks_are_joined_each_by_itself():
    half, rest = SECRETS["an AWS access key"][:10], SECRETS["an AWS access key"][10:]
    assert find_secrets(exchange(body=stream(half, index=0) + stream(rest, index=1))) == []


def test_json_escapes_hide_nothing():
    secret = SECRETS["an Anthropic key"]
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in secret)
    found = find_secrets(exchange(body=b'{"text": "%s"}' % escaped.encode()))
    assert found == [("response body at $.text", "an Anthropic key")]


def test_escapes_hide_nothing_in_the_events_of_a_stream_either():
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in SECRETS["a Google API key"])
    body = b'data: {"type": "message_start", "message": {"note": "%s"}}\n\n' % escaped.encode()
    assert find_secrets(exchange(body=body)) == [
        ("response body, event message_start at $.message.note", "a Google API key")
    ]


def test_the_input_of_a_streamed_tool_call_is_read_as_json():
    given = json.dumps({"lines": f"first\n{SECRETS['an OpenAI key']}", "password": TAIL[:24]})
    pieces = ({"type": "input_json_delta", "partial_json": piece} for piece in (given[:30], given[30:80], given[80:]))
    deltas = ({"type": "content_block_delta", "index": 0, "delta": piece} for piece in pieces)
    found = find_secrets(exchange(body=b"".join(b"data: %s\n\n" % json.dumps(delta).encode() for delta in deltas)))
    place = "response body, joined partial_json of block 0 at $"
    assert found == [(f"{place}.lines", "an OpenAI key"), (f"{place}.password", "a named secret")]


def test_a_secret_that_is_the_name_of_something_is_found_and_not_told():
    secret = SECRETS["a GitHub token"]
    found = find_secrets(exchange({secret: {"inner": 1, secret: secret}}))
    assert found == [("request body at $.….…", "a GitHub token")]
    assert secret not in str(found)


def test_a_stream_that_is_cut_is_searched_to_its_end():
    cut = stream("harmless") + b'data: {"type": "content_block_delta", "delta": {"text": "' + TAIL[:40].encode()
    assert find_secrets(exchange(body=cut)) == [("response body", "a random key")]


@pytest.mark.parametrize("head", [": {}\n", "event: {}\ndata: 1\n", "id: {}\ndata: {{}}\n"])
def test_what_is_no_data_of_an_event_is_searched(head):
    body = head.format(SECRETS["an Anthropic key"]).encode() + b"\n"
    assert ("response body", "an Anthropic key") in find_secrets(exchange(body=stream("a") + body))


def test_base64_of_a_picture_and_ids_are_no_secrets():
    picture = random.Random(1).randbytes(30_000)
    data = {"source": {"type": "base64", "data": base64.b64encode(picture).decode()}}
    ids = {"id": f"call_{TAIL[:40]}", "tool_use_id": TAIL[:40], "signature": TAIL, "encrypted_content": TAIL}
    assert find_secrets(exchange({"content": [data, ids]})) == []


def test_json_that_is_nested_deeply_is_searched():
    body = b'{"a":' * 900 + b'"%s"' % TAIL[:40].encode() + b"}" * 900
    [(place, kind)] = find_secrets(exchange(body=body))
    assert kind == "a random key"
    assert place.endswith(".a.a")


def test_a_header_is_searched_too():
    found = find_secrets(exchange(headers=(("x-echo", SECRETS["a GitHub token"]),)))
    assert found == [("response header x-echo", "a GitHub token")]


@pytest.mark.parametrize(
    "text",
    [
        "sk-ant-... is how keys begin",
        "Authorization: Bearer YOUR_API_KEY_GOES_HERE_PLEASE",
        "api_key = os.environ['ANTHROPIC_API_KEY']",
        'client = Client(api_key="your-api-key-from-the-console")',
        "max_tokens: 123456789012345678901234",
        "token = tokens[position]; secret = secrets.token_urlsafe(32)",
        "the task-specific sk-learn-compatible-estimators",
        "-----BEGIN " + "PRIVATE KEY----- stands at its head",
        "bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaa1",
        "toolu_01A09q90qw90lq917835lq9 and msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d are ids",
        "TheVeryLongNameOfATestCaseOfVersion2OfTheApi",
        "boundary=----WebKitFormBoundary7MA4YWxkTrZu0gWxkT99",
        "3f786850e387550fdab836ed7e6dc881de23001b",
    ],
)
def test_words_about_secrets_are_none(text):
    assert find_secrets(exchange({"content": text}, stream(text))) == []


def test_what_is_no_text_is_searched_as_far_as_it_is():
    assert find_secrets(exchange(body=b"\xff\xfe data: {broken\n\n")) == []


def test_the_case_of_a_test_is_searched_as_it_is_part_of_its_name():
    [item] = interactions(recording(session(b"", suite=f"test_a.py::test_b[{SECRETS['an Anthropic key']}]")))
    assert find_secrets(item) == [("name of the suite or test", "an Anthropic key")]
