"""What the catalogue says, and that its files are right."""

from __future__ import annotations

import runpy
from datetime import date
from pathlib import Path

import pytest
import yaml

from claudeprov.catalog import catalog, unknown_model
from claudeprov.errors import ConfigurationError
from claudeprov.paths import conf_dir
from claudeprov.pricing import Prices, list_prices

MODEL_FILES = sorted(file for file in (conf_dir() / "model").glob("*.yaml") if file.stem != "custom")
PRICING_FILES = sorted((conf_dir() / "pricing").glob("*.yaml"))


def load(file):
    return yaml.safe_load(file.read_text())


def floats_in(value, path=""):
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in floats_in(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in floats_in(item, f"{path}[{index}]")]
    return [path] if isinstance(value, float) else []


@pytest.mark.parametrize("file", [*MODEL_FILES, *PRICING_FILES], ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_no_number_in_a_file_is_a_binary_float(file):
    assert floats_in(load(file)) == []


@pytest.mark.parametrize("file", PRICING_FILES, ids=lambda file: file.stem)
def test_a_price_list_is_valid_and_has_every_key_so_that_each_can_be_overridden(file):
    content = load(file)
    Prices.model_validate(content)
    assert content.keys() == Prices.model_fields.keys()


@pytest.mark.parametrize("file", MODEL_FILES, ids=lambda file: file.stem)
def test_a_model_file_describes_the_model_it_is_named_after_or_is_a_short_name_of_one(file):
    content = load(file)
    if "id" in content:
        assert catalog().find(file.stem).id == content["id"] == file.stem
        prices = catalog().price_list(catalog().find(file.stem))
        assert prices == (file.stem if content["lifecycle"]["status"] != "local" else "unknown")
    else:
        assert content.keys() == {"defaults"}
        assert catalog().find(file.stem).id == content["defaults"][0]


def test_every_price_list_belongs_to_a_model():
    assert {file.stem for file in PRICING_FILES} == {*map(catalog().price_list, catalog()), "custom"}


def test_every_alias_of_the_api_can_be_chosen_in_configuration_too():
    for model in catalog():
        assert set(model.aliases) <= set(catalog().names(model))


def test_no_two_models_share_a_name():
    seen = {}
    for model in catalog():
        for name in {model.id, *model.aliases, *model.platform_ids.known, *catalog().names(model)}:
            assert seen.setdefault(name, model.id) == model.id


def test_every_replacement_is_in_the_catalogue_and_not_retired():
    for model in catalog():
        if model.lifecycle.replacement:
            assert catalog().find(model.lifecycle.replacement).lifecycle.status != "retired"


def test_dates_of_a_life_are_in_order_and_fit_its_status():
    for model in catalog():
        life = model.lifecycle
        dates = [day for day in (life.released, life.deprecated, life.retires) if day]
        assert dates == sorted(dates)
        assert (life.retires is not None) or life.status != "retired"
        assert (life.deprecated is None) == (life.status in ("active", "local"))


@pytest.mark.parametrize(
    ("name", "retired"),
    [
        ("sonnet-3-5", date(2025, 10, 28)),
        ("claude-3-5-sonnet-20240620", date(2025, 10, 28)),
        ("haiku-3-5", date(2026, 2, 19)),
        ("opus-3", date(2026, 1, 5)),
    ],
)
def test_models_that_some_endpoints_still_serve_are_there_retired_as_they_are(name, retired):
    model = catalog().find(name)
    assert (model.lifecycle.status, model.lifecycle.retires) == ("retired", retired)
    assert model.id_on("bedrock").startswith("anthropic.claude-3")
    assert list_prices(name).input is not None


@pytest.mark.parametrize("line", ["fable", "mythos", "opus", "sonnet", "haiku"])
def test_a_line_s_name_means_its_newest_model(line):
    newest = next(model for model in catalog() if model.line == line)
    assert catalog().find(line) is newest
    assert newest.lifecycle.released == max(model.lifecycle.released for model in catalog() if model.line == line)


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-4-5-20251101",
        "claude-opus-4-5",
        "anthropic.claude-opus-4-5-20251101-v1:0",
        "claude-opus-4-5@20251101",
    ],
)
def test_a_model_is_found_by_id_alias_and_platform_id(name):
    assert catalog().find(name).display_name == "Claude Opus 4.5"


