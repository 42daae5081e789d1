"""The filter of system calls: what it is made of; what it does is tested with programs that try."""

import re
import struct
from pathlib import Path

import pytest

from claudeprov.sandbox import filter as filters
from claudeprov.sandbox.filter import OWN_PID, program

HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h")


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: request.param)
    monkeypatch.setattr("sys.platform", "linux")
    return request.param


@pytest.mark.parametrize("column", [0, 1])
def test_the_numbers_are_those_of_the_kernels_headers(column):
    if not Path(HEADERS[column]).exists():
        pytest.skip("the kernel's headers are not installed")
    told = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", Path(HEADERS[column]).read_text()))
    table = {**filters._DENIED, **filters._ABSENT}
    assert {name: numbers[column] for name, numbers in table.items()} == {name: int(told[name]) for name in table}


@pytest.mark.parametrize("alone", [True, False])
def test_every_way_through_it_ends_with_a_verdict(machine, alone):
    rules = list(struct.iter_unpack("HBBI", program(alone=alone, threads=True)))
    for place, (operation, if_so, if_not, _) in enumerate(rules):
        if operation & 7 == 5:  # a jump
            assert place + 1 + max(if_so, if_not) < len(rules)
    assert rules[-1][0] == filters._RETURN


def test_only_where_it_is_alone_does_it_hold_the_processs_own_id(machine):
    own = struct.pack("I", OWN_PID)
    assert own in program(alone=True, threads=True)
    assert own not in program(alone=False, threads=True)


def test_there_is_none_for_other_systems(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert program(alone=True, threads=True) is None
