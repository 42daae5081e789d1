"""Cassettes, the disk, where telemetry goes, and the sandbox."""

import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.doctor import disk as disk_module
from claudeprov.doctor.cassettes import cassettes
from claudeprov.doctor.disk import disk
from claudeprov.doctor.sandbox import sandbox
from claudeprov.doctor.telemetry import telemetry
from claudeprov.errors import ConfigurationError
from claudeprov.sandbox import level
from claudeprov.settings.cassette import CassetteSettings
from claudeprov.settings.sandbox import SandboxSettings
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.telemetry.exporter import open_exporting
from claudeprov.testing import ManualClock
from tests.cassette.test_verify import WHOLE, cassette, stream

REPLAY = CassetteSettings(mode="replay", path="own", max_age=None)
SECRET = "sk-" + "ant-" + "api03-" + "a1B2" * 8


def look(settings):
    return cassettes(settings, SYSTEM_CLOCK)


@pytest.fixture
def own():
    Path("own").mkdir()
    return Path("own").absolute()


async def test_cassettes_in_order_are_counted(own):
    cassette(own / "a.yaml", stream(*WHOLE))
    check = await look(REPLAY)
    assert (check.status, check.details["cassettes"]) == ("ok", 1)


async def test_shipped_cassettes_stand_in_where_there_are_none_and_do_not_age():
    check = await look(CassetteSettings(max_age=0.001))
    assert check.status == "ok"
    assert check.details["cassettes"] > 0


async def test_a_stale_cassette_is_a_warning(own):
    cassette(own / "a.yaml", stream(*WHOLE))
    clock = ManualClock(datetime(2027, 11, 22, tzinfo=UTC))
    check = await cassettes(REPLAY.model_copy(update={"max_age": 30.0}), clock)
    assert check.status == "warning"
    assert "recorded more than 30 days ago" in check.found
    assert "claudeprov record" in check.advice


async def test_a_secret_or_a_broken_file_is_a_fault_and_the_secret_is_not_shown(own):
    cassette(own / "a.yaml", stream(WHOLE[0], {"type": SECRET}))
    (own / "b.yaml").write_text("no cassette")
    check = await look(REPLAY)
    assert check.status == "fault"
    assert len(check.details["wrong"]) >= 2
    assert SECRET not in f"{check}"


async def test_many_problems_are_told_in_short(own):
    for number in range(5):
        (own / f"{number}.yaml").write_text("no cassette")
    assert "and 2 more" in (await look(REPLAY)).found


@pytest.mark.parametrize(("mode", "status"), [("replay", "fault"), ("auto", "skipped"), ("record", "skipped")])
async def test_no_cassettes_matter_to_a_replay_only(mode, status, tmp_path):
    settings = CassetteSettings(mode=mode, path="nowhere")
    assert (await look(settings)).status == status
    (tmp_path / "nowhere").mkdir()
    assert (await look(settings)).status == status


@pytest.mark.parametrize(
    ("mode", "status"),
    [("replay", "fault"), ("record", "fault"), ("live", "warning"), ("auto", "warning")],
)
async def test_broken_cassettes_are_a_fault_where_they_are_to_answer(mode, status, own):
    (own / "a.yaml").write_text("no cassette")
    check = await look(CassetteSettings(mode=mode, path="own"))
    assert (check.status, "no cassette" in check.found) == (status, True)


@pytest.mark.parametrize(("mode", "status"), [("replay", "fault"), ("live", "warning")])
@pytest.mark.parametrize("locked", ["own", "own/deep"])
async def test_cassettes_that_cannot_be_read_are_not_taken_for_none(mode, status, locked, unprivileged):
    (unprivileged / "own/deep").mkdir(parents=True)
    (unprivileged / locked).chmod(0)
    check = await look(CassetteSettings(mode=mode, path="own"))
    inside = await look(CassetteSettings(mode=mode, path=f"{locked}/more"))
    (unprivileged / locked).chmod(0o700)
    assert (check.status, inside.status) == (status, status)
    assert check.found == f"{locked} cannot be read: Permission denied"
    assert check.advice == inside.advice == "look at its permissions"


async def test_a_recording_needs_a_place_to_write(own):
    assert (await look(CassetteSettings(mode="record", path="/proc/new"))).status == "fault"
    cassette(own / "a.yaml", stream(*WHOLE))
    assert "cannot be written" not in (await look(CassetteSettings(mode="record", path="own/a.yaml"))).found


async def test_the_disk(tmp_path, monkeypatch):
    check = await disk("runs")
    assert (check.status, check.details["folder"]) == ("ok", str(tmp_path / "runs"))
    assert "can be made" in check.found
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    assert "can be written" in (await disk("runs")).found
    monkeypatch.setattr(disk_module, "_LOW", 2**80)
    assert (await disk("runs")).advice == "make room on that disk"


@pytest.mark.parametrize("folder", ["/proc", "/proc/nowhere/runs", "file/runs"])
async def test_a_folder_that_cannot_be_written_is_a_warning_for_calls_need_none(folder, tmp_path):
    (tmp_path / "file").write_text("")
    check = await disk(folder)
    assert check.status == "warning"
    assert " cannot be written: " in check.found


async def test_a_folder_below_one_that_this_user_may_not_look_into(unprivileged):
    (unprivileged / "locked").mkdir(mode=0)
    check = await disk("locked/in/runs")
    assert check.status == "warning"
    assert check.found.startswith(f"{unprivileged / 'locked'} cannot be written: Permission denied")


@pytest.mark.parametrize("settings", [None, TelemetrySettings(), TelemetrySettings(exporter="console")])
async def test_telemetry_that_stays_here_needs_nobody(settings):
    assert (await telemetry(settings)).status == "skipped"


async def test_the_collector(monkeypatch):
    async def close(reader, writer):
        writer.close()

    listening = await asyncio.start_server(close, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    assert (await telemetry(TelemetrySettings(exporter="otlp", endpoint=url))).status == "ok"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    assert (await telemetry(TelemetrySettings(exporter="otlp"))).status == "ok"
    listening.close()
    await listening.wait_closed()
    check = await telemetry(TelemetrySettings(exporter="otlp"))
    assert check.status == "warning"
    assert "nothing of calls is exported" in check.found


@pytest.mark.parametrize("url", ["http://h:notaport", "localhost:4318", "http://h:99999", "//h", "http://[", "h"])
async def test_an_address_of_the_collector_that_is_none_is_a_warning(url, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    check = await telemetry(TelemetrySettings(exporter="otlp"))
    assert check.status == "warning"
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in check.found
    assert "is no URL" in check.found


async def test_the_port_that_prometheus_scrapes():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = TelemetrySettings(exporter="prometheus", port=taken.getsockname()[1])
        check = await telemetry(settings)
        assert (check.status, type(check.error)) == ("fault", ConfigurationError)
        with pytest.raises(ConfigurationError):
            open_exporting(settings)
    assert (await telemetry(settings)).status == "ok"


@pytest.mark.parametrize(
    ("guarantees", "require", "status"),
    [
        (("time", "network", "read"), (), "ok"),
        (("time", "memory"), (), "warning"),
        (("time", "memory"), ("read",), "warning"),
    ],
)
async def test_the_sandbox_is_told_with_what_it_guarantees(guarantees, require, status, monkeypatch):
    monkeypatch.setitem(level._known, "limits", level.Level("limits", frozenset(guarantees)))
    check = await sandbox(SandboxSettings(level="limits", require=require))
    assert check.status == status
    assert (check.advice is None) == (status == "ok")
    assert check.details == ({} if require else {"level": "limits", "guarantees": sorted(guarantees)})
