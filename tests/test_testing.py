"""The clock, the scripted provider and the contract checker that ship for tests."""

from __future__ import annotations

import asyncio
import contextlib
import math
from datetime import UTC, datetime, timedelta

import pytest

from claudeprov.errors import OverloadedError, ProviderError, StreamInterruptedError
from claudeprov.stream import Stream
from claudeprov.testing import ContractError, ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle

HI = {"messages": [{"role": "user", "content": "Hi"}]}


class TestManualClock:
    async def test_stands_still_until_it_is_told_to_move(self):
        clock = ManualClock(datetime(2026, 11, 22, tzinfo=UTC))
        await clock.advance(90)
        assert clock.now() == datetime(2026, 11, 22, 0, 1, 30, tzinfo=UTC)
        assert clock.monotonic() == 90

    async def test_wakes_sleepers_in_the_order_of_their_times_and_at_their_times(self):
        clock = ManualClock()
        woken = []

        async def sleeper(name, *naps):
            for nap in naps:
                await clock.sleep(nap)
                woken.append((name, clock.monotonic()))

        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper("late", 5))
            group.create_task(sleeper("early", 1, 3))
            group.create_task(sleeper("also late", 5))
            await clock.advance(4.5)
            assert woken == [("early", 1), ("early", 4)]
            await clock.advance(0.5)
            assert woken[2:] == [("late", 5), ("also late", 5)]

    async def test_forgets_a_sleeper_that_was_cancelled(self):
        clock = ManualClock()
        task = asyncio.create_task(clock.sleep(5))
        await settle()
        task.cancel()
        await settle()
        assert not await clock.step()

    async def test_no_time_passes_in_a_sleep_of_nothing(self):
        clock = ManualClock()
        await clock.run(clock.sleep(0))
        assert clock.monotonic() == 0

    async def test_a_timeout_ends_what_it_bounds(self):
        clock = ManualClock()

        async def bounded():
            async with clock.timeout(3):
                await clock.sleep(10)

        with pytest.raises(TimeoutError):
            await clock.run(bounded())
        assert clock.monotonic() == 3

    async def test_a_timeout_that_has_passed_already_ends_it_at_once(self):
        clock = ManualClock()
        with pytest.raises(TimeoutError):
            async with clock.timeout(-1):
                await clock.sleep(10)
        assert clock.monotonic() == 0

    async def test_a_timeout_that_was_left_in_time_never_fires(self):
        clock = ManualClock()

        async def in_time_then_slow():
            async with clock.timeout(3):
                await clock.sleep(2)
            await clock.sleep(10)
            return clock.monotonic()

        assert await clock.run(in_time_then_slow()) == 12

    async def test_runs_work_to_its_end_without_waiting(self):
        clock = ManualClock()

        async def work():
            await clock.sleep(3600)
            return "done"

        assert await clock.run(work()) == "done"
        assert clock.monotonic() == 3600

    async def test_says_so_when_work_waits_for_something_else(self):
        with pytest.raises(RuntimeError, match="not this clock's"):
            await ManualClock().run(asyncio.Event().wait())


