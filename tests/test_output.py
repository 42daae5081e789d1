"""An answer of a shape: how it is asked for, told while it comes, checked, and asked for again."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import re
from decimal import Decimal
from functools import cache
from typing import Any

import httpx2
import pytest
import yaml
from pydantic import BaseModel, Field

import claudeprov
from claudeprov import AnthropicClaudeProvider, OutputResponse
from claudeprov.catalog import catalog
from claudeprov.errors import ConfigurationError, InvalidRequestError, OutputError, ServerError, StreamInterruptedError
from claudeprov.output import OutputStream
from claudeprov.request import MessageRequest
from claudeprov.testing import ScriptedProvider, text_events
from claudeprov.testing.clock import settle
from tests.test_corpus import CORPUS, FILES, REQUIRED
from tests.test_provider import BARE

FORMAT, FORCED, AUTO, WORDS, UNKNOWN = "claude-sonnet-5-5", "qwen", "claude-opus-4-20250514", "smollm2", "custom"
HI = {"messages": [{"role": "user", "content": "Who wrote the first program?"}], "max_tokens": 100}
GOOD, BAD = '{"name": "Ada", "age": 36}', '{"name": "Ada", "age": 360}'
START, OPEN, *_, CLOSE, END, STOP = text_events("")

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")


class Person(BaseModel):
    name: str
    age: int = Field(le=150, description="In years.")


ADA = Person(name="Ada", age=36)


def ask(*answers, model=FORMAT, output: Any = Person, max_repairs=2, **request):
    """Ask a model of those capabilities; what it answers is given."""
    provider = ScriptedProvider(*answers)
    known = catalog().get(model)
    can = known and known.capabilities
    request = MessageRequest.of(HI | {"model": model} | request)
    return provider, OutputStream(provider.send_message, request, output, capabilities=can, max_repairs=max_repairs)


def stopped(reason, *texts, **details):
    *events, end, stop = text_events(*texts)
    return [*events, end | {"delta": {"stop_reason": reason, **details}}, stop]


def call(*pieces, name="answer", id="toolu_1", index=0):
    block = {"type": "tool_use", "id": id, "name": name, "input": {}}
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": "input_json_delta", "partial_json": piece},
            }
            for piece in pieces
        ),
        CLOSE | {"index": index},
    ]


def called(*pieces, **more):
    return [START, *call(*pieces, **more), END | {"delta": {"stop_reason": "tool_use"}}, STOP]


def plain(content, stop_reason="end_turn", **more):
    """A whole message, as an exchange without a stream gives it."""
    message = START["message"] | {"content": content, "stop_reason": stop_reason, "usage": {"input_tokens": 9}}
    return httpx2.Response(200, json=message | more)


@cache
def settings_of(*overrides: str):
    return claudeprov.open_provider([*BARE, *overrides]).settings


def opened(*answers: httpx2.Response, overrides=()):
    """A provider whose endpoint gives these answers, and the bodies that it is sent."""
    bodies, left = [], list(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        return left.pop(0)

    return AnthropicClaudeProvider(settings_of(*overrides), transport=httpx2.MockTransport(answer)), bodies


class TestIsAskedFor:
    async def test_by_structured_outputs_where_the_model_has_them(self):
        provider, stream = ask(GOOD, output_config={"effort": "low"})
        assert (await stream).parsed == ADA
        [request] = provider.requests
        assert request.output_config == {
            "effort": "low",
            "format": {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "age": {"type": "integer", "description": "In years. (maximum: 150)"},
                    },
                    "required": ["name", "age"],
                    "additionalProperties": False,
                },
            },
        }
        assert not {"tools", "tool_choice", "system"} & request.body().keys()

    async def test_by_a_strict_tool_where_nothing_is_known_of_the_model(self):
        provider, stream = ask(called(GOOD), model=UNKNOWN)
        assert (await stream).parsed == ADA
        [request] = provider.requests
        [tool] = request.tools
        assert (tool["name"], tool["strict"]) == ("answer", True)
        assert tool["input_schema"]["additionalProperties"] is False
        assert request.tool_choice == {"type": "auto", "disable_parallel_tool_use": True}

    async def test_by_a_tool_with_the_schema_as_it_is_where_the_model_takes_no_strict_one(self):
        provider, stream = ask(called(GOOD), model=AUTO)
        await stream
        [tool] = provider.requests[0].tools
        assert "strict" not in tool
        assert tool["input_schema"] == Person.model_json_schema()

    @pytest.mark.parametrize("model", [FORCED, AUTO])
    async def test_by_a_tool_that_has_to_be_called_where_the_model_takes_that(self, model):
        provider, stream = ask(called(GOOD), model=model)
        await stream
        assert provider.requests[0].tool_choice == {
            "type": "tool",
            "name": "answer",
            "disable_parallel_tool_use": True,
        }

    @pytest.mark.parametrize(
        ("request_", "choice"),
        [
            ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "auto"),
            ({"thinking": {"type": "adaptive"}}, "auto"),
            ({"thinking": {"type": "disabled"}}, "tool"),
            ({"tool_choice": {"type": "any"}}, "any"),
        ],
    )
    async def test_by_a_tool_that_may_be_called_where_the_model_is_to_think(self, request_, choice):
        provider, stream = ask(called(GOOD), model=AUTO, **request_)
        await stream
        assert provider.requests[0].tool_choice["type"] == choice

    async def test_by_a_tool_beside_those_of_the_request_and_then_it_is_not_forced(self):
        other = {"name": "look_up", "input_schema": {"type": "object"}}
        provider, stream = ask(called(GOOD), model=AUTO, tools=[other])
        await stream
        request = provider.requests[0]
        assert [tool["name"] for tool in request.tools] == ["look_up", "answer"]
        assert "tool_choice" not in request.body()

    @pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief."}], None])
    async def test_in_words_where_the_model_has_no_tools(self, system):
        provider, stream = ask(f"Sure:\n```json\n{GOOD}\n```", model=WORDS, system=system)
        assert (await stream).parsed == ADA
        [request] = provider.requests
        assert [block["text"] for block in request.system[:-1]] == (["Be brief."] if system else [])
        assert json.dumps(Person.model_json_schema()) in request.system[-1]["text"]
        assert "tools" not in request.body()

    async def test_wrapped_where_it_is_no_object(self):
        provider, stream = ask(f'{{"value": [{GOOD}]}}', output=list[Person])
        assert (await stream).parsed == [ADA]
        schema = provider.requests[0].output_config["format"]["schema"]
        assert schema["properties"]["value"]["type"] == "array"

    async def test_by_a_json_schema_and_is_then_plain_json(self):
        _, stream = ask(GOOD, output=Person.model_json_schema())
        assert (await stream).parsed == {"name": "Ada", "age": 36}

    def test_but_not_where_the_request_has_a_format_of_its_own(self):
        with pytest.raises(InvalidRequestError, match="leave out one"):
            ask(GOOD, output_config={"format": {"type": "json_schema", "schema": {}}})

    @pytest.mark.parametrize("model", [FORMAT, UNKNOWN])
    def test_but_not_where_the_api_cannot_keep_a_model_to_it(self, model):
        with pytest.raises(InvalidRequestError, match=r"^output: holds names of any kind"):
            ask(GOOD, model=model, output=dict[str, int])

    @pytest.mark.parametrize("model", [AUTO, WORDS])
    async def test_freely_where_the_model_is_not_kept_to_it(self, model):
        _, stream = ask('{"a": 1}', model=model, output=dict[str, int])
        assert (await stream).parsed == {"a": 1}


class TestIsFound:
    async def test_after_thinking_and_other_texts(self):
        thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
        events = [
            START,
            OPEN | {"content_block": thinking},
            CLOSE,
            OPEN | {"index": 1, "content_block": {"type": "text", "text": "I looked it up."}},
            CLOSE | {"index": 1},
            OPEN | {"index": 2, "content_block": {"type": "text", "text": GOOD}},
            CLOSE | {"index": 2},
            OPEN | {"index": 3, "content_block": {"type": "text", "text": "\n"}},
            CLOSE | {"index": 3},
            END,
            STOP,
        ]
        assert (await ask(events)[1]).parsed == ADA

    async def test_in_the_text_where_the_tool_was_not_called(self):
        assert (await ask(GOOD, model=UNKNOWN)[1]).parsed == ADA

    async def test_in_the_first_call_where_there_are_two(self):
        events = [START, *call(GOOD), *call(BAD, id="toolu_2", index=1), END, STOP]
        assert (await ask(events, model=FORCED)[1]).parsed == ADA

    async def test_where_the_limit_was_met_just_after_it(self):
        assert (await ask(stopped("max_tokens", GOOD))[1]).parsed == ADA


class TestComesInParts:
    async def test_once_a_network_read_that_brings_more_of_it(self):
        _, *texts, _ = ["", '{"na', 'me": "A', 'da", ', '"age": 3', "6}", ""]
        *head, end, stop = text_events(*texts)
        _, stream = ask([head[:2], *head[2:-2], [head[-2], head[-1], end, stop]])
        drafts = [draft async for draft in stream.objects()]
        assert drafts == [
            {},
            {"name": "A"},
            {"name": "Ada"},
            {"name": "Ada", "age": 3},
            {"name": "Ada", "age": 36},
        ]
        assert (await stream).parsed == ADA

    async def test_as_one_where_it_came_with_one_read(self):
        _, stream = ask([text_events(*GOOD)])
        assert [draft async for draft in stream.objects()] == [{"name": "Ada", "age": 36}]

    async def test_of_a_tool_call(self):
        _, stream = ask(called("", '{"name": "A', 'da", "age": 36}'), model=FORCED)
        assert [draft async for draft in stream.objects()] == [{"name": "A"}, {"name": "Ada", "age": 36}]

    async def test_that_are_parsed_for_nobody_else(self, monkeypatch):
        _, stream = ask(GOOD)
        monkeypatch.setattr(stream._question.shape, "draft", None)
        assert [chunk.type async for chunk in stream][-1] == "message_stop"
        assert (await stream).parsed == ADA

    async def test_that_begin_anew_with_a_repair(self):
        _, stream = ask(BAD, GOOD)
        assert [draft async for draft in stream.objects()] == [{"name": "Ada", "age": 360}, {"name": "Ada", "age": 36}]

    async def test_of_a_list(self):
        _, stream = ask(text_events('{"value": [', "1, ", "2]}"), output=list[int])
        assert [draft async for draft in stream.objects()] == [[], [1], [1, 2]]


class TestThatDoesNotFit:
    async def test_is_asked_for_again_with_what_is_wrong_with_it(self):
        provider, stream = ask(BAD, GOOD)
        response = await stream
        assert response.parsed == ADA
        _, again = provider.requests
        assert again.messages[:-1] == [
            *HI["messages"],
            {"role": "assistant", "content": [{"type": "text", "text": BAD}]},
        ]
        [told] = again.messages[-1]["content"]
        assert told["text"] == (
            "Your answer is not what was asked for:\n- age: Input should be less than or equal to 150\n"
            "Give the whole answer again, with that put right."
        )
        assert again.output_config == provider.requests[0].output_config

    async def test_is_told_of_as_the_result_of_its_call(self):
        provider, stream = ask(called(BAD), called(GOOD), model=FORCED)
        assert (await stream).parsed == ADA
        said, told = provider.requests[1].messages[1:]
        assert said["content"][0]["input"] == {"name": "Ada", "age": 360}
        [result] = told["content"]
        assert (result["type"], result["tool_use_id"], result["is_error"]) == ("tool_result", "toolu_1", True)
        assert "- age: Input should be less than or equal to 150" in result["content"]

    async def test_is_answered_call_by_call(self):
        events = [START, *call(BAD), *call(GOOD, id="toolu_2", index=1), END, STOP]
        provider, stream = ask(events, called(GOOD), model=FORCED)
        await stream
        told = provider.requests[1].messages[-1]
        assert [result["tool_use_id"] for result in told["content"]] == ["toolu_1", "toolu_2"]

    async def test_goes_back_as_an_object_where_it_was_none(self):
        provider, stream = ask(called('["Ada"'), called(GOOD), model=FORCED)
        assert (await stream).parsed == ADA
        assert provider.requests[1].messages[1]["content"][0]["input"] == {}

    async def test_is_told_to_be_given_by_the_tool(self):
        provider, stream = ask("Ada, she was 36.", called(GOOD), model=UNKNOWN)
        await stream
        [told] = provider.requests[1].messages[-1]["content"]
        assert "- it is to be given by a call of the tool answer\n- it is no JSON: " in told["text"]

    async def test_goes_back_with_its_thinking_and_without_blank_text(self):
        thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
        blocks = [thinking, {"type": "text", "text": " \n"}, {"type": "text", "text": BAD}]
        parts = [
            each
            for index, block in enumerate(blocks)
            for each in (OPEN | {"index": index, "content_block": block}, CLOSE | {"index": index})
        ]
        provider, stream = ask([START, *parts, END, STOP], GOOD)
        await stream
        assert provider.requests[1].messages[1] == {"role": "assistant", "content": [blocks[0], blocks[2]]}

    @pytest.mark.parametrize("content", [[], [{"type": "thinking", "thinking": "", "signature": "s"}]])
    async def test_does_not_go_back_where_there_is_none(self, content):
        parts = [
            each
            for index, block in enumerate(content)
            for each in (OPEN | {"index": index, "content_block": block}, CLOSE | {"index": index})
        ]
        provider, stream = ask([START, *parts, END, STOP], GOOD)
        assert (await stream).parsed == ADA
        assert [message["role"] for message in provider.requests[1].messages] == ["user", "user"]
        assert "- it is empty" in provider.requests[1].messages[-1]["content"][0]["text"]

    async def test_is_asked_for_at_most_that_often_again(self):
        provider, stream = ask(BAD, max_repairs=3)
        with pytest.raises(OutputError, match="the answer does not fit: age: Input should be less") as caught:
            await stream
        assert len(provider.requests) == 4
        error = caught.value
        assert (error.code, error.retryable) == ("output_invalid", False)
        assert error.context == {
            "problems": ["age: Input should be less than or equal to 150"],
            "text": BAD,
            "stop_reason": "end_turn",
            "repairs": 3,
        }
        assert (error.partial.text, error.partial.parsed, len(error.partial.responses)) == (BAD, None, 4)

    async def test_is_not_asked_for_again_where_that_is_off(self):
        provider, stream = ask(BAD, max_repairs=0)
        with pytest.raises(OutputError):
            await stream
        assert len(provider.requests) == 1

    async def test_fails_each_reader_and_sends_nothing_more(self):
        provider, stream = ask(BAD, max_repairs=0)
        for _ in range(2):
            with pytest.raises(OutputError):
                [chunk async for chunk in stream]
            with pytest.raises(OutputError):
                await stream
        assert len(provider.requests) == 1

    async def test_is_told_with_its_first_problems_where_there_are_many(self):
        provider, stream = ask(json.dumps({"value": ["x"] * 30}), '{"value": []}', output=list[int])
        await stream
        [told] = provider.requests[1].messages[-1]["content"]
        assert told["text"].count("\n- ") == 20


class TestIsNotAskedForAgain:
    async def test_where_the_model_refused(self):
        details = {"stop_details": {"type": "refusal", "category": "bio"}}
        provider, stream = ask(stopped("refusal", GOOD, **details))
        with pytest.raises(OutputError, match=r"refused to answer \(bio\)") as caught:
            await stream
        assert (caught.value.code, len(provider.requests)) == ("output_refused", 1)
        assert caught.value.partial.stop_reason == "refusal"

    @pytest.mark.parametrize(
        ("reason", "todo"),
        [
            ("max_tokens", "raise max_tokens, which is 100"),
            ("model_context_window_exceeded", "shorten the conversation"),
            ("pause_turn", "send the conversation again"),
            ("something_new", "see what it is"),
        ],
    )
    @pytest.mark.parametrize("model", [FORMAT, FORCED])
    async def test_where_it_is_not_finished(self, reason, todo, model):
        provider, stream = ask(stopped(reason, GOOD[:-1]), model=model)
        with pytest.raises(OutputError, match=f"stopped with {reason} before its answer was whole: {todo}") as caught:
            await stream
        assert (caught.value.code, len(provider.requests)) == ("output_unfinished", 1)
        assert caught.value.context["text"] == GOOD[:-1]

    async def test_where_its_call_was_cut_off(self):
        provider, stream = ask(
            [START, *call('{"name": "Ada", "a'), END | {"delta": {"stop_reason": "max_tokens"}}, STOP], model=FORCED
        )
        with pytest.raises(OutputError, match="raise max_tokens"):
            await stream
        assert len(provider.requests) == 1

    @pytest.mark.parametrize("model", [FORMAT, AUTO])
    async def test_where_another_tool_is_to_be_called_first(self, model):
        other = {"name": "look_up", "input_schema": {"type": "object"}}
        provider, stream = ask(called("{}", name="look_up"), model=model, tools=[other])
        with pytest.raises(OutputError, match="results of its calls") as caught:
            await stream
        assert [call.name for call in caught.value.partial.tool_calls] == ["look_up"]
        assert len(provider.requests) == 1

    async def test_where_the_service_failed(self):
        provider, stream = ask(BAD, ServerError("broken"))
        with pytest.raises(ServerError):
            await stream
        assert len(provider.requests) == 2


class TestItsResponse:
    async def test_has_the_usage_the_cost_and_the_attempts_of_all_its_messages(self):
        response = await ask(BAD, BAD, GOOD)[1]
        assert isinstance(response, OutputResponse)
        assert [each.text for each in response.responses] == [BAD, BAD, GOOD]
        assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 3)
        assert len(response.attempts) == 3
        assert response.timing.total >= response.responses[0].timing.total
        assert response.timing.started_at == response.responses[0].timing.started_at
        assert (response.text, response.stop_reason) == (GOOD, "end_turn")

    async def test_costs_what_its_messages_cost(self):
        usage = {"usage": {"input_tokens": 1_000_000, "output_tokens": 0}, "model": "claude-haiku-4-5-20251001"}
        answers = [plain([{"type": "text", "text": text}], **usage) for text in (BAD, GOOD)]
        provider, _ = opened(*answers)
        async with provider:
            asked = HI | {"stream": False, "model": "claude-haiku-4-5"}
            response = await provider.send_message(asked, output=Person)
        assert response.cost.total_usd == Decimal(2)
        assert [each.cost.total_usd for each in response.responses] == [1, 1]

    async def test_can_be_pickled(self):
        response = pickle.loads(pickle.dumps(await ask(BAD, GOOD)[1]))
        assert (response.parsed, len(response.responses)) == (ADA, 2)

    async def test_is_there_at_any_time(self):
        _, stream = ask(text_events('{"name": ', '"Ada", "age": 360}'), GOOD)
        assert stream.response.text == ""
        seen = [stream.response.text async for chunk in stream if chunk.text]
        assert seen == ['{"name": ', BAD, GOOD]
        assert stream.response is await stream


class TestItsStream:
    async def test_gives_the_chunks_of_all_messages(self):
        _, stream = ask(BAD, GOOD)
        types = [chunk.type async for chunk in stream]
        assert types.count("message_start") == types.count("message_stop") == 2

    async def test_is_read_once_however_often_it_is_awaited(self):
        provider, stream = ask(BAD, GOOD)
        assert (await asyncio.gather(stream, stream)) == [await stream] * 2
        assert len(provider.requests) == 2

    async def test_sends_nothing_before_it_is_used(self):
        provider, stream = ask(GOOD)
        assert provider.requests == []
        assert not stream.active

    async def test_may_be_entered_and_read_to_its_end(self):
        provider, stream = ask(BAD, GOOD)
        async with stream:
            assert (await stream).parsed == ADA
        assert [each.outcome.kind for each in provider.streams] == ["read", "read"]

    async def test_that_is_left_early_is_cancelled(self):
        provider, stream = ask([*text_events(GOOD), 1000.0])
        async with stream as entered:
            async for _ in entered:
                break
        assert [each.outcome.kind for each in provider.streams] == ["cancelled"]

    async def test_of_a_repair_that_is_left_early_is_cancelled_without_a_warning(self, recwarn):
        provider, stream = ask(BAD, GOOD)
        async with stream:
            async for chunk in stream:
                if chunk.text == GOOD:
                    break
        gc.collect()
        assert [each.outcome.kind for each in provider.streams] == ["read", "cancelled"]
        assert [str(warning.message) for warning in recwarn] == []

    async def test_that_is_abandoned_warns(self):
        async def abandon():
            async for _ in ask(GOOD)[1]:
                break
            gc.collect()
            await settle()

        with pytest.warns(ResourceWarning, match="abandoned"):
            await abandon()

    async def test_that_is_cancelled_ends_its_loop_and_fails_whoever_awaits_it(self):
        provider, stream = ask(BAD, GOOD)
        seen = []
        async for chunk in stream:
            seen.append(chunk.type)
            if chunk.type == "message_stop":
                await stream.cancel()
        assert seen[-1] == "message_stop"
        with pytest.raises(StreamInterruptedError) as caught:
            await stream
        assert (caught.value.code, caught.value.partial.text) == ("cancelled", BAD)
        assert len(provider.requests) == 1

    async def test_can_be_cancelled_from_another_task(self):
        _, stream = ask([START, 1000.0])
        reader = asyncio.ensure_future(anext(aiter(stream.objects()), None))
        await settle()
        await stream.cancel()
        assert await reader is None


class TestTheProvider:
    async def test_asks_the_configured_model_as_it_takes_it(self):
        provider, bodies = opened(plain([{"type": "text", "text": GOOD}]))
        async with provider:
            response = await provider.send_message(HI | {"stream": False}, output=Person)
        assert response.parsed == ADA
        assert bodies[0]["output_config"]["format"]["type"] == "json_schema"

    async def test_asks_again_with_the_same_tags_as_often_as_configured(self):
        answers = [plain([{"type": "text", "text": BAD}])] * 2
        provider, bodies = opened(*answers, overrides=["max_repairs=1"])
        async with provider:
            stream = provider.send_message(HI | {"stream": False}, output=Person, tags={"task": "t1"})
            with pytest.raises(OutputError):
                await stream
            assert {each._call.tags["task"] for each in stream._streams} == {"t1"}
        assert len(bodies) == 2

    async def test_takes_the_calls_of_a_plain_exchange(self):
        block = {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": {"name": "Ada", "age": 36}}
        provider, bodies = opened(plain([block], "tool_use"), overrides=["model=qwen"])
        async with provider:
            stream = provider.send_message(HI | {"stream": False}, output=Person)
            assert [draft async for draft in stream.objects()] == [{"name": "Ada", "age": 36}]
            assert (await stream).parsed == ADA
        assert bodies[0]["tool_choice"]["type"] == "tool"

    def test_of_a_script_takes_an_output_too(self):
        assert isinstance(ScriptedProvider(GOOD).send_message(HI, output=Person), OutputStream)

    @pytest.mark.parametrize("value", ["-1", "often", "1.5"])
    def test_is_not_configured_to_ask_again_some_other_way(self, value):
        with pytest.raises(ConfigurationError, match="max_repairs"):
            claudeprov.open_provider([f"max_repairs={value}"])

    def test_asks_again_twice_unless_configured_otherwise(self):
        assert claudeprov.open_provider([]).settings.max_repairs == 2


def recorded():
    """Recorded requests for an answer of a schema."""
    for file in FILES:
        if not any(feature.startswith("structured_output:") for feature in file["request_features"]):
            continue
        for each in yaml.load((CORPUS / file["file"]).read_bytes(), Loader=yaml.CSafeLoader)["interactions"]:
            body = json.loads(each["request"]["body"])
            form = (body.get("output_config") or {}).get("format") or body.get("output_format")
            if form and each["response"]["status"]["code"] == 200:
                yield body, form["schema"], each["response"]["body"]["string"]


def stop_reasons(answer):
    return re.findall(r'"stop_reason":\s*"(\w+)"', answer if isinstance(answer, str) else answer.decode())


@pytest.mark.skipif(not FILES and not REQUIRED, reason=f"there are no recorded sessions in {CORPUS}")
async def test_recorded_answers_are_found_and_fit_their_schemas(counts):
    kinds = {"fits": 0, "calls a tool first": 0}
    for asked, schema, answer in recorded():
        is_stream = bool(asked.get("stream"))
        content_type = "text/event-stream" if is_stream else "application/json"
        response = httpx2.Response(200, headers={"content-type": content_type}, content=answer)
        provider, bodies = opened(response, overrides=["preflight=send"])
        request = {name: value for name, value in asked.items() if name not in ("output_config", "output_format")}
        async with provider:
            stream = provider.send_message(request | {"stream": is_stream}, output=schema)
            if "tool_use" in stop_reasons(answer):
                with pytest.raises(OutputError) as caught:
                    await stream
                assert caught.value.code == "output_unfinished"
                assert caught.value.partial.tool_calls
                kinds["calls a tool first"] += 1
                continue
            drafts = [draft async for draft in stream.objects()]
            assert drafts[-1] == (await stream).parsed
        assert "format" in bodies[0]["output_config"]
        kinds["fits"] += 1
    counts["structured answers"] += kinds["fits"]
    assert kinds["fits"] >= 60
    assert kinds["calls a tool first"] >= 5
