from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vcr.serializers import yamlserializer

from claudeprov.cassette.text import Text

TROUBLE = st.text(alphabet=st.sampled_from("a \t\n\r\"'#:-\x85\u2028\ufeff\x00🌍ü"))
BODIES = st.one_of(st.binary(), TROUBLE, st.text(alphabet=st.characters(codec="utf-8")))


def document(body: str | bytes) -> dict[str, Any]:
    request = {"method": "POST", "uri": "https://x/", "headers": {}, "body": None}
    response = {"status": {"code": 200, "message": "OK"}, "headers": {"a-b": ["c: d"]}, "body": {"string": body}}
    return {"version": 1, "interactions": [{"request": request, "response": response}] * 2}


@settings(derandomize=True, deadline=None, max_examples=300)
@given(BODIES)
@example('event: a\ndata: {"b": 1}\n\n')
@example("--- a\n...\n")
@example(' "\n')
@example("#\n\n\n")
def test_every_body_is_read_back_as_it_was_by_every_reader(body):
    text = Text.serialize(document(body))
    assert Text.deserialize(text) == document(body)
    assert yamlserializer.deserialize(text) == document(body)
    assert yaml.load(text, Loader=yaml.SafeLoader) == document(body)


@pytest.mark.parametrize("body", ['{"a": "🌍"}', 'data: "\t" \n\n', "  a\nb"])
def test_lines_stand_as_they_are(body):
    indented = "".join(f"        {line}\n" if line else "\n" for line in body.removesuffix("\n").split("\n"))
    assert indented in Text.serialize(document(body))


@pytest.mark.parametrize("key", ["yes", "null", "a: b", "1", "", "A", "-"])
def test_a_key_that_yaml_would_read_otherwise_is_quoted(key):
    text = Text.serialize({"version": 1, "interactions": [{"request": {key: "x"}}]})
    assert yaml.safe_load(text)["interactions"] == [{"request": {key: "x"}}]


def test_a_document_without_interactions_can_be_read():
    empty = {"version": 1, "interactions": []}
    assert Text.deserialize(Text.serialize(empty)) == empty
