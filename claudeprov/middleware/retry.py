"""Another attempt where one has failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

from claudeprov.chain import Call, Next
from claudeprov.clock import Clock
from claudeprov.errors import OverloadedError, ProviderError, RateLimitError
from claudeprov.notice import Notices
from claudeprov.settings.retry import RetrySettings
from claudeprov.stream import Stream


class Retry:
    """Opens a stream in up to ``max_attempts`` attempts, as long as errors are ``retryable``.

    The wait after attempt *n* is drawn evenly from 0 to ``base * 2**(n - 1)``, at most ``cap`` ("full jitter", Marc
    Brooker, "Exponential Backoff and Jitter", AWS 2015), but never shorter than the error's ``retry_after``. An
    overloaded service has a ``base`` and ``cap`` of its own. It gives up at once where ``retry_after`` is more than
    ``max_wait``, where the next attempt would not start before ``budget`` or the call's deadline, and where the
    provider's :class:`Credit` is spent; and, before and after each wait, where one of ``call.checks`` raises. What a
    reader has read cannot be unread: a stream that breaks later is not retried. Posts ``retry.waiting``.

    Args:
        settings: When there is a further attempt, and how long to wait for it.
        clock: Where time comes from.
        random: Where the jitter comes from.
        notices: Where it tells that it waits.
        sleep: What waits; the clock if left out.

    Raises:
        ProviderError: Of the last attempt, or of a check, whose cause it is then. Its ``context`` tells the number of
            ``attempts`` and the ``waits`` before them; ``gave_up``, the setting that allowed no further one; and
            ``retry_at``, when another may be made, where the service has said so.
    """

    def __init__(
        self,
        settings: RetrySettings,
        *,
        clock: Clock,
        random: Random,
        notices: Notices | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._random = random
        self._notices = notices or Notices(clock)
        self._sleep = sleep or clock.sleep
        self._credit = Credit(settings.tokens, settings.refill)
        self._bound = wait_exponential(multiplier=settings.base, max=settings.cap)
        self._overloaded_bound = wait_exponential(multiplier=settings.overloaded_base, max=settings.overloaded_cap)

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        latest = self._clock.monotonic() + self._settings.budget
        try:
            stream = await call_next(call)
        except ProviderError as error:
            failure = error
        else:
            self._credit.give()
            return stream
        return await self._again(call, call_next, failure, latest)

    async def _again(self, call: Call, call_next: Next, failure: ProviderError, latest: float) -> Stream:
        """Go on after a first attempt that failed; most calls need none of this, and it leaves cycles to collect."""
        clock = self._clock
        waits: list[float] = []

        def stop(state: RetryCallState) -> bool:
            limit = self._limit(call, state, latest)
            if limit is not None:
                _error(state).context["gave_up"] = limit
            return limit is not None

        async def tell(state: RetryCallState) -> None:
            await _check(call)
            self._notices.post(
                "retry.waiting",
                call.id,
                attempt=state.attempt_number,
                seconds=state.upcoming_sleep,
                error=_error(state).code,
            )

        async def sleep(seconds: float) -> None:
            before = clock.monotonic()
            try:
                await self._sleep(seconds)
            finally:
                waits.append(clock.monotonic() - before)
                call.backoff += waits[-1]
            await _check(call)

        # tenacity keeps a call's state on the controller: each call gets its own.
        attempts = AsyncRetrying(
            sleep=sleep, stop=stop, wait=self._wait, retry=_RETRYABLE, before_sleep=tell, reraise=True
        )
        made = 0
        try:
            async for attempt in attempts:
                with attempt:
                    made += 1
                    if made == 1:
                        raise failure
                    try:
                        stream = await call_next(call)
                    except ProviderError as error:
                        failure = error
                        raise
                    self._credit.give()
                    return stream
        except ProviderError as error:
            error.context |= {"attempts": made, "waits": waits}
            if error.retry_after is not None:
                error.context["retry_at"] = (clock.now() + timedelta(seconds=error.retry_after)).isoformat()
            if error is failure:
                raise
            raise error from failure
        raise AssertionError("an attempt returns or raises")

    def _limit(self, call: Call, state: RetryCallState, latest: float) -> str | None:
        """The setting that allows no further attempt; where all do, it takes a token."""
        error, starts = _error(state), self._clock.monotonic() + state.upcoming_sleep
        if state.attempt_number >= self._settings.max_attempts:
            return "retry.max_attempts"
        if (error.retry_after or 0) > self._settings.max_wait:
            return "retry.max_wait"
        if starts > latest:
            return "retry.budget"
        if call.deadline is not None and starts >= call.deadline:
            return "deadline.total"
        # A rate limit says itself how fast to go on: those who wait it out add no load to an outage.
        if not isinstance(error, RateLimitError) and not self._credit.take():
            return "retry.tokens"
        return None

    def _wait(self, state: RetryCallState) -> float:
        error = _error(state)
        bound = self._overloaded_bound if isinstance(error, OverloadedError) else self._bound
        return max(self._random.uniform(0, bound(state)), error.retry_after or 0.0)


class Credit:
    """Bounds the retries of all calls together, so that an outage is not met with several times the load.

    A token bucket that starts full: a retry takes a token, an answered call puts back a part of one. Where every call
    fails, no more than *tokens* retries are made; where some fail, the retries are at most *refill* times the calls
    that are answered, in the long run. The rule is that of the retry quota of the AWS SDKs and of gRPC's retry
    throttling.

    Args:
        tokens: Its size; ``None`` is no bound.
        refill: What an answered call puts back.
    """

    def __init__(self, tokens: int | None, refill: float) -> None:
        self._size = tokens
        self._refill = refill
        self.left = float(tokens or 0)

    def take(self) -> bool:
        """Take a token; false where there is none."""
        if self._size is None:
            return True
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def give(self) -> None:
        """Put back what an answered call is worth."""
        if self._size is not None:
            self.left = min(self.left + self._refill, self._size)


async def _check(call: Call) -> None:
    for check in tuple(call.checks):
        await check()


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable


_RETRYABLE = retry_if_exception(_is_retryable)


def _error(state: RetryCallState) -> ProviderError:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, ProviderError)
    return error
