"""How configuration becomes layers."""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random

import pytest

from claudeprov.compose import compose
from claudeprov.errors import ConfigurationError
from claudeprov.middleware import build
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware

HI = {"messages": [{"role": "user", "content": "Hi"}]}
OWN_LAYER = """
class Tagging:
    def __init__(self, *, tag):
        self.tag = tag

    async def __call__(self, call, call_next):
        call.tags["tag"] = self.tag
        return await call_next(call)

class Moody:
    def __init__(self):
        raise RuntimeError("not today")

def five():
    return 5
"""


@pytest.fixture(autouse=True)
def own_package(tmp_path, monkeypatch):
    (tmp_path / "ownlayers.py").write_text(OWN_LAYER)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("ownlayers", None)


def layers_of(*overrides):
    return build(compose(overrides), ManualClock(), random=Random(1))


def names_of(*overrides):
    return [type(layer).__name__ for layer in layers_of(*overrides)]


def test_the_default_chain_is_built_outermost_first():
    assert names_of() == ["Telemetry", "Deadline", "Preflight", "Breaker", "Retry"]


def test_the_order_is_the_configurations():
    assert names_of("chain=[retry,breaker]") == ["Retry", "Breaker"]


def test_a_group_that_is_off_is_no_layer_at_all():
    assert names_of("retry=off", "telemetry=off", "deadline=off", "caching=auto") == ["Preflight", "Caching", "Breaker"]
    assert layers_of("retry=off", "telemetry=off", "deadline=off", "breaker=off", "~preflight") == []


async def test_every_layer_keeps_the_contract():
    clock = ManualClock()
    settings = compose()
    for index in range(len(build(settings, clock))):
        await check_middleware(lambda index=index: build(settings, clock, random=Random(1))[index], clock=clock)


async def test_a_users_own_layer_takes_its_place_with_its_options():
    layers = layers_of("allow_targets=[ownlayers]", "chain=[retry,{_target_:ownlayers.Tagging,tag:blue}]")
    assert [type(layer).__name__ for layer in layers] == ["Retry", "Tagging"]
    stream = ScriptedProvider("Hello", layers=layers).send_message(HI)
    await stream
    assert stream._call.tags == {"tag": "blue"}


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ("{_target_:ownlayers.Missing}", "no ownlayers.Missing"),
        ("{_target_:ownlayers.missing.Layer}", "no ownlayers.missing.Layer"),
        (
            "{_target_:ownlayers.Tagging,colour:blue}",
            "Tagging cannot be made with the options {'colour': 'blue'}: TypeError.*colour",
        ),
        ("{_target_:ownlayers.Tagging,token:blue}", r"the options {'token': '\*+'}"),
        ("{_target_:ownlayers.Moody}", "Moody cannot be made.*not today"),
        ("{_target_:ownlayers.five}", "makes no layer, but a int"),
        ("{_target_:claudeprov.target.pkgutil.resolve_name,name:os.getcwd}", "comes from pkgutil"),
    ],
)
def test_a_layer_that_cannot_be_made_is_refused_with_the_reason(layer, problem):
    with pytest.raises(ConfigurationError, match=problem):
        layers_of("allow_targets=[ownlayers]", f"chain=[{layer}]")


def test_a_target_outside_of_claudeprov_needs_leave():
    with pytest.raises(ConfigurationError, match="outside claudeprov; allow_targets"):
        layers_of("chain=[{_target_:ownlayers.Tagging,tag:blue}]")


def test_only_the_libraries_of_layers_in_the_chain_are_loaded():
    program = """
import json, sys
from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.compose import compose
from claudeprov.middleware import build
build(compose(["chain=[deadline]"]), SYSTEM_CLOCK)
print(json.dumps([name for name in ("tenacity", "aiobreaker", "structlog", "anthropic") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
