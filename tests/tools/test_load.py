"""The group ``tools``: files that declare tools, how they compose, and how each fault is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import claudeprov
from claudeprov.commands import main
from claudeprov.commands.completion import candidates
from claudeprov.compose import compose, compose_with_origins
from claudeprov.errors import ConfigurationError
from claudeprov.settings.tools import ToolsSettings
from claudeprov.tools.load import load

pytestmark = pytest.mark.usefixtures("no_settings")

OWN = Path(__file__).parent / "conf"
TRUSTED = "allow_targets=[tests.tools]"
STRICT = {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": False}


def tools_of(*overrides: str, config_dir: Path | None = OWN) -> dict[str, claudeprov.Tool]:
    settings = compose(overrides, config_dir=config_dir)
    return {tool.name: tool for tool in load(settings.tools or ToolsSettings(), settings.allow_targets)}


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes a file of the group into a config directory."""

    def write(name: str, **declared: Any) -> Path:
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / f"{name}.yaml").write_text(yaml.safe_dump({"declared": declared}))
        return tmp_path

    return write


def test_a_file_declares_tools_by_name_description_schema_and_target() -> None:
    tools = tools_of("tools=[weather,forgetting]", TRUSTED)
    weather, forget = tools["get_weather"], tools["forget_weather"]
    assert weather.definition()["input_schema"]["required"] == ["city"]
    assert weather.description == "Tell the weather of a city."
    assert (weather.effects, weather.bound, weather("Oslo", "F")) == ({"read"}, {"unit": "C"}, "4 °F and dry")
    assert forget.definition() == {
        "name": "forget_weather",
        "description": "Forget the weather of a city.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Its name."}},
            "required": ["city"],
            "additionalProperties": False,
        },
    }
    assert (forget.effects, forget.timeout) == ({"write"}, 5)


def test_several_files_compose_and_off_is_none() -> None:
    assert list(tools_of("tools=[weather,web_search]", TRUSTED)) == ["get_weather", "web_search"]
    assert list(tools_of("tools=[web_search]")) == ["web_search"]
    for none in ("tools=off", "tools=[]", "~tools"):
        assert compose([none]).tools is None


def test_a_server_tool_is_declared_by_its_type_and_passes_as_it_is() -> None:
    [search] = tools_of("tools=web_search").values()
    assert search.run is None
    assert search.definition() == {"name": "web_search", "type": "web_search_20260318", "max_uses": 5}


def test_the_users_files_and_the_environment_choose_tools_too(monkeypatch: pytest.MonkeyPatch, written: Any) -> None:
    folder = written("mine", fetch={"options": {"type": "web_fetch_20260318"}})
    (folder / "config.yaml").write_text("tools: [mine, web_search]\n")
    assert list(tools_of(config_dir=folder)) == ["fetch", "web_search"]
    monkeypatch.setenv("CLAUDEPROV_TOOLS", "[web_search]")
    assert list(tools_of(config_dir=folder)) == ["web_search"]
    monkeypatch.setenv("CLAUDEPROV_TOOLS", "mine")
    monkeypatch.setenv("CLAUDEPROV_TOOLS_MAX_ROUNDS", "3")
    settings = compose(config_dir=folder).tools
    assert settings is not None
    assert (settings.max_rounds, list(settings.declared)) == (3, ["fetch"])


def test_it_is_told_which_options_were_chosen_and_where_each_tool_is_from() -> None:
    composition = compose_with_origins(["tools=[weather,web_search]", TRUSTED], config_dir=OWN)
    assert composition.choices["tools"] == "[weather,web_search]"
    assert composition.chosen_by["tools"] == "an override"
    assert composition.origin("tools.declared.get_weather").endswith("tools/conf/tools/weather.yaml")
    assert composition.origin("tools.declared.web_search") == "conf/tools/web_search.yaml"