def test_an_unknown_name_is_answered_with_the_three_nearest():
    with pytest.raises(ConfigurationError, match=r"'sonet' is not in the catalogue.* sonnet, ") as caught:
        catalog().find("sonet")
    assert len(caught.value.context["nearest"]) == 3
    assert catalog().get("sonet") is None
    assert "sonet" not in catalog()
    assert "sonnet" in catalog()


@pytest.mark.parametrize(
    ("endpoint", "id_"),
    [
        ("anthropic", "claude-haiku-4-5-20251001"),
        ("compatible", "claude-haiku-4-5-20251001"),
        ("bedrock", "anthropic.claude-haiku-4-5"),
        ("vertex", "claude-haiku-4-5@20251001"),
        ("foundry", "claude-haiku-4-5"),
    ],
)
def test_each_endpoint_gets_the_name_it_knows(endpoint, id_):
    assert catalog().find("claude-haiku-4-5").id_on(endpoint) == id_


@pytest.mark.parametrize("name", ["qwen", "smollm2"])
def test_a_local_model_says_so_and_has_no_price(name):
    model = catalog().find(name)
    assert model.lifecycle.status == "local"
    assert model.display_name.endswith("(local)")
    assert model.line is None
    assert list_prices(name).input is None
    assert list_prices(name).reason


def test_the_catalogue_agrees_with_the_installed_sdk_and_genai_prices_but_for_what_is_explained(capsys):
    tool = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "check_catalog"))
    assert tool["main"]() == 0, capsys.readouterr().out


def test_a_difference_that_nobody_explained_is_reported(capsys):
    tool = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "check_catalog"))
    del tool["KNOWN"]["claude-mythos-preview", "retires"]
    tool["KNOWN"]["claude-opus-5", "input"] = "a difference of former days"
    assert tool["main"]() == 1
    assert "DIFFERS  claude-mythos-preview  the SDK says June 30th" in (report := capsys.readouterr().out)
    assert "STALE  claude-opus-5  input" in report


def test_of_a_custom_model_nothing_is_known_and_each_key_of_a_model_is_there_to_be_stated():
    content = load(conf_dir() / "model" / "custom.yaml")
    one = load(conf_dir() / "model" / "claude-opus-5.yaml")
    assert content.keys() == one.keys()
    assert content["capabilities"].keys() == one["capabilities"].keys()
    model = unknown_model("claude-opus-6")
    assert {value for name, value in model.capabilities if name not in ("thinking", "effort")} == {None}
    assert {*dict(model.capabilities.thinking).values(), *dict(model.capabilities.effort).values()} == {None}


def test_thinking_and_effort_hang_together():
    for model in catalog():
        thinking, effort = model.capabilities.thinking, model.capabilities.effort
        assert not thinking.always_on or (thinking.on_when_omitted and "disabled" not in thinking.kinds)
        assert effort.default in effort.levels if effort.levels else effort.default is None


@pytest.mark.parametrize(
    ("overrides", "model", "input_price"),
    [
        ([], "claude-sonnet-5-5", "2"),
        (["model=haiku"], "claude-haiku-5-5", "0.1"),
        (["model=claude-2.1"], "claude-2.1", "8"),
        (["model=qwen"], "qwen", None),
        (["model=haiku", "pricing=claude-opus-5"], "claude-haiku-5-5", "5"),
        (["pricing=claude-opus-5", "model=haiku"], "claude-haiku-5-5", "5"),
        (["pricing.input=1.8"], "claude-sonnet-5-5", 1.8),
        (["model=qwen", "pricing.input=0.1"], "qwen", 0.1),
    ],
)
def test_a_model_brings_its_prices_and_an_override_of_them_wins(tmp_path, overrides, model, input_price):
    from hydra import compose, initialize_config_dir

    (tmp_path / "config.yaml").write_text(
        f"defaults: [{{model: sonnet}}, _self_]\nhydra: {{searchpath: ['file://{conf_dir()}']}}\n"
    )
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        composed = compose("config", overrides)
    assert (composed.model.id, composed.pricing.input) == (model, input_price)


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity", "cheap"])
def test_a_price_that_is_none_is_refused(price):
    with pytest.raises(ValueError, match="input"):
        Prices(input=price)


def test_a_price_typed_as_a_number_means_the_decimal_that_was_typed():
    assert str(Prices.model_validate({"input": 1.8}).input) == "1.8"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tiers", [{"above": 200}, {"above": 100}], "ascending"),
        ("history", [{"since": "2026-02-02", "until": "2026-02-01"}], "before until"),
        ("inptu", "1", "Extra inputs"),
    ],
)
def test_a_price_list_that_contradicts_itself_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Prices.model_validate({field: value})
