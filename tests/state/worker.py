"""One process of several that share a Redis server; run by test_processes.py, to which it speaks in lines.

It says ``ready`` and begins at a line of input; says ``half``, ``away`` and ``back``; and ends with a result in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from decimal import Decimal
from typing import Any

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.compose import compose
from claudeprov.errors import BudgetExceededError, ProviderError
from claudeprov.middleware import build
from claudeprov.notice import Notice, Notices
from claudeprov.settings import Settings
from claudeprov.state import Ask, State, open_state
from claudeprov.testing import ScriptedProvider

REQUEST = {"model": "claude-sonnet-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def calls(options: dict[str, Any], state: State, settings: Settings, notices: Notices) -> dict[str, Any]:
    """Make calls, so many at a time, at least as many as asked for and until Redis is back if it is to be killed."""
    provider = ScriptedProvider("Hello", layers=build(settings, SYSTEM_CLOCK, notices=notices, state=state))
    back = asyncio.Event()
    notices.listen(lambda notice: back.set() if notice.name == "state.back" else None)
    ends: Counter[str] = Counter()
    begun = 0

    async def caller() -> None:
        nonlocal begun
        while begun < options["calls"] or (options["killed"] and not back.is_set()):
            begun += 1
            try:
                await provider.send_message(REQUEST)
                ends["read"] += 1
            except ProviderError as error:
                ends[error.code] += 1
            if ends.total() == options["calls"] // 2:
                say("half")

    await asyncio.gather(*(caller() for _ in range(20)))
    return {"begun": begun, **ends}


async def budget(options: dict[str, Any], state: State, *_: Any) -> dict[str, Any]:
    """Reserve a cent a call, of which it costs a little less, until the budget refuses."""
    ends = Counter(reserved=0, refused=0)

    async def caller() -> None:
        for _ in range(options["calls"] // 20):
            ask = Ask("month", "budget.month.usd", None, "month", "usd", Decimal(1), Decimal("0.01"))
            try:
                reservation = await state.reservations.reserve([ask], lambda *_: None)
            except BudgetExceededError:
                ends["refused"] += 1
            else:
                ends["reserved"] += 1
                reservation.settle(Decimal("0.009999"), 1)

    await asyncio.gather(*(caller() for _ in range(20)))
    return ends


async def hold_all(options: dict[str, Any], state: State, *_: Any) -> dict[str, Any]:
    """Open the breaker of one route, take the trial of another, reserve; and say so, for it is killed then."""
    for _ in range(5):
        (await state.circuits.admit("opened")).fail()
    await state.reservations.reserve(
        [Ask("month", "budget.month.usd", None, "month", "usd", Decimal(1), Decimal("0.7"))], lambda *_: None
    )
    say("half")
    await asyncio.Event().wait()
    return {}


async def main(options: dict[str, Any]) -> None:
    notices = Notices(SYSTEM_CLOCK)

    def told(notice: Notice) -> None:
        if notice.name.startswith("state."):
            say({"state.unavailable": "away", "state.back": "back"}[notice.name])

    notices.listen(told)
    settings = compose(options["overrides"])
    state = open_state(settings, SYSTEM_CLOCK, notices)
    await state.open()
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    result: dict[str, Any] = {}
    for name in options["do"]:
        result |= await globals()[name](options, state, settings, notices)
    await state.close()
    say(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
