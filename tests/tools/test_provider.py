"""The loop as the provider runs it: with the configuration's tools, limits and logs."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx2
import pytest

import claudeprov
from claudeprov.errors import ConfigurationError
from claudeprov.testing.scripted import text_events
from tests.tools.answers import answer, call

QUESTION = {"messages": [{"role": "user", "content": "hi"}]}
BARE = ["cassette=live", "retry=off", "breaker=off", "model=haiku"]
OWN = ["tools=weather", "allow_targets=[tests.tools]"]

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")


class Api(httpx2.AsyncBaseTransport):
    """Answers each request with the next of *answers*, the last again and again."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._answers = answers

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        events = self._answers[min(len(self.bodies), len(self._answers) - 1)]
        self.bodies.append(json.loads(request.content))
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)


def opened(api: Api, *overrides: str) -> claudeprov.AnthropicClaudeProvider:
    settings = claudeprov.open_provider([*BARE, *overrides], config_dir="tests/tools/conf").settings
    return claudeprov.AnthropicClaudeProvider(settings, transport=api)


async def test_the_configured_tools_are_used_where_none_are_given() -> None:
    api = Api(answer(call("1", "get_weather", {"city": "Oslo"})), text_events("Cold."))
    async with opened(api, *OWN) as provider:
        run = await provider.run_tools(QUESTION)
    assert [tool["name"] for tool in api.bodies[0]["tools"]] == ["get_weather"]
    assert api.bodies[1]["messages"][2]["content"][0]["content"] == "4 °C and dry"
    assert (run.text, run.calls[0].outcome) == ("Cold.", "ok")
    assert api.bodies[0]["max_tokens"] == 4096


async def test_tools_that_are_given_take_the_place_of_the_configured() -> None:
    api = Api(text_events("hi"))
    async with opened(api, *OWN) as provider:
        await provider.run_tools(QUESTION, [])
    assert "tools" not in api.bodies[0]


async def test_max_tokens_are_raised_as_far_as_the_model_takes_them() -> None:
    cut = answer(call("1", "get_weather", '{"ci'), stop="max_tokens")
    async with opened(api := Api(cut), *OWN) as provider:
        most = provider.get_model().max_output_tokens
        run = await provider.run_tools(QUESTION | {"max_tokens": 60_000}, max_rounds=20)
    assert most is not None
    assert run.stopped == "max_tokens"
    assert [body["max_tokens"] for body in api.bodies] == [60_000, min(120_000, most), most][: len(api.bodies)]


@pytest.mark.parametrize(("name", "value"), [("max_rounds", 0), ("timeout", -1), ("total", 0)])
async def test_a_limit_that_is_none_is_refused(name: str, value: Any) -> None:
    async with opened(Api(text_events("hi"))) as provider:
        with pytest.raises(ConfigurationError, match=f"{name} = {value}"):
            provider.run_tools(QUESTION, **{name: value})


async def test_limits_that_are_given_take_the_place_of_the_configured() -> None:
    api = Api(answer(call("1", "get_weather", {"city": "Oslo"})))
    async with opened(api, *OWN, "tools.max_rounds=4") as provider:
        assert (await provider.run_tools(QUESTION)).rounds == 4
        assert (await provider.run_tools(QUESTION, max_rounds=2)).rounds == 2


async def test_disposing_of_the_provider_cancels_what_runs() -> None:
    begun = asyncio.Event()

    @claudeprov.tool
    async def hang() -> None:
        """Hang."""
        begun.set()
        await asyncio.Event().wait()

    provider = opened(Api(answer(call("1", "hang"))))
    await provider.initialize()
    stream = provider.run_tools(QUESTION, [hang])

    async def read() -> list[claudeprov.MessageChunk]:
        return [chunk async for chunk in stream]

    task = asyncio.ensure_future(read())
    await begun.wait()
    await provider.dispose()
    await task
    assert (stream.run.stopped, stream.run.calls[0].outcome) == ("cancelled", "cancelled")


@pytest.mark.parametrize("content", [False, True])
async def test_each_execution_is_logged_and_its_content_where_that_is_allowed(
    caplog: pytest.LogCaptureFixture, content: bool
) -> None:
    caplog.set_level(logging.INFO, logger="claudeprov")
    api = Api(answer(call("1", "get_weather", {"city": "Oslo"})), text_events("Cold."))
    async with opened(api, *OWN, f"telemetry.content={str(content).lower()}") as provider:
        await provider.run_tools(QUESTION)
    [line] = [record.message for record in caplog.records if "event=tool.ended" in record.message]
    assert "tool=get_weather" in line
    assert "outcome=ok" in line
    assert "size=12" in line
    assert "seconds=" in line
    run_id = line.split("call_id=")[1].split()[0]
    assert any("event=call.ended" in record.message and run_id in record.message for record in caplog.records)
    assert ("Oslo" in line, "4 °C" in line) == (content, content)
