"""What an endpoint tells of its models."""

from __future__ import annotations

from datetime import date

import pytest

from claudeprov.catalog import catalog
from claudeprov.errors import InvalidResponseError
from claudeprov.listing import merged

YES, NO = {"supported": True}, {"supported": False}


def told(id_="claude-opus-6", **fields):
    """The catalogue with one model of an endpoint's, and that model."""
    known = merged(catalog(), [{"id": id_, **fields}])
    return known, known.find(id_)


def test_a_new_model_is_known_by_what_is_told_of_it():
    known, model = told(
        display_name="Claude Opus 6",
        created_at="2026-12-24T08:00:00Z",
        line="opus",
        lifecycle="active",
        max_input_tokens=2_000_000,
        max_tokens=256_000,
        capabilities={
            "thinking": YES | {"types": {"adaptive": YES, "enabled": NO, "disabled": NO, "between_tools": YES}},
            "effort": YES | {"low": YES, "medium": YES, "high": YES, "max": NO, "xhigh": None},
            "image_input": NO,
            "pdf_input": YES,
            "server_tools": YES | {"web_search": YES, "code_execution": NO},
            "context_management": YES | {"compact_20260112": YES},
        },
    )
    assert (model.display_name, model.line, model.context_window, model.max_output_tokens) == (
        "Claude Opus 6",
        "opus",
        2_000_000,
        256_000,
    )
    assert (model.lifecycle.status, model.lifecycle.released) == ("active", date(2026, 12, 24))
    can = model.capabilities
    assert can.thinking.kinds == ("adaptive", "between_tools")
    assert can.effort.levels == ("low", "medium", "high")
    assert (can.images, can.pdf) == ("none", True)
    assert (can.web_search, can.code_execution, can.compaction) == (True, False, True)
    assert (can.prefill, can.forced_tool_choice, can.batch) == (None, None, None)
    assert known.told(model)[0] == "id"
    assert next(found for found in known if found.line == "opus") is model  # the newest of its line
    assert len(known) == len(catalog()) + 1
    assert "claude-opus-6" not in catalog()


def test_an_id_alone_is_enough():
    _, model = told()
    assert (model.display_name, model.lifecycle.status, model.context_window) == ("claude-opus-6", "active", None)


@pytest.mark.parametrize("size", [0, -5])
def test_a_size_that_none_can_have_is_not_told(size):
    known, model = told("claude-opus-5", max_input_tokens=size, max_tokens=size)
    assert model == catalog().find("claude-opus-5")
    assert known.told(model) == ()


def test_a_known_model_keeps_what_is_not_told():
    known, model = told("claude-haiku-4-5", lifecycle="active", display_name="Claude Haiku 4.5")
    assert model is not catalog().find("claude-haiku-4-5")
    assert model == catalog().find("claude-haiku-4-5")
    assert known.told(model) == ()


def test_what_is_told_of_a_known_model_wins():
    known, model = told(
        "claude-opus-5",
        lifecycle="deprecated",
        deprecated_at="2026-11-20T00:00:00Z",
        retires_at="2027-02-01T00:00:00Z",
        max_tokens=200_000,
        capabilities={"thinking": NO, "effort": YES | {"low": YES}, "structured_outputs": NO},
    )
    life, before = model.lifecycle, catalog().find("claude-opus-5").lifecycle
    assert (life.status, life.deprecated, life.retires) == ("deprecated", date(2026, 11, 20), date(2027, 2, 1))
    assert (life.released, life.replacement) == (before.released, before.replacement)
    can = model.capabilities
    assert (can.thinking.kinds, can.thinking.off_up_to_effort) == ((), "high")
    assert (can.effort.levels, can.effort.default, can.structured_outputs, can.pdf) == (("low",), None, False, True)
    assert known.told(model) == ("lifecycle", "max_output_tokens", "capabilities")


def test_what_was_told_before_stays_known_as_told():
    known, model = told("claude-opus-5", lifecycle="retired")
    again = merged(known, [{"id": "claude-opus-5", "lifecycle": "retired"}])
    assert again.told(model) == ("lifecycle",)


def test_images_that_were_thought_impossible_may_be_told_possible():
    assert told("claude-2.1", capabilities={"image_input": YES})[1].capabilities.images == "standard"
    assert told("claude-opus-5", capabilities={"image_input": YES})[1].capabilities.images == "high_resolution"


def test_a_date_from_before_the_company_is_none():
    assert told(created_at="1970-01-01T00:00:00Z")[1].lifecycle.released is None


@pytest.mark.parametrize(
    ("entry", "where"),
    [({}, "id"), ({"id": 5}, "id"), ({"id": ""}, "id"), ({"id": "m", "created_at": "soon"}, "created_at"), ("m", "")],
)
def test_what_is_no_model_is_refused(entry, where):
    with pytest.raises(InvalidResponseError, match=f"models endpoint's answer has a wrong {where}: "):
        merged(catalog(), [entry])
