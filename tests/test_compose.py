from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

import claudeprov
from claudeprov.compose import compose, compose_with_origins, expand
from claudeprov.errors import ConfigurationError
from claudeprov.paths import conf_dir
from claudeprov.settings import GROUPS

SECRET = "-".join(("sk", "ant", "api03", "abcdefghijklmnopqrstuvwxyz"))


pytestmark = pytest.mark.usefixtures("no_settings")


def problem(*overrides: str, **options: Any) -> dict[str, Any]:
    with pytest.raises(ConfigurationError) as caught:
        compose(overrides, **options)
    only: dict[str, Any]
    (only,) = caught.value.context["problems"]
    for told in (only["key"], only["nearest"], *only["allowed"]):
        assert (told or "") in caught.value.message
    return only


def message(*overrides: str, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        compose(overrides, **options)
    return caught.value.message


# What is composed


OPTIONS = {group: sorted(file.stem for file in (conf_dir() / group).glob("*.yaml")) for group in GROUPS}


@pytest.mark.parametrize("turn", range(max(map(len, OPTIONS.values()))))
def test_every_option_of_every_group_composes(turn: int) -> None:
    choices = {group: options[turn % len(options)] for group, options in OPTIONS.items()}
    needed = {
        "model=custom": "model.id=claude-opus-6",
        "ledger=postgres": "ledger.url=postgresql://127.0.0.1/ledger",
    }
    chosen = [f"{group}={option}" for group, option in choices.items()]
    composition = compose_with_origins([*chosen, *(needed[choice] for choice in chosen if choice in needed)])
    assert composition.choices == choices
    off = {group for group in GROUPS if getattr(composition.settings, group) is None}
    assert off == {group for group, option in choices.items() if option == "off" and group != "thinking"}


def test_a_model_brings_its_prices_and_an_override_changes_them() -> None:
    assert compose(["model=haiku"]).pricing == compose(["model=claude-haiku-5-5"]).pricing
    prices = compose(["model=sonnet", "pricing.input=1.8"]).pricing
    assert prices is not None
    assert prices.input == Decimal("1.8")
    local = compose(["model=qwen"]).pricing
    assert local is not None
    assert local.input is None


def test_keys_can_be_set_taken_away_and_interpolated() -> None:
    settings = compose(["retry={base: 2}", "~retry.cap", "breaker=off", "~deadline", "+run_name=on-${model.id}"])
    assert settings.retry is not None
    assert (settings.retry.base, settings.retry.cap) == (2, 8)
    assert settings.breaker is None
    assert settings.deadline is None
    assert settings.run_name == "on-claude-sonnet-5-5"


def test_a_layer_of_ones_own_needs_leave() -> None:
    chain = "chain=[telemetry,{_target_:mine.layers.Log,level:3},retry]"
    assert compose([chain, "allow_targets=[mine]"]).chain[1] == {"_target_": "mine.layers.Log", "level": 3}
    assert compose([chain, "allow_targets=[mine.layers]"])
    assert "'mine.layers.Log' is outside claudeprov" in message(chain)
    assert "'mine.layers.Log' is outside claudeprov" in message(chain, "allow_targets=[min,mine.lay]")
    assert "'os.system' is outside" in message("chain=[{_target_:claudeprov.x.Y,inner:[{_target_:os.system}]}]")


# Precedence


def test_overrides_rank_above_the_environment_above_the_users_folder_above_the_groups_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempts(*overrides: str, **options: Any) -> tuple[int, str]:
        composition = compose_with_origins(overrides, **options)
        assert composition.settings.retry is not None
        return composition.settings.retry.max_attempts, composition.origin("retry.max_attempts")

    file = tmp_path / "config.yaml"
    file.write_text("retry.max_attempts: 5")
    assert attempts() == (4, "conf/retry/standard.yaml")
    assert attempts("retry=patient") == (10, "conf/retry/patient.yaml")
    assert attempts(config_dir=tmp_path) == (5, str(file))
    monkeypatch.setenv("CLAUDEPROV_RETRY_MAX_ATTEMPTS", "6")
    assert attempts(config_dir=tmp_path) == (6, "the environment variable CLAUDEPROV_RETRY_MAX_ATTEMPTS")
    assert attempts("retry.max_attempts=7", config_dir=tmp_path) == (7, "an override")


def test_choices_rank_as_values_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("retry: patient")
    monkeypatch.setenv("CLAUDEPROV_CONFIG_DIR", str(tmp_path))
    composition = compose_with_origins()
    assert composition.choices["retry"] == "patient"
    assert composition.chosen_by["retry"] == str(tmp_path / "config.yaml")
    monkeypatch.setenv("CLAUDEPROV_RETRY", "aggressive")
    assert compose_with_origins().choices["retry"] == "aggressive"
    assert compose_with_origins(["retry=standard"]).choices["retry"] == "standard"
    assert compose_with_origins(["retry=standard", "retry=patient"]).choices["retry"] == "patient"


def test_whoever_turns_a_group_off_overrules_the_values_below_him(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDEPROV_RETRY_MAX_ATTEMPTS", "6")
    assert compose(["retry=off"]).retry is None
    assert "the group retry is off; choose retry=aggressive or patient" in message("retry=off", "retry.base=1")


def test_the_environment_reaches_every_kind_of_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MODEL": "opus-3",
        "BREAKER": "off",
        "MAX_TOKENS": "9",
        "CHAIN": "[retry]",
        "DEADLINE_TOTAL": "null",
        "ENDPOINT_BASE_URL": "https://gateway.example/a=b,c",
        "PRICING_CACHE_WRITE_5M": "'1.25'",
        "RUN_NAME": "",
    }.items():
        monkeypatch.setenv(f"CLAUDEPROV_{name}", value)
    settings = compose()
    assert settings.model.id == "claude-3-opus-20240229"
    assert settings.breaker is None
    assert (settings.max_tokens, settings.chain, settings.run_name) == (9, ("retry",), None)
    assert settings.deadline is not None
    assert settings.deadline.total is None
    assert settings.endpoint.base_url == "https://gateway.example/a=b,c"
    assert settings.pricing is not None
    assert settings.pricing.cache_write_5m == Decimal("1.25")


# The user's folder


def test_a_folder_of_ones_own_adds_options_and_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / "retry").mkdir()
    (tmp_path / "retry/mine.yaml").write_text("defaults: [standard, _self_]\nmax_attempts: 7")
    (tmp_path / "retry/patient.yaml").write_text("max_attempts: 99")
    mine = compose_with_origins(["retry=mine"], config_dir=tmp_path)
    assert mine.settings.retry is not None
    assert (mine.settings.retry.max_attempts, mine.settings.retry.cap) == (7, 8)
    assert mine.origin("retry.max_attempts") == str(tmp_path / "retry/mine.yaml")
    assert mine.origin("retry.cap") == "conf/retry/standard.yaml"
    replaced = compose_with_origins(["retry=patient"], config_dir=tmp_path)
    assert replaced.settings.retry is not None
    assert (replaced.settings.retry.max_attempts, replaced.settings.retry.cap) == (99, 8)
    assert replaced.origin("retry.cap") == "its default"


