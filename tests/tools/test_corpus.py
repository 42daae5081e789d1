"""Recorded sessions with tools of other projects: the loop takes each from its first request to its last answer.

The service's part is replayed by the provider, the tools' part by tools that return what was recorded of them, so that
the loop's own part can be held against what those projects sent. For the folder see ``tests/test_corpus.py``.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import claudeprov
from claudeprov.chunk import MessageChunk
from claudeprov.errors import ConfigurationError
from claudeprov.settings.tools import ToolsSettings
from claudeprov.tools.run import run_tools
from claudeprov.tools.tool import check_together

CORPUS = Path(os.environ.get("CORPUS_DIR") or Path(__file__).parents[3] / "shared" / "corpus")
INDEX = CORPUS / "INDEX.jsonl"
FILES = [json.loads(line) for line in INDEX.read_text().splitlines()] if INDEX.is_file() else []
WITH_TOOLS = [file["file"] for file in FILES if "tool_use" in file["block_types"] and file["n_interactions"] > 1]
REQUIRED = os.environ.get("CORPUS_REQUIRED") == "1"
KNOWN = {"sessions": 176, "calls": 231, "parallel": 21, "errors": 3, "server tools": 3, "thinking": 12, "streamed": 58}
"""At least so many of each are in the corpus."""

pytestmark = pytest.mark.skipif(not FILES and not REQUIRED, reason=f"there are no recorded sessions in {CORPUS}")


@pytest.mark.parametrize("project", sorted({file.partition("__")[0] for file in WITH_TOOLS}))
async def test_each_recorded_session_with_tools_runs_through_the_loop(project: str, counts: Any) -> None:
    for file in WITH_TOOLS:
        if file.partition("__")[0] != project:
            continue
        recorded = yaml.load((CORPUS / file).read_bytes(), Loader=yaml.CSafeLoader)
        for session in sessions(recorded["interactions"]):
            await check(CORPUS / file, session, counts)
            counts["sessions"] += 1


def test_all_of_them_were_gone_through(counts: Any) -> None:
    if not counts["sessions"]:
        pytest.skip("only a part of the corpus was to be gone through")
    assert {kind: counts[kind] for kind in KNOWN if counts[kind] < KNOWN[kind]} == {}


async def check(path: Path, session: list[dict[str, Any]], counts: Any) -> None:
    results = [each for request in session[1:] for each in results_in(request["messages"][-1])]
    by_id = {each["tool_use_id"]: each for each in results}
    asked: dict[str, list[str]] = defaultdict(list)

    class Recorded:
        """Sends what was recorded in place of what the loop asks, and keeps that."""

        def __init__(self, provider: claudeprov.AnthropicClaudeProvider) -> None:
            self.provider, self.asked = provider, []  # type: ignore[var-annotated]

        def send_message(self, request: Any, *, tags: Any = None) -> claudeprov.MessageStream:
            self.asked.append(request)
            return self.provider.send_message(session[len(self.asked) - 1])

    def tool(name: str) -> claudeprov.Tool:
        async def run(**arguments: Any) -> Any:
            result = by_id[asked[name].pop(0)]
            if result.get("is_error"):
                raise claudeprov.ToolError(json.dumps(result.get("content")))
            return result.get("content")

        return claudeprov.Tool(name, "", {"type": "object"}, run=run)

    names = {each["name"] for request in session for each in request.get("tools", ()) if "name" in each}
    chain = ["retry=off", "breaker=off", "deadline=off", "telemetry=off", "preflight=send"]
    path_override = f"cassette.path='{path}'"
    async with claudeprov.open_provider(["cassette=replay", path_override, *chain]) as provider:
        sender = Recorded(provider)
        first = {name: value for name, value in session[0].items() if name != "tools"}
        settings = ToolsSettings(max_rounds=len(session))
        stream = run_tools(sender, first, [tool(name) for name in sorted(names)], settings=settings)
        async for chunk in stream:
            note(chunk, asked)
    run = stream.run
    assert len(run.responses) == len(session)
    for request, sent, response in zip(session[1:], sender.asked[1:], run.responses, strict=False):
        assert sent.messages[-2] == {"role": "assistant", "content": response.content}, "blocks go back unchanged"
        ours = {each["tool_use_id"]: each for each in sent.messages[-1]["content"]}
        theirs = {each["tool_use_id"]: each for each in results_in(request["messages"][-1])}
        assert list(ours) == [call.id for call in response.tool_calls], "all results in one message"
        for id, told in theirs.items():
            assert bool(told.get("is_error")) == bool(ours[id].get("is_error"))
            if not told.get("is_error"):
                assert ours[id]["content"] in (told.get("content") or "", json.dumps(told.get("content")))
        counts["calls"] += len(ours)
        counts["parallel"] += len(ours) > 1
        counts["errors"] += any(told.get("is_error") for told in theirs.values())
        kinds = {block["type"] for block in response.content}
        counts["server tools"] += "server_tool_use" in kinds
        counts["thinking"] += bool(kinds & {"thinking", "redacted_thinking"})
        counts["streamed"] += bool(session[0].get("stream"))


def note(chunk: MessageChunk, asked: Mapping[str, list[str]]) -> None:
    if chunk.type == "tool_call":
        asked[chunk.data["name"]].append(chunk.data["id"])


def sessions(interactions: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The requests of each chain in which every request answers all the calls of the answer before it."""
    chain: list[dict[str, Any]] = []
    calls: set[str] = set()
    for each in interactions:
        request, response = each["request"], each["response"]
        is_message = request["uri"].partition("?")[0].endswith("/v1/messages")
        if not is_message or response["status"]["code"] != 200 or not request["body"]:
            continue
        asked = {"stream": False} | json.loads(request["body"])
        answered = {each["tool_use_id"] for each in results_in(asked["messages"][-1])}
        if not chain or not calls or answered != calls:
            if len(chain) > 1:
                yield chain
            chain = []
        chain.append(asked)
        calls = calls_in(response["body"]["string"])
    if len(chain) > 1:
        yield chain


