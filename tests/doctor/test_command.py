"""``claudeprov doctor``: what it prints, its JSON, and its exit status, to a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path

import pytest

from claudeprov.commands import main
from claudeprov.doctor.diagnosis import CHECKS
from tests.server import Answer, Server

ROOT = Path(__file__).parents[2]
SECRETS = {
    "ANTHROPIC_API_KEY": "fake-key-for-a-test",
    "ANTHROPIC_AUTH_TOKEN": "fake-token-for-a-test",
    "REDIS_PASSWORD": "hunter2-of-redis",
    "PGPASSWORD": "hunter2-of-postgres",
}
LISTED = json.dumps({"data": [{"id": "claude-sonnet-5-5"}], "has_more": False}).encode()


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRETS["ANTHROPIC_API_KEY"])


def answer(status=200, body=LISTED):
    return Answer(body, status=status, headers={"content-type": "application/json", "date": formatdate(usegmt=True)})


async def doctor(capsys, *words):
    """The exit status, the JSON, and what was printed; the command has an event loop of its own, in a thread."""
    status = await asyncio.to_thread(main, ["doctor", "--json", *words])
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert [check["name"] for check in document["checks"]] == list(CHECKS)
    return status, {check["name"]: check for check in document["checks"]}, told


async def test_nothing_is_at_fault(key, capsys, tmp_path):
    async with Server(answer()) as server:
        status, checks, told = await doctor(capsys, "endpoint=compatible", f"endpoint.base_url={server.url}")
    assert status == 0
    assert {name: check["status"] for name, check in checks.items()} | {"sandbox": "ok"} == {
        **dict.fromkeys(CHECKS, "ok"),
        **dict.fromkeys(("fallback", "redis", "database", "telemetry", "alerts"), "skipped"),
    }
    assert [(asked.method, asked.path.partition("?")[0]) for asked in server.asked] == [("GET", "/v1/models")]
    assert told.err == ""
    assert list(tmp_path.iterdir()) == []


async def test_the_json_has_the_shape_that_is_documented(key, capsys):
    async with Server(answer()) as server:
        _, checks, told = await doctor(capsys, "endpoint=compatible", f"endpoint.base_url={server.url}")
    document = json.loads(told.out)
    assert list(document) == ["ok", "checks"]
    text = (ROOT / "docs/doctor.md").read_text()
    example = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    assert list(example) == list(document)
    for check in checks.values():
        assert list(check) == list(example["checks"][0])
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)[: len(CHECKS)] == list(CHECKS)


async def test_refused_credentials_end_with_their_status_and_nobody_shows_them(monkeypatch, capsys):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    body = json.dumps({"error": {"message": f"bad key {SECRETS['ANTHROPIC_API_KEY']}"}}).encode()
    async with Server(answer(401, body)) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url.replace("://", "://me:pa55word@"))
        words = [
            "endpoint=compatible",
            f"endpoint.base_url={server.url}",
            "state=redis",
            "state.url=redis://127.0.0.1:1",
        ]
        words += ["ledger=postgres", "ledger.url=postgresql://me@127.0.0.1:1/db"]
        status, checks, told = await doctor(capsys, *words)
        assert await asyncio.to_thread(main, ["doctor", *words]) == 3
    assert status == 3
    assert (checks["endpoint"]["status"], checks["endpoint"]["code"]) == ("fault", "authentication")
    assert checks["credentials"]["found"].startswith("from ANTHROPIC_API_KEY; ANTHROPIC_AUTH_TOKEN is set too")
    assert checks["redis"]["status"] == checks["database"]["status"] == "fault"
    shown = told.out + told.err + "".join(capsys.readouterr())
    assert not [secret for secret in (*SECRETS.values(), "pa55word") if secret in shown]


@pytest.mark.parametrize(("status", "ends"), [(403, 3), (500, 5)])
async def test_the_exit_status_is_that_of_the_first_fault(status, ends, key, capsys):
    async with Server(answer(status, b"{}")) as server:
        told, checks, _ = await doctor(capsys, "endpoint=compatible", f"endpoint.base_url={server.url}")
    assert told == ends
    assert checks["endpoint"]["status"] == "fault"


async def test_without_a_way_to_the_service_all_that_need_it_are_skipped_at_once(key, capsys):
    words = ["endpoint=compatible", "endpoint.base_url=https://nowhere.invalid"]
    status, checks, _ = await doctor(capsys, *words)
    assert status == 5
    assert checks["network"]["status"] == "fault"
    because = ("skipped", "not looked at, because of network")
    assert all((checks[name]["status"], checks[name]["found"]) == because for name in ("endpoint", "clock"))
    assert [name for name, check in checks.items() if check["status"] == "fault"] == ["network"]


async def test_no_credentials_send_nothing_but_the_way_is_looked_at(capsys):
    async with Server(answer()) as server:
        status, checks, _ = await doctor(capsys, "endpoint=compatible", f"endpoint.base_url={server.url}")
    assert status == 3
    assert "cassette=replay" in checks["credentials"]["advice"]
    assert checks["network"]["status"] == "ok"
    assert checks["endpoint"]["found"] == "not looked at, because of credentials"
    assert server.asked == []


async def test_a_key_with_a_quote_is_told(monkeypatch, capsys):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "'fake-key-for-a-test")
    async with Server(answer()) as server:
        _, checks, _ = await doctor(capsys, "endpoint=compatible", f"endpoint.base_url={server.url}")
    assert checks["credentials"]["status"] == "warning"


async def test_a_key_that_cannot_be_sent_is_told(monkeypatch, capsys):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "fake\nkey")
    status, checks, _ = await doctor(capsys)
    assert status == 3
    assert "line break" in checks["credentials"]["found"]


async def test_a_replay_needs_neither_credentials_nor_a_network(capsys):
    status, checks, _ = await doctor(capsys, "cassette=replay")
    assert status == 0
    assert {checks[name]["status"] for name in ("credentials", "network", "endpoint", "clock", "model")} == {"skipped"}


async def test_a_broken_configuration_is_the_fault_and_the_rest_is_looked_at(capsys):
    status, checks, _ = await doctor(capsys, "retry.max_atempts=3")
    assert status == 2
    assert "did you mean max_attempts?" in checks["configuration"]["found"]
    assert checks["configuration"]["details"]["problems"][0]["key"] == "retry.max_atempts"
    assert checks["python"]["status"] == "ok"
    assert checks["endpoint"]["found"] == "not looked at, because of configuration"


@pytest.mark.parametrize("words", [["retry=no-such"], ["--config-dir", "nowhere"], ["a.b.c=[", "x=1"]])
async def test_whatever_breaks_the_configuration_does_not_stop_the_doctor(words, capsys):
    assert (await doctor(capsys, *words))[0] == 2


ALERTS = ["alerts=standard", "cassette=live"]
BROKEN_CHANNELS = [
    "+alerts.channels.slack={kind: webhook, form: slack, url_env: NO_SUCH_VARIABLE}",
    "+alerts.channels.pager={kind: command, command: [no-such-program]}",
]


async def test_channels_are_told_that_cannot_be_opened_or_whose_program_is_missing(key, capsys):
    async with Server(answer()) as server:
        words = ["endpoint=compatible", f"endpoint.base_url={server.url}", *ALERTS]
        assert (await doctor(capsys, *words))[0] == 0
        status, checks, _ = await doctor(capsys, *words, *BROKEN_CHANNELS)
    assert (status, checks["alerts"]["status"]) == (2, "fault")
    assert "NO_SUCH_VARIABLE" in checks["alerts"]["found"]
    assert "no-such-program" in checks["alerts"]["found"]
    assert [name for name, check in checks.items() if check["status"] == "fault"] == ["alerts"]


async def test_a_replay_wakes_nobody(capsys):
    status, checks, _ = await doctor(capsys, "cassette=replay", "alerts=standard", *BROKEN_CHANNELS)
    assert (status, checks["alerts"]["status"]) == (0, "skipped")


async def test_a_layer_of_the_users_own_that_cannot_be_made(capsys):
    words = ["allow_targets=[collections]", "chain=[telemetry,{_target_: collections.Counter, a: 1}]"]
    status, checks, _ = await doctor(capsys, "cassette=replay", *words)
    assert (status, checks["layers"]["status"]) == (2, "fault")
    assert "collections" in checks["layers"]["found"]


async def test_endpoints_that_stand_in_without_credentials_are_a_warning(key, capsys):
    async with Server(answer()) as server:
        own = f"{{kind: compatible, base_url: '{server.url}/other'}}"
        words = ["endpoint=compatible", f"endpoint.base_url={server.url}", "fallback=standard"]
        status, checks, _ = await doctor(capsys, *words, f"fallback.to=[{{endpoint: {own}}}]")
        assert (status, checks["fallback"]["status"]) == (0, "ok")
        status, checks, _ = await doctor(capsys, *words, f"fallback.to=[{{endpoint: {own}}},{{endpoint: foundry}}]")
    assert (status, checks["fallback"]["status"]) == (0, "warning")
    assert "ANTHROPIC_FOUNDRY_API_KEY" in checks["fallback"]["found"]


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:none", "nothing://127.0.0.1:1"])
async def test_a_proxy_that_cannot_be_used_is_the_fault(proxy, key, monkeypatch, capsys):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    status, checks, _ = await doctor(capsys, "endpoint=anthropic")
    assert (status, checks["network"]["status"]) == (2, "fault")
    assert "HTTPS_PROXY" in checks["network"]["found"]
    assert checks["endpoint"]["found"] == "not looked at, because of network"


@pytest.mark.parametrize("words", [["runs_dir=/proc/x"], ["runs_dir=/proc/x", "ledger=sqlite"]])
async def test_a_folder_that_cannot_be_written_is_a_fault_where_a_ledger_is_kept_in_it(words, capsys):
    status, checks, _ = await doctor(capsys, "cassette=replay", *words)
    assert checks["disk"]["status"] == "warning"
    assert (status, checks["database"]["status"]) == ((2, "fault") if words[1:] else (0, "skipped"))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_the_json_is_json_whatever_the_encoding_of_the_output(encoding, tmp_path):
    command = [sys.executable, "-m", "claudeprov", "doctor", "--json", "cassette=replay", "runs_dir='\u00e9\u4e00/x'"]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    disk = next(check for check in json.loads(told.stdout)["checks"] if check["name"] == "disk")
    assert disk["details"]["folder"] == str(tmp_path / "\u00e9\u4e00/x")


async def test_a_person_reads_a_table_with_what_to_do(capsys):
    assert (
        await asyncio.to_thread(main, ["doctor", "state=redis", "state.url=redis://127.0.0.1:1", "cassette=replay"])
        == 5
    )
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    place = next(number for number, line in enumerate(lines) if line.startswith("fault    redis"))
    assert "redis://127.0.0.1:1" in lines[place]
    assert "-> look at state.url" in lines[place + 1]
    assert "1 fault" in lines[-1]


def test_whoever_interrupts_it_is_obeyed(closing_server):
    command = [
        sys.executable,
        "-m",
        "claudeprov",
        "doctor",
        "endpoint=compatible",
        f"endpoint.base_url={closing_server.url}",
    ]
    environment = os.environ | {"ANTHROPIC_API_KEY": SECRETS["ANTHROPIC_API_KEY"], "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        closing_server.wait()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in told


class Hanging:
    """A listening socket that takes a request, and never answers."""

    def __init__(self):
        import socket

        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._taken = []

    def wait(self):
        """Wait until a request is there: the doctor's first connection is closed without one."""
        while not (self._taken and self._taken[-1].recv(100)):
            self._taken.append(self._listening.accept()[0])

    def close(self):
        for connection in (*self._taken, self._listening):
            connection.close()


@pytest.fixture
def closing_server():
    server = Hanging()
    yield server
    server.close()
