"""The loop, driven through each of its branches by a scripted provider."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import pytest

import claudeprov
from claudeprov.errors import BudgetExceededError, ConfigurationError, OverloadedError
from claudeprov.notice import Notices
from claudeprov.settings.tools import PermissionSettings, ToolsSettings
from claudeprov.testing import ManualClock, ScriptedProvider
from claudeprov.testing.clock import settle
from claudeprov.testing.scripted import text_events
from claudeprov.tools.run import run_tools
from tests.tools.answers import QUESTION, answer, call, results, thinking


@claudeprov.tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@claudeprov.tool
async def fail() -> str:
    """Fail."""
    raise ValueError("a secret of the inside")


@claudeprov.tool
async def complain() -> str:
    """Say why it cannot be done."""
    raise claudeprov.ToolError("there is no such file; try list_files")


@claudeprov.tool(effects=["write"])
async def delete(path: str) -> str:
    """Delete a file."""
    return f"{path} is gone"


TOOLS = [add, fail, complain, delete]
ADD = call("toolu_1", "add", {"a": 1, "b": 2})


async def test_a_call_is_made_and_its_result_goes_back_in_the_next_user_message() -> None:
    provider = ScriptedProvider(answer(ADD), "3")
    run = await run_tools(provider, QUESTION, TOOLS)
    assert run.stopped == "end_turn"
    assert (run.text, run.rounds) == ("3", 2)
    first, second = provider.requests
    assert [tool["name"] for tool in first.tools] == ["add", "fail", "complain", "delete"]  # type: ignore[attr-defined]
    assert second.messages == [
        *QUESTION["messages"],
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1, "b": 2}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}]},
    ]
    assert run.messages == (*second.messages, {"role": "assistant", "content": [{"type": "text", "text": "3"}]})
    assert (run.usage.input_tokens, run.usage.output_tokens) == (2, 2)


async def test_all_rounds_are_one_stream_with_the_calls_and_their_results_between() -> None:
    provider = ScriptedProvider(answer(ADD), "3")
    chunks = [chunk async for chunk in run_tools(provider, QUESTION, TOOLS)]
    kinds = [chunk.type for chunk in chunks]
    assert kinds.count("message_start") == kinds.count("message_stop") == 2
    assert kinds[kinds.index("message_stop") + 1 :][:3] == ["tool_call", "tool_result", "message_start"]
    asked, came = (chunk.data for chunk in chunks if chunk.type.startswith("tool_"))
    assert asked == {"type": "tool_call", "round": 1, "id": "toolu_1", "name": "add", "input": {"a": 1, "b": 2}}
    assert (came["outcome"], came["content"], came["is_error"]) == ("ok", "3", False)
    assert "".join(chunk.text for chunk in chunks) == "3"


async def test_calls_are_made_at_once_and_answered_in_one_message_in_the_order_of_the_calls() -> None:
    clock = ManualClock()

    @claudeprov.tool
    async def wait(seconds: float) -> str:
        """Wait."""
        await clock.sleep(seconds)
        return f"{seconds:g}"

    provider = ScriptedProvider(
        answer(call("slow", "wait", {"seconds": 3}), call("fast", "wait", {"seconds": 1})), "done", clock=clock
    )
    ended: list[str] = []
    notices = Notices(clock)
    notices.listen(lambda notice: ended.append(notice.fields["tool_use_id"]) if notice.name == "tool.ended" else None)
    run = await clock.run(whole(run_tools(provider, QUESTION, [wait], clock=clock, notices=notices)))
    assert clock.monotonic() == 3
    assert [result.seconds for result in run.calls] == [3, 1]
    assert [block["tool_use_id"] for block in results(provider.requests[1])] == ["slow", "fast"]
    assert ended == ["fast", "slow"]


async def test_no_more_calls_are_made_at_once_than_allowed() -> None:
    clock, running, most = ManualClock(), 0, 0

    @claudeprov.tool
    async def wait() -> None:
        """Wait."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await clock.sleep(1)
        running -= 1

    provider = ScriptedProvider(answer(*(call(f"call_{n}", "wait") for n in range(5))), "done", clock=clock)
    await clock.run(whole(run_tools(provider, QUESTION, [wait], settings=ToolsSettings(parallel=2), clock=clock)))
    assert (most, clock.monotonic()) == (2, 3)