def calls_in(body: str | bytes) -> set[str]:
    """The ids of the client's tools that an answer calls."""
    text = body.decode() if isinstance(body, bytes) else body
    documents = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")] or [text]
    events = [json.loads(document) for document in documents]
    blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    blocks += [block for event in events if event["type"] == "message" for block in event["content"]]
    return {block["id"] for block in blocks if block["type"] == "tool_use"}


def results_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [each for each in content if each["type"] == "tool_result"] if isinstance(content, list) else []


def test_the_service_takes_the_tools_that_we_take_and_refuses_those_that_we_refuse(counts: Any) -> None:
    for file in FILES:
        if not any(feature.startswith("tools:") for feature in file["request_features"]):
            continue
        recorded = yaml.load((CORPUS / file["file"]).read_bytes(), Loader=yaml.CSafeLoader)
        for each in recorded["interactions"]:
            definitions = named(each["request"])
            fault = fault_of(definitions)
            if each["response"]["status"]["code"] == 200:
                # The service takes a reference to nothing; arguments could not be held against it.
                assert fault is None or "leads to nothing" in fault
            elif each["response"]["status"]["code"] == 400:
                told = json.loads(each["response"]["body"]["string"])["error"]["message"]
                is_ours = told.startswith("tools.") or "too many optional" in told
                assert (fault is not None) == is_ours, told
            counts["tools"] += len(definitions)


def fault_of(definitions: list[dict[str, Any]]) -> str | None:
    try:
        tools = [
            claudeprov.Tool(
                definition["name"],
                definition.get("description"),
                definition.get("input_schema"),
                options={name: value for name, value in definition.items() if name not in FIELDS},
            )
            for definition in definitions
        ]
        check_together(tools)
    except ConfigurationError as error:
        return error.message
    for tool, definition in zip(tools, definitions, strict=True):
        assert tool.definition() == {key: value for key, value in definition.items() if value is not None}
    return None


FIELDS = ("name", "description", "input_schema")


def named(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools of a request, but for those without a name, which are other things."""
    body = json.loads(request["body"]) if request["body"] else {}
    return [definition for definition in body.get("tools") or () if "name" in definition]
