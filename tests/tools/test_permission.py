from __future__ import annotations

from typing import Any

import pytest

from claudeprov.compose import compose
from claudeprov.settings.tools import PermissionSettings, ToolsSettings
from claudeprov.tools.permission import ByEffect, PermissionRequest


def decided(policy: ByEffect, *effects: Any) -> str:
    return policy(PermissionRequest("tool", {}, frozenset(effects)))


@pytest.mark.parametrize("policy", [ByEffect(), ByEffect(PermissionSettings().by_effect)])
def test_by_default_everything_but_reading_is_denied(policy: ByEffect) -> None:
    assert decided(policy, "read") == "allow"
    assert decided(policy) == "allow"
    for effect in ("write", "execute", "network"):
        assert decided(policy, effect) == decided(policy, "read", effect) == "deny"


@pytest.mark.parametrize(
    ("effects", "decision"),
    [(("read",), "allow"), (("write",), "ask"), (("read", "write"), "ask"), (("write", "network"), "deny")],
)
def test_the_strictest_decision_on_any_effect_holds(effects: Any, decision: str) -> None:
    assert decided(ByEffect({"read": "allow", "write": "ask", "network": "deny"}), *effects) == decision


@pytest.mark.usefixtures("no_settings")
def test_the_files_say_what_the_settings_default_to() -> None:
    settings = compose(["tools=web_search"]).tools
    assert settings is not None
    assert settings == ToolsSettings(declared=settings.declared)
