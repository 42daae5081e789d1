"""The one connection of a process to Redis: what is asked and what is told goes out in the order in which it came."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from claudeprov.clock import Clock
from claudeprov.errors import ConfigurationError, StateUnavailableError
from claudeprov.mask import masked_text
from claudeprov.notice import Notices
from claudeprov.settings.state import StateSettings

_log = logging.getLogger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
"""Seconds before Redis is tried again; they double from the one to the other."""
_BATCH = 200
"""Messages that are sent together, at most."""
_KEPT = 10_000
"""Messages that are kept while Redis is away, at most."""

_PASSING = (RedisConnectionError, RedisTimeoutError, OSError, ReadOnlyError, OutOfMemoryError)
"""Errors that say nothing of what was sent, so that it may be sent again."""

Value = str | int | float


class Script:
    """A Lua script of this package: whatever it decides, it decides at once and by the server's clock."""

    def __init__(self, name: str) -> None:
        self.text = files("claudeprov.state").joinpath(name).read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@dataclass(eq=False, slots=True)
class _Message:
    script: Script
    keys: Sequence[str]
    args: Sequence[Value]
    asked: asyncio.Future[Any] | None = None
    """Where the answer is waited for."""
    then: Callable[[Any], None] | None = None
    """Told of the answer to what was not asked."""
    undo: Callable[[], None] | None = None
    """Called where the answer may have been given, but nobody has it."""
    keep: bool = False
    """Whether it may be sent twice, and waits for Redis to be back."""

    @property
    def is_dropped(self) -> bool:
        return self.asked is not None and self.asked.done()

    def take(self, answer: Any) -> None:
        if self.asked is None:
            try:
                if self.then is not None:
                    self.then(answer)
            except Exception:
                _log.exception("what was to be done with Redis's answer failed")
        elif not self.asked.done():
            self.asked.set_result(answer)
        elif self.undo is not None:
            self.undo()


