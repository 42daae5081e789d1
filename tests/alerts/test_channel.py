"""What each channel says, to real receivers and programs, and how it fails."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import signal
import socket
import sys
from datetime import timedelta

import pytest

from claudeprov.alerts.channel import Command, Log, NotDeliveredError, Webhook, open_channel
from claudeprov.errors import ConfigurationError
from claudeprov.settings.alerts import ChannelSettings
from tests.alerts.made import NOON, alert, rule
from tests.server import Answer, Server

PATH = "/services/T0/B0/nobody-may-see-this?x=1"


async def post(receiver, form="json", **fields):
    webhook = Webhook(receiver.url + PATH, form)
    try:
        await webhook.send(alert(**fields))
    finally:
        await webhook.close()


async def test_a_webhook_gets_every_figure():
    async with Server(Answer()) as receiver:
        await post(receiver, key="claude-opus", baseline=5.9, rule=rule(times_baseline=2, severity="error"), run="r1")
    (asked,) = receiver.asked
    assert (asked.method, asked.path, asked.headers["content-type"]) == ("POST", PATH, "application/json")
    assert asked.body == {
        "id": "alert_1",
        "rule": "slow",
        "severity": "error",
        "state": "firing",
        "measure": "latency",
        "unit": "s",
        "value": 12.4,
        "threshold": 11.8,
        "baseline": 5.9,
        "baseline_seconds": 604800.0,
        "window_seconds": 300.0,
        "calls": 42,
        "per": "whole",
        "key": "claude-opus",
        "since": "2026-11-22T12:00:00+00:00",
        "at": "2026-11-22T12:00:00+00:00",
        "run": "r1",
        "service": "s",
        "host": "h",
        "message": "slow firing: p95 latency 12.4 s for claude-opus, 2.1 times last week's 5.9 s, in 42 calls of "
        "the last 5 min",
    }


async def test_slack_gets_a_message_of_its_own_form():
    async with Server(Answer()) as receiver:
        await post(receiver, "slack", key="<!channel> & co", run="<!here> & r1")
        await post(receiver, "slack", state="resolved", at=NOON + timedelta(minutes=9))
    fired, resolved = (asked.body for asked in receiver.asked)
    text = (
        "slow firing: p95 latency 12.4 s for &lt;!channel&gt; &amp; co, the threshold is 10 s, in 42 calls of the last"
    )
    text += " 5 min"
    assert fired == {
        "text": text,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f":warning: {text}"}},
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": "warning · s on h · run &lt;!here&gt; &amp; r1 · since 2026-11-22 12:00:00 UTC",
                    },
                ],
            },
        ],
    }
    assert resolved["blocks"][0]["text"]["text"].startswith(":white_check_mark: slow resolved after 9 min: p95 latency")


@pytest.mark.parametrize(("status", "passes"), [(500, True), (503, True), (429, True), (400, False), (410, False)])
async def test_a_refusal_says_its_status_and_whether_it_may_pass(status, passes):
    async with Server(Answer(status=status)) as receiver:
        with pytest.raises(NotDeliveredError, match=rf"^127\.0\.0\.1 answered {status}$") as caught:
            await post(receiver)
    assert caught.value.passes is passes


async def test_a_redirect_is_not_followed():
    async with Server(Answer()) as elsewhere, Server(Answer(status=307, headers={"location": elsewhere.url})) as moved:
        with pytest.raises(NotDeliveredError, match=r"answered 307$") as caught:
            await post(moved)
    assert elsewhere.asked == []
    assert caught.value.passes is False


async def test_of_a_body_without_end_nothing_is_read():
    pieces = itertools.count()
    async with Server(Answer(b"x" * 65536 for _ in pieces)) as receiver:
        async with asyncio.timeout(10):
            await post(receiver)
    assert next(pieces) < 1000


async def test_a_receiver_that_is_not_there_may_come_back():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    webhook = Webhook(f"http://127.0.0.1:{port}{PATH}", "json")
    with pytest.raises(NotDeliveredError, match=r"^127\.0\.0\.1: ConnectError") as caught:
        await webhook.send(alert())
    await webhook.close()
    assert caught.value.passes
    assert PATH not in str(caught.value)


async def test_a_receiver_that_hangs_up_may_come_back():
    async with Server(Answer(status=0)) as receiver:
        with pytest.raises(NotDeliveredError, match="RemoteProtocolError") as caught:
            await post(receiver)
    assert caught.value.passes


async def test_the_url_and_its_login_are_in_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    async with Server(Answer()) as receiver:
        login = "me:" + "pass-of-mine"
        webhook = Webhook(receiver.url.replace("//", f"//{login}@") + PATH, "json")
        await webhook.send(alert())
        await webhook.close()
    assert receiver.asked[0].headers["authorization"].startswith("Basic ")
    assert "HTTP Request: POST http://127.0.0.1" in caplog.text
    assert PATH not in caplog.text
    assert "pass-of-mine" not in caplog.text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "the environment has no such variable; it is to hold the webhook's URL"),
        ("ftp://host" + PATH, "what it holds is no URL that begins with http:// or https://"),
        ("https://:\x00" + PATH, "what it holds is no URL that begins with http:// or https://"),
    ],
)
def test_a_webhook_without_its_url_is_refused_when_it_is_opened(monkeypatch, value, told):
    monkeypatch.delenv("HOOK", raising=False)
    if value:
        monkeypatch.setattr(os, "environ", {"HOOK": value})
    with pytest.raises(ConfigurationError) as caught:
        open_channel("slack", ChannelSettings(kind="webhook", url_env="HOOK"))
    assert str(caught.value) == f"alerts.channels.slack.url_env = 'HOOK': {told}"


def program(code):
    return Command((sys.executable, "-c", code))


async def test_a_command_gets_the_alert_and_none_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key")
    code = f"import os, sys; open({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read() + repr(set(os.environ)))"
    await program(code).send(alert())
    told, _, environment = (tmp_path / "got").read_text().rpartition("}{")
    assert json.loads(told + "}")["rule"] == "slow"
    assert eval("{" + environment) <= {"PATH", "HOME", "LANG", "LC_CTYPE"}


async def test_no_shell_reads_a_command(tmp_path):
    await Command((sys.executable, "-c", "pass", f"; touch {tmp_path / 'made'}")).send(alert())
    assert list(tmp_path.iterdir()) == []


async def test_a_command_that_fails_says_its_status_and_is_tried_again():
    with pytest.raises(NotDeliveredError, match=r"ended with status 3$") as caught:
        await program("import sys; sys.exit(3)").send(alert())
    assert caught.value.passes


async def test_a_command_that_is_not_there_is_not_tried_again():
    with pytest.raises(NotDeliveredError, match=r"^no-such-program cannot be run: No such file") as caught:
        await Command(("no-such-program",)).send(alert())
    assert not caught.value.passes


async def test_however_much_a_command_says_it_is_let_pass():
    await program("import sys\nfor _ in range(200): sys.stdout.write('x' * 10**5); sys.stderr.write('x' * 10**5)").send(
        alert()
    )


async def test_a_command_that_is_given_up_is_killed_with_what_it_has_started(tmp_path):
    os.mkfifo(tmp_path / "alive")
    code = f"""
