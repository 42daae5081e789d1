"""The Redis server, a real one."""

import json

import pytest
from redis.asyncio import Redis

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.doctor import shared_state as shared_state_module
from claudeprov.doctor.shared_state import shared_state
from claudeprov.errors import StateUnavailableError
from claudeprov.settings.state import StateSettings

SECRET = "hunter2-of-redis"


def settings(server, **fields):
    return StateSettings(kind="redis", url=server.url, timeout=10.0, namespace="doctor", **fields)


async def test_state_in_memory_needs_no_server():
    assert (await shared_state(StateSettings(), SYSTEM_CLOCK)).status == "skipped"


async def test_a_server_in_order_is_told_with_its_version_and_how_long_a_script_takes(redis_server):
    check = await shared_state(settings(redis_server), SYSTEM_CLOCK)
    assert check.status == "ok", check
    assert check.found.startswith(f"Redis {check.details['version']} runs a script in ")
    assert check.details["script_seconds"] > 0


async def test_a_server_that_asks_for_a_password(make_server, monkeypatch):
    server = make_server("--requirepass", SECRET)
    check = await shared_state(settings(server), SYSTEM_CLOCK)
    assert (check.status, type(check.error)) == ("fault", StateUnavailableError)
    assert "REDIS_PASSWORD" in check.advice
    monkeypatch.setenv("REDIS_PASSWORD", "wrong-" + SECRET)
    check = await shared_state(settings(server), SYSTEM_CLOCK)
    assert (check.status, "REDIS_PASSWORD" in check.advice) == ("fault", True)
    monkeypatch.setenv("REDIS_PASSWORD", SECRET)
    check = await shared_state(settings(server), SYSTEM_CLOCK)
    assert check.status == "ok"
    assert SECRET not in json.dumps([check.found, check.details])


@pytest.mark.parametrize("lacking", ["-evalsha", "-@sortedset", "-set", "-time"])
async def test_a_user_who_may_not_do_what_calls_do(lacking, make_server, monkeypatch):
    server = make_server("--user", "me", "on", f">{SECRET}", "~*", "+@all", lacking)
    monkeypatch.setenv("REDIS_USERNAME", "me")
    monkeypatch.setenv("REDIS_PASSWORD", SECRET)
    check = await shared_state(settings(server), SYSTEM_CLOCK)
    assert check.status == "fault"
    assert "script load" in check.advice


async def test_a_user_whom_the_server_tells_nothing_of_itself_can_make_calls(as_ordinary_user):
    check = await shared_state(settings(as_ordinary_user), SYSTEM_CLOCK)
    assert (check.status, "version" in check.details) == ("ok", False), check
    assert check.found.endswith("; its version is not told to this user")


async def test_a_user_who_may_run_only_scripts_that_are_loaded_can_make_calls(make_server, monkeypatch):
    rights = ["+evalsha", "+script|load", "+set", "+hset", "+del", "+zadd", "+time"]
    server = make_server("--user", "me", "on", f">{SECRET}", "~doctor:*", *rights)
    monkeypatch.setenv("REDIS_USERNAME", "me")
    monkeypatch.setenv("REDIS_PASSWORD", SECRET)
    check = await shared_state(settings(server), SYSTEM_CLOCK)
    assert check.status == "ok", check


async def test_a_server_that_is_too_old(redis_server, monkeypatch):
    monkeypatch.setattr(shared_state_module, "_OLDEST", (99, 0))
    check = await shared_state(settings(redis_server), SYSTEM_CLOCK)
    assert check.status == "fault"
    assert "too old" in check.found


async def test_a_cluster(make_server):
    server = make_server("--cluster-enabled", "yes")
    async with Redis.from_url(server.url, decode_responses=True) as client:
        await client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        while (await client.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":
            pass
    check = await shared_state(settings(server), SYSTEM_CLOCK)
    assert (check.status, check.advice) == ("fault", "run a single server"), check


async def test_a_replica_cannot_be_written(make_server, redis_server):
    server = make_server("--replicaof", "127.0.0.1", str(redis_server.port))
    check = await shared_state(settings(server), SYSTEM_CLOCK)
    assert check.status == "fault"
    assert "replica" in check.advice


@pytest.mark.parametrize(("when_away", "status"), [("closed", "fault"), ("open", "warning")])
async def test_a_server_that_is_away_is_as_bad_as_the_configuration_takes_it(when_away, status, own_server):
    own_server.kill()
    check = await shared_state(settings(own_server, when_away=when_away), SYSTEM_CLOCK)
    assert check.status == status
    assert own_server.url in check.found
    assert "whether the server runs" in check.advice
