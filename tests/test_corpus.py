"""Recorded sessions of other projects with the API, each through the provider on replay.

What comes back is held against what the official SDK makes of the same bytes. The folder is ``$CORPUS_DIR``, or
``shared/corpus`` beside the checkout; with ``CORPUS_REQUIRED=1`` its absence is a failure.
"""

import json
import os
from pathlib import Path

import pytest
import yaml
from anthropic._streaming import SSEDecoder
from anthropic.lib.streaming._beta_messages import accumulate_event as accumulate_beta
from anthropic.lib.streaming._messages import accumulate_event

import claudeprov
from claudeprov.errors import (
    AuthenticationError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    RateLimitError,
    ServerError,
)

CORPUS = Path(os.environ.get("CORPUS_DIR") or Path(__file__).parents[2] / "shared" / "corpus")
INDEX = CORPUS / "INDEX.jsonl"
FILES = [json.loads(line) for line in INDEX.read_text().splitlines()] if INDEX.is_file() else []
REQUIRED = os.environ.get("CORPUS_REQUIRED") == "1"

MESSAGES, COUNT = "POST /v1/messages", "POST /v1/messages/count_tokens"
FILES_WITH = [file for file in FILES if {MESSAGES, COUNT} & set(file["endpoints"])]
KNOWN = {"files": 1224, "streams": 493, "interrupted": 1, "plain": 1108, "errors": 62, "count_tokens": 19}
ERRORS = {400: InvalidRequestError, 401: AuthenticationError, 404: ModelNotFoundError, 429: RateLimitError}
LOST = {
    "messages": [{"role": "user", "content": "whatever it was"}],
    "max_tokens": 1,
    "model": "claude-3-7-sonnet-20250219",
}

pytestmark = pytest.mark.skipif(not FILES and not REQUIRED, reason=f"there are no recorded sessions in {CORPUS}")


@pytest.fixture(scope="module")
def settings():
    """Of a bare replay; composing takes longer than replaying."""
    chain = ["retry=off", "breaker=off", "deadline=off", "telemetry=off"]
    return claudeprov.open_provider(["cassette=replay", "cassette.path=FILE", *chain]).settings


def test_the_corpus_is_whole():
    assert len(FILES_WITH) >= KNOWN["files"]


@pytest.mark.parametrize("project", sorted({file["file"].partition("__")[0] for file in FILES_WITH}))
async def test_each_recorded_answer_is_what_the_sdk_makes_of_it(project, settings, counts, tmp_path):
    for file in FILES_WITH:
        if file["file"].partition("__")[0] != project:
            continue
        path = CORPUS / file["file"]
        recorded = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        if lost := restore(recorded):
            path = tmp_path / file["file"]
            path.write_text(yaml.dump(recorded, Dumper=yaml.CSafeDumper))
            counts["request bodies that their recorder lost"] += lost
        cassette = settings.cassette.model_copy(update={"path": str(path)})
        async with claudeprov.open_provider(settings=settings.model_copy(update={"cassette": cassette})) as provider:
            done = [await check(provider, **each) for each in recorded["interactions"] if is_about_a_message(each)]
        assert len(done) == file["endpoints"].count(MESSAGES) + file["endpoints"].count(COUNT)
        counts["files"] += 1
        counts.update(done)


def test_all_of_it_was_gone_through(counts):
    if counts["files"] < len(FILES_WITH):
        pytest.skip("only a part of the corpus was to be gone through")
    assert {kind: counts[kind] for kind in KNOWN if counts[kind] < KNOWN[kind]} == {}


async def check(provider, request: dict, response: dict) -> str:
    """Play one interaction; say of which kind it is."""
    status, body = response["status"]["code"], raw(response["body"]["string"])
    headers = {name.lower(): values[0] for name, values in request["headers"].items()}
    asked = {"stream": False} | json.loads(request["body"])
    if beta := headers.get("anthropic-beta"):
        asked["betas"] = [name.strip() for name in beta.split(",")]
    if "/count_tokens" in request["uri"]:
        if status == 200:
            assert (await provider.count_tokens(asked)).input_tokens == json.loads(body)["input_tokens"]
        else:
            await check_error(provider.count_tokens(asked), response)
        return "count_tokens"
    if status != 200:
        assert (await check_error(provider.send_message(asked), response)).partial is None
        return "errors"
    if not asked["stream"]:
        assert (await provider.send_message(asked)).to_message() == json.loads(body)
        return "plain"
    message, whole = accumulated(body, headers, beta="beta=true" in request["uri"])
    if whole:
        assert (await provider.send_message(asked)).to_message() == message
        return "streams"
    with pytest.raises(ServerError) as caught:
        await provider.send_message(asked)
    assert caught.value.partial.to_message() == message
    return "interrupted"


async def check_error(answer, response: dict) -> ProviderError:
    error = json.loads(response["body"]["string"])
    with pytest.raises(ProviderError) as caught:
        await answer
    assert type(caught.value) is ERRORS[response["status"]["code"]]
    assert caught.value.message.startswith(error["error"]["message"])
    ids = [value for name, values in response["headers"].items() if name.lower() == "request-id" for value in values]
    assert caught.value.request_id == (ids[0] if ids else error.get("request_id"))
    return caught.value


def accumulated(body: bytes, headers: dict, *, beta: bool) -> tuple[dict, bool]:
    """The message that the official SDK accumulates, and whether the stream told it to its end."""
    snapshot, buffers = None, {}
    for event in SSEDecoder().iter_bytes(iter([body])):
        if event.event == "error":
            break
        if event.event in (None, "ping"):
            continue
        arguments = {"event": event.json(), "current_snapshot": snapshot, "json_bufs": buffers}
        snapshot = accumulate_beta(**arguments, request_headers=headers) if beta else accumulate_event(**arguments)
        if event.event == "message_stop":
            return snapshot.to_dict(mode="json"), True
    return snapshot.to_dict(mode="json"), False


def is_about_a_message(interaction: dict) -> bool:
    return interaction["request"]["uri"].partition("?")[0].endswith(("/v1/messages", "/v1/messages/count_tokens"))


def restore(cassette: dict) -> int:
    """Give a body to the requests whose recorder kept none, and which nothing could match; count them."""
    requests = [each["request"] for each in cassette["interactions"] if is_about_a_message(each)]
    lost = [request for request in requests if not request["body"]]
    for request in lost:
        request["body"] = json.dumps(LOST)
    return len(lost)


def raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
