from __future__ import annotations

import json
import random
import string
from pathlib import Path

import pytest
from vcr.cassette import Cassette
from vcr.request import Request

from claudeprov.cassette.interaction import Interaction
from claudeprov.cassette.secrets import find_secrets

# Made when the tests run, so that no scanner takes this file for a leak.
TAIL = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=64))
SECRETS = {
    "an Anthropic key": "sk-" + "ant-api03-" + TAIL[:40],
    "an AWS access key": "AK" + "IA" + TAIL[:16].upper(),
    "a Google API key": "AI" + "za" + TAIL[:35],
    "a Google access token": "ya" + "29." + TAIL[:30],
    "a GitHub token": "gh" + "p_" + TAIL[:36],
    "an OpenAI key": "sk-" + "proj-" + TAIL[:40],
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + TAIL,
    "a JSON web token": "ey" + f"J{TAIL[:20]}.ey" + f"J{TAIL[:20]}.{TAIL[:20]}",
    "a bearer token": f"Authorization: Bearer {TAIL[:24]}",
    "a named secret": f'DB_PASSWORD="{TAIL[:24]}"',
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
    ],
)
def test_words_about_secrets_are_none(text):
    assert find_secrets(exchange({"content": text}, stream(text))) == []


def test_what_is_no_text_is_searched_as_far_as_it_is():
    assert find_secrets(exchange(body=b"\xff\xfe data: {broken\n\n")) == []
