from __future__ import annotations

import re
import subprocess
import sys
from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError

from claudeprov.compose import compose
from claudeprov.errors import ConfigurationError
from claudeprov.paths import conf_dir
from claudeprov.settings import GROUPS, Layer, Settings, keys, models_in
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.settings.cassette import CassetteSettings
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.settings.ratelimit import RateLimitSettings
from claudeprov.settings.request import ThinkingSettings
from claudeprov.settings.retry import RetrySettings
from claudeprov.settings.suite import SuiteSettings

pytestmark = pytest.mark.usefixtures("no_settings")

OURS = [group for group in GROUPS if group not in ("model", "pricing")]
FILES = [file for group in OURS for file in sorted((conf_dir() / group).glob("*.yaml"))]
CHOSEN = {
    group: option
    for default in yaml.safe_load((conf_dir() / "config.yaml").read_text())["defaults"]
    if isinstance(default, dict)
    for group, option in default.items()
}


def test_every_folder_of_conf_is_a_group_and_every_group_a_folder() -> None:
    folders = {folder.name for folder in conf_dir().iterdir() if folder.is_dir() and folder.name != "__pycache__"}
    assert folders == set(GROUPS)
    assert set(GROUPS) < set(Settings.model_fields)


def test_every_group_has_a_default() -> None:
    assert {*CHOSEN, "pricing"} == set(GROUPS)  # prices are brought by the model


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_an_option_states_every_key_of_its_group_or_none(file: Any) -> None:
    content = yaml.safe_load(file.read_text())
    assert set(content) in ({key for kind in _kinds(file.parent.name) for key in kind.model_fields}, set())


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_an_option_begins_by_saying_what_it_is_for(file: Any) -> None:
    assert file.read_text().startswith("# ") or file.parent.name == "suite"


@pytest.mark.parametrize(
    "group", ["preflight", "retry", "breaker", "deadline", "cassette", "telemetry", "state", "launcher"]
)
def test_a_group_made_by_hand_is_that_of_the_default_file(group: str) -> None:
    (kind,) = _kinds(group)
    assert kind() == getattr(compose(), group)


def test_the_default_chain_is_that_of_the_file() -> None:
    assert Settings.model_fields["chain"].default == compose().chain == get_args(Layer)


def test_every_key_has_a_name_of_its_own_in_the_environment() -> None:
    names = [key.replace(".", "_") for key, _ in keys()]
    assert len(names) == len(set(names))


