"""Requests that are stopped or adapted before they cost anything."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import pytest

from claudeprov.catalog import catalog
from claudeprov.chain import Call
from claudeprov.errors import ContextWindowExceededError, InvalidRequestError, ModelNotFoundError
from claudeprov.middleware.preflight import Preflight
from claudeprov.notice import Notices
from claudeprov.preflight import ModelDeprecatedWarning, RequestAdaptedWarning
from claudeprov.request import MessageRequest
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.settings.request import PreflightSettings
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware
from claudeprov.tokens import TokenCount

HI = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
RETIRED = HI | {"model": "claude-3-opus-20240229"}
DEPRECATED = HI | {"model": "claude-sonnet-4-5"}
LONG = {"messages": [{"role": "user", "content": "Hi " * 500_000}]}
WRONG = HI | {"model": "sonnet", "temperature": 1, "thinking": {"type": "disabled"}}


class World:
    """A scripted provider behind preflight, and the notices that it gets."""

    def __init__(self, mode="error", *, tokens=10, replay=False, start=datetime(2026, 11, 22, tzinfo=UTC)):
        self.clock = ManualClock(start)
        self.notices = []
        notices = Notices(self.clock)
        notices.listen(self.notices.append)
        layer = Preflight(
            PreflightSettings(mode=mode),
            clock=self.clock,
            notices=notices,
            models=catalog().get,
            estimate=lambda request, model: TokenCount(tokens, "estimate", tokens, tokens),
            replay=replay,
        )
        self.layer = layer
        self.provider = ScriptedProvider("Hello", layers=[layer], clock=self.clock)

    async def send(self, request):
        await self.provider.send_message(request)
        return self.provider.requests[-1]

    def told(self):
        return [(notice.name, dict(notice.fields)) for notice in self.notices]


@pytest.mark.parametrize("mode", ["error", "adapt", "send"])
async def test_keeps_the_contract(mode):
    await check_middleware(lambda: World(mode).layer)


async def test_a_request_that_is_fine_goes_on_as_it_is():
    world = World("adapt")
    request = MessageRequest.of(HI | {"model": "sonnet"})
    assert await world.send(request) is request
    assert world.told() == []


async def test_a_request_that_would_be_refused_is_not_sent_and_all_faults_are_told():
    world = World()
    with pytest.raises(InvalidRequestError) as caught:
        await world.send(WRONG)
    assert world.provider.requests == []
    assert caught.value.code == "refused_by_model"
    assert not caught.value.retryable
    assert caught.value.context == {"model": "claude-sonnet-5-5", "rules": ["sampling", "thinking"]}
    assert caught.value.message == (
        "claude-sonnet-5-5 would refuse this: temperature: the model takes no sampling parameters; leave them out; "
        "thinking.type=disabled: only adaptive, between_tools "
        "(preflight=adapt changes what it can, preflight=send sends it as it is)"
    )


async def test_one_that_is_too_long_is_an_error_of_its_own():
    with pytest.raises(ContextWindowExceededError) as caught:
        await World(tokens=2_000_000).send(LONG | {"model": "sonnet"})
    assert caught.value.code == "context_window_exceeded"


async def test_adapted_it_is_sent_with_a_notice_each_time_and_a_warning_the_first():
    world = World("adapt")
    with pytest.warns(RequestAdaptedWarning) as warned:
        first = await world.send(WRONG)
    assert first.body() == HI | {"model": "sonnet", "thinking": {"type": "between_tools"}, "stream": True}
    assert [str(warning.message) for warning in warned] == [
        f"a request to claude-sonnet-5-5 was adapted: {what}"
        for what in (
            "temperature: the model takes no sampling parameters; leave them out",
            "thinking.type=disabled: only adaptive, between_tools",
        )
    ]
    assert await world.send(WRONG) == first
    assert (
        world.told() == [("preflight.adapted", {"model": "claude-sonnet-5-5", "rules": ["sampling", "thinking"]})] * 2
    )


async def test_what_cannot_be_adapted_is_refused():
    with pytest.warns(RequestAdaptedWarning), pytest.raises(InvalidRequestError) as caught:
        await World("adapt", tokens=2_000_000).send(WRONG | LONG)
    assert caught.value.context["rules"] == ["context"]


async def test_a_model_that_nobody_knows_is_sent_anything():
    assert (await World().send(WRONG | {"model": "claude-opus-6"})).body()["temperature"] == 1


class TestLifecycle:
    @pytest.mark.parametrize("mode", ["error", "adapt"])
    async def test_a_retired_model_is_refused_with_its_date_and_its_successor(self, mode):
        world = World(mode)
        with pytest.raises(ModelNotFoundError) as caught:
            await world.send(RETIRED)
        assert caught.value.code == "model_retired"
        assert caught.value.message == (
            "claude-3-opus-20240229 is retired since 2026-01-05; its successor is claude-opus-4-8"
        )
        assert world.provider.requests == []

    @pytest.mark.parametrize(("kind", "served"), [("bedrock", True), ("vertex", True), ("foundry", False)])
    async def test_some_platforms_go_on_serving_it(self, kind, served):
        world = World()
        call = Call(MessageRequest.of(RETIRED), world.clock, endpoint=EndpointSettings(kind=kind))
        if served:
            await world.layer(call, world.provider)
        else:
            with pytest.raises(ModelNotFoundError):
                await world.layer(call, world.provider)

    async def test_a_deprecated_one_warns_once_with_a_notice(self):
        world = World()
        with pytest.warns(ModelDeprecatedWarning) as warned:
            await world.send(DEPRECATED)
        await world.send(DEPRECATED)
        (warning,) = warned
        assert str(warning.message) == (
            "claude-sonnet-4-5-20250929 is deprecated and retires on 2026-11-30; its successor is claude-sonnet-5-5"
        )
        fields = {"model": "claude-sonnet-4-5-20250929", "retires": "2026-11-30", "replacement": "claude-sonnet-5-5"}
        assert world.told() == [("model.deprecated", fields)]

    async def test_one_that_is_past_its_day_is_still_tried(self):
        world = World(start=datetime(2026, 12, 1, tzinfo=UTC))
        with pytest.warns(ModelDeprecatedWarning, match="was to be retired on 2026-11-30"):
            await world.send(DEPRECATED)


class TestSendAndReplay:
    @pytest.mark.parametrize("request_", [WRONG, RETIRED, DEPRECATED])
    async def test_send_lets_everything_through_in_silence(self, request_):
        world = World("send")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert (await world.send(request_)).body() == request_ | {"stream": True}
        assert world.told() == []

    @pytest.mark.parametrize("request_", [WRONG, RETIRED, DEPRECATED])
    async def test_a_replay_refuses_nothing(self, request_):
        world = World(replay=True)
        assert (await world.send(request_)).body() == request_ | {"stream": True}
        assert world.told() == []

    async def test_a_replay_sends_what_was_adapted_when_it_was_recorded(self):
        recording, replay = World("adapt"), World("adapt", replay=True)
        with pytest.warns(RequestAdaptedWarning):
            recorded = await recording.send(WRONG)
        assert await replay.send(WRONG) == recorded
        assert replay.told() == []
