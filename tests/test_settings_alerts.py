"""What the group ``alerts`` takes, and how it says what it does not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from claudeprov.commands import main
from claudeprov.compose import compose
from claudeprov.errors import ConfigurationError
from claudeprov.settings.alerts import RuleSettings

pytestmark = pytest.mark.usefixtures("no_settings")


def test_nobody_is_alerted_unless_asked_for():
    assert compose().alerts is None


def test_the_standard_rules_look_at_every_measure_and_tell_the_log():
    alerts = compose(["alerts=standard"]).alerts
    assert {rule.measure for rule in alerts.rules.values()} == {
        *("error_rate", "refusals", "latency", "first_chunk", "throughput", "cost_rate", "breaker_open", "budget")
    }
    assert [channel.kind for channel in alerts.channels.values()] == ["log"]


def test_a_rule_is_changed_added_or_taken_away_by_its_name(tmp_path):
    rules = {"alerts": {"rules": {"mine": {"measure": "cost_rate", "above": 50, "per": "model"}}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(rules))
    overrides = ["alerts=standard", "alerts.rules.slow.above=20", "~alerts.rules.cost"]
    changed = compose(overrides, config_dir=tmp_path).alerts.rules
    assert (changed["slow"].above, changed["slow"].times_baseline) == (20, 2)
    assert "cost" not in changed
    assert changed["mine"].per == "model"


def rule(text):
    return f"+alerts.rules.mine={{{text}}}"


def channel(text):
    return f"+alerts.channels.mine={{{text}}}"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (rule("measure: latency"), "rules.mine = {'measure': 'latency'}, from an override: needs a threshold: above, "),
        (rule("measure: lateness, above: 1"), "rules.mine.measure = 'lateness', from an override: is none of the valu"),
        (rule("measure: error_rate, above: 5"), "rules.mine.above = 5, from an override: is a share of calls, at most"),
        (rule("measure: breaker_open, above: 1"), "rules.mine.above = 1, from an override: is nothing that breaker_op"),
        (rule("measure: latency, above: -1"), "rules.mine.above = -1, from an override: should be greater than 0"),
        (rule("measure: latency, above: 0"), "rules.mine.above = 0, from an override: should be greater than 0"),
        (rule("measure: throughput, below: 0"), "rules.mine.below = 0, from an override: should be greater than 0"),
        (
            rule("measure: latency, above: 2, below: 1"),
            "rules.mine.below = 1, from an override: does not go with above",
        ),
        (rule("measure: budget, below: 5"), "rules.mine.below = 5, from an override: is nothing that a budget can be"),
        (rule("measure: budget, times_baseline: 2"), "rules.mine.times_baseline = 2, from an override: is nothing tha"),
        (rule("measure: latency, times_baseline: 1"), "rules.mine.times_baseline = 1, from an override: must be more"),
        (rule("measure: latency, above: 1, times_baseline: 0.5"), "rules.mine.times_baseline = 0.5, from an override:"),
        (rule("measure: throughput, below: 9, times_baseline: 2"), "rules.mine.times_baseline = 2, from an override:"),
        (rule("measure: budget, above: 80, per: model"), "rules.mine.per = 'model', from an override: must be whole"),
        (rule("measure: latency, above: 1, hysteresis: 1"), "rules.mine.hysteresis = 1, from an override: should be l"),
        (rule("measure: latency, above: 1, severity: bad"), "rules.mine.severity = 'bad', from an override: is none"),
        (rule("measure: latency, above: 1, for: 3"), "rules.mine.for = 3, from an override: alerts.rules.mine has no"),
        ("alerts.interval=0", "interval = 0, from an override: should be greater than or equal to 0.1"),
        ("alerts.interval=0.000001", "interval = 1e-06, from an override: should be greater than or equal to 0.1"),
        (
            "+alerts.rules.slwo.above=2",
            "rules.slwo = {'above': 2}, from an override: is a rule without a measure; did you mean slow?",
        ),
        (rule("above: 2"), "rules.mine = {'above': 2}, from an override: is a rule without a measure"),
        ("alerts.rules.slow=null", "rules.slow, from an override: is null; ~alerts.rules.slow takes it away"),
        ("alerts.channels.log=null", "channels.log, from an override: is null; ~alerts.channels.log takes it away"),
        (channel("kind: pigeon"), "channels.mine.kind = 'pigeon', from an override: is none of the values that there"),
        (channel("kind: webhook"), "channels.mine = {'kind': 'webhook'}, from an override: url_env is needed by a web"),
        (channel("kind: command"), "channels.mine = {'kind': 'command'}, from an override: command is needed by a com"),
        (channel("kind: log, url_env: X"), "channels.mine = {'kind': 'log', 'url_env': 'X'}, from an override: url_en"),
    ],
)
def test_what_can_mean_nothing_is_refused_with_its_key_and_value(override, told):
    with pytest.raises(ConfigurationError) as caught:
        compose(["alerts=standard", override])
    assert caught.value.message.startswith(f"alerts.{told}")


@pytest.mark.parametrize("host", ["hooks.slack" + ".com", "example.org"])
def test_a_url_in_place_of_its_variables_name_is_not_shown(capsys, host):
    url = f"https://{host}/services/T0/B0/nobody-may-see-this"
    for fields in (f"kind: webhook, url_env: '{url}'", f"kind: webhook, url: '{url}'", f"url: '{url}'"):
        assert main(["config", "alerts=standard", channel(fields)]) == 2
        told = capsys.readouterr()
        assert "nobody-may-see-this" not in told.err + told.out
        assert "alerts.channels.mine" in told.err


def test_config_shows_the_variables_name_and_never_what_it_holds(capsys, monkeypatch):
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://host/nobody-may-see-this")
    overrides = ["alerts=standard", channel("kind: webhook, form: slack, url_env: SLACK_WEBHOOK_URL")]
    for flags in ([], ["--json"], ["--cfg", "job"]):
        assert main(["config", *overrides, *flags]) == 0
        told = capsys.readouterr().out
        assert "SLACK_WEBHOOK_URL" in told
        assert "nobody-may-see-this" not in told
    assert main(["config", "--json", *overrides]) == 0
    shown = json.loads(capsys.readouterr().out)["settings"]["alerts"]["channels"]["mine"]
    assert shown["url_env"] == "SLACK_WEBHOOK_URL"


def test_the_documents_configuration_composes_and_its_tables_are_whole(tmp_path):
    document = (Path(__file__).parents[1] / "docs" / "alerts.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", document, re.DOTALL)
    (tmp_path / "config.yaml").write_text(example)
    assert compose(config_dir=tmp_path).alerts.channels["slack"].form == "slack"
    first_column = set(re.findall(r"^\| `(\w+)` \|", document, re.MULTILINE))
    measures = get_args(RuleSettings.model_fields["measure"].annotation)
    assert {*compose(["alerts=standard"]).alerts.rules, *measures} < first_column
    assert set(RuleSettings.model_fields) - {"measure"} <= set(re.findall(r"`(\w+)`", document))
    for key, default in re.findall(r"^\| `(\w+)` \| ([\d.]+)(?: s)? \|", document, re.MULTILINE):
        assert RuleSettings.model_fields[key].default == float(default), key