@pytest.mark.parametrize(
    ("asked", "outcome", "said"),
    [
        (call("1", "ad", {}), "unknown", "there is no tool 'ad'; did you mean add?"),
        (call("1", "nothing_like_it", {}), "unknown", "(there are: add, fail, complain, delete)"),
        (call("1", "add", {"a": "one"}), "invalid", "a: Input should be a valid integer"),
        (call("1", "add", {"a": 1, "b": 2, "c": 3}), "invalid", "c: there is no such argument"),
        (call("1", "add", '{"a": 1, "b": 2'), "invalid", 'the arguments are no JSON object: {"a": 1, "b": 2'),
        (call("1", "add", "[1, 2]"), "invalid", "the arguments are no JSON object: [1, 2]"),
        (call("1", "complain"), "failed", "there is no such file; try list_files"),
        (call("1", "fail"), "failed", "the tool failed with ValueError"),
        (call("1", "delete", {"path": "/"}), "denied", "not permitted (its effects: write)"),
    ],
)
async def test_what_goes_wrong_with_a_call_is_told_to_the_model(asked: Any, outcome: str, said: str) -> None:
    provider = ScriptedProvider(answer(asked), "I see")
    run = await run_tools(provider, QUESTION, TOOLS)
    [result] = run.calls
    [block] = results(provider.requests[1])
    assert (result.outcome, run.text) == (outcome, "I see")
    assert block["is_error"] is True
    assert said in block["content"]
    assert "secret" not in block["content"]


async def test_what_a_tool_raised_is_there_for_the_application() -> None:
    run = await run_tools(ScriptedProvider(answer(call("1", "fail")), "I see"), QUESTION, TOOLS)
    assert isinstance(run.calls[0].error, ValueError)


@pytest.mark.parametrize("kind", [RecursionError, re.error, KeyError])
async def test_arguments_that_cannot_be_checked_are_invalid_and_end_nothing(kind: type[Exception]) -> None:
    error = kind("a secret of the inside")

    def parse(arguments: Any) -> Any:
        raise error

    tool = claudeprov.Tool("check", "Check.", {"type": "object"}, run=print, parse=parse)
    provider = ScriptedProvider(answer(call("1", "check")), "I see")
    run = await run_tools(provider, QUESTION, [tool])
    [result] = run.calls
    assert (result.outcome, result.error, run.text) == ("invalid", error, "I see")
    assert "cannot be checked" in result.content
    assert "secret" not in result.content


async def test_a_tool_that_ends_the_program_fails_beside_others() -> None:
    @claudeprov.tool
    def leave() -> None:
        """Leave."""
        raise SystemExit(3)

    provider = ScriptedProvider(answer(call("1", "leave"), call("2", "add", {"a": 1, "b": 1})), "2")
    run = await run_tools(provider, QUESTION, [leave, add])
    assert [result.outcome for result in run.calls] == ["failed", "ok"]


async def test_the_time_of_the_whole_holds_against_a_tool_that_swallows_its_cancellation() -> None:
    clock, released = ManualClock(), asyncio.Event()

    @claudeprov.tool
    async def stay() -> None:
        """Stay."""
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    provider = ScriptedProvider(answer(call("1", "stay")), clock=clock)
    settings = ToolsSettings(total=5, timeout=None)
    run = await clock.run(whole(run_tools(provider, QUESTION, [stay], settings=settings, clock=clock)))
    assert (run.stopped, run.calls[0].outcome) == ("deadline", "cancelled")
    released.set()


async def test_a_second_cancellation_still_leaves_each_call_in_its_place() -> None:
    clock, released = ManualClock(), asyncio.Event()

    @claudeprov.tool
    async def stay() -> None:
        """Stay."""
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    stream = run_tools(ScriptedProvider(answer(call("1", "stay")), clock=clock), QUESTION, [stay], clock=clock)
    task = asyncio.create_task(whole(stream))
    await settle()
    task.cancel()
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert [result.outcome for result in stream.run.calls] == ["cancelled"]
    released.set()