def test_its_config_yaml_holds_plain_choices_and_values(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "retry: off\nmodel: haiku\nbreaker: {failures: 3}\nmax_tokens: 9\nchain: [breaker]\ndeadline.total: null\n"
    )
    settings = compose(config_dir=str(tmp_path))
    assert settings.retry is None
    assert settings.model.id == "claude-haiku-5-5"
    assert settings.breaker is not None
    assert settings.breaker.failures == 3
    assert (settings.max_tokens, settings.chain) == (9, ("breaker",))
    assert settings.deadline is not None
    assert settings.deadline.total is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("config.yaml", "retyr: patient", "did you mean retry?"),
        ("config.yaml", "defaults: [retry]", "there is no such group or key"),
        ("config.yaml", "- retry", "must hold a mapping"),
        ("config.yaml", "retry: [", "cannot be read"),
        ("retry/standard.yaml", "max_atempts: 3", "did you mean max_attempts?"),
        ("retry/standard.yaml", "- 3", "must hold a mapping"),
        ("retry/standard.yaml", "a: [", "cannot be read"),
        ("retry/standard.yaml", "a: \xff", "cannot be read: 'utf-8'"),
        ("config.yaml", "a: \xff", "cannot be read: 'utf-8'"),
        ("config.yaml", "a: &x [*x]", "cannot be read: it holds itself"),
        ("retry/standard.yaml", "a: &x {b: *x}", "cannot be read"),
        ("config.yaml", f"max_tokens: {'9' * 5000}", "cannot be read"),
        ("retry/standard.yaml", "defaults: [standrad]", "standrad"),
    ],
)
def test_a_wrong_file_of_ones_own_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / "retry").mkdir()
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    told = message(config_dir=tmp_path)
    assert said in told
    assert name in told or "retry/standard" in told


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nowhere does not exist" in message(config_dir=tmp_path / "nowhere")
    (tmp_path / "config.yaml").touch()
    assert "config.yaml is no directory" in message(config_dir=tmp_path / "config.yaml")
    monkeypatch.setenv("CLAUDEPROV_CONFIG_DIR", str(tmp_path / "nowhere"))
    assert "CLAUDEPROV_CONFIG_DIR" in message()


