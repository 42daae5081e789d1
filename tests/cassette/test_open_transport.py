from __future__ import annotations

import subprocess
import sys

import httpx2
import pytest

from claudeprov.cassette import open_transport
from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.errors import CassetteError


def no_network() -> httpx2.AsyncBaseTransport:
    raise AssertionError("no transport may be made")


def test_live_is_the_inner_transport_itself(tmp_path):
    inner = httpx2.MockTransport(lambda _: httpx2.Response(200))
    assert open_transport("live", tmp_path, lambda: inner, clock=SYSTEM_CLOCK) is inner


@pytest.mark.parametrize("name", ["none.yaml", ""])
def test_a_replay_of_nothing_fails_at_once(tmp_path, name):
    with pytest.raises(CassetteError, match="cassette"):
        open_transport("replay", tmp_path / name, no_network, clock=SYSTEM_CLOCK)


def test_a_recording_into_what_is_no_cassette_fails_before_anything_is_sent(tmp_path):
    (tmp_path / "notes.yaml").write_text("mine: 1", encoding="utf-8")
    with pytest.raises(CassetteError, match=r"notes\.yaml is no cassette"):
        open_transport("record", tmp_path / "notes.yaml", no_network, clock=SYSTEM_CLOCK)


def test_vcrpy_is_not_imported_before_a_cassette_is_used():
    code = "import sys, claudeprov.cassette; sys.exit('vcr' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
