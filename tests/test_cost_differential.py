"""Costs, held against genai-prices on every model that both know; where they disagree, the reason is below."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import pytest
from genai_prices import Usage, calc_price

from claudeprov.catalog import catalog
from claudeprov.cost import cost_of

CASES = {
    "plain": {"input_tokens": 1_000, "output_tokens": 200},
    "cached": {
        "input_tokens": 1_000,
        "output_tokens": 200,
        "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 300},
        "cache_read_input_tokens": 5_000,
    },
    "long": {"input_tokens": 250_000, "output_tokens": 300},
    "searched": {"input_tokens": 1_000, "output_tokens": 200, "server_tool_use": {"web_search_requests": 3}},
    "in a batch": {"input_tokens": 1_000, "output_tokens": 200, "service_tier": "batch"},
    "fast": {"input_tokens": 1_000, "output_tokens": 200, "speed": "fast"},
    "in the US": {"input_tokens": 1_000, "output_tokens": 200, "inference_geo": "us"},
}
DAYS = ("2024-11-10", "2026-03-01", "2026-07-01", "2026-10-06", "2026-11-22")
OLD = ("claude-2.0", "claude-2.1", "claude-3-sonnet-20240229", "claude-3-haiku-20240307", "claude-3-opus-20240229")


class Disagreement(NamedTuple):
    """One reason for which the two differ, where it applies, and what they say there."""

    why: str
    where: Callable[[str, str, str], bool]
    """Of a model, a case and a day."""
    how: Callable[[Decimal | None, Decimal], bool]
    """Of our cost and theirs."""


KNOWN = [
    Disagreement(
        "they lack the launch price of Haiku 3.5, a quarter more until 2024-12-04, without 1-hour writes",
        lambda model, case, day: model == "claude-3-5-haiku-20241022" and day < "2024-12-05",
        lambda ours, theirs: (
            ours is None or ours in (theirs * Decimal("1.25"), theirs * Decimal("0.625"), Decimal("0.032"))
        ),
    ),
    Disagreement(
        "they have no multiplier for inference in the US",
        lambda model, case, day: case == "in the US",
        lambda ours, theirs: ours == theirs * Decimal("1.1"),
    ),
    Disagreement(
        "they have no batch prices before 2026-10-14, and none for retired models: the list price",
        lambda model, case, day: case == "in a batch",
        lambda ours, theirs: ours == theirs / 2,
    ),
    Disagreement(
        "they take the list price for fast mode where there is none; it is unknown here",
        lambda model, case, day: case == "fast",
        lambda ours, theirs: ours is None,
    ),
    Disagreement(
        "what old models have no price for (caching, searches, batches) is free there and unknown here",
        lambda model, case, day: model in OLD and case in ("cached", "searched", "in a batch"),
        lambda ours, theirs: ours is None,
    ),
    Disagreement(
        "they have no past for Sonnet 5.5, whose cache reads were 0.2 until 2026-10-06",
        lambda model, case, day: (model, case, day) == ("claude-sonnet-5-5", "cached", "2026-10-06"),
        lambda ours, theirs: ours - theirs == Decimal("0.0005"),  # 5000 x 0.1
    ),
    Disagreement(
        "they keep the tier of Sonnet 4.5 that ended with the 1M beta on 2026-04-29",
        lambda model, case, day: model == "claude-sonnet-4-5-20250929" and case == "long" and day > "2026-04-29",
        lambda ours, theirs: ours < theirs,
    ),
    Disagreement(
        "they lack the tier that Sonnet 4 had in the 1M beta, until 2026-04-29",
        lambda model, case, day: model == "claude-sonnet-4-20250514" and case == "long" and day < "2026-04-30",
        lambda ours, theirs: ours > theirs,
    ),
    Disagreement(
        "they lack the preview of fast mode, at six times the price: of Opus 4.6 until 2026-06-28, of 4.7 until 07-23",
        lambda model, case, day: (
            model in ("claude-opus-4-6", "claude-opus-4-7") and case == "fast" and day < "2026-07-24"
        ),
        lambda ours, theirs: ours == theirs * 6,
    ),
]
UNKNOWN_TO_THEM = {"claude-instant-1.2", "claude-mythos-preview", "claude-mythos-5", "claude-mythos-5-1"}


@pytest.fixture(scope="module")
def met():
    """The reasons that were found at work."""
    return set()


def offered(model):
    """The days of DAYS since the model's release."""
    return [day for day in DAYS if model.lifecycle.released and model.lifecycle.released.isoformat() <= day]


@pytest.mark.parametrize(
    "model", [model for model in catalog() if model.line or "claude" in model.id], ids=lambda model: model.id
)
def test_costs_are_those_of_genai_prices_but_for_what_is_explained(model, met):
    if model.id in UNKNOWN_TO_THEM:
        with pytest.raises(LookupError):
            theirs(model.id, CASES["plain"], datetime.now().astimezone())
        return
    for case, usage in CASES.items():
        for day in offered(model):
            at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
            our, their = cost_of(usage, model.id, at=at).total_usd, theirs(model.id, usage, at)
            if our == their:
                continue
            reasons = [known for known in KNOWN if known.where(model.id, case, day) and known.how(our, their)]
            assert reasons, f"{case} on {day}: {our} here, {their} there"
            met.add(reasons[0].why)


def test_each_explanation_still_explains_something(met):
    if not met:
        pytest.skip("the models were not gone through")
    assert {known.why for known in KNOWN} == met


def theirs(model, usage, at):
    """What genai-prices makes of *usage*; its prompt includes what is cached."""
    writes = usage.get("cache_creation", {})
    written, written_1h = sum(writes.values()), writes.get("ephemeral_1h_input_tokens", 0)
    read = usage.get("cache_read_input_tokens", 0)
    counts = {
        "input_tokens": usage["input_tokens"] + written + read,
        "output_tokens": usage["output_tokens"],
        "cache_write_tokens": written,
        "cache_write_1h_tokens": written_1h,
        "cache_read_tokens": read,
        "web_searches": usage.get("server_tool_use", {}).get("web_search_requests", 0),
    }
    context = {}
    if usage.get("service_tier") == "batch":
        context["processing"] = "batch"
    if usage.get("speed") == "fast":
        context["speed"] = "fast"
    used = Usage(**{name: count for name, count in counts.items() if count})
    price = calc_price(used, model, provider_id="anthropic", genai_request_timestamp=at, price_context=context)
    return price.total_price