def test_a_value_of_a_declared_tool_can_be_overridden() -> None:
    tools = tools_of("tools=weather", TRUSTED, "tools.declared.get_weather.timeout=3", "tools.root=K")
    assert (tools["get_weather"].timeout, tools["get_weather"].bound) == (3, {"unit": "K"})


def test_a_declaration_may_say_of_a_tool_other_than_the_tool_does(written: Any) -> None:
    target = {"_target_": "tests.tools.weather.forget_weather"}
    folder = written(
        "mine",
        plain=target,
        told=target
        | {"description": "Else.", "effects": ["network"], "timeout": 9, "options": {"defer_loading": True}},
        schema=target | {"input_schema": {"type": "object", "properties": {"town": {"type": "string"}}}},
        bound=target | {"arguments": {"city": "Oslo"}},
    )
    tools = tools_of("tools=mine", TRUSTED, config_dir=folder)
    assert tools["plain"].parse is not None
    assert tools["plain"].parse({"city": "Rome"}) == {"city": "Rome"}
    assert (tools["told"].description, tools["told"].effects, tools["told"].timeout) == ("Else.", {"network"}, 9)
    assert tools["told"].definition()["defer_loading"] is True
    assert tools["schema"].parse is not None
    assert tools["schema"].parse({"town": "Rome"}) == {"town": "Rome"}
    assert (tools["bound"].effects, tools["bound"].bound) == ({"write"}, {"city": "Oslo"})
    assert tools["bound"].definition()["input_schema"]["properties"] == {}


@pytest.mark.parametrize(
    ("name", "declared", "told"),
    [
        (
            "a b",
            {"options": {"type": "x"}},
            "tools.declared.a b = {'options': {'type': 'x'}}, from FILE: a tool's name is 1",
        ),
        (
            "a",
            {},
            "tools.declared.a = {}, from FILE: _target_ is missing, and options.type names no tool of the server's",
        ),
        ("a", {"_target_": "os.system"}, "tools.declared.a._target_ = 'os.system', from FILE: os.system is outside"),
        (
            "a",
            {"_target_": "claudeprov.mask.re.compile"},
            "tools.declared.a._target_ = 'claudeprov.mask.re.compile', from FILE: claudeprov.mask.re.compile comes",
        ),
        (
            "a",
            {"_target_": "claudeprov.mask.nothing"},
            "tools.declared.a._target_ = 'claudeprov.mask.nothing', from FILE: there is no claudeprov.mask.nothing",
        ),
        (
            "a",
            {"_target_": "claudeprov.mask.MASK"},
            "tools.declared.a._target_ = 'claudeprov.mask.MASK', from FILE: claudeprov.mask.MASK comes from None",
        ),
        (
            "a",
            {"_target_": "claudeprov.errors.ProviderError"},
            "tools.declared.a._target_ = 'claudeprov.errors.ProviderError', from FILE: claudeprov.errors.ProviderError",
        ),
        (
            "a",
            {
                "_target_": "claudeprov.mask.masked_text",
                "input_schema": {"type": "object", "properties": {"p": {"type": "x"}}},
            },
            "tools.declared.a.input_schema.properties.p.type = 'x', from FILE: 'x' is not valid",
        ),
        (
            "a",
            {
                "_target_": "claudeprov.mask.masked_text",
                "options": {"strict": True},
                "input_schema": STRICT | {"properties": {"p": {"type": "string", "maxLength": 3}}},
            },
            "tools.declared.a.input_schema.properties.p.maxLength = 3, from FILE: strict tools take no maxLength",
        ),
        (
            "a",
            {"_target_": "claudeprov.mask.masked_text", "effects": ["red"]},
            "tools.declared.a.effects.0 = 'red', from FILE: is none of the values that there are; did you mean read?",
        ),
        (
            "a",
            {"_target_": "claudeprov.tools.text.read_lines", "arguments": {"root": "/no/such/folder"}},
            "tools.declared.a.arguments.root = '/no/such/folder', from FILE: tools: the root '/no/such/",
        ),
        (
            "a",
            {"_target_": "claudeprov.tools.text.read_lines", "arguments": {"root": ".", "rot": "."}},
            "tools.declared.a.arguments.rot = '.', from FILE: is none of its arguments (root, path, start,",
        ),
        ("a", {"_target": "x"}, "tools.declared.a._target = 'x', from FILE: tools.declared.a has no such key"),
    ],
)
def test_a_fault_is_named_at_composition_with_file_tool_and_path(
    written: Any, name: str, declared: Any, told: str
) -> None:
    folder = written("mine", **{name: declared})
    with pytest.raises(ConfigurationError) as caught:
        compose(["tools=mine"], config_dir=folder)
    assert caught.value.message.startswith(told.replace("FILE", str(folder / "tools" / "mine.yaml")))


