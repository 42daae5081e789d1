"""What tests of layers and of applications need: no network, no waiting, and a checker of the chain's contract."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claudeprov.testing.clock import ManualClock
    from claudeprov.testing.contract import ContractError, check_middleware
    from claudeprov.testing.scripted import ScriptedProvider, text_events

__all__ = ["ContractError", "ManualClock", "ScriptedProvider", "check_middleware", "text_events"]

_MODULES = {
    "ContractError": "contract",
    "ManualClock": "clock",
    "ScriptedProvider": "scripted",
    "check_middleware": "contract",
    "text_events": "scripted",
}


def __getattr__(name: str) -> Any:
    # The pytest plugin lives beside these, and should cost a test session that does not use them nothing.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