async def test_what_could_not_be_sent_is_cleaned_in_the_answer_that_goes_back() -> None:
    @claudeprov.tool
    async def echo(a: Any) -> str:
        """Echo."""
        return "ok"

    provider = ScriptedProvider(answer(call("1", "echo", '{"a": [NaN, 1]}')), "done")
    await run_tools(provider, QUESTION, [echo])
    [block] = provider.requests[1].messages[-2]["content"]
    assert block["input"] == {"a": [None, 1]}


async def test_input_that_is_no_json_goes_back_wrapped_as_an_object() -> None:
    provider = ScriptedProvider(answer(call("1", "add", '{"a": 1, "b"')), "I see")
    await run_tools(provider, QUESTION, TOOLS)
    [block] = provider.requests[1].messages[-2]["content"]
    assert block["input"] == {"INVALID_JSON": '{"a": 1, "b"'}


async def test_an_id_that_comes_twice_in_an_answer_is_called_once_and_the_other_gets_an_id_of_its_own() -> None:
    provider = ScriptedProvider(answer(ADD, call("toolu_1", "add", {"a": 5, "b": 5})), "3")
    run = await run_tools(provider, QUESTION, TOOLS)
    assert [(result.id, result.outcome) for result in run.calls] == [("toolu_1", "ok"), ("toolu_1_2", "duplicate")]
    assert [block["id"] for block in provider.requests[1].messages[-2]["content"]] == ["toolu_1", "toolu_1_2"]
    assert [block["tool_use_id"] for block in results(provider.requests[1])] == ["toolu_1", "toolu_1_2"]


async def test_an_id_that_an_earlier_answer_had_gets_another_and_is_called() -> None:
    provider = ScriptedProvider(answer(ADD), answer(ADD), "3")
    run = await run_tools(provider, QUESTION, TOOLS)
    assert [(result.id, result.outcome) for result in run.calls] == [("toolu_1", "ok"), ("toolu_1_2", "ok")]
    again = ScriptedProvider(answer(ADD), "3")
    run = await run_tools(again, QUESTION | {"messages": [*run.messages, *QUESTION["messages"]]}, TOOLS)
    assert run.calls[0].id == "toolu_1_3"


async def test_a_call_without_an_id_gets_one() -> None:
    run = await run_tools(ScriptedProvider(answer(call("", "add", {"a": 1, "b": 1})), "2"), QUESTION, TOOLS)
    assert run.calls[0].id == "call_2"


async def test_a_call_that_took_too_long_is_stopped_and_told() -> None:
    clock, ended = ManualClock(), []

    @claudeprov.tool(timeout=2)
    async def hang() -> None:
        """Hang."""
        try:
            await clock.sleep(1000)
        finally:
            ended.append(clock.monotonic())

    provider = ScriptedProvider(answer(call("1", "hang")), "I see", clock=clock)
    run = await clock.run(whole(run_tools(provider, QUESTION, [hang], clock=clock)))
    assert (run.calls[0].outcome, run.calls[0].seconds, ended) == ("timed_out", 2, [2])
    assert "longer than 2 s" in results(provider.requests[1])[0]["content"]


async def test_the_time_of_the_whole_stops_calls_and_leaves_a_conversation_that_can_go_on() -> None:
    clock = ManualClock()

    @claudeprov.tool
    async def hang() -> None:
        """Hang."""
        await clock.sleep(1000)

    provider = ScriptedProvider(answer(ADD, call("2", "hang")), clock=clock)
    settings = ToolsSettings(total=5, timeout=None)
    run = await clock.run(whole(run_tools(provider, QUESTION, [add, hang], settings=settings, clock=clock)))
    assert (run.stopped, clock.monotonic(), run.rounds) == ("deadline", 5, 1)
    assert [result.outcome for result in run.calls] == ["ok", "cancelled"]
    assert [block["tool_use_id"] for block in run.messages[-1]["content"]] == ["toolu_1", "2"]
    again = ScriptedProvider("done")
    assert (await run_tools(again, QUESTION | {"messages": list(run.messages)}, [add, hang])).stopped == "end_turn"


