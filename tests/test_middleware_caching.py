"""Breakpoints of the prompt cache on what is sent."""

from __future__ import annotations

import pytest

from claudeprov.catalog import catalog
from claudeprov.middleware.caching import Caching
from claudeprov.settings.request import CachingSettings
from claudeprov.testing import ScriptedProvider, check_middleware

LONG = "It was a dark and stormy night; the rain fell in torrents. " * 400


def caching(ttl="5m"):
    return Caching(CachingSettings(ttl=ttl), models=catalog().get)


async def test_keeps_the_contract():
    await check_middleware(caching)


@pytest.mark.parametrize(("ttl", "control"), [("5m", {}), ("1h", {"ttl": "1h"})])
async def test_a_long_prompt_is_marked_for_as_long_as_is_configured(ttl, control):
    provider = ScriptedProvider("Hello", layers=[caching(ttl)])
    await provider.send_message({"model": "sonnet", "messages": [{"role": "user", "content": LONG}]})
    (request,) = provider.requests
    block = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"} | control}
    assert request.messages == [{"role": "user", "content": [block]}]


async def test_a_short_prompt_stays_as_it_is():
    provider = ScriptedProvider("Hello", layers=[caching()])
    asked = {"model": "sonnet", "messages": [{"role": "user", "content": "Hi"}]}
    await provider.send_message(asked)
    assert provider.requests[0].body() == asked | {"stream": True}


async def test_the_same_request_gets_the_same_breakpoints_again_and_again():
    provider = ScriptedProvider("Hello", layers=[caching()])
    asked = {"model": "sonnet", "messages": [{"role": "user", "content": LONG}]}
    for _ in range(3):
        await provider.send_message(asked)
    assert provider.requests[0] == provider.requests[1] == provider.requests[2]
