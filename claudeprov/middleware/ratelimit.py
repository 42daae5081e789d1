"""No more requests and tokens a minute than the service allows."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import get_args

from claudeprov.catalog import Model
from claudeprov.chain import Call, Next
from claudeprov.clock import Clock
from claudeprov.errors import CallTimeoutError, ProviderError, RateLimitError, StreamInterruptedError
from claudeprov.limits import Allowance, RouteLimits, read_limits
from claudeprov.notice import Notices
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse
from claudeprov.settings.ratelimit import BucketSettings, RateLimitSettings
from claudeprov.state import Buckets, Counter, Level, Limit
from claudeprov.stream import Outcome, Stream
from claudeprov.tokens import Estimator

COUNTERS: tuple[Counter, ...] = get_args(Counter)

_LOOK = 1.0
"""Longest time, in seconds, between two looks at the buckets: other calls may give back meanwhile."""
_LOW = 0.1
"""Share of a limit; where less remains, what remains is spread until the reset."""
_HOLD = 1.0
"""Seconds for which a 429 holds a route where neither ``retry-after`` nor a header says so."""
_LONGEST_HOLD = 300.0
"""Longest hold, in seconds. Limits are a minute's: what says more may be wrong, and would shut the route to all calls;
if it is right, the one call that goes then is told so again."""
_MINUTE = 60.0
"""Longest time that a reset is off: a bucket of a minute's limit is full by then. A clock that is wrong says more."""
_FIRST_OUTPUT = 1000.0
"""Output tokens that a call is taken to need while none has ended."""
_WEIGHT = 0.1
"""Weight of the latest answer in the mean of output tokens."""
_COUNT_CACHE_READS = frozenset(("claude-3-5-haiku-20241022",))
"""Models whose cache reads count as input."""
_UNANSWERED = (CallTimeoutError, StreamInterruptedError)
"""Errors after which nobody knows what the service has counted."""


