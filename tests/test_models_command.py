"""``claudeprov models``."""

from __future__ import annotations

import argparse
import asyncio
import json

import pytest

from claudeprov.catalog import catalog
from claudeprov.commands import main, models
from claudeprov.compose import compose
from tests.server import Answer, Server

pytestmark = pytest.mark.usefixtures("no_settings")


def run(*flags, overrides=()):
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    return models.run(compose(overrides), parser.parse_args(flags))


def rows_of(out):
    """The rest of each row, by its first word."""
    return {row.split()[0]: row.split()[1:] for row in out.splitlines() if row.split()}


def test_it_lists_every_model_with_lifecycle_context_and_prices(capsys):
    assert run() == 0
    rows = rows_of(capsys.readouterr().out)
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


def test_prices_are_those_of_the_configuration(capsys):
    overrides = ["model=sonnet", "pricing.input=1.5", "pricing.models.opus.input=3", "pricing.models.haiku.output=0.3"]
    assert run(overrides=overrides) == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows["claude-sonnet-5-5"][3:5] == ["1.5", "10"]
    assert rows["claude-opus-5-5"][3:5] == ["3", "20"]
    assert rows["claude-haiku-5-5"][4] == "0.3"
    assert run("--json", overrides=overrides) == 0
    documents = {model["id"]: model for model in json.loads(capsys.readouterr().out)}
    assert documents["claude-opus-5-5"]["pricing"]["input"] == "3"


def test_an_unknown_lifecycle_is_refused_with_the_allowed_ones(capsys):
    with pytest.raises(SystemExit):
        run("--lifecycle", "dead")
    assert "active" in capsys.readouterr().err


async def test_live_it_adds_what_the_endpoint_tells_and_marks_it(capsys, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "made-up")
    listed = [
        {"id": "claude-opus-6", "lifecycle": "active", "max_tokens": 256_000},
        {"id": "claude-opus-5", "lifecycle": "deprecated", "retires_at": "2027-02-01T00:00:00Z"},
    ]
    page = json.dumps({"data": listed, "has_more": False}).encode()
    async with Server(Answer(page, headers={"content-type": "application/json"})) as server:
        words = ["models", "--live", "--line", "opus", "endpoint=compatible", f"endpoint.base_url={server.url}"]
        assert await asyncio.to_thread(main, [*words, "--json"]) == 0
        documents = {model["id"]: model for model in json.loads(capsys.readouterr().out)}
        assert "claude-opus-6" not in documents  # nobody told its line
        assert documents["claude-opus-5"]["told_by_endpoint"] == ["lifecycle"]
        words.remove("opus")
        words.remove("--line")
        assert await asyncio.to_thread(main, words) == 0
    out = capsys.readouterr().out
    rows = rows_of(out)
    assert rows["claude-opus-6*"][:5] == ["active", "unknown", "256k*", "unknown", "unknown"]
    assert rows["claude-opus-5"][:4] == ["deprecated*", "2027-02-01", "1M", "128k"]
    assert "*: told by the endpoint, not the catalogue." in out


async def test_what_the_endpoint_tells_is_shown_as_it_is_and_moves_no_terminal(capsys, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "made-up")
    listed = [{"id": "[red]x[/red][/b]:smile:"}, {"id": "evil\x1b]0;owned\x07\x1b[2J\x9bmodel"}]
    page = json.dumps({"data": listed, "has_more": False}).encode()
    async with Server(Answer(page, headers={"content-type": "application/json"})) as server:
        words = ["models", "--live", "endpoint=compatible", f"endpoint.base_url={server.url}"]
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        assert await asyncio.to_thread(main, words) == 0
    rows = rows_of(capsys.readouterr().out)
    assert "[red]x[/red][/b]:smile:*" in rows
    assert "evil]0;owned[2Jmodel*" in rows


@pytest.mark.usefixtures("no_credentials")
def test_live_it_needs_credentials(capsys):
    assert main(["models", "--live"]) == 3
    assert "no credentials for endpoint=anthropic" in capsys.readouterr().err
