"""Another attempt where one has failed."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

from claudeprov.chain import Call, Next
from claudeprov.clock import Clock
from claudeprov.errors import OverloadedError, ProviderError
from claudeprov.settings.retry import RetrySettings
from claudeprov.stream import Stream


class Retry:
    """Opens a stream in up to ``max_attempts`` attempts, as long as errors are ``retryable``.

    The wait after attempt *n* is drawn evenly from 0 to ``base * 2**(n - 1)``, at most ``cap`` ("full jitter", Marc
    Brooker, "Exponential Backoff and Jitter", AWS 2015), but never shorter than the error's ``retry_after``. An
    overloaded service has a ``base`` and ``cap`` of its own. It gives up at once where ``retry_after`` is more than
    ``max_wait``, and where the next attempt would start after ``budget`` or the call's deadline. What a reader has
    read cannot be unread: a stream that breaks later is not retried.

    Raises:
        ProviderError: Of the last attempt. Its ``context`` tells the number of ``attempts``, and ``retry_at``, when
            another may be made, where the service has said so.
    """

    def __init__(self, settings: RetrySettings, *, clock: Clock, random: Random) -> None:
        self._settings = settings
        self._clock = clock
        self._random = random
        self._bound = wait_exponential(multiplier=settings.base, max=settings.cap)
        self._overloaded_bound = wait_exponential(multiplier=settings.overloaded_base, max=settings.overloaded_cap)

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        clock, settings = self._clock, self._settings
        latest = clock.monotonic() + settings.budget
        if call.deadline is not None:
            latest = min(latest, call.deadline)

        def stop(state: RetryCallState) -> bool:
            return (
                state.attempt_number >= settings.max_attempts
                or (_error(state).retry_after or 0) > settings.max_wait
                or clock.monotonic() + state.upcoming_sleep > latest
            )

        async def sleep(seconds: float) -> None:
            before = clock.monotonic()
            try:
                await clock.sleep(seconds)
            finally:
                call.backoff += clock.monotonic() - before

        # tenacity keeps a call's state on the controller: each call gets its own.
        attempts = AsyncRetrying(sleep=sleep, stop=stop, wait=self._wait, retry=_RETRYABLE, reraise=True)
        try:
            async for attempt in attempts:
                with attempt:
                    return await call_next(call)
        except ProviderError as error:
            error.context["attempts"] = attempts.statistics["attempt_number"]
            if error.retry_after is not None:
                error.context["retry_at"] = (clock.now() + timedelta(seconds=error.retry_after)).isoformat()
            raise
        raise AssertionError("an attempt returns or raises")

    def _wait(self, state: RetryCallState) -> float:
        error = _error(state)
        bound = self._overloaded_bound if isinstance(error, OverloadedError) else self._bound
        return max(self._random.uniform(0, bound(state)), error.retry_after or 0.0)


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable


_RETRYABLE = retry_if_exception(_is_retryable)


def _error(state: RetryCallState) -> ProviderError:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, ProviderError)
    return error