class RateLimit:
    """Lets an attempt through once the buckets of its route hold what it needs; first come, first served.

    An attempt needs one request, its estimated input tokens, and as many output tokens as answers on the route had on
    average (the service counts those that are produced, not ``max_tokens``), but no more than a whole burst. Input is
    corrected when the stream opens, all of it at the end: cache reads do not count. An attempt that was refused gives
    its tokens back, one whose answer never came leaves what it took, and a stream that broke off what had arrived.

    The service's headers steer: a lower limit than the configured one is taken over, and where less than a tenth
    remains it is spread over the time until the reset. A 429 holds the whole route until its ``retry_after``,
    five minutes at most.

    Waiting counts in ``call.queue`` and is bounded by the call's deadline. Notices: ``ratelimit.waiting`` with
    ``route``, ``seconds`` and calls ``ahead``; ``ratelimit.held`` with ``route`` and ``seconds``.

    Raises:
        RateLimitError: The deadline would pass first; ``code`` is ``queue_too_long``, ``retry_after`` how long it
            would wait. Nothing was sent.
    """

    def __init__(
        self,
        settings: RateLimitSettings,
        *,
        clock: Clock,
        buckets: Buckets,
        estimator: Estimator,
        models: Callable[[str], Model | None],
        notices: Notices,
    ) -> None:
        self.queues: dict[str, Queue] = {}
        """By route."""
        self._settings = settings
        self._clock = clock
        self._buckets = buckets
        self._estimator = estimator
        self._models = models
        self._notices = notices

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        queue = self._queue(call)
        taken = await self._take(call, queue)
        try:
            stream = await call_next(call)
        except ProviderError as error:
            self._heed(call, queue, error)
            if not isinstance(error, _UNANSWERED):
                self._correct(queue, taken, {"input_tokens": 0.0, "output_tokens": 0.0})
            raise
        try:
            self._heed(call, queue)
            self._correct(queue, taken, self._input(stream.response, call.request))
        except BaseException:
            await stream.close()
            raise

        def end(outcome: Outcome) -> None:
            response = stream.response
            used = self._input(response, call.request)
            if outcome.kind == "read":
                output = response.usage.output_tokens
                if output is not None:
                    used["output_tokens"] = output
                    queue.learn(output)
            else:
                used["output_tokens"] = self._arrived(response)
            self._correct(queue, taken, used)
            if isinstance(outcome.error, RateLimitError):
                self._hold(call, queue, outcome.error)

        stream.on_end(end)
        return stream

    def limits(self) -> dict[str, RouteLimits]:
        """What is left of each route's limits now, and who waits for it."""
        seconds, now = self._clock.monotonic(), self._clock.now()
        return {
            key: RouteLimits(
                client={
                    counter: Allowance(
                        round(level.limit.rate * 60), level.remaining, now + timedelta(seconds=level.reset)
                    )
                    for counter, level in self._buckets.levels(key).items()
                },
                queue=len(queue.waiting),
                longest_wait=queue.longest_wait(seconds),
            )
            for key, queue in self.queues.copy().items()
        }

    async def _take(self, call: Call, queue: Queue) -> dict[Counter, float]:
        """Wait for what *call* needs; return what it took."""
        started = self._clock.monotonic()
        wanted = queue.bounded(self._wanted(call.request, queue))
        ahead = len(queue.waiting)
        if ahead:
            expected = queue.expected(wanted, self._buckets.levels(queue.key), started)
            self._waits(call, queue, expected, ahead)
        place = queue.join(wanted, started)
        try:
            async with queue.turn:
                return await self._ask(call, queue, wanted, told=ahead > 0)
        finally:
            queue.leave(place)
            call.queue += self._clock.monotonic() - started

    async def _ask(self, call: Call, queue: Queue, wanted: dict[Counter, float], *, told: bool) -> dict[Counter, float]:
        """Ask the buckets until they give, with the turn of the queue."""
        try:
            while wait := await self._buckets.take(queue.key, wanted, queue.limits):
                queue.turn_ends = self._clock.monotonic() + wait
                self._waits(call, queue, wait, 0 if not told else None)
                told = True
                await self._clock.sleep(min(wait, _LOOK))
                wanted = queue.bounded(wanted)
            return wanted
        finally:
            queue.turn_ends = 0.0

    def _waits(self, call: Call, queue: Queue, seconds: float, ahead: int | None) -> None:
        """Refuse a wait that the deadline does not allow; tell of it, unless *ahead* is ``None``: it has been told."""
        left = math.inf if call.deadline is None else call.deadline - self._clock.monotonic()
        if seconds > left:
            raise RateLimitError(
                f"the call would wait {seconds:.1f} s for the rate limit of {queue.key}, but its deadline passes in "
                f"{left:.1f} s",
                code="queue_too_long",
                retry_after=seconds,
                context={"route": queue.key, "deadline_in": left},
            )
        if ahead is not None:
            self._notices.post("ratelimit.waiting", call.id, route=queue.key, seconds=seconds, ahead=ahead)

    def _wanted(self, request: MessageRequest, queue: Queue) -> dict[Counter, float]:
        wanted: dict[Counter, float] = {"requests": 1.0}
        if "input_tokens" in queue.limits:
            model = self._models(request.model or "")
            wanted["input_tokens"] = float(self._estimator.estimate(request, model).input_tokens)
        if "output_tokens" in queue.limits:
            most = request.max_tokens
            wanted["output_tokens"] = queue.output if most is None else min(queue.output, float(most))
        return wanted

    def _correct(self, queue: Queue, taken: dict[Counter, float], used: Mapping[Counter, float]) -> None:
        """Give back what was taken too much, or take what was taken too little."""
        changed = {counter: amount for counter, amount in used.items() if taken.get(counter, amount) != amount}
        if changed:
            self._buckets.give(queue.key, {counter: taken[counter] - amount for counter, amount in changed.items()})
            taken.update(changed)

    def _input(self, response: MessageResponse, request: MessageRequest) -> dict[Counter, float]:
        """The input tokens of a message that count, as far as its usage tells."""
        usage = response.usage
        if usage.input_tokens is None:
            return {}
        counted = usage.input_tokens + (usage.cache_creation_input_tokens or 0)
        model = self._models(request.model or "")
        if model is not None and model.id in _COUNT_CACHE_READS:
            counted += usage.cache_read_input_tokens or 0
        return {"input_tokens": counted}

    def _arrived(self, response: MessageResponse) -> float:
        """Output tokens of a message that broke off, which no usage tells."""
        text = "".join(str(block.get("text") or block.get("thinking") or "") for block in response.content)
        return max(
            self._estimator.text(text, self._models(response.model or "")).input_tokens,
            response.usage.output_tokens or 0,
        )

    def _heed(self, call: Call, queue: Queue, error: ProviderError | None = None) -> None:
        """Do as the service's answer says."""
        told = _told(call) if call.limits else {}
        queue.follow(told)
        now = self._clock.now()
        resets = {
            counter: min(max((allowance.reset - now).total_seconds(), 0.0), _MINUTE)
            for counter, allowance in told.items()
        }
        if isinstance(error, RateLimitError):
            self._hold(call, queue, error, [resets[counter] for counter in told if told[counter].remaining <= 0])
        elif told:
            remaining = {counter: allowance.remaining for counter, allowance in told.items()}
            low = {counter: remaining[counter] < _LOW * allowance.limit for counter, allowance in told.items()}
            self._buckets.steer(queue.key, remaining, {c: resets[c] if low[c] else 0.0 for c in told})

    def _hold(self, call: Call, queue: Queue, error: RateLimitError, resets: Sequence[float] = ()) -> None:
        seconds = max(resets, default=_HOLD) if error.retry_after is None else min(error.retry_after, _LONGEST_HOLD)
        self._buckets.hold(queue.key, seconds)
        self._notices.post("ratelimit.held", call.id, route=queue.key, seconds=seconds)

    def _queue(self, call: Call) -> Queue:
        route = call.route
        key = f"{route}/fast" if _is_fast(call.request) else route
        queue = self.queues.get(key)
        if queue is None:
            limits = self._settings.buckets.get(route.partition("/")[2], self._settings)
            queue = self.queues[key] = Queue(key, limits, self._settings.burst)
        return queue


