from __future__ import annotations

from pathlib import Path

import pytest

from claudeprov.errors import CassetteError
from claudeprov.ledger.prompt import prefixes_of
from claudeprov.ledger.recorded import Recorded, recorded_in

CASSETTES = Path(__file__).parents[2] / "cassettes"


def test_prompts_are_known_again_by_their_hashes():
    file = CASSETTES / "bench/readme/qwen.yaml"
    asked = {"messages": [{"role": "user", "content": "Why is the sky blue? Answer in one sentence."}]}
    found = recorded_in(file)
    assert found.prompts[prefixes_of(asked)[-1].hash] == f"'Why is the sky blue? Answer in one sentence.' ({file})"
    assert found.models == {"qwen": 1}


def test_a_folder_is_read_whole():
    found = recorded_in(CASSETTES)
    assert found.models["qwen"] > 20
    assert found.models["smollm2"] > 20


def test_where_there_are_no_cassettes_nothing_is_known(tmp_path):
    assert recorded_in(tmp_path) == recorded_in(tmp_path / "none") == Recorded()


def test_what_is_no_cassette_is_told(tmp_path):
    (tmp_path / "a.yaml").write_text("a: b")
    with pytest.raises(CassetteError):
        recorded_in(tmp_path)


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        ({"system": "Be brief.", "messages": [{"role": "user", "content": "Why?"}]}, "'Be brief.'"),
        ({"system": [{"type": "text", "text": "Be brief."}], "messages": []}, "'Be brief.'"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Why? " * 99}]}]}, "'Why? Why? "),
        ({"tools": [{"name": "look"}], "messages": []}, "'look'"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, """'[{"type": "image"}]'"""),
        ({"messages": []}, "''"),
    ],
)
def test_a_prompt_is_named_by_its_first_words(body, begins):
    from claudeprov.ledger.recorded import _beginning

    assert _beginning(body).startswith(begins)
    assert len(_beginning(body)) <= 62
