"""Making checks: all at once, each within its time, none that would only repeat what another has found."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from claudeprov.clock import Clock, within
from claudeprov.doctor.check import Check
from claudeprov.errors import CallTimeoutError, ProviderError
from claudeprov.mask import credentials_in, masked_text, masked_within


@dataclass(frozen=True, slots=True)
class Look:
    """A check that is to be made."""

    name: str
    make: Callable[[], Awaitable[Check]]
    needs: tuple[str, ...] = ()
    """Checks before it, without whose success it is not made."""
    after: tuple[str, ...] = ()
    """Checks before it whose end it waits for, however they end."""


async def examine(looks: Sequence[Look], clock: Clock, *, limit: float) -> tuple[Check, ...]:
    """Make the checks of *looks*, and return them in that order.

    Args:
        looks: Each after those that it names; names that are not among them do not count.
        clock: Where time comes from.
        limit: Most seconds of a check; one that takes longer is a fault.
    """
    made: dict[str, asyncio.Task[Check]] = {}
    async with asyncio.TaskGroup() as group:
        for look in looks:
            needed = [made[name] for name in look.needs if name in made]
            others = [made[name] for name in look.after if name in made]
            made[look.name] = group.create_task(_examine(look, needed, others, clock, limit))
    return tuple(task.result() for task in made.values())


async def _examine(
    look: Look, needed: Sequence[asyncio.Task[Check]], others: Sequence[asyncio.Task[Check]], clock: Clock, limit: float
) -> Check:
    for task in (*needed, *others):
        await task
    for check in (task.result() for task in needed):
        if check.status == "fault":
            return Check(look.name, "skipped", f"not looked at, because of {check.name}")
        if check.status == "skipped":
            return Check(look.name, "skipped", check.found)
    started = clock.monotonic()

    def late() -> CallTimeoutError:
        return CallTimeoutError(f"the check {look.name} was not over within {limit:g} s")

    try:
        check = await within(clock, limit, look.make(), late)
    except ProviderError as error:
        check = Check(look.name, "fault", error.message, error=error)
    except Exception as error:  # a doctor that falls ill tells so, and goes on
        check = Check(look.name, "fault", f"the check itself failed: {type(error).__name__}: {error}")
    if check.status == "fault" and check.error is None:
        check = replace(check, error=ProviderError(check.found))
    return _without_secrets(replace(check, seconds=clock.monotonic() - started))


def _without_secrets(check: Check) -> Check:
    credentials = credentials_in(os.environ)
    return replace(
        check,
        found=masked_text(check.found, credentials),
        advice=check.advice and masked_text(check.advice, credentials),
        details=masked_within(check.details, credentials),
    )