# Errors


@pytest.mark.parametrize(
    ("override", "key", "value", "nearest"),
    [
        ("retry=patent", "retry", "patent", "patient"),
        ("retry=null", "retry", None, None),
        ("retry=3", "retry", 3, None),
        ("retry=[patient,standard]", "retry", ["patient", "standard"], None),
        ("model=sonet", "model", "sonet", "sonnet"),
        ("retyr=patient", "retyr", "patient", "retry"),
        ("retyr.base=1", "retyr", {"base": 1}, "retry"),
        ("max_tokns=3", "max_tokns", 3, "max_tokens"),
        ("retry.max_atempts=3", "retry.max_atempts", 3, "max_attempts"),
        ("retry.max_attempts=lots", "retry.max_attempts", "lots", None),
        ("retry.max_attempts=0", "retry.max_attempts", 0, None),
        ("retry.base.x=1", "retry.base", {"x": 1}, None),
        ("retry.base=true", "retry.base", True, None),
        ("cassette.mode=reply", "cassette.mode", "reply", "replay"),
        ("thinking.effort=hgih", "thinking.effort", "hgih", "high"),
        ("chain=[retry,brekaer]", "chain.1", "brekaer", "breaker"),
        ("chain=[retry,retry]", "chain", ["retry", "retry"], None),
        ("chain=[{a:1}]", "chain", [{"a": 1}], None),
        ("max_tokens=${nope}", "max_tokens", None, None),
        ("max_tokens=${oc.env:NO_SUCH_VARIABLE}", "max_tokens", None, None),
        ("pricing.inptu=3", "pricing.inptu", 3, "input"),
        ("model.capabilities.pdf=perhaps", "model.capabilities.pdf", "perhaps", None),
        pytest.param(f"max_tokens={'9' * 5000}", "max_tokens", "9" * 5000, None, id="a number of 5000 digits"),
        ("thinking.budget_tokens=1024", "thinking", {"type": None, "budget_tokens": 1024, "effort": None}, None),
        ("~endpoint", "endpoint", None, None),
        ("~endpoint.kind", "endpoint.kind", None, None),
        ("~nosuch", "nosuch", None, None),
        ("~retyr", "retyr", None, "retry"),
        ("~retry.bse", "retry.bse", None, "base"),
        ("~retry.base.x", "retry.base.x", None, None),
        ("~nosuch.base", "nosuch.base", None, None),
    ],
)
def test_a_wrong_override_is_explained(override: str, key: str, value: Any, nearest: str | None) -> None:
    told = problem(override)
    assert (told["key"], told["value"], told["origin"]) == (key, value, "an override")
    assert nearest is None or told["nearest"] == nearest
    assert told["nearest"] is None or told["nearest"] in told["allowed"]


