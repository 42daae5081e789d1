from __future__ import annotations

import pytest

from claudeprov.route import route_of
from claudeprov.settings.endpoint import EndpointSettings

ANTHROPIC = EndpointSettings(kind="anthropic")


@pytest.mark.parametrize(("one", "other"), [("claude-sonnet-4-5", "claude-sonnet-4-6"), ("opus", "claude-opus-5-5")])
def test_models_that_share_their_limits_are_one_route(one, other):
    assert route_of(ANTHROPIC, one) == route_of(ANTHROPIC, other)


def test_other_models_and_other_services_are_other_routes():
    local = EndpointSettings(kind="compatible", base_url="http://127.0.0.1:8085/x")
    assert route_of(local, "qwen") == "compatible@127.0.0.1:8085/qwen"
    assert route_of(ANTHROPIC, "claude-new") == "anthropic/claude-new"
    assert len({route_of(ANTHROPIC, name) for name in ("opus", "sonnet", "haiku", "claude-sonnet-5")}) == 4