class Queue:
    """Who waits for a route, in order, and what this process knows of the route."""

    def __init__(self, key: str, limits: BucketSettings, burst: float) -> None:
        self.key = key
        self.turn = asyncio.Lock()
        """Held by whoever asks the buckets; fair, and a waiter that is cancelled leaves it."""
        self.turn_ends = 0.0
        """When whoever has the turn is served, as far as is known, in monotonic seconds."""
        self.waiting: dict[object, tuple[float, Mapping[Counter, float]]] = {}
        """Since when each waits, and for what, in order of arrival."""
        self.limits: dict[Counter, Limit] = {}
        """Those in force: the configured ones, or the service's where they are lower."""
        self.output = _FIRST_OUTPUT
        """Mean of the output tokens of answers."""
        self._burst = burst
        self._minute: dict[Counter, float] = {counter: getattr(limits, counter) or math.inf for counter in COUNTERS}
        self._asked: dict[Counter, float] = defaultdict(float)
        self._learned = False
        for counter, most in self._minute.items():
            self._limit(counter, most)

    def longest_wait(self, now: float) -> float:
        """Seconds that the first has waited."""
        return next((now - since for since, _ in self.waiting.values()), 0.0)

    def join(self, wanted: Mapping[Counter, float], now: float) -> object:
        """Stand at the end."""
        place = object()
        self.waiting[place] = now, wanted
        for counter, amount in wanted.items():
            self._asked[counter] += amount
        return place

    def leave(self, place: object) -> None:
        """Go, served or not."""
        _, wanted = self.waiting.pop(place)
        for counter, amount in wanted.items():
            self._asked[counter] -= amount

    def expected(self, wanted: Mapping[Counter, float], levels: Mapping[Counter, Level], now: float) -> float:
        """Seconds that whoever joins now waits at least, as far as is known."""
        waits = [self.turn_ends - now, 0.0]
        for counter, level in levels.items():
            missing = self._asked[counter] + wanted.get(counter, 0.0) - level.remaining
            waits.append(missing / level.limit.rate)
        return max(waits)

    def bounded(self, wanted: Mapping[Counter, float]) -> dict[Counter, float]:
        """No more than the buckets can ever hold: what is larger waits until they are full."""
        limits = self.limits
        return {
            counter: min(amount, limits[counter].burst) if counter in limits else amount
            for counter, amount in wanted.items()
        }

    def follow(self, told: Mapping[Counter, Allowance]) -> None:
        """Take over the service's limits where there is none, or a higher one."""
        for counter, allowance in told.items():
            self._limit(counter, min(allowance.limit, self._minute[counter]))

    def learn(self, output: float) -> None:
        """Take an answer's output tokens into the mean."""
        self.output += (output - self.output) * (_WEIGHT if self._learned else 1.0)
        self._learned = True

    def _limit(self, counter: Counter, minute: float) -> None:
        if 0 < minute < math.inf:
            rate = minute / 60
            self.limits[counter] = Limit(rate, max(rate * self._burst, 1.0))


def _is_fast(request: MessageRequest) -> bool:
    """Whether it asks for fast mode, whose buckets are its own."""
    return getattr(request, "speed", None) == "fast"


def _told(call: Call) -> dict[Counter, Allowance]:
    """What the headers of the latest answer say of the buckets that the call takes from."""
    limits = read_limits(call.limits)
    prefix = "fast_" if _is_fast(call.request) else ""
    return {counter: limits[prefix + counter] for counter in COUNTERS if prefix + counter in limits}