class Link:
    """Runs scripts in Redis, and knows whether Redis is there.

    When Redis fails to answer it is away: what is asked is refused at once, what is told waits if it may be sent
    twice, and the server is tried again after 0.1 s, then after twice as long each time, up to 5 s. Once for each time
    away it posts ``state.unavailable`` with ``reason`` and ``when_away``, and ``state.back`` with ``seconds``.
    The environment's ``REDIS_USERNAME`` and ``REDIS_PASSWORD`` are sent if set.
    """

    def __init__(self, settings: StateSettings, clock: Clock, notices: Notices) -> None:
        self.settings = settings
        self._clock = clock
        self._notices = notices
        self._redis = client_of(settings)
        self._queue: deque[_Message] = deque()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        self._away_since: float | None = None
        self._failures = 0
        self._forgotten = 0

    @property
    def away(self) -> bool:
        """Whether Redis is out of reach."""
        return self._away_since is not None

    def name(self, *parts: str) -> str:
        """Name a key of this namespace."""
        return ":".join((self.settings.namespace, *parts))

    async def open(self) -> None:
        """Try to reach Redis.

        Raises:
            ConfigurationError: It is out of reach, and ``state.when_away`` is ``closed``.
        """
        self._writer = asyncio.create_task(self._write())
        try:
            await self._touch()
        except (RedisError, OSError) as error:
            if self.settings.when_away == "closed":
                raise self._unreachable(error) from error
            self._lose(error)

    async def close(self) -> None:
        """Send what is queued, if Redis is there, and close the connection."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=0 if self.away else 2 * self.settings.timeout)
            self._writer.cancel()
            await asyncio.wait([self._writer])
        if untold := self._forgotten + len(self._queue):
            _log.warning("Redis was not told of %d verdicts and settlements", untold)
        await self._redis.aclose()

    async def ask(
        self, script: Script, keys: Sequence[str], args: Sequence[Value], undo: Callable[[], None] | None = None
    ) -> Any:
        """Run *script* and return its answer; ``None`` where Redis is away and ``when_away`` is ``open``.

        Args:
            undo: Called where it may have run, and nobody has its answer.

        Raises:
            StateUnavailableError: Redis is away, and ``when_away`` is ``closed``.
        """
        try:
            if self.away or self._closing:
                raise self._unavailable()
            asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._put(_Message(script, keys, args, asked=asked, undo=undo))
            return await asked
        except StateUnavailableError:
            if self.settings.when_away == "closed":
                raise
            return None

    def tell(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Value],
        then: Callable[[Any], None] | None = None,
        *,
        keep: bool = False,
    ) -> None:
        """Run *script* soon; *then* gets its answer.

        Args:
            keep: Whether it does no harm if it runs twice, and is worth to be run when Redis is back.
        """
        if keep or not self.away:
            self._put(_Message(script, keys, args, then=then, keep=keep))

    def _put(self, message: _Message) -> None:
        self._queue.append(message)
        if self.away and len(self._queue) > _KEPT:
            self._queue.popleft()
            self._forgotten += 1
        self._wake.set()

    async def _write(self) -> None:
        while not (self._closing and (self.away or not self._queue)):
            await self._wake.wait()
            self._wake.clear()
            while self.away or self._queue:
                if self.away:
                    await self._return()
                else:
                    batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
                    await self._send([message for message in batch if not message.is_dropped])

    async def _send(self, batch: list[_Message]) -> None:
        try:
            answers = await self._run(batch)
        except Exception as error:  # whatever it is, nobody is to wait for ever
            answers = [error] * len(batch)
        failed: list[_Message] = []
        for message, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                failed.append(message)
                message.keep = message.keep and isinstance(answer, _PASSING)
            else:
                message.take(answer)
        if failed:
            self._lose(next(answer for answer in answers if isinstance(answer, Exception)), failed)
        else:
            self._failures = 0

    async def _run(self, batch: Sequence[_Message]) -> list[Any]:
        answers = await self._pipe(batch)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # the server has started anew
            for script in {message.script for message in batch}:
                await self._redis.script_load(script.text)
            again = await self._pipe([batch[place] for place in unknown])
            for place, answer in zip(unknown, again, strict=True):
                answers[place] = answer
        return answers

    async def _pipe(self, batch: Sequence[_Message]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for message in batch:
                pipe.evalsha(message.script.sha, len(message.keys), *message.keys, *message.args)
            return await pipe.execute(raise_on_error=False)

    async def _touch(self) -> None:
        # A write: a server that is read-only, or full, answers a ping all the same.
        await self._redis.set(self.name("touched"), 1, ex=60)

    def _lose(self, error: Exception, sent: Sequence[_Message] = ()) -> None:
        """Note that Redis is away, whatever of *sent* it may have run, and let nobody wait for it."""
        if self._away_since is None:
            self._away_since = self._clock.monotonic()
            reason, when_away = _reason(error), self.settings.when_away
            does = "calls are refused" if when_away == "closed" else "each process keeps to the limits by itself"
            _log.warning("Redis at %s is away (%s): %s", self.settings.url, reason, does)
            self._notices.post("state.unavailable", reason=reason, when_away=when_away)
        waiting, self._queue = [*sent, *self._queue], deque()
        self._queue.extend(message for message in waiting if message.keep)
        for message in waiting:
            if message.asked is not None and not message.asked.done():
                message.asked.set_exception(self._unavailable(error))
        for message in sent:
            if message.undo is not None:
                message.undo()
        self._wake.set()

    async def _return(self) -> None:
        """Try Redis again until it is back."""
        while self._away_since is not None:
            await self._clock.sleep(self._wait)
            self._failures += 1
            try:
                await self._touch()
            except Exception as error:
                _log.debug("Redis at %s is still away: %s", self.settings.url, _reason(error))
            else:
                seconds, self._away_since = self._clock.monotonic() - self._away_since, None
                _log.warning("Redis at %s is back after %.1f s", self.settings.url, seconds)
                self._notices.post("state.back", seconds=seconds)

    @property
    def _wait(self) -> float:
        return min(_FIRST_WAIT * 2.0 ** min(self._failures, 10), _LONGEST_WAIT)

    def _unavailable(self, cause: Exception | None = None) -> StateUnavailableError:
        error = StateUnavailableError(
            f"Redis at {self.settings.url} is away, and state.when_away=closed refuses calls until it is back",
            retry_after=self._wait,
            context={"url": self.settings.url, "namespace": self.settings.namespace},
        )
        error.__cause__ = cause
        return error

    def _unreachable(self, error: Exception) -> ConfigurationError:
        from claudeprov.problem import configuration_error, problem

        what = f"cannot be reached: {_reason(error)}"
        allowed = ("the address of a Redis server that runs", "state.when_away=open", "state=memory")
        return configuration_error(problem("state.url", what, "", value=self.settings.url, allowed=allowed))


def client_of(settings: StateSettings) -> Redis:
    """Make the client of ``state.url``; it connects when it is first used."""
    assert settings.url is not None
    return Redis.from_url(
        settings.url,
        username=os.environ.get("REDIS_USERNAME"),
        password=os.environ.get("REDIS_PASSWORD"),
        decode_responses=True,
        socket_connect_timeout=settings.timeout,
        socket_timeout=settings.timeout,
        retry=Retry(NoBackoff(), 0),  # a script that took something must not run twice
    )


def _reason(error: Exception) -> str:
    return masked_text(str(error) or type(error).__name__)
