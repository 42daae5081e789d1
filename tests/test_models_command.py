"""``claudeprov models``."""

from __future__ import annotations

import argparse
import json

import pytest

from claudeprov.catalog import catalog
from claudeprov.commands import models


def run(*flags):
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    return models.run(None, parser.parse_args(flags))


def test_it_lists_every_model_with_lifecycle_context_and_prices(capsys):
    assert run() == 0
    rows = {row.split()[0]: row.split()[1:] for row in capsys.readouterr().out.splitlines()}
    assert {model.id for model in catalog()} <= rows.keys()
    assert rows["claude-sonnet-5-5"] == ["active", "1M", "128k", "2", "10", "sonnet"]
    assert rows["claude-3-5-sonnet-20241022"][:6] == ["retired", "2025-10-28", "200k", "8192", "3", "15"]
    assert rows["qwen"] == ["local", "8192", "8192", "unknown", "unknown"]


def test_flags_choose_a_lifecycle_and_a_line(capsys):
    assert run("--lifecycle", "retired", "--line", "haiku", "--json") == 0
    assert [model["id"] for model in json.loads(capsys.readouterr().out)] == [
        "claude-3-5-haiku-20241022",
        "claude-3-haiku-20240307",
    ]


def test_json_holds_all_that_is_known_with_prices_as_text(capsys):
    assert run("--json") == 0
    documents = {model["id"]: model for model in json.loads(capsys.readouterr().out)}
    assert len(documents) == len(catalog())
    haiku = documents["claude-haiku-5-5"]
    assert (haiku["names"], haiku["lifecycle"]["released"]) == (["haiku"], "2026-10-07")
    assert (haiku["pricing"]["input"], haiku["pricing"]["tiers"][0]["above"]) == ("0.1", 100_000)


def test_an_unknown_lifecycle_is_refused_with_the_allowed_ones(capsys):
    with pytest.raises(SystemExit):
        run("--lifecycle", "dead")
    assert "active" in capsys.readouterr().err