def test_every_key_of_ours_says_what_it_is() -> None:
    silent = [key for key, field in keys() if not field.description and key.partition(".")[0] in OURS and "." in key]
    assert silent == []


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        compose().max_tokens = 3


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (RetrySettings, {"max_attempts": 0}, "greater than or equal to 1"),
        (RetrySettings, {"max_attempts": True}, "valid integer"),
        (RetrySettings, {"max_attempts": "3"}, "valid integer"),
        (RetrySettings, {"base": -1}, "greater than or equal to 0"),
        (RetrySettings, {"base": float("inf")}, "finite"),
        (RetrySettings, {"tries": 3}, "Extra inputs"),
        (DeadlineSettings, {"total": "10"}, "valid number"),
        (CassetteSettings, {"mode": "rewind"}, "'auto', 'live', 'replay' or 'record'"),
        (EndpointSettings, {"kind": "compatible", "base_url": "127.0.0.1:8085"}, "begins with http"),
        (EndpointSettings, {"kind": "compatible", "base_url": "https://me:pw@host"}, "must not hold credentials"),
        (EndpointSettings, {"kind": "compatible", "base_url": "http://127.0.0.1:99999"}, "port from 1 to 65535"),
        (EndpointSettings, {"kind": "compatible", "base_url": "http://127.0.0.1:port"}, "port from 1 to 65535"),
        (RetrySettings, {"base": 9}, "retry.base, which is 9"),
        (RetrySettings, {"overloaded_cap": 1}, "retry.overloaded_base, which is 2"),
        (DeadlineSettings, {"total": 0}, "greater than 0"),
        (DeadlineSettings, {"connect": 0}, "greater than 0"),
        (DeadlineSettings, {"total": 1e15}, "less than or equal to 31622400"),
        (RetrySettings, {"budget": 1e13}, "less than or equal to 31622400"),
        (BreakerSettings, {"window": 1e15}, "less than or equal to 31622400"),
        (BreakerSettings, {"open_for": 1e13}, "less than or equal to 31622400"),
        (RateLimitSettings, {"burst": 1e300}, "less than or equal to 31622400"),
        (RateLimitSettings, {"requests": 10**400}, "less than or equal to 1000000000000"),
        (DeadlineSettings, {"first_event": 0}, "greater than 0"),
        (DeadlineSettings, {"between_events": 0}, "greater than 0"),
        (BreakerSettings, {"counts": ["overloadd"]}, "'overloaded'"),
        (SuiteSettings, {"name": "code", "tasks": []}, "at least one task"),
        (ThinkingSettings, {"type": "enabled"}, "needs budget_tokens"),
        (ThinkingSettings, {"budget_tokens": 2048}, "needs type enabled"),
        (ThinkingSettings, {"type": "enabled", "budget_tokens": 100}, "greater than or equal to 1024"),
    ],
)
def test_a_wrong_value_is_refused(kind: Any, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        kind(**values)


@pytest.mark.parametrize("code", ["overloaded", "connect_timeout", "service_unavailable", "truncated"])
def test_a_breaker_counts_codes_of_classes_and_of_single_errors(code: str) -> None:
    assert BreakerSettings(counts=(code,)).counts == (code,)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("breaker.counts=[overloadd]", "breaker.counts.0 = 'overloadd', from an override: is none of the values"),
        ("deadline.total=0", "deadline.total = 0, from an override: should be greater than 0"),
        ("retry.cap=0.1", "retry.cap = 0.1, from an override: must be at least retry.base, which is 0.5"),
        (
            "retry.overloaded_base=31",
            "retry.overloaded_cap = 30, from conf/retry/standard.yaml: must be at least retry.overloaded_base",
        ),
        ("breaker.counts=[]", "breaker.counts = [], from an override: must hold at least one code; breaker=off counts"),
        ("breaker.open_for=1e13", "breaker.open_for = 10000000000000.0, from an override: should be less than"),
        ("suite.tasks=[]", "suite.tasks = [], from an override: must name at least one task, or be null for all"),
        (
            "thinking={type: enabled, budget_tokens: 4096}",
            "max_tokens = 4096, from conf/config.yaml: must be more than thinking.budget_tokens, which is 4096",
        ),
        ("run_name=../x", "run_name = '../x', from an override: must be the plain name of a folder, such as 'x'"),
    ],
)
def test_what_could_only_fail_later_is_refused_with_its_key_value_and_what_is_allowed(override: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compose([override])
    assert caught.value.message.startswith(told)


def test_a_code_that_no_error_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError) as caught:
        compose(["breaker.counts=[server_error,overloadd]"])
    (told,) = caught.value.context["problems"]
    assert told["nearest"] == "overloaded"
    assert {"overloaded", "rate_limited", "first_event_timeout"} < set(told["allowed"])


def test_seconds_may_be_given_as_whole_numbers_and_no_limit_as_null() -> None:
    assert DeadlineSettings(total=10, connect=None) == DeadlineSettings(total=10.0, connect=None)


def test_an_empty_group_is_off() -> None:
    values = compose().model_dump() | {"retry": {}, "breaker": {}}
    settings = Settings.model_validate(values)
    assert settings.retry is None
    assert settings.breaker is None
    assert settings.deadline is not None


def test_settings_import_neither_hydra_nor_the_sdk() -> None:
    heavy = "{'hydra', 'omegaconf', 'anthropic', 'vcr', 'rich', 'aiohttp'}"
    script = f"import sys, claudeprov.settings; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], cwd=conf_dir().parent, capture_output=True, text=True)
    assert ran.stdout == "set()\n", ran.stderr


def _kinds(group: str) -> list[Any]:
    return list(models_in(Settings.model_fields[group]))


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("cassette.ignore=[metadata]", "must be a JSON path such as $.metadata.user_id"),
        ("cassette.ignore=['$']", "must be a JSON path"),
        ("cassette.ignore=['$..text']", "must be a JSON path"),
        ("cassette.scrub=['user-[']", "is no regular expression: unterminated character set"),
        ("cassette.max_age=0", "greater than 0"),
        ("cassette.all=1", "boolean"),
    ],
)
def test_a_rule_for_cassettes_that_cannot_be_read_is_refused(override: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(what)):
        compose([override])


def test_the_rules_for_cassettes_are_taken_as_they_are_written() -> None:
    settings = compose(["cassette.ignore=['$.metadata.user_id','$.messages[*].content[0].text',timestamps]"]).cassette
    assert settings.ignore == ("$.metadata.user_id", "$.messages[*].content[0].text", "timestamps")