def test_a_key_that_is_null_is_no_misspelling() -> None:
    told = problem("~run_name")
    assert (told["what"], told["nearest"]) == ("is null: there is nothing to take away", None)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("retry", "an override is key=value"),
        ("retry.base=(", "cannot be read"),
        ("a..b=1", "Hydra's grammar"),
        ("model=sonnet,opus", "gives several values: bench and record sweep over them with -m"),
        ("max_tokens=1,2", "a list is written max_tokens=[a,b]"),
        ("retry@here=patient", "names a package"),
        ("~endpoint", "cannot be taken away, it needs an option (allowed: anthropic, "),
        ("~retry=patient", "retry"),
        ("+max_tokens=3", "already at 'max_tokens'"),
        ("hydra.run.dir=x", "there is no such group or key"),
    ],
)
def test_an_override_that_makes_no_sense_is_an_error(override: str, said: str) -> None:
    assert said in message(override)


def test_all_problems_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDEPROV_CONCURRENCY", "none")
    with pytest.raises(ConfigurationError) as caught:
        compose(["retry.base=x", "retry.nope=1", "max_tokens=-1"])
    assert {told["key"] for told in caught.value.context["problems"]} == {
        "retry.base",
        "retry.nope",
        "max_tokens",
        "concurrency",
    }
    assert "concurrency = 'none', from the environment variable CLAUDEPROV_CONCURRENCY" in caught.value.message


def test_a_text_is_no_list_of_overrides() -> None:
    with pytest.raises(ConfigurationError, match="a list of texts"):
        compose("retry=off")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CLAUDEPROV_RETRY_MAX_ATEMPTS", "CLAUDEPROV_RETRY_MAX_ATTEMPTS"),
        ("CLAUDEPROV_RETYR", "CLAUDEPROV_RETRY"),
        ("CLAUDEPROV_CONFIGDIR", None),
    ],
)
def test_an_unknown_environment_variable_is_not_passed_over(
    name: str, nearest: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SECRET)
    told = problem()
    assert (told["key"], told["value"]) == (name, None)
    assert nearest is None or told["nearest"] == nearest


def test_a_wrong_value_of_the_environment_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDEPROV_RETRY", "patent")
    told = problem()
    assert (told["origin"], told["nearest"]) == ("the environment variable CLAUDEPROV_RETRY", "patient")
    monkeypatch.setenv("CLAUDEPROV_RETRY", "patient")
    for text in ("[retry", "&x [*x]", "9" * 5000, "!!timestamp 2026-11-22"):
        monkeypatch.setenv("CLAUDEPROV_CHAIN", text)
        told = problem()
        assert (told["key"], told["what"], told["value"]) == ("chain", "cannot be read as YAML", text)
        assert told["origin"] == "the environment variable CLAUDEPROV_CHAIN"


def test_the_environment_is_read_as_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("2026-11-22", "2026-13-45", "1e3", "a # b", "'${model.id}'", "0x1F"):
        (tmp_path / "config.yaml").write_text(f"run_name: {text}")
        written = compose(config_dir=tmp_path).run_name
        with monkeypatch.context() as patch:
            patch.setenv("CLAUDEPROV_RUN_NAME", text)
            assert compose().run_name == written
    (tmp_path / "config.yaml").write_text("run_name: 2026-13-45")
    assert compose(config_dir=tmp_path).run_name == compose(["run_name=2026-13-45"]).run_name == "2026-13-45"


