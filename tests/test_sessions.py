"""Integration: sessions with two real models, recorded by ``claudeprov record`` (see sessions.yaml), replayed whole.

Both are small models behind llama.cpp's server on the recorder's own machine. What they say is theirs; what is
tested is how it reaches a reader.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import claudeprov
from claudeprov.bench.suite import SessionTask, load_suite

HERE = Path(__file__).parent
MODELS = ("qwen", "smollm2")
REQUESTS = {
    task.id: task.request
    for task in load_suite("sessions", HERE / "sessions.yaml").tasks
    if isinstance(task, SessionTask)
}

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")


def provider(model: str) -> claudeprov.AnthropicClaudeProvider:
    cassette = HERE.parent / "cassettes" / "sessions" / f"{model}.yaml"
    return claudeprov.open_provider([f"model={model}", "cassette=replay", f"cassette.path='{cassette}'"])


@pytest.mark.parametrize("model", MODELS)
async def test_a_whole_suite_of_sessions_replays_in_any_order_and_at_once(model: str) -> None:
    async with provider(model) as replay:
        streams = {name: replay.send_message(request) for name, request in reversed(REQUESTS.items())}
        responses = {name: await stream for name, stream in streams.items()}
        assert "(local)" in (replay.cassette_note or "")
    for response in responses.values():
        assert response.model == "local"
        assert response.usage.input_tokens
        assert response.usage.output_tokens
        assert response.cost.total_usd is None
        assert "local" in (response.cost.reason or "")


@pytest.mark.parametrize("model", MODELS)
async def test_a_stream_arrives_in_pieces_that_add_up_to_its_response(model: str) -> None:
    async with provider(model) as replay, replay.send_message(REQUESTS["stream"]) as stream:
        pieces = [chunk.text async for chunk in stream if chunk.text]
        assert len(pieces) > 3
        assert "".join(pieces) == stream.response.text


@pytest.mark.parametrize("model", MODELS)
async def test_a_plain_exchange_says_what_the_stream_of_the_same_request_says(model: str) -> None:
    async with provider(model) as replay:
        streamed = await replay.send_message(REQUESTS["stream"])
        plain = await replay.send_message(REQUESTS["plain"])
        [chunk] = [chunk async for chunk in replay_again(model)]
    assert streamed.text == plain.text == chunk.text
    assert streamed.usage.output_tokens == plain.usage.output_tokens


async def replay_again(model: str) -> Any:
    async with provider(model) as replay:
        async for chunk in replay.send_message(REQUESTS["plain"]):
            yield chunk


@pytest.mark.parametrize("model", MODELS)
async def test_an_answer_cut_off_by_max_tokens_says_so(model: str) -> None:
    async with provider(model) as replay:
        response = await replay.send_message(REQUESTS["cut-off"])
    assert response.stop_reason == "max_tokens"
    assert response.usage.output_tokens == 5


@pytest.mark.parametrize("streamed", ["tool", "tool-plain"])
async def test_a_tool_call_arrives_whole(streamed: str) -> None:
    async with provider("qwen") as replay:
        response = await replay.send_message(REQUESTS[streamed])
    [call] = response.tool_calls
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    assert response.stop_reason == "tool_use"


async def test_a_request_that_was_not_recorded_names_the_nearest_one_and_how_to_record_it() -> None:
    request = {**REQUESTS["stream"], "max_tokens": 41}
    async with provider("qwen") as replay:
        with pytest.raises(claudeprov.CassetteMissError) as caught:
            await replay.send_message(request)
    assert "max_tokens" in caught.value.message
    assert "claudeprov record suite.path=FILE" in caught.value.message
