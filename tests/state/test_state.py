"""How a configuration becomes a state, and how a provider opens and closes it."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx2
import pytest
from redis.asyncio import Redis

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.compose import compose
from claudeprov.errors import CircuitOpenError, ConfigurationError, ServerError
from claudeprov.notice import Notices
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.state import Memory, open_state
from claudeprov.testing import text_events
from tests.state.shared import RedisServer

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")

NOWHERE = "state.url=redis://127.0.0.1:1/0"
LIVE = ["cassette=live", "retry=off"]
REQUEST = {"messages": [{"role": "user", "content": "Hi"}]}


def failing(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(500)


def answering(request: httpx2.Request) -> httpx2.Response:
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in text_events("Hello"))
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, text=body)


def provider_of(overrides: list[str], answer: object = answering) -> AnthropicClaudeProvider:
    return AnthropicClaudeProvider(compose(overrides), transport=httpx2.MockTransport(answer))  # type: ignore[arg-type]


def test_state_is_in_memory_unless_it_is_said_otherwise() -> None:
    assert isinstance(open_state(compose(), SYSTEM_CLOCK, Notices(SYSTEM_CLOCK)), Memory)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "state.url=redis://user:hush-hush@host/0",
            r"state.url = 'redis://\*{10}@host/0', .*must not hold credentials",
        ),
        ("state.url=http://host", "state.url = 'http://host', from an override: must be redis://HOST:PORT/DATABASE"),
        ("state.url=redis:///0", "state.url = .*must be redis://HOST"),
        ("state.url=redis://host/zero", "state.url = .*must be redis://HOST"),
        ("state.url=redis://host:99999", "state.url = .*must be redis://HOST"),
        ("state.url='redis://host?password=x'", "state.url = .*must be redis://HOST"),
        ("state.url=unix://relative", "state.url = .*unix:///PATH"),
        ("state.url=null", "state.url.*: is missing: state=redis needs redis://HOST"),
        ("state.namespace='a b'", "state.namespace = 'a b', from an override"),
        ("state.when_away=ajar", r"state.when_away = 'ajar'.*\(allowed: closed, open\)"),
        ("state.timeout=0", "state.timeout = 0, .*greater than 0"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(override: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        compose(["state=redis", override])
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://host", "rediss://host:6380/2", "redis://[::1]:6379", "unix:///run/redis.sock"]
)
def test_addresses_of_redis_are_taken(url: str) -> None:
    assert compose(["state=redis", f"state.url='{url}'"]).state.url == url


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("claudeprov.state.redis", "claudeprov.state.link"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'claudeprov\[redis\]'"):
        open_state(compose(["state=redis"]), SYSTEM_CLOCK, Notices(SYSTEM_CLOCK))


def test_redis_is_not_imported_before_it_is_chosen() -> None:
    code = "import claudeprov.middleware, claudeprov.provider, sys; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_a_provider_whose_redis_cannot_be_reached_does_not_open() -> None:
    provider = provider_of([*LIVE, "state=redis", NOWHERE])
    with pytest.raises(ConfigurationError, match=r"state\.url = 'redis://127\.0\.0\.1:1/0': cannot be reached"):
        await provider.initialize()
    with pytest.raises(ConfigurationError, match="the provider is not open"):
        await provider.send_message(REQUEST)


async def test_a_provider_that_may_go_on_by_itself_opens_without_redis() -> None:
    provider = provider_of([*LIVE, "state=redis", NOWHERE, "state.when_away=open"])
    told: list[str] = []
    provider.notices.listen(lambda notice: told.append(notice.name))
    async with provider:
        assert (await provider.send_message(REQUEST)).text == "Hello"
        assert (await provider.send_message(REQUEST)).text == "Hello"
    assert told == ["state.unavailable"]


async def test_a_replay_asks_no_redis() -> None:
    provider = provider_of(["cassette=replay", "state=redis", NOWHERE])
    async with provider:
        pass


async def test_providers_of_one_namespace_share_a_breaker(redis_server: RedisServer, namespace: str) -> None:
    overrides = [*LIVE, "state=redis", f"state.url={redis_server.url}", f"state.namespace={namespace}"]
    async with provider_of(overrides, failing) as failed, provider_of(overrides) as working:
        assert (await working.send_message(REQUEST)).text == "Hello"
        for _ in range(5):
            with pytest.raises(ServerError):
                await failed.send_message(REQUEST)
        with pytest.raises(CircuitOpenError):
            await failed.send_message(REQUEST)
        with pytest.raises(CircuitOpenError):
            await working.send_message(REQUEST)
    async with provider_of([*overrides, f"state.namespace={namespace}.other"]) as other:
        assert (await other.send_message(REQUEST)).text == "Hello"
    async with Redis.from_url(redis_server.url) as client:
        connections = await client.client_list()
    assert len(connections) == 1