@pytest.mark.parametrize(
    "override",
    [
        f"endpoint.api_key={SECRET}",
        f"endpoint.api_key={SECRET}(",
        f"endpoint.api_key={SECRET},b",
        "endpoint.auth_token=hunter2",
        f"max_tokens={SECRET}",
        f"retry={SECRET}",
        "endpoint={kind: compatible, password: hunter2}",
        "endpoint.base_url=https://me:hunter2@host",
    ],
)
def test_no_error_shows_a_secret(override: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compose([override])
    shown = f"{caught.value.message} {caught.value.context} {caught.value.__cause__}"
    assert SECRET not in shown
    assert "hunter2" not in shown
    assert "**********" in shown


# Around us: sweeps, other Hydra programs, threads


def test_a_sweep_becomes_the_overrides_of_its_jobs() -> None:
    assert expand(["model=sonnet,opus", "retry=off", "max_tokens=choice(1,2)"]) == [
        ["model=sonnet", "retry=off", "max_tokens=1"],
        ["model=sonnet", "retry=off", "max_tokens=2"],
        ["model=opus", "retry=off", "max_tokens=1"],
        ["model=opus", "retry=off", "max_tokens=2"],
    ]
    assert expand(["max_tokens=range(1,4)"]) == [["max_tokens=1"], ["max_tokens=2"], ["max_tokens=3"]]
    assert expand(["retry=glob(p*)"]) == [["retry=patient"]]
    assert expand([]) == [[]]


@pytest.mark.parametrize("values", ["interval(1,4)", "range(1,4,0)"])
def test_what_cannot_be_counted_cannot_be_swept_over(values: str) -> None:
    with pytest.raises(ConfigurationError, match=r"max_tokens=.*has no values that could be counted"):
        expand([f"max_tokens={values}"])


def test_a_hydra_around_us_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("host: 1")
    with initialize_config_dir(str(tmp_path), version_base=None):
        hydra = GlobalHydra.instance().hydra
        assert compose(["model=haiku"]).model.id == "claude-haiku-5-5"
        with pytest.raises(ConfigurationError):
            compose(["retry=nope"])
        assert GlobalHydra.instance().hydra is hydra
        assert hydra_compose("config").host == 1
    assert not GlobalHydra.instance().is_initialized()
    compose()
    assert not GlobalHydra.instance().is_initialized()


def test_a_hosts_schemas_do_not_meet_our_files() -> None:
    store = ConfigStore.instance()
    before = store.repo.copy()
    try:
        store.store(name="config", node={"host": 1})
        store.store(name="host", group="retry", node={"host": 1})
        assert compose().max_tokens == 4096
        assert "host" not in problem("retry=host")["allowed"]
    finally:
        store.repo = before


def test_it_works_inside_a_program_of_hydras(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").write_text("retry: 3\nmodel: mine\n")
    (tmp_path / "host.py").write_text(
        "import hydra, claudeprov\n"
        "@hydra.main(config_path='conf', config_name='config', version_base=None)\n"
        "def main(config):\n"
        "    from hydra.core.hydra_config import HydraConfig\n"
        "    ours = claudeprov.open_provider(['model=haiku', 'retry=patient']).settings\n"
        "    print(ours.model.id, ours.retry.max_attempts, config.model, HydraConfig.get().job.name)\n"
        "main()\n"
    )
    command = [sys.executable, "host.py", "retry=4", "hydra.run.dir=."]
    path = {"PYTHONPATH": str(Path(claudeprov.__file__).parents[1])}
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | path)
    assert ran.stdout == "claude-haiku-5-5 10 mine host\n", ran.stderr


def test_several_threads_compose_at_once() -> None:
    tokens = range(1, 13)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: compose([f"max_tokens={n}", f"retry={'off' if n % 2 else 'patient'}"]), tokens))
    assert [settings.max_tokens for settings in found] == list(tokens)
    assert [settings.retry is None for settings in found] == [n % 2 == 1 for n in tokens]