async def test_the_time_of_the_whole_stops_an_answer_and_keeps_its_cost() -> None:
    clock = ManualClock()
    provider = ScriptedProvider([*text_events("begun")[:3], 1000.0], clock=clock)
    run = await clock.run(whole(run_tools(provider, QUESTION, settings=ToolsSettings(total=5), clock=clock)))
    assert (run.stopped, run.text, run.rounds) == ("deadline", "begun", 1)
    assert run.messages == tuple(QUESTION["messages"])
    assert run.usage.input_tokens == 1
    assert provider.streams[0].outcome is not None
    assert provider.streams[0].outcome.kind == "cancelled"


async def test_no_round_begins_when_the_time_of_the_whole_is_up() -> None:
    clock = ManualClock()
    stream = run_tools(ScriptedProvider(answer(ADD)), QUESTION, TOOLS, settings=ToolsSettings(total=5), clock=clock)
    async for chunk in stream:
        if chunk.type == "tool_result":
            await clock.advance(5)  # the reader takes his time
    assert (stream.run.stopped, stream.run.rounds) == ("deadline", 1)


async def test_a_paused_turn_goes_back_as_it_is() -> None:
    paused = [
        [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
         {"type": "input_json_delta", "partial_json": '{"query": "x"}'}],
    ]  # fmt: skip
    provider = ScriptedProvider(answer(*paused, stop="pause_turn"), "found")
    search = {"type": "web_search_20260318", "name": "web_search"}
    run = await run_tools(provider, QUESTION, [search])
    assert provider.requests[1].messages[1:] == [
        {
            "role": "assistant",
            "content": [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}],
        }
    ]
    assert provider.requests[1].tools == [search]  # type: ignore[attr-defined]
    assert (run.stopped, run.text, run.calls) == ("end_turn", "found", ())


async def test_a_call_of_ones_own_in_a_paused_turn_is_answered() -> None:
    search = [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}]
    provider = ScriptedProvider(answer(search, ADD, stop="pause_turn"), "3")
    run = await run_tools(provider, QUESTION, TOOLS)
    assert [message["role"] for message in provider.requests[1].messages] == ["user", "assistant", "user"]
    assert results(provider.requests[1]) == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}]
    assert run.stopped == "end_turn"


async def test_a_turn_that_pauses_again_and_again_ends_at_max_rounds() -> None:
    block = [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}]
    provider = ScriptedProvider(answer(block, stop="pause_turn"))
    run = await run_tools(provider, QUESTION, settings=ToolsSettings(max_rounds=3))
    assert (run.stopped, run.rounds, len(provider.requests)) == ("max_rounds", 3, 3)
    assert run.messages[-1]["role"] == "assistant"


async def test_at_max_rounds_the_last_calls_are_made_so_that_the_conversation_can_go_on() -> None:
    provider = ScriptedProvider(answer(ADD))
    run = await run_tools(provider, QUESTION, TOOLS, settings=ToolsSettings(max_rounds=2))
    assert (run.stopped, run.rounds, len(run.calls)) == ("max_rounds", 2, 2)
    assert results_of(run)[-1]["content"] == "3"