import subprocess, sys, time
with open({str(tmp_path / "alive")!r}, "w") as alive:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    subprocess.Popen(sleep, pass_fds=(alive.fileno(),))
    print("both run", file=alive, flush=True)
    time.sleep(600)
"""
    sending = asyncio.ensure_future(program(code).send(alert()))
    alive = await asyncio.to_thread(open, tmp_path / "alive")
    with alive:
        assert await asyncio.to_thread(alive.readline) == "both run\n"
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(alive.read) == ""  # it ends when nobody holds the other end


async def test_nothing_of_a_command_that_is_given_up_is_left_to_the_loop(tmp_path, monkeypatch):
    started, start = [], asyncio.create_subprocess_exec

    async def noted(*command, **options):
        started.append(await start(*command, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    os.mkfifo(tmp_path / "alive")
    code = f"import time; open({str(tmp_path / 'alive')!r}, 'w').close(); time.sleep(600)"
    sending = asyncio.ensure_future(program(code).send(alert()))
    (await asyncio.to_thread(open, tmp_path / "alive")).close()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert started[0].returncode == -signal.SIGKILL
    assert started[0]._transport.is_closing()


async def test_the_log_has_the_message_at_the_severitys_level(caplog):
    caplog.set_level(logging.INFO, "claudeprov.alerts")
    await Log().send(alert(rule=rule(above=10, severity="critical")))
    await Log().send(alert(state="resolved"))
    first, second = caplog.records
    assert (first.levelno, second.levelno) == (logging.CRITICAL, logging.INFO)
    assert first.message == "slow firing: p95 latency 12.4 s, the threshold is 10 s, in 42 calls of the last 5 min"
    assert first.alert["value"] == 12.4
