"""What the service says, and what its answer tells of clocks and models."""

import asyncio
import json
from datetime import timedelta
from email.utils import format_datetime

import pytest

from claudeprov import open_provider
from claudeprov.anthropic import Endpoint
from claudeprov.doctor.endpoint import Visit
from claudeprov.doctor.examine import Look, examine
from claudeprov.errors import AuthenticationError, PermissionDeniedError, ServerError
from claudeprov.testing import ManualClock
from tests.server import Answer, Server

KEY = "fake-key-for-a-test"
MODEL = {"id": "claude-sonnet-5-5"}


def answer(*models, status=200, date=None, **more):
    body = {"data": list(models), "has_more": False} if status == 200 else more
    headers = {"content-type": "application/json"} | ({"date": date} if date else {})
    return Answer(json.dumps(body).encode(), status=status, headers=headers)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def visiting(clock, monkeypatch):
    """Makes the three checks of a server with one answer."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    async def visiting(given, *overrides):
        async with Server(given) as server:
            base = ["endpoint=compatible", f"endpoint.base_url={server.url}", "cassette=live", *overrides]
            settings = open_provider(base).settings
            made = []

            def service():
                made.append(Endpoint(settings.endpoint, settings.deadline, clock))
                return made[-1]

            visit = Visit(settings, clock, service)
            looks = [
                Look("endpoint", visit.endpoint),
                Look("clock", visit.skew, after=("endpoint",)),
                Look("model", visit.model, after=("endpoint",)),
            ]
            checking = asyncio.create_task(examine(looks, clock, limit=5))
            if given.end == "hang":
                await server.hanging.wait()
                await clock.advance(5)
            checks = {check.name: check for check in await checking}
            for endpoint in made:
                await endpoint.close()
        assert {(asked.method, asked.path.partition("?")[0]) for asked in server.asked} <= {("GET", "/v1/models")}
        return checks

    return visiting


async def test_an_answer_in_order(visiting, clock):
    checks = await visiting(answer(MODEL, date=format_datetime(clock.now(), usegmt=True)))
    assert {check.status for check in checks.values()} == {"ok"}
    assert checks["clock"].details == {"ahead_seconds": 0}


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (401, AuthenticationError, "a key may be revoked"),
        (403, PermissionDeniedError, "manages the organization"),
        (500, ServerError, "out of order"),
    ],
)
async def test_a_refusal_is_told_with_what_to_do_and_the_clock_all_the_same(status, error, advice, visiting, clock):
    body = {"type": "error", "error": {"type": "x", "message": f"no, {KEY}"}}
    checks = await visiting(answer(status=status, date=format_datetime(clock.now(), usegmt=True), **body))
    assert isinstance(checks["endpoint"].error, error)
    assert advice in checks["endpoint"].advice
    assert KEY not in checks["endpoint"].found
    assert checks["clock"].status == "ok"


async def test_a_server_that_does_not_answer_is_given_up(visiting):
    check = (await visiting(Answer(b"{", end="hang")))["endpoint"]
    assert (check.status, check.error.code, check.seconds) == ("fault", "timeout", 5)


async def test_a_page_in_place_of_an_answer(visiting):
    check = (await visiting(Answer(b"<html>", headers={"content-type": "text/html"})))["endpoint"]
    assert (check.status, check.error.code) == ("fault", "invalid_response")
    assert "something else answers there" in check.advice


async def test_a_compatible_server_may_have_no_list(visiting):
    checks = await visiting(answer(status=404))
    assert checks["endpoint"].status == "warning"
    assert checks["model"].status == "ok"


@pytest.mark.parametrize(
    ("seconds", "status", "found"),
    [
        (29, "ok", "agrees"),
        (31, "warning", "31 s behind the service's"),
        (-31, "warning", "31 s ahead of the service's"),
    ],
)
async def test_a_clock_that_is_wrong(seconds, status, found, visiting, clock):
    date = format_datetime(clock.now() + timedelta(seconds=seconds), usegmt=True)
    check = (await visiting(answer(MODEL, date=date)))["clock"]
    assert check.status == status
    assert check.found.startswith(found)
    assert check.details == {"ahead_seconds": -seconds}


@pytest.mark.parametrize(("seconds", "status"), [(299, "warning"), (301, "fault")])
async def test_where_requests_are_signed_a_clock_that_is_far_off_is_a_fault(seconds, status, clock):
    settings = open_provider(["endpoint=bedrock"]).settings
    visit = Visit(settings, clock, lambda: None)
    visit._asked = type(
        "Asked", (), {"date": (format_datetime(clock.now(), usegmt=True), clock.now() + timedelta(seconds=seconds))}
    )
    assert (await visit.skew()).status == status


@pytest.mark.parametrize("date", [None, "soon", "Sun, 32 Foo"])
async def test_an_answer_without_a_date_says_nothing_of_the_clock(date, visiting):
    assert (await visiting(answer(MODEL, date=date)))["clock"].status == "skipped"


async def test_a_model_that_the_endpoint_does_not_list(visiting):
    check = (await visiting(answer({"id": "another"})))["model"]
    assert check.status == "warning"
    assert "not among the 1 models" in check.found


@pytest.mark.parametrize(("lifecycle", "status"), [("deprecated", "warning"), ("retired", "fault"), ("active", "ok")])
async def test_a_model_that_is_about_to_go_or_gone_by_the_endpoints_word(lifecycle, status, visiting):
    check = (await visiting(answer(MODEL | {"lifecycle": lifecycle})))["model"]
    assert (check.status, check.details["lifecycle"]) == (status, lifecycle)


async def test_a_retired_model_is_told_with_its_successor_where_nobody_answers(visiting):
    check = (await visiting(answer(status=500), "model=claude-3-opus-20240229"))["model"]
    assert check.status == "fault"
    assert check.details["replacement"] in check.advice