def test_all_faults_are_told_at_once(written: Any) -> None:
    folder = written("mine", a={}, b={"_target_": "os.system"}, c={"options": {"type": "x"}})
    with pytest.raises(ConfigurationError) as caught:
        compose(["tools=mine"], config_dir=folder)
    assert [problem["key"] for problem in caught.value.context["problems"]] == [
        "tools.declared.a",
        "tools.declared.b._target_",
    ]


def test_the_limits_of_strict_tools_hold_over_all_files(written: Any) -> None:
    tool = {"_target_": "claudeprov.mask.masked_text", "options": {"strict": True}, "input_schema": STRICT}
    written("one", **{f"one_{n}": tool for n in range(15)})
    folder = written("two", **{f"two_{n}": tool for n in range(10)})
    assert len(tools_of("tools=one", config_dir=folder)) == 15
    with pytest.raises(ConfigurationError, match="there are 25 strict tools; the API takes 20 in a request"):
        compose(["tools=[one,two]"], config_dir=folder)


def test_a_tool_that_two_files_declare_is_the_same_in_both_or_refused(written: Any) -> None:
    written("one", a={"options": {"type": "x"}})
    assert len(tools_of("tools=[one,two]", config_dir=written("two", a={"options": {"type": "x"}}))) == 1
    folder = written("two", a={"options": {"type": "y"}})
    with pytest.raises(ConfigurationError) as caught:
        compose(["tools=[one,two]"], config_dir=folder)
    assert caught.value.message == (
        f"tools.declared.a, from {folder}/tools/two.yaml: is another tool in {folder}/tools/one.yaml"
    )


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "tools=[weather,wether]",
            "tools = 'wether', from an override: the group tools has no such option; did you mean",
        ),
        ("retry=[standard,off]", "retry = ['standard', 'off'], from an override: the group retry has no such option"),
        ("tools.timeout=3", "tools.timeout = 3, from an override: the group tools is off; choose tools="),
    ],
)
def test_a_choice_that_cannot_be_is_refused(override: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compose([override], config_dir=OWN)
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("tools=", "tools=weather "),
        ("tools=[", "tools=[weather"),
        ("tools=[web_search,w", "tools=[web_search,weather"),
        ("tools.permissions.write=", "tools.permissions.write=ask "),
    ],
)
def test_the_options_complete_within_a_list_too(line: str, word: str) -> None:
    assert word in candidates(f"claudeprov chat --config-dir {OWN} {line}")


def test_the_configuration_that_is_printed_can_be_declared_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--config-dir", str(OWN), "--json", "tools=weather", TRUSTED]) == 0
    printed = json.loads(capsys.readouterr().out)["settings"]["tools"]
    assert printed["declared"]["get_weather"]["_target_"] == "tests.tools.weather.get_weather"
    assert ToolsSettings.model_validate(printed).declared.keys() == {"get_weather"}


def test_a_provider_has_the_tools_of_its_configuration() -> None:
    provider = claudeprov.open_provider(["tools=[forgetting,weather]", TRUSTED], config_dir=OWN)
    assert [tool.name for tool in provider.tools] == ["forget_weather", "get_weather"]
    assert claudeprov.open_provider([]).tools == ()
