"""The dashboard as Grafana reads it."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from claudeprov.dashboard.grafana import UID, dashboard_json
from claudeprov.dashboard.panels import rows
from claudeprov.dashboard.thresholds import Thresholds
from tests.dashboard.grafana import filled_in, panels_of


@pytest.fixture(scope="module")
def dashboard():
    return json.loads(dashboard_json(rows(Thresholds()), "Ours."))


def test_the_library_reads_what_it_wrote(dashboard):
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    read = Dashboard.from_json(dashboard)
    assert json.loads(JSONEncoder().encode(read)) == dashboard


def test_it_is_the_same_bytes_each_time_under_one_uid(dashboard):
    assert dashboard_json(rows(Thresholds()), "Ours.") == dashboard_json(rows(Thresholds()), "Ours.")
    assert dashboard["uid"] == UID == "claudeprov"
    assert (dashboard["title"], dashboard["schemaVersion"]) == ("claudeprov", 42)
    assert dashboard.get("id") is None  # Grafana gives it one


def test_its_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard):
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert not cells & taken, panel["title"]
        taken |= cells


def test_its_rows_are_filled(dashboard):
    for row in rows(Thresholds()):
        assert sum(panel.width for panel in row.panels) % 24 == 0, row.title


def test_each_panel_says_what_it_shows_and_in_what_unit(dashboard):
    import grafana_foundation_sdk.models.units as units

    known = {value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)}
    for panel in panels_of(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in known, panel["title"]
    titles = [panel["title"] for panel in panels_of(dashboard)]
    assert len(titles) == len(set(titles))


def test_each_query_goes_to_the_chosen_source_and_uses_only_variables_that_there_are(dashboard):
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert names == {"datasource", "job", "instance", "model"}
    for panel in panels_of(dashboard):
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert "$" not in filled_in(target["expr"], interval="1m", shown="1h")
            assert 'job=~"$job"' in target["expr"]
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))


def test_several_lines_of_a_panel_are_told_apart(dashboard):
    for panel in panels_of(dashboard):
        for target in panel["targets"]:
            expr = target["expr"]
            by = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expr)))) - {"le"}
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert by == shown, panel["title"]


def test_red_begins_where_it_is_told_to():
    drawn = json.loads(dashboard_json(rows(Thresholds(p95_seconds=300)), "Ours."))
    [panel] = [panel for panel in panels_of(drawn) if panel["title"] == "Duration of calls"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1] == {"color": "red", "value": 300}
