"""Integration: sessions with tools that a real model held, recorded by ``claudeprov chat cassette=record``, replayed.

To record them again, from a server on this machine, give each PROMPT to::

    claudeprov chat --config-dir tests/tools/conf tools=weather 'allow_targets=[tests.tools]' max_tokens=80 \\
        cassette=record cassette.path=cassettes/sessions/tools.yaml deadline=off \\
        endpoint=compatible endpoint.base_url=http://127.0.0.1:8085 model=qwen -p PROMPT
"""

from __future__ import annotations

from pathlib import Path

import pytest

import claudeprov
from claudeprov.commands import main

CONFIG = Path(__file__).parent / "conf"
CASSETTE = Path(__file__).parents[2] / "cassettes" / "sessions" / "tools.yaml"
REPLAY = [
    "cassette=replay",
    f"cassette.path='{CASSETTE}'",
    "model=qwen",
    "tools=weather",
    "allow_targets=[tests.tools]",
]
PARIS = "What is the weather in Paris?"
ROME = "What is the weather in Rome?"
BOTH = "What is the weather in Paris and in Oslo?"

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")


async def run(prompt: str) -> claudeprov.ToolRun:
    async with claudeprov.open_provider([*REPLAY, "max_tokens=80"], config_dir=CONFIG) as provider:
        return await provider.run_tools({"messages": [{"role": "user", "content": prompt}]})


async def test_a_model_calls_a_tool_and_answers_with_its_result() -> None:
    done = await run(PARIS)
    [call] = done.calls
    assert (call.name, call.arguments, call.content) == ("get_weather", {"city": "Paris"}, "21 °C and dry")
    assert (done.stopped, done.rounds) == ("end_turn", 2)
    assert "21" in done.text
    assert done.usage.input_tokens == sum(response.usage.input_tokens or 0 for response in done.responses)


async def test_a_model_is_told_that_a_call_failed_and_goes_on() -> None:
    done = await run(ROME)
    assert [call.outcome for call in done.calls] == ["failed"]
    assert done.stopped == "end_turn"
    assert "Rome" in done.text


def test_the_command_replays_a_session(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--config-dir", str(CONFIG), *REPLAY, "max_tokens=80", "-p", BOTH]) == 0
    out, err = capsys.readouterr()
    assert "get_weather(city=" in err
    assert "4" in out
