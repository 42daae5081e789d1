from __future__ import annotations

import json

import pytest

from claudeprov.cassette.interaction import interactions
from claudeprov.cassette.show import document_of, text_of
from tests.cassette.sessions import REQUEST, TOOL, answer, block, exchange, recording, text


def shown(*args, **kwargs) -> str:
    [item] = interactions(recording(exchange(*args, **kwargs)))
    return text_of(item, 1)


def test_a_session_is_shown_as_a_person_reads_it():
    body = answer(
        block({"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "Hm."}),
        text("It is\n", "blue.", index=1),
        block(TOOL, {"type": "input_json_delta", "partial_json": '{"at": "sky"}'}, index=2),
        stop="tool_use",
    )
    request = REQUEST | {"system": "Be brief.", "tools": [{"name": "look"}]}
    times = [500_000, 500_000, *[0] * 5, 500_000, *[0] * 6, 500_000]
    assert shown(body, request, served="served", times=times).splitlines() == [
        "── 1/1: POST /v1/messages, qwen, served by served, status 200, complete",
        " parameters  max_tokens 9, stream true",
        "      tools  look",
        "     system  Be brief.",
        "       user  Why?",
        "   thinking  Hm.",
        "     answer  It is",
        "             blue.",
        "  tool call  look(at='sky')",
        "    stopped  tool_use",
        "      usage  input_tokens 3, output_tokens 2",
        "     timing  ····················█·········█········· first chunk 1.00 s, total 2.00 s, 13 chunk(s)",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ([{"type": "text", "text": "a"}], "user  a"),
        ([{"type": "image", "source": {"data": "x" * 999}}], 'user  [image] {"source": {"data": "xxx'),
        ([{"type": "tool_result", "content": "42"}], "tool result  42"),
        ([{"type": "tool_result", "content": [{"type": "text", "text": "42"}]}], "tool result  42"),
        ([{"type": "tool_use", "name": "f", "input": {"x": 1}}], "tool call  f(x=1)"),
        ([{"type": "thinking", "thinking": ""}], "thinking  not shown by the API"),
        ([17], "user  17"),
        ([{"type": "new", "some": "thing"}], 'user  [new] {"some": "thing"}'),
    ],
)
def test_each_kind_of_block_has_a_line_for_a_person(content, line):
    assert line in shown(answer(text("a")), REQUEST | {"messages": [{"role": "user", "content": content}]})


def test_an_error_is_shown():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert 'error  {"type": "overloaded_error", "message": "Overloaded"}' in shown([*answer(text("a"))[:2], error])
    assert 'answer  {"type": "error", "error": {' in shown(error, status=529)
    assert "error  ReadError: gone" in shown(answer(text("a"))[:2], end="broken", error="ReadError: gone")


def test_what_got_no_answer_is_shown():
    told = shown(b"", status=599, end="unanswered", error="ConnectError: refused", times=[2_000_000])
    assert "no answer, unanswered" in told
    assert "error  ConnectError: refused" in told
    assert "total 2.00 s, 0 chunk(s)" in told


def test_what_is_no_json_and_what_another_recorder_made_is_shown():
    request, response = exchange(b"<p>", {})
    request.body = b"x=1"
    del response["claudeprov"]
    [item] = interactions(recording((request, response)))
    assert text_of(item, 1) == (
        '── 1/1: POST /v1/messages, status 200, not recorded by claudeprov\n    request  "x=1"\n     answer  3 bytes\n'
    )
    assert document_of(item)["timing"] is None


def test_as_json_it_has_the_request_the_answer_and_the_timing():
    [item] = interactions(recording(exchange(answer(text("a")), suite="code")))
    document = json.loads(json.dumps(document_of(item)))
    assert document["request"] == REQUEST
    assert document["answer"]["content"] == [{"type": "text", "text": "a"}]
    assert document["suite"] == "code"
    assert document["timing"] == {"first_chunk": 0.002, "total": 0.008, "chunks": 6}
