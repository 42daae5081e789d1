from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from anthropic import AsyncAnthropic
from vcr.request import Request

from claudeprov.cassette.file import new_cassette
from claudeprov.cassette.interaction import Details, Interaction
from claudeprov.cassette.staleness import API_VERSION, stale
from claudeprov.catalog import catalog

NOW = datetime(2026, 11, 22, tzinfo=UTC)
GONE = next(model for model in catalog() if model.lifecycle.status == "retired" and model.lifecycle.replacement)


def recording(**changed: object) -> Interaction:
    known: dict[str, object] = {
        "format": 1,
        "recorded_at": "2026-11-01T00:00:00Z",
        "server": "https://api.anthropic.com",
        "versions": {"claudeprov": "0.1.0", "api": "2026-10-21"},
        "end": "complete",
        "model": "claude-haiku-5-5",
    }
    details = Details(**{**known, **changed})  # type: ignore[arg-type]
    request = Request("POST", "https://api.anthropic.com/v1/messages", b"{}", {})
    return Interaction(new_cassette(Path("x.yaml")), 0, request, 200, [], b"", details)


@pytest.mark.parametrize(
    ("item", "limits"),
    [
        (recording(), {"api": "2026-10-21", "max_age": 22}),
        (recording(), {}),
        (recording(model="nobody-knows-it"), {"api": "2026-10-21"}),
        (recording(versions={"claudeprov": "0.1.0"}), {"api": "2026-10-21"}),
        (recording(model=GONE.id, server="http://127.0.0.1:8085 (local)"), {}),
    ],
)
def test_nothing_speaks_against_a_recording_of_today(item, limits):
    assert stale(item, now=NOW, **limits) is None


@pytest.mark.parametrize(
    ("item", "limits", "reason"),
    [
        (recording(), {"max_age": 20.5}, "recorded more than 20.5 days ago"),
        (recording(), {"api": "2027-01-01"}, "recorded with API version 2026-10-21, requests ask for 2027-01-01 now"),
        (recording(model=GONE.id), {}, f"{GONE.id} is retired, its replacement is {GONE.lifecycle.replacement}"),
    ],
)
def test_a_stale_recording_says_why(item, limits, reason):
    assert stale(item, now=NOW, **limits) == reason


def test_a_model_is_retired_on_its_day():
    ending = next(model for model in catalog() if model.lifecycle.status != "retired" and model.lifecycle.retires)
    day = datetime.combine(ending.lifecycle.retires, time(), UTC)
    item = recording(model=ending.id)
    assert stale(item, now=day - timedelta(minutes=1)) is None
    assert str(stale(item, now=day)).startswith(f"{ending.id} is retired")


def test_the_api_version_is_the_one_that_the_sdk_asks_for():
    client = AsyncAnthropic(api_key="none")
    assert client.default_headers["anthropic-version"] == API_VERSION
