"""What alerts compare with is the same from either database."""

from __future__ import annotations

from decimal import Decimal

import pytest

from claudeprov.alerts.baseline import Question
from claudeprov.alerts.history import History
from claudeprov.ledger.store import store_of
from claudeprov.route import group_of
from claudeprov.settings.alerts import RuleSettings
from claudeprov.settings.ledger import LedgerSettings
from claudeprov.testing import ManualClock
from tests.ledger.rows import NOON, row

SONNET = "claude-sonnet-4-5-20250929"
MEASURES = ("error_rate", "refusals", "latency", "first_chunk", "throughput", "cost_rate")
ROWS = [
    row(after=-86400, total=10.0, queue=2.0, backoff=3.0, output_tokens=100, first_chunk=1.0, usd="1.5"),
    row(after=-3600, total=12.0, output_tokens=50, first_chunk=3.0, stop_reason="refusal", usd="0.000000000000007"),
    row(after=-3600, total=1.0, end="failed", error="overloaded"),
    row(after=-3600, total=1.0, end="cancelled", cost_low_usd=Decimal(2)),
    row(after=-3600, total=99.0, replayed=True, usd="99"),
]


@pytest.mark.parametrize("per", ["whole", "model", "route"])
def test_postgres_tells_what_sqlite_tells(postgres, tmp_path, per):
    key = {"whole": None, "model": SONNET, "route": f"anthropic/{group_of(SONNET)}"}[per]
    rules = [RuleSettings(measure=name, times_baseline=2, minimum_calls=1, per=per) for name in MEASURES]
    questions = [Question.of(rule, key) for rule in rules]
    told = []
    for settings in (
        LedgerSettings(path=str(tmp_path / "ledger.db")),
        LedgerSettings(kind="postgres", url=postgres.url, path=str(tmp_path / "rows")),
    ):
        store, _ = store_of(settings, "")
        store.add(ROWS)
        store.close()
        answers = History(settings, "", ManualClock(NOON))(questions)
        told.append({question.measure: answer.value for question, answer in answers.items()})
    assert all(value is not None for value in told[0].values())
    assert told[1] == pytest.approx(told[0])
