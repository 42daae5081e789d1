from __future__ import annotations

from datetime import UTC, datetime

import pytest

from claudeprov.cassette.listing import RecordedModel, entry_of
from claudeprov.cassette.users import Project
from claudeprov.catalog import catalog
from tests.cassette.sessions import REQUEST, answer, exchange, text, written

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
RETIRED = next(model for model in catalog() if model.lifecycle.status == "retired" and model.lifecycle.replacement)


def test_a_cassette_is_as_old_as_its_oldest_recording(tmp_path):
    path = written(
        tmp_path / "x.yaml",
        exchange(answer(text("a")), suite="code"),
        exchange(answer(text("a")), suite="code", recorded_at="2026-11-20T10:00:00Z"),
    )
    entry = entry_of(path, Project(tmp_path), now=NOW)
    assert (entry.recorded_at, entry.age_days) == ("2026-11-20T10:00:00Z", 4.0)
    assert (entry.interactions, entry.bytes) == (2, path.stat().st_size)
    assert entry.used_by == ("code",)


@pytest.mark.parametrize(
    ("details", "model"),
    [
        ({"model": RETIRED.id}, RecordedModel(RETIRED.id, "retired", RETIRED.lifecycle.replacement)),
        ({"model": RETIRED.id, "server": "http://127.0.0.1 (local)"}, RecordedModel(RETIRED.id, "local", None)),
        ({"model": "qwen"}, RecordedModel("qwen", "local", None)),
        ({"model": "nobody-knows-it"}, RecordedModel("nobody-knows-it", None, None)),
    ],
)
def test_each_model_has_the_lifecycle_of_the_catalogue(tmp_path, details, model):
    path = written(tmp_path / "x.yaml", exchange(answer(text("a")), **details))
    assert entry_of(path, Project(tmp_path), now=NOW).models == (model,)


def test_what_another_recorder_made_has_the_model_of_its_request_and_no_age(tmp_path):
    request, response = exchange(answer(text("a")), REQUEST | {"model": RETIRED.id})
    del response["claudeprov"]
    entry = entry_of(written(tmp_path / "x.yaml", (request, response)), Project(tmp_path), now=NOW)
    assert entry.models[0].lifecycle == "retired"
    assert (entry.age_days, entry.used_by) == (None, ())
