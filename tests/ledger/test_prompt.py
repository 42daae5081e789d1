from __future__ import annotations

from claudeprov.ledger.prompt import Prefix, as_text, from_text, prefixes_of, request_hash

ASK = {"role": "user", "content": "Why?"}
ANSWER = {"role": "assistant", "content": "Because."}
TOOL = {"name": "look", "input_schema": {"type": "object"}}


def hashes(**body):
    return [prefix.hash for prefix in prefixes_of(body)]


def test_equal_requests_have_equal_hashes_in_any_order_of_their_keys():
    assert request_hash({"model": "a", "messages": [ASK]}) == request_hash({"messages": [ASK], "model": "a"})
    assert request_hash({"model": "a", "messages": [ASK]}) != request_hash({"model": "b", "messages": [ASK]})


def test_requests_that_utf_8_or_json_cannot_hold_have_hashes_too():
    assert request_hash({"a": "\ud800"}) != request_hash({"a": "\udfff"})
    assert request_hash({"a": object}) == request_hash({"a": object})


def test_prompts_share_their_prefixes_up_to_where_they_differ():
    one = hashes(tools=[TOOL], system="Be brief.", messages=[ASK])
    other = hashes(tools=[TOOL], system="Be brief.", messages=[{"role": "user", "content": "How?"}])
    third = hashes(tools=[TOOL], system="Be long.", messages=[ASK])
    assert one[:2] == other[:2]
    assert one[2] != other[2]
    assert one[0] == third[0]
    assert set(one[1:]).isdisjoint(third[1:])


def test_a_turn_of_a_conversation_begins_with_all_that_the_turn_before_sent():
    before = hashes(system="Be brief.", messages=[ASK])
    then = hashes(system="Be brief.", messages=[ASK, ANSWER, {"role": "user", "content": "And?"}])
    later = hashes(system="Be brief.", messages=[ASK, ANSWER, {"role": "user", "content": "And?"}, ANSWER, ASK])
    assert before[-1] in then
    assert then[-1] in later


def test_a_document_in_front_of_the_question_is_a_prefix_of_its_own():
    document = {"type": "text", "text": "A long document."}
    one, other = (
        hashes(messages=[{"role": "user", "content": [document, {"type": "text", "text": question}]}])
        for question in ("Why?", "How?")
    )
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_a_mark_for_the_cache_changes_no_hash():
    marked = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    plain = {"type": "text", "text": "Be brief."}
    assert hashes(system=[marked], messages=[ASK]) == hashes(system=[plain], messages=[ASK])


def test_an_image_counts_as_many_characters_as_its_tokens_have_whatever_its_bytes():
    def length(data):
        source = {"type": "base64", "media_type": "image/png", "data": data}
        content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
        return prefixes_of({"messages": [{"role": "user", "content": content}]})[0].length

    assert length("A" * 1_000_000) == length("A" * 1000)
    assert 6000 < length("A") < 6200


def test_prefixes_are_written_into_a_column_and_read_again():
    prefixes = prefixes_of({"system": "Be brief.", "messages": [ASK]})
    assert from_text(as_text(prefixes)) == prefixes
    assert as_text([Prefix("ab", 3), Prefix("cd", 9)]) == "ab:3 cd:9"
    assert from_text("") == ()


def test_a_request_that_is_no_prompt_has_no_prefix():
    assert prefixes_of({"messages": []}) == ()
    assert prefixes_of({"messages": "nonsense", "tools": None}) == ()
