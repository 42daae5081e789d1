"""PromQL from the table of metrics."""

from __future__ import annotations

import pytest

from claudeprov.dashboard.query import Queries, is_any, is_set, is_unset
from claudeprov.telemetry import table

QUERIES = Queries("5m")


def test_a_rate_is_summed_by_labels_of_its_metric():
    expr = QUERIES.rate(table.CALLS, ["job", table.MODEL], is_any(table.OUTCOME, "read", "failed"))
    assert expr == 'sum by (job, gen_ai_request_model) (rate(claudeprov_calls_total{outcome=~"read|failed"}[5m]))'


def test_what_is_chosen_holds_only_where_the_metric_has_the_label():
    queries = Queries("1m", ['job="a"'], [is_set(table.MODEL)])
    assert queries.series(table.COST) == 'claudeprov_cost_usd_total{job="a", gen_ai_request_model!=""}'
    assert queries.series(table.STREAMS) == 'claudeprov_streams_open{job="a"}'


def test_an_empty_choice_leaves_the_braces_out():
    assert QUERIES.series(table.STREAMS) == "claudeprov_streams_open"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: QUERIES.rate(table.COST, [table.OUTCOME]),
        lambda: QUERIES.series(table.COST, is_unset(table.ERROR)),
        lambda: is_any(table.OUTCOME, "lost"),
    ],
)
def test_a_label_or_a_value_that_the_table_does_not_have_cannot_be_asked_for(ask):
    with pytest.raises(ValueError, match=r"has no label|is never"):
        ask()
