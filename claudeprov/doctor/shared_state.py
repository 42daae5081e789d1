"""The Redis server that processes share their state in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from claudeprov.clock import Clock
from claudeprov.doctor.check import Check
from claudeprov.errors import ConfigurationError, StateUnavailableError
from claudeprov.settings.state import StateSettings

if TYPE_CHECKING:
    from redis.asyncio import Redis

_OLDEST = (5, 0)
_SCRIPT = """
redis.call('HSET', KEYS[1], 'at', ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('DEL', KEYS[1])
return redis.call('TIME')
"""
"""What the scripts of claudeprov.state do, too: they write, and read the server's clock. It leaves nothing."""


async def shared_state(settings: StateSettings, clock: Clock) -> Check:
    """Whether Redis answers, is recent enough, and runs scripts that write, and how long one takes.

    Raises:
        ConfigurationError: The extra ``redis`` is missing.
    """
    if settings.kind == "memory":
        return Check("redis", "skipped", "state=memory keeps what calls share in this process")
    try:
        from redis.exceptions import RedisError

        from claudeprov.state.link import client_of
    except ModuleNotFoundError as error:
        raise ConfigurationError("state=redis needs an extra: pip install 'claudeprov[redis]'") from error
    details: dict[str, Any] = {"url": settings.url, "namespace": settings.namespace, "when_away": settings.when_away}
    found = partial(Check, "redis", details=details)
    client = client_of(settings)
    try:
        await client.set(f"{settings.namespace}:touched", 1, ex=60)  # as a provider does when it opens
        script = partial(client.register_script(_SCRIPT), [f"{settings.namespace}:looked-at"], ["1"])
        await script()  # loads it
        started = clock.monotonic()
        await script()
        details["script_seconds"] = clock.monotonic() - started
        server = await _server(client)
    except (RedisError, OSError) as error:
        what, advice = f"{settings.url}: {error or type(error).__name__}", _advice(str(error))
        if settings.when_away == "open":
            return found("warning", f"{what}; each process keeps to the limits by itself", advice)
        return found("fault", f"{what}; calls are refused", advice, StateUnavailableError(what))
    finally:
        await client.aclose()
    took = f"runs a script in {details['script_seconds'] * 1000:.1f} ms"
    if server is None:
        return found("ok", f"Redis {took}; its version is not told to this user")
    details["version"] = version = str(server["redis_version"])
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _OLDEST:
        return found("fault", f"Redis {version} is too old", "run Redis 5.0 or later")
    if server.get("redis_mode") == "cluster":
        return found("fault", "it is a cluster, on which the keys of a script may lie apart", "run a single server")
    return found("ok", f"Redis {version} {took}")


async def _server(client: Redis) -> Mapping[str, Any] | None:
    """What it says of itself, where this user may ask; calls need none of it."""
    from redis.exceptions import ResponseError

    try:
        told: Mapping[str, Any] = await client.info("server")
    except ResponseError:
        return None
    return told


def _advice(reason: str) -> str:
    text = reason.lower()
    if any(word in text for word in ("auth", "wrongpass", "password", "username")):
        return "set REDIS_USERNAME and REDIS_PASSWORD to what the server knows"
    if any(words in text for words in ("noperm", "permission", "can't run this command")):
        return "let the user evalsha, script load, time, and write keys of state.namespace"
    if "read only" in text or "readonly" in text:
        return "name the primary in state.url: this server is a replica"
    if "oom" in text or "maxmemory" in text:
        return "give the server more memory, or let it drop keys (maxmemory-policy)"
    return "look at state.url, and whether the server runs; state=memory needs none, and shares nothing"
