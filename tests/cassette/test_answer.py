from __future__ import annotations

from claudeprov.cassette.answer import answer_of
from claudeprov.cassette.interaction import interactions
from tests.cassette.sessions import answer, exchange, recording, text


def read(*args, **kwargs):
    [item] = interactions(recording(exchange(*args, **kwargs)))
    return answer_of(item)


def test_a_stream_is_read_as_the_message_that_it_adds_up_to():
    told = read(answer(text("Be", "cause"), usage={"output_tokens": 7}))
    assert told.message["stop_reason"] == "end_turn"
    assert told.text() == "Because"
    assert told.usage.output_tokens == 7
    assert len(told.events) == 7


def test_a_stream_that_leaves_the_grammar_is_read_as_far_as_it_goes():
    events = answer(text("Be", "cause"))
    told = read(
        [*events[:3], {"type": "content_block_delta", "index": 4, "delta": {"type": "text_delta", "text": "x"}}]
    )
    assert told.text() == "Be"
    assert told.message["stop_reason"] is None


def test_an_error_is_the_document_of_a_stream_that_has_nothing_else():
    error = {"type": "error", "error": {"type": "overloaded_error"}}
    assert read([error]).document == error
    assert read([error]).message is None


def test_a_plain_answer_is_read_as_it_is():
    assert read({"type": "message", "content": [{"type": "text", "text": "a"}]}).text() == "a"
    assert read({"data": []}).document == {"data": []}
    assert read(b"<p>").document is None
