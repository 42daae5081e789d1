"""What a provider tells of rate limits: the service's word, the client's own count, and who waits."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from claudeprov.compose import compose
from claudeprov.errors import RateLimitError
from claudeprov.limits import Allowance, RouteLimits, read_limits
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.testing import ManualClock
from claudeprov.testing.clock import settle

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")

HI = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-opus-5", "stream": False}
RESET = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
REQUESTS = {
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2026-11-22T12:00:30Z",
}


def opened(*overrides, status=200, clock=None):
    def answer(request):
        error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
        return httpx2.Response(status, json=MESSAGE if status == 200 else error, headers=REQUESTS)

    settings = compose(["retry=off", *overrides])
    return AnthropicClaudeProvider(settings, transport=httpx2.MockTransport(answer), clock=clock or ManualClock())


class TestReading:
    def test_all_counters_by_name(self):
        names = ["ratelimit-requests", "ratelimit-tokens", "ratelimit-input-tokens", "ratelimit-output-tokens"]
        names += ["priority-input-tokens", "fast-output-tokens"]
        headers = {}
        for name in names:
            headers |= {f"anthropic-{name}-limit": "9000", f"anthropic-{name}-remaining": "8000"}
            headers[f"anthropic-{name}-reset"] = "2026-11-22T12:00:30Z"
        counters = [
            "requests",
            "tokens",
            "input_tokens",
            "output_tokens",
            "priority_input_tokens",
            "fast_output_tokens",
        ]
        assert read_limits(headers) == dict.fromkeys(counters, Allowance(9000, 8000, RESET))

    def test_a_reset_of_another_zone_is_told_in_utc(self):
        headers = {**REQUESTS, "anthropic-ratelimit-requests-reset": "2026-11-22T14:00:30+02:00"}
        reset = read_limits(headers)["requests"].reset
        assert (reset, reset.tzinfo) == (RESET, UTC)

    def test_a_reset_without_a_zone_is_in_utc(self, monkeypatch):
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        try:
            limits = read_limits({**REQUESTS, "anthropic-ratelimit-requests-reset": "2026-11-22T12:00:30"})
        finally:
            monkeypatch.undo()
            time.tzset()
        assert limits["requests"].reset == RESET

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("limit", "many"),
            ("limit", "9" * 400),
            ("limit", "-5"),
            ("remaining", "inf"),
            ("remaining", "1000000000001"),
            ("remaining", "-1"),
            ("reset", "soon"),
            ("reset", "9999-99-99T00:00:00Z"),
        ],
    )
    def test_what_cannot_be_read_is_left_out(self, name, value):
        assert read_limits({**REQUESTS, f"anthropic-ratelimit-requests-{name}": value}) == {}

    def test_what_is_not_whole_is_left_out(self):
        assert read_limits({"anthropic-ratelimit-requests-limit": "5", "anthropic-organization-id": "x"}) == {}


class TestProvider:
    async def test_tells_nothing_before_the_first_call(self):
        async with opened("ratelimit=start") as provider:
            assert provider.rate_limits() == {}

    async def test_tells_by_route_what_the_services_headers_said(self):
        async with opened() as provider:
            await provider.send_message(HI)
            limits = provider.rate_limits()
        service = {"requests": Allowance(1000, 999, RESET)}
        assert limits == {"anthropic/opus-5": RouteLimits(service=service, headers=REQUESTS)}

    async def test_tells_them_of_a_refusal_too(self):
        async with opened(status=429) as provider:
            with pytest.raises(RateLimitError):
                await provider.send_message(HI)
            assert provider.rate_limits()["anthropic/opus-5"].service["requests"].remaining == 999

    async def test_tells_the_clients_own_buckets_and_the_queue(self):
        clock = ManualClock()
        async with opened("ratelimit=custom", "ratelimit.requests=60", "ratelimit.burst=1", clock=clock) as provider:
            await provider.send_message(HI)
            waiting = asyncio.ensure_future(whole(provider.send_message(HI)))
            await clock.advance(0.5)
            limits = provider.rate_limits()["anthropic/opus-5"]
            allowance = Allowance(60, 0.5, clock.now() + timedelta(seconds=0.5))
            assert limits.client == {"requests": allowance}
            assert (limits.queue, limits.longest_wait) == (1, 0.5)
            response = await clock.run(waiting)
            assert response.timing.queue == 1
            assert provider.rate_limits()["anthropic/opus-5"].queue == 0

    async def test_calls_of_several_models_in_one_bucket_wait_for_each_other(self):
        clock = ManualClock()
        async with opened("ratelimit=custom", "ratelimit.requests=60", "ratelimit.burst=1", clock=clock) as provider:
            await provider.send_message({**HI, "model": "claude-opus-4-5"})
            response = await clock.run(provider.send_message({**HI, "model": "claude-opus-4-8"}))
            await provider.send_message(HI)
            await settle()
            assert response.timing.queue == 1
            assert provider.rate_limits().keys() == {"anthropic/opus-4", "anthropic/opus-5"}


async def whole(stream):
    return await stream