async def test_thinking_goes_back_unchanged_with_the_results() -> None:
    thought = thinking("Let me add.", "c2lnbmVk")
    redacted = [{"type": "redacted_thinking", "data": "ZGF0YQ=="}]
    empty = thinking("", "ZW1wdHk=")
    provider = ScriptedProvider(answer(thought, redacted, empty, ADD), "3")
    await run_tools(provider, QUESTION, TOOLS)
    assert provider.requests[1].messages[-2]["content"][:3] == [
        {"type": "thinking", "thinking": "Let me add.", "signature": "c2lnbmVk"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {"type": "thinking", "thinking": "", "signature": "ZW1wdHk="},
    ]


async def test_history_is_only_appended_to() -> None:
    provider = ScriptedProvider(answer(ADD), answer(call("2", "fail")), answer(call("3", "nope")), "done")
    run = await run_tools(provider, QUESTION, TOOLS)
    for request in provider.requests:
        assert list(run.messages)[: len(request.messages)] == request.messages


async def test_a_call_cut_off_by_max_tokens_is_asked_for_again_with_more() -> None:
    cut = answer(call("1", "add", '{"a": 1, '), stop="max_tokens")
    provider = ScriptedProvider(cut, cut, answer(ADD), "3")
    run = await run_tools(provider, QUESTION, TOOLS, most_tokens=300)
    assert [request.max_tokens for request in provider.requests] == [100, 200, 300, 300]
    assert provider.requests[1].messages == provider.requests[0].messages
    assert (run.stopped, run.rounds, len(run.calls)) == ("end_turn", 4, 1)
    assert run.usage.input_tokens == 4


@pytest.mark.parametrize(
    ("most", "reason"), [(100, "max_tokens"), (None, "max_tokens"), (500, "model_context_window_exceeded")]
)
async def test_a_call_cut_off_where_more_is_not_to_be_had_ends_the_loop(most: int | None, reason: str) -> None:
    provider = ScriptedProvider(answer(call("1", "add", '{"a": 1, '), stop=reason))
    run = await run_tools(provider, QUESTION, TOOLS, most_tokens=most)
    assert (run.stopped, run.rounds, run.calls) == (reason, 1, ())
    assert run.messages == tuple(QUESTION["messages"])


async def test_text_cut_off_by_max_tokens_ends_the_loop_with_it() -> None:
    run = await run_tools(
        ScriptedProvider(text_events("a", stop_reason="max_tokens")), QUESTION, TOOLS, most_tokens=500
    )
    assert (run.stopped, run.rounds) == ("max_tokens", 1)
    assert run.messages[-1] == {"role": "assistant", "content": [{"type": "text", "text": "a"}]}


async def test_a_refusal_in_the_middle_ends_the_loop_and_is_left_out_of_the_conversation() -> None:
    provider = ScriptedProvider(answer(ADD), text_events("I wi", stop_reason="refusal"))
    run = await run_tools(provider, QUESTION, TOOLS)
    assert (run.stopped, run.rounds, len(run.calls)) == ("refusal", 2, 1)
    assert run.messages == tuple(provider.requests[1].messages)


async def test_an_empty_answer_after_a_result_is_left_out_of_the_conversation() -> None:
    run = await run_tools(ScriptedProvider(answer(ADD), answer(stop="end_turn")), QUESTION, TOOLS)
    assert (run.stopped, run.text, run.messages[-1]["role"]) == ("end_turn", "", "user")


@pytest.mark.parametrize("reason", ["stop_sequence", "a_reason_of_tomorrow"])
async def test_any_other_reason_to_stop_is_the_loops(reason: str) -> None:
    run = await run_tools(ScriptedProvider(text_events("a", stop_reason=reason)), QUESTION, TOOLS)
    assert run.stopped == reason


async def test_a_budget_that_is_spent_in_a_later_round_stops_with_what_was_done() -> None:
    spent = BudgetExceededError("no more money")
    run = await run_tools(ScriptedProvider(answer(ADD), spent), QUESTION, TOOLS)
    assert (run.stopped, run.error, run.rounds) == ("budget", spent, 1)
    assert results_of(run)[0]["content"] == "3"


async def test_a_budget_that_forbids_the_first_round_raises() -> None:
    spent = BudgetExceededError("no more money")
    stream = run_tools(ScriptedProvider(spent), QUESTION, TOOLS)
    with pytest.raises(BudgetExceededError):
        await stream
    assert stream.run.stopped == "budget"


async def test_an_error_of_the_service_is_raised_and_what_was_done_is_there() -> None:
    provider = ScriptedProvider(answer(ADD), OverloadedError("too much"))
    stream = run_tools(provider, QUESTION, TOOLS)
    with pytest.raises(OverloadedError) as caught:
        async for _ in stream:
            pass
    assert (stream.run.stopped, stream.run.error, len(stream.run.calls)) == ("failed", caught.value, 1)
    assert stream.run.messages[-1]["role"] == "user"
    again = await run_tools(ScriptedProvider("3"), QUESTION | {"messages": list(stream.run.messages)}, TOOLS)
    assert again.text == "3"


async def test_a_forced_call_is_forced_only_once() -> None:
    provider = ScriptedProvider(answer(ADD), "3")
    choice = {"type": "any", "disable_parallel_tool_use": True}
    await run_tools(provider, QUESTION | {"tool_choice": choice}, TOOLS)
    choices = [request.tool_choice for request in provider.requests]  # type: ignore[attr-defined]
    assert choices == [choice, {"type": "auto", "disable_parallel_tool_use": True}]


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "none"}])
async def test_a_choice_that_forces_nothing_stays(choice: dict[str, Any]) -> None:
    provider = ScriptedProvider(answer(ADD), "3")
    await run_tools(provider, QUESTION | {"tool_choice": choice}, TOOLS)
    assert [request.tool_choice for request in provider.requests] == [choice, choice]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("asked", "then"),
    [
        (None, "container_1"),
        ("container_0", "container_1"),
        ({"skills": ["s"]}, {"skills": ["s"], "id": "container_1"}),
    ],
)
async def test_the_container_of_the_servers_tools_is_kept(asked: Any, then: Any) -> None:
    provider = ScriptedProvider(answer(ADD, container={"id": "container_1", "expires_at": "soon"}), "3")
    await run_tools(provider, QUESTION | ({} if asked is None else {"container": asked}), TOOLS)
    assert provider.requests[1].container == then  # type: ignore[attr-defined]


