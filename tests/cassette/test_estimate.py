from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from claudeprov.cassette.estimate import Estimate, estimate, total
from claudeprov.cassette.match import Sent
from claudeprov.catalog import catalog
from claudeprov.pricing import PriceBook, Prices
from claudeprov.response import Usage

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PRICES = Prices(
    input=Decimal(1), output=Decimal(5), cache_write_5m=Decimal(2), cache_write_1h=Decimal(3), cache_read=Decimal(1)
)
BOOK = PriceBook(PRICES, catalog().find("claude-haiku-5-5"))
URL = "https://api.anthropic.com/v1/messages"


def ask(usage: dict[str, int] | None = None, url: str = URL, prices: PriceBook = BOOK, **body: object) -> Estimate:
    body = {"model": "claude-haiku-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **body}
    sent = Sent("POST", url, json.dumps(body).encode())
    return estimate(sent, Usage(usage) if usage else None, at=NOW, prices=prices)


def test_what_was_recorded_costs_what_it_used():
    assert ask({"input_tokens": 1000, "output_tokens": 200}) == Estimate(Decimal("0.002"), "recorded")


def test_what_was_not_costs_no_more_than_its_length_and_max_tokens():
    short, long = ask(), ask(system="word " * 1000)
    assert short.kind == long.kind == "bound"
    assert short.usd > Decimal("0.0005")
    assert long.usd - short.usd > Decimal("0.001")


def test_what_may_be_written_to_the_cache_is_bounded_by_the_dearest_price():
    plain = ask(system=[{"type": "text", "text": "word " * 1000}])
    cached = ask(system=[{"type": "text", "text": "word " * 1000, "cache_control": {"type": "ephemeral"}}])
    assert cached.usd > plain.usd + Decimal("0.001")


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"mcp_servers": [{"url": "https://x.test"}]},
        {"fallbacks": "default"},
    ],
)
def test_what_the_service_itself_can_prolong_has_no_bound(body):
    one = ask(**body)
    assert (one.usd, one.kind) == (None, "unknown")
    assert "can use more than the request tells" in one.reason


def test_what_is_no_request_has_no_bound():
    one = ask(messages="Hi")
    assert (one.usd, one.kind) == (None, "unknown")
    assert "messages" in one.reason


def test_a_price_that_is_unknown_is_never_nothing():
    one = ask(model="nobody-knows-it")
    assert (one.usd, one.kind) == (None, "unknown")
    assert "not in the catalogue" in one.reason


def test_counting_tokens_is_free():
    assert ask(url=f"{URL}/count_tokens") == Estimate(Decimal(0), "free")


def test_the_total_says_how_well_it_is_known():
    estimates = [
        Estimate(Decimal("0.5"), "recorded"),
        Estimate(Decimal("0.25"), "recorded"),
        Estimate(Decimal(2), "bound"),
        Estimate(Decimal(0), "free"),
        Estimate(None, "unknown", "no price"),
        Estimate(None, "unknown", "no price"),
    ]
    assert total(estimates) == (
        "$0.750000 for 2 call(s), as much as was used before; "
        "at most $2.000000 for 1 call(s), an upper bound by length and max_tokens; "
        "nothing for 1 call(s); unknown for 2 call(s): no price"
    )