class TestScriptedProvider:
    async def test_answers_with_a_text_in_a_real_stream(self):
        provider = ScriptedProvider("Hello")
        response = await provider.send_message(HI)
        assert response.text == "Hello"
        assert response.usage.output_tokens == 1
        assert provider.requests[0].messages == HI["messages"]

    async def test_each_attempt_gets_the_next_answer_and_the_last_stays(self):
        async with ScriptedProvider(OverloadedError("busy"), "Hello") as provider:
            with pytest.raises(OverloadedError):
                await provider.send_message(HI)
            assert [(await provider.send_message(HI)).text for _ in range(2)] == ["Hello", "Hello"]

    async def test_an_error_in_the_script_breaks_the_stream_there(self):
        provider = ScriptedProvider([*text_events("Hel", "lo")[:3], OverloadedError("busy")])
        with pytest.raises(OverloadedError) as raised:
            await provider.send_message(HI)
        assert raised.value.partial.text == "Hel"

    async def test_a_script_that_ends_too_early_is_a_truncated_stream(self):
        with pytest.raises(StreamInterruptedError) as raised:
            await ScriptedProvider(text_events("Hel", "lo")[:-1][:4]).send_message(HI)
        assert raised.value.code == "truncated"

    @pytest.mark.parametrize("together", [False, True], ids=["read by read", "in one read"])
    async def test_an_error_event_is_the_error_that_it_tells(self, together):
        events = [*text_events("Hel", "lo")[:3], {"type": "error", "error": {"type": "overloaded_error"}}]
        with pytest.raises(OverloadedError) as raised:
            await ScriptedProvider([events] if together else events).send_message(HI)
        assert raised.value.partial.text == "Hel"

    async def test_the_chunks_before_an_event_out_of_grammar_are_given(self):
        start, *_, stop = text_events("Hello")
        chunks = aiter(ScriptedProvider([[start, start, stop]]).send_message(HI))
        assert (await anext(chunks)).type == "message_start"
        with pytest.raises(StreamInterruptedError, match="grammar"):
            await anext(chunks)

    async def test_it_is_open_with_its_first_event_other_than_a_ping(self):
        clock = ManualClock()
        provider = ScriptedProvider([{"type": "ping"}, 2, *text_events("Hello")], clock=clock)
        response = await clock.run(provider.send_message(HI))
        assert response.timing.first_chunk == 2

    async def test_an_attempt_that_is_cancelled_is_one(self):
        stream = ScriptedProvider([math.inf, "never"], clock=ManualClock()).send_message(HI)
        task = asyncio.ensure_future(stream)
        await settle()
        task.cancel()
        await settle()
        assert [attempt.error_code for attempt in stream.response.attempts] == ["cancelled"]

    async def test_takes_the_callers_tags_to_the_layers(self):
        seen = []

        async def layer(call, call_next):
            seen.append(call.tags)
            return await call_next(call)

        await ScriptedProvider("Hello", layers=[layer]).send_message(HI, tags={"task": "greet"})
        assert seen == [{"task": "greet"}]

    async def test_a_number_is_a_silence(self):
        clock = ManualClock()
        start, *rest = text_events("Hello")
        response = await clock.run(ScriptedProvider([2, start, 3.5, *rest], clock=clock).send_message(HI))
        assert response.timing.first_chunk == 2
        assert response.timing.total == 5.5

    async def test_a_list_of_events_is_one_network_read(self):
        stream = ScriptedProvider([text_events("a", "b")]).send_message(HI)
        async with stream:
            chunks = aiter(stream)
            await anext(chunks)
            assert stream.response.text == "ab"
            await chunks.aclose()

    def test_needs_an_answer(self):
        with pytest.raises(ValueError, match="needs an answer"):
            ScriptedProvider()


async def good(call, call_next):
    return await call_next(call)


async def refusing(call, call_next):
    raise ProviderError("not today")


class Slots:
    """A layer that holds something for a stream's whole life, as it should be."""

    def __init__(self, limit=3):
        self._free = asyncio.Semaphore(limit)

    async def __call__(self, call, call_next):
        await self._free.acquire()
        try:
            stream = await call_next(call)
        except BaseException:
            self._free.release()
            raise
        stream.on_end(lambda outcome: self._free.release())
        return stream


class WithClock:
    """Waits before and after, and cleans up."""

    def __init__(self, clock):
        self._clock = clock

    async def __call__(self, call, call_next):
        await self._clock.sleep(5)
        stream = await call_next(call)
        try:
            await self._clock.sleep(5)
        except BaseException:
            await stream.close()
            raise
        stream.tap("content_block_delta", lambda chunk: None)
        return stream


class WithOneTask:
    """Keeps a task of its own, for all calls, which does not end with them."""

    def __init__(self):
        self._task = None

    async def __call__(self, call, call_next):
        self._task = self._task or asyncio.create_task(asyncio.Event().wait())
        return await call_next(call)


class WithCallsUnderWay:
    """Knows its calls, as long as they last."""

    def __init__(self):
        self._calls = {}

    async def __call__(self, call, call_next):
        self._calls[call.id] = call
        try:
            stream = await call_next(call)
        except BaseException:
            del self._calls[call.id]
            raise
        stream.on_end(lambda outcome: self._calls.pop(call.id))
        return stream


class TestGoodLayers:
    async def test_one_that_does_nothing_passes(self):
        await check_middleware(lambda: good)

    async def test_one_that_refuses_passes(self):
        await check_middleware(lambda: refusing)

    @pytest.mark.parametrize("limit", [1, 3])
    async def test_one_that_holds_a_slot_for_a_stream_passes(self, limit):
        await check_middleware(lambda: Slots(limit))

    @pytest.mark.parametrize("layer", [WithOneTask, WithCallsUnderWay])
    async def test_one_that_keeps_what_is_its_own_passes(self, layer):
        await check_middleware(layer)

    async def test_one_that_waits_and_taps_passes(self):
        clock = ManualClock()
        await check_middleware(lambda: WithClock(clock), clock=clock)


