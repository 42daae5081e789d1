"""How checks are made: all at once, in time, without repeating each other, and with no secret in them."""

import asyncio
import json

from claudeprov.doctor.check import Check
from claudeprov.doctor.examine import Look, examine
from claudeprov.errors import CallTimeoutError, ConnectionFailedError, ProviderError
from claudeprov.testing import ManualClock


def giving(name, status="ok", **fields):
    async def make():
        return Check(name, status, f"{name} is {status}", **fields)

    return make


async def made(*looks, limit=10.0):
    clock = ManualClock()
    return await clock.run(examine(looks, clock, limit=limit))


def told(checks):
    return [(check.name, check.status, check.found) for check in checks]


async def test_checks_run_at_once_and_are_told_in_their_order():
    clock = ManualClock()

    async def slow():
        await clock.sleep(3)
        return Check("slow", "ok", "")

    looks = [Look("slow", slow), Look("quick", giving("quick")), Look("other", slow)]
    checks = await clock.run(examine(looks, clock, limit=10))
    assert [check.name for check in checks] == ["slow", "quick", "slow"]
    assert [check.seconds for check in checks] == [3, 0, 3]
    assert clock.monotonic() == 3


async def test_what_needs_what_is_at_fault_is_skipped_and_names_the_first_of_all():
    checks = await made(
        Look("network", giving("network", "fault")),
        Look("endpoint", giving("endpoint"), needs=("network",)),
        Look("model", giving("model"), needs=("endpoint",)),
        Look("disk", giving("disk"), after=("network",)),
    )
    because = "not looked at, because of network"
    assert told(checks)[1:] == [
        ("endpoint", "skipped", because),
        ("model", "skipped", because),
        ("disk", "ok", "disk is ok"),
    ]


async def test_a_warning_keeps_nothing_from_being_looked_at():
    checks = await made(Look("a", giving("a", "warning")), Look("b", giving("b"), needs=("a", "not there")))
    assert checks[1].status == "ok"


async def test_a_check_that_hangs_is_a_fault_after_its_time_and_holds_up_no_other():
    checks = await made(Look("a", asyncio.Event().wait), Look("b", giving("b")), limit=5)
    assert (checks[0].status, checks[0].seconds, type(checks[0].error)) == ("fault", 5, CallTimeoutError)
    assert checks[1].status == "ok"


async def test_an_error_of_a_provider_is_a_fault_and_any_other_is_told_as_the_checks_own():
    async def refuses():
        raise ConnectionFailedError("no answer")

    async def breaks():
        raise KeyError("x")

    first, second = await made(Look("a", refuses), Look("b", breaks))
    assert (first.status, first.found, first.error.code) == ("fault", "no answer", "connection_failed")
    assert (second.status, second.found) == ("fault", "the check itself failed: KeyError: 'x'")


async def test_each_fault_has_an_error():
    (check,) = await made(Look("a", giving("a", "fault")))
    assert type(check.error) is ProviderError
    assert str(check.error) == "a is fault"


async def test_whoever_is_cancelled_leaves_no_check_running():
    ended = []

    async def slow():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("slow")

    task = asyncio.create_task(examine([Look("slow", slow)], ManualClock(), limit=5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert ended == ["slow"]


async def test_no_secret_of_the_environment_or_of_an_address_is_in_a_check(monkeypatch):
    secrets = {"REDIS_PASSWORD": "hunter2-of-redis", "PGPASSWORD": "hunter2-of-pg", "SOME_API_KEY": "k" * 20}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    all_of_them = " ".join([*secrets.values(), "http://me:pa55word@proxy:1"])
    fields = {"advice": all_of_them, "details": {"deep": [{"in": all_of_them}]}}

    async def make():
        return Check("a", "fault", all_of_them, **fields)

    (check,) = await made(Look("a", make))
    shown = json.dumps([check.found, check.advice, check.details])
    assert not [secret for secret in [*secrets.values(), "pa55word"] if secret in shown]
    assert "http://**********@proxy:1" in shown