async def test_the_callers_and_toolsets_of_calls_go_back_as_they_came() -> None:
    caller = {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}
    provider = ScriptedProvider(
        answer(call("1", "add", {"a": 1, "b": 1}, caller=caller), call("2", "click", {}, toolset_name="browser")), "2"
    )
    await run_tools(provider, QUESTION, TOOLS)
    sent, click = provider.requests[1].messages[-2]["content"]
    assert (sent["caller"], click["toolset_name"]) == (caller, "browser")
    assert results(provider.requests[1])[1]["toolset_name"] == "browser"


async def test_everything_that_the_api_takes_of_a_tool_reaches_it() -> None:
    options: dict[str, Any] = {
        "strict": True,
        "input_examples": [{"a": 1, "b": 2}],
        "cache_control": {"type": "ephemeral"},
        "defer_loading": False,
        "eager_input_streaming": True,
        "allowed_callers": ["direct"],
    }

    @claudeprov.tool(**options)
    def plus(a: int, b: int) -> int:
        """Add."""
        return a + b

    own = {"name": "mine", "input_schema": {"type": "object"}}
    toolset = {"type": "mcp_toolset", "mcp_server_name": "x"}
    provider = ScriptedProvider("hi")
    await run_tools(provider, QUESTION | {"tools": [own]}, [plus, toolset])
    assert provider.requests[0].tools == [own, plus.definition(), toolset]  # type: ignore[attr-defined]
    assert plus.definition().items() >= options.items()


async def test_two_tools_of_one_name_are_refused_before_anything_is_sent() -> None:
    provider = ScriptedProvider("hi")
    with pytest.raises(ConfigurationError, match="two tools are called add"):
        run_tools(provider, QUESTION, [add, add])
    with pytest.raises(ConfigurationError, match="two tools are called add"):
        run_tools(provider, QUESTION | {"tools": [{"name": "add"}]}, [add])
    assert provider.requests == []