class ReturnsAnother:
    async def __call__(self, call, call_next):
        stream = await call_next(call)
        other = Stream(call, stream._source, stream.snapshot)
        await stream.close()
        return other


class ReturnsNothing:
    async def __call__(self, call, call_next):
        await (await call_next(call)).close()


class SwallowsErrors:
    async def __call__(self, call, call_next):
        try:
            return await call_next(call)
        except ProviderError:
            return await ScriptedProvider("all is well")(call)


class HidesErrors:
    async def __call__(self, call, call_next):
        failed = False
        try:
            return await call_next(call)
        except ProviderError:
            failed = True
        assert failed
        raise ProviderError("something went wrong")


class RefusesWithABuiltin:
    async def __call__(self, call, call_next):
        raise KeyError(call.id)


class LeavesItOpen:
    async def __call__(self, call, call_next):
        await call_next(call)
        raise ProviderError("too long")


class LeavesItOpenWhenCancelled:
    async def __call__(self, call, call_next):
        stream = await call_next(call)
        await asyncio.sleep(0)
        return stream


class SwallowsCancellation:
    async def __call__(self, call, call_next):
        try:
            return await call_next(call)
        except asyncio.CancelledError as error:
            raise ProviderError("cancelled") from error


class SwallowsLateCancellation:
    async def __call__(self, call, call_next):
        stream = await call_next(call)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return stream


class KeepsSlotsOf:
    """Gives its slots back, but for one way a call can go."""

    def __init__(self, leak, limit=3):
        self._free = asyncio.Semaphore(limit)
        self._leak = leak

    async def __call__(self, call, call_next):
        await self._free.acquire()
        try:
            stream = await call_next(call)
        except asyncio.CancelledError:
            if self._leak != "were cancelled while opening":
                self._free.release()
            raise
        except Exception:
            if self._leak != "failed to open":
                self._free.release()
            raise
        stream.on_end(lambda outcome: self._leak != f"were {outcome.kind}" and self._free.release())
        return stream


class KeepsItsPlaceInTheQueue:
    """Does not leave the queue when it is cancelled in it."""

    def __init__(self, clock):
        self._clock = clock
        self._waiting = 0

    async def __call__(self, call, call_next):
        self._waiting += 1
        await self._clock.sleep(1)
        if self._waiting > 10:
            await asyncio.Event().wait()
        self._waiting -= 1
        return await call_next(call)


class TellsTwice:
    def end(self, outcome):
        pass

    async def __call__(self, call, call_next):
        stream = await call_next(call)
        stream.on_end(self.end)
        stream.on_end(self.end)
        return stream


class HookFails:
    async def __call__(self, call, call_next):
        stream = await call_next(call)
        stream.on_end(lambda outcome: outcome.error.code)
        return stream


class HookIsAsync:
    async def end(self, outcome):
        pass

    async def __call__(self, call, call_next):
        stream = await call_next(call)
        stream.on_end(self.end)
        return stream


class KeepsTheCall:
    async def __call__(self, call, call_next):
        self.call = call
        return await call_next(self.call)


class KeepsTheStream:
    async def __call__(self, call, call_next):
        self.stream = await call_next(call)
        return self.stream


class KeepsCallsOnceTheyEnd:
    def __init__(self):
        self._ended = []

    async def __call__(self, call, call_next):
        stream = await call_next(call)
        stream.on_end(lambda outcome: self._ended.append(call))
        return stream


class KeepsStreamsByCall:
    def __init__(self):
        self._streams = {}

    async def __call__(self, call, call_next):
        stream = self._streams[call.id] = await call_next(call)
        return stream


class KeepsTheCallInASlot:
    __slots__ = ("_call",)

    async def __call__(self, call, call_next):
        self._call = call
        return await call_next(call)


class KeepsTheErrorsOfCalls:
    """An error holds on to the frames that it went through, and so to the call."""

    def __init__(self):
        self._errors = []

    async def __call__(self, call, call_next):
        try:
            return await call_next(call)
        except ProviderError as error:
            self._errors.append(error)
            raise


class LeavesATask:
    def __init__(self):
        self._tasks = set()

    async def __call__(self, call, call_next):
        self._tasks.add(asyncio.create_task(asyncio.Event().wait()))
        return await call_next(call)


