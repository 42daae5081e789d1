from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from claudeprov.commands import main
from claudeprov.settings import GROUPS, Settings

pytestmark = pytest.mark.usefixtures("no_settings")


def test_it_prints_the_settings_as_yaml_with_the_origin_of_each_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDEPROV_MAX_TOKENS", "9")
    assert main(["config", "retry.base=2", "breaker=off"]) == 0
    printed = capsys.readouterr().out
    assert Settings.model_validate(yaml.safe_load(printed)).max_tokens == 9
    lines = {line.strip() for line in printed.splitlines()}
    assert "retry:  # retry=standard by conf/config.yaml" in lines
    assert "base: 2.0  # an override" in lines
    assert "cap: 8.0  # conf/retry/standard.yaml" in lines
    assert "breaker: null  # breaker=off by an override" in lines
    assert "max_tokens: 9  # the environment variable CLAUDEPROV_MAX_TOKENS" in lines
    assert "pricing:  # pricing=claude-sonnet-5-5 by conf/model/claude-sonnet-5-5.yaml" in lines
    assert [line for line in lines if not line.endswith(":") and "  # " not in line] == []


def test_json_holds_settings_choices_and_origins(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json", "model=haiku"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["model"]["id"] == "claude-haiku-5-5"
    assert document["choices"]["model"] == "haiku"
    assert document["chosen_by"]["model"] == "an override"
    assert document["origins"]["retry.base"] == "conf/retry/standard.yaml"


def test_what_looks_like_a_secret_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    secret = "sk-ant-api03-abcdefghijklmnop"
    for flags in ([], ["--json"], ["--cfg", "job"]):
        assert main(["config", f"run_name={secret}", *flags]) == 0
        printed = capsys.readouterr().out
        assert secret not in printed
        assert "**********" in printed


def test_the_schema_describes_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json-schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == set(Settings.model_fields)
    attempts = schema["$defs"]["RetrySettings"]["properties"]["max_attempts"]
    assert attempts["minimum"] == 1
    assert attempts["description"] == "Most attempts of a call, the first one included."


def test_the_schema_goes_to_a_file_or_one_of_each_group_into_a_folder(tmp_path: Path) -> None:
    assert main(["config", "--json-schema", str(tmp_path / "settings.json")]) == 0
    assert json.loads((tmp_path / "settings.json").read_text())["title"] == "Settings"
    folder = tmp_path / "groups"
    folder.mkdir()
    assert main(["config", "--json-schema", str(folder)]) == 0
    schemas: dict[str, Any] = {file.stem: json.loads(file.read_text()) for file in folder.iterdir()}
    assert set(schemas) == set(GROUPS)
    assert {"defaults", "max_attempts"} < set(schemas["retry"]["properties"])
    assert "required" not in schemas["model"]
    assert {"defaults", "rules"} < set(schemas["alerts"]["properties"])


def test_a_schema_that_cannot_be_written_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json-schema", str(tmp_path / "no/where.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