async def test_permission_is_asked_for_each_valid_call_before_any_is_made() -> None:
    seen: list[Any] = []

    @claudeprov.tool(effects=["write", "network"])
    async def upload(path: str) -> str:
        """Upload a file."""
        seen.append("made")
        return "uploaded"

    def permit(request: claudeprov.PermissionRequest) -> Any:
        seen.append((request.name, request.arguments, sorted(request.effects)))
        return "allow" if request.arguments["path"] == "a" else "deny"

    asked = [call(path, "upload", {"path": path}) for path in "ab"]
    provider = ScriptedProvider(answer(*asked, call("c", "upload", {})), "done")
    run = await run_tools(provider, QUESTION, [upload], permission=permit)
    assert seen == [
        ("upload", {"path": "a"}, ["network", "write"]),
        ("upload", {"path": "b"}, ["network", "write"]),
        "made",
    ]
    assert [result.outcome for result in run.calls] == ["ok", "denied", "invalid"]


@pytest.mark.parametrize(("agrees", "outcome"), [(True, "ok"), (False, "denied"), (None, "denied")])
async def test_where_permission_is_to_be_asked_for_a_person_decides(agrees: bool | None, outcome: str) -> None:
    async def ask(request: claudeprov.PermissionRequest) -> bool:
        assert request.name == "delete"
        return bool(agrees)

    settings = ToolsSettings(permissions=PermissionSettings(write="ask"))
    provider = ScriptedProvider(answer(call("1", "delete", {"path": "x"})), "done")
    run = await run_tools(provider, QUESTION, TOOLS, settings=settings, ask=None if agrees is None else ask)
    assert run.calls[0].outcome == outcome


async def test_permission_may_be_decided_by_an_async_hook_and_anything_but_allow_and_ask_denies() -> None:
    async def permit(request: claudeprov.PermissionRequest) -> Any:
        return "maybe"

    run = await run_tools(ScriptedProvider(answer(ADD), "done"), QUESTION, TOOLS, permission=permit)
    assert run.calls[0].outcome == "denied"


async def test_a_hook_that_fails_ends_the_loop_and_no_call_is_made() -> None:
    def permit(request: claudeprov.PermissionRequest) -> Any:
        raise LookupError("no policy")

    stream = run_tools(ScriptedProvider(answer(ADD)), QUESTION, TOOLS, permission=permit)
    with pytest.raises(LookupError):
        await stream
    assert (stream.run.stopped, stream.run.calls[0].outcome) == ("failed", "cancelled")


async def test_the_results_of_a_tool_may_be_blocks() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]

    @claudeprov.tool
    async def show() -> list[dict[str, Any]]:
        """Show."""
        return blocks

    provider = ScriptedProvider(answer(call("1", "show")), "done")
    await run_tools(provider, QUESTION, [show])
    assert results(provider.requests[1])[0]["content"] == blocks


@pytest.mark.parametrize("allowed", [False, True])
async def test_each_execution_is_told_and_its_content_only_where_that_is_allowed(allowed: bool) -> None:
    told: list[Any] = []
    notices = Notices(ManualClock())
    notices.listen(told.append)
    provider = ScriptedProvider(answer(ADD, call("2", "fail"), call("3", "delete", {"path": "x"})), "done")
    await run_tools(provider, QUESTION, TOOLS, notices=notices, with_content=allowed, clock=ManualClock())
    ended = {notice.fields["tool_use_id"]: notice.fields for notice in told if notice.name == "tool.ended"}
    assert [notice.fields["tool"] for notice in told if notice.name == "tool.started"] == ["add", "fail"]
    assert ended["toolu_1"].items() >= {"tool": "add", "outcome": "ok", "seconds": 0, "size": 1, "round": 1}.items()
    assert (ended["2"]["outcome"], ended["2"]["error"]) == ("failed", "ValueError")
    assert ended["3"]["outcome"] == "denied"
    assert ("content" in ended["toolu_1"], "arguments" in ended["toolu_1"]) == (allowed, allowed)
    assert len({notice.call_id for notice in told}) == 1


async def whole(stream: claudeprov.ToolStream) -> claudeprov.ToolRun:
    return await stream


def results_of(run: claudeprov.ToolRun) -> list[dict[str, Any]]:
    return run.messages[-1]["content"]