class ForgetsAttempts:
    async def __call__(self, call, call_next):
        stream = await call_next(call)
        call.attempts.clear()
        return stream


class ForgetsFailedAttempts:
    async def __call__(self, call, call_next):
        try:
            return await call_next(call)
        except ProviderError:
            call.attempts = []
            raise


class ForgetsAttemptsAtTheEnd:
    async def __call__(self, call, call_next):
        stream = await call_next(call)
        stream.on_end(lambda outcome: call.attempts.clear())
        return stream


def mixing_calls():
    current = []

    async def layer(call, call_next):
        current[:] = [call]
        await asyncio.sleep(0)
        return await call_next(*current)

    return layer


class StaysOnThePath:
    async def __call__(self, call, call_next):
        stream = await call_next(call)
        source = stream._source

        async def seen():
            async for chunks in source:
                yield chunks

        stream._source = seen()
        return stream


class TestBrokenLayers:
    """The checker itself can fail: a layer that breaks a rule, for each rule."""

    @pytest.mark.parametrize(
        ("layer", "rule"),
        [
            (ReturnsAnother, "in place of the stream"),
            (ReturnsNothing, "returns None in place of the stream"),
            (SwallowsErrors, "swallows errors.* it returned a stream"),
            (RefusesWithABuiltin, "refuses with a ProviderError"),
            (HidesErrors, "swallows errors.* which does not have it as its cause"),
            (LeavesItOpen, "leaves a stream open"),
            (LeavesItOpenWhenCancelled, "leaves a stream open"),
            (SwallowsCancellation, "swallows cancellation.* raised"),
            (SwallowsLateCancellation, "swallows cancellation.* returned"),
            (TellsTwice, "told 2 times"),
            (HookFails, "end hook raised AttributeError.* when a stream was read"),
            (HookIsAsync, "returned a coroutine"),
            (KeepsTheCall, "keeps a call's own Call on the instance, as 'call'"),
            (KeepsTheStream, "keeps a call's own Stream on the instance, as 'stream'"),
            (KeepsCallsOnceTheyEnd, "keeps calls that have ended"),
            (KeepsStreamsByCall, "keeps calls that have ended"),
            (KeepsTheCallInASlot, "keeps calls that have ended: 1 of 33"),
            (KeepsTheErrorsOfCalls, "keeps calls that have ended: 32 of 33"),
            (LeavesATask, "leaves a task running after each of 32 calls"),
            (ForgetsAttempts, "loses attempts: the rest of the chain made 1, the call tells of 0"),
            (ForgetsFailedAttempts, "loses attempts"),
            (ForgetsAttemptsAtTheEnd, "loses attempts"),
            (mixing_calls, "mixes up calls"),
            (StaysOnThePath, "stays on the path: 1000 events.* cost 1[0-9]{3} calls"),
        ],
    )
    async def test_is_told_the_rule_that_it_breaks(self, layer, rule):
        with pytest.raises(ContractError, match=rule):
            await check_middleware(layer)

    @pytest.mark.parametrize(
        "leak",
        [
            "were cancelled while opening",
            "failed to open",
            "were read",
            "were failed",
            "were cancelled",
            "were abandoned",
        ],
    )
    async def test_is_told_when_it_does_not_give_back_what_it_takes(self, leak):
        with pytest.raises(ContractError, match=f"does not give back what it takes: after 3 calls that {leak}"):
            await check_middleware(lambda: KeepsSlotsOf(leak))

    async def test_is_told_when_it_does_not_clean_up_after_its_own_wait(self):
        clock = ManualClock()
        with pytest.raises(ContractError, match="after 32 calls that were cancelled at once it waits"):
            await check_middleware(lambda: KeepsItsPlaceInTheQueue(clock), clock=clock)

    async def test_a_layer_that_waits_for_ever_does_not_hang_the_checker(self):
        async def stuck(call, call_next):
            await asyncio.Event().wait()

        with pytest.raises(ContractError, match="neither its clock nor the rest"):
            await check_middleware(lambda: stuck)


def test_the_wall_clock_of_a_manual_clock_is_in_utc():
    clock = ManualClock(datetime.fromisoformat("2026-11-22T01:00:00+02:00"))
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.now() == datetime(2026, 11, 21, 23, tzinfo=UTC)


def test_the_package_names_what_it_has():
    from claudeprov import testing

    assert all(hasattr(testing, name) for name in testing.__all__)
    assert not hasattr(testing, "RealProvider")
