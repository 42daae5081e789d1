"""A provider that answers from a script, and suites for it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from claudeprov.bench.suite import Suite
from claudeprov.cost import Cost
from claudeprov.response import Attempt, MessageResponse, Timing

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def respond(text: str, *, seconds: float = 1.0, usd: str | None = "0.01", **message) -> MessageResponse:
    """A whole response; without a price its cost is unknown."""
    cost = Cost(Decimal(usd), ()) if usd is not None else Cost(None, (), "qwen, input: no price is known")
    usage = {"input_tokens": 10, "output_tokens": 5}
    content = [{"type": "text", "text": text}]
    whole = {"model": "qwen", "content": content, "stop_reason": "end_turn", "usage": usage} | message
    timing = Timing(NOON, queue=0.0, backoff=0.0, first_chunk=seconds / 10, total=seconds)
    return MessageResponse(whole, timing, (Attempt(1, 0.0, seconds),), "req_1", price=lambda response: cost)


class Script:
    """Answers each prompt as told: with a response, an error, or what a function of no arguments makes."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = answers
        self.requests: list[dict] = []
        self.tags: list[dict | None] = []
        self.open = self.most_open = 0

    async def send_message(self, request: dict, *, tags: dict | None = None) -> MessageResponse:
        self.requests.append(request)
        self.tags.append(tags)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            answer = self.answers[request["messages"][0]["content"]]
            await asyncio.sleep(0)
            if isinstance(answer, Callable):
                answer = await answer()
        finally:
            self.open -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def suite_of(*prompts: str, kind: str = "analysis") -> Suite:
    """A suite with a task for each prompt, whose right answer is 1 or the code ``def f(): return 1``."""
    more = {
        "analysis": {"answer": 1},
        "generation": {"defines": "f", "checks": [{"call": "f()", "gives": 1}]},
    }[kind]
    tasks = [{"id": prompt, "kind": kind, "prompt": prompt, "max_tokens": 9, **more} for prompt in prompts]
    return Suite.model_validate({"name": "small", "tasks": tasks})


@pytest.fixture(name="respond")
def respond_fixture():
    """Makes a whole response."""
    return respond


@pytest.fixture(name="suite_of")
def suite_of_fixture():
    """Makes a suite."""
    return suite_of


@pytest.fixture
def script():
    """Makes a provider of its answers by prompt."""
    return Script
