"""The Redis server, a real one."""

import json

import pytest

from claudeprov.clock import SYSTEM_CLOCK
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


async def test_a_user_who_may_run_no_scripts(make_server, monkeypatch):
    server = make_server("--user", "me", "on", f">{SECRET}", "~*", "+@all", "-eval")
    monkeypatch.setenv("REDIS_USERNAME", "me")
    monkeypatch.setenv("REDIS_PASSWORD", SECRET)
    check = await shared_state(settings(server), SYSTEM_CLOCK)
    assert check.status == "fault"
    assert "script load" in check.advice


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
