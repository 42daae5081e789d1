"""A stream ends once, whichever way it ends, and its reader may stop at any time."""

from __future__ import annotations

import asyncio
import gc
import logging
import math

import pytest

from claudeprov.chain import Call
from claudeprov.errors import InvalidRequestError, OverloadedError, ServerError, StreamInterruptedError
from claudeprov.request import MessageRequest
from claudeprov.stream import Outcome
from claudeprov.testing import ManualClock, ScriptedProvider, text_events
from claudeprov.testing.clock import settle

HI = {"messages": [{"role": "user", "content": "Hi"}]}
START, OPEN_BLOCK, *DELTAS, CLOSE_BLOCK, DELTA, STOP = text_events("a", "b", "c", "d")
ENDLESS = [START, OPEN_BLOCK, *DELTAS, math.inf]


class Ends:
    """A layer that takes note of how streams end."""

    def __init__(self):
        self.outcomes = []

    async def __call__(self, call, call_next):
        stream = await call_next(call)
        stream.on_end(self.outcomes.append)
        return stream

    @property
    def kinds(self):
        return [outcome.kind for outcome in self.outcomes]


@pytest.fixture
def ends():
    return Ends()


def send(*answers, layers=(), clock=None):
    return ScriptedProvider(*answers, layers=layers, clock=clock or ManualClock()).send_message(HI)


def tapping(kind, see):
    async def layer(call, call_next):
        stream = await call_next(call)
        stream.tap(kind, see)
        return stream

    return layer


async def read_into(texts, stream):
    async for chunk in stream:
        texts.append(chunk.text)


async def collected():
    """Wait until what nobody holds any more is gone."""
    gc.collect()
    await settle()


async def texts(stream):
    return [chunk.text async for chunk in stream if chunk.text]


class TestItsEndIsToldOnce:
    async def test_when_it_was_read(self, ends):
        stream = send("Hello", layers=[ends])
        await stream
        await stream.cancel()
        assert ends.outcomes == [Outcome("read")]

    async def test_when_it_failed(self, ends):
        error = ServerError("broken off")
        stream = send([START, error], layers=[ends])
        with pytest.raises(ServerError):
            await stream
        await stream.cancel()
        assert ends.outcomes == [Outcome("failed", error)]

    async def test_when_it_is_truncated(self, ends):
        with pytest.raises(StreamInterruptedError):
            await send([START, OPEN_BLOCK, *DELTAS], layers=[ends])
        assert ends.kinds == ["failed"]

    async def test_when_async_with_is_left_early(self, ends):
        async with send(ENDLESS, layers=[ends]) as stream:
            async for chunk in stream:
                if chunk.text == "b":
                    break
        assert ends.kinds == ["cancelled"]

    async def test_when_the_reader_itself_fails_inside_async_with(self, ends):
        with pytest.raises(KeyError):
            async with send(ENDLESS, layers=[ends]):
                raise KeyError
        assert ends.outcomes == [Outcome("cancelled")]

    async def test_when_it_is_cancelled(self, ends):
        stream = send(ENDLESS, layers=[ends])
        async for _ in stream:
            await stream.cancel()
        assert ends.kinds == ["cancelled"]

    async def test_when_the_task_that_reads_it_is_cancelled(self, ends):
        task = asyncio.create_task(texts(send(ENDLESS, layers=[ends])))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ends.kinds == ["cancelled"]

    async def test_when_it_is_abandoned(self, ends):
        async for _ in (stream := send(ENDLESS, layers=[ends])):
            break
        del _
        with pytest.warns(ResourceWarning, match="abandoned before its end"):
            await collected()
        assert ends.kinds == ["abandoned"]
        with pytest.raises(StreamInterruptedError) as raised:
            await stream
        assert raised.value.code == "abandoned"

    async def test_at_once_where_it_has_ended_already(self, ends):
        stream = await ScriptedProvider("Hello")(Call(MessageRequest.of(HI), ManualClock()))
        while await stream.read():
            pass
        stream.on_end(ends.outcomes.append)
        assert ends.kinds == ["read"]

    async def test_to_the_other_hooks_too_if_one_fails(self, ends, caplog):
        async def broken(call, call_next):
            stream = await call_next(call)
            stream.on_end(lambda outcome: 1 / 0)
            return stream

        await send("Hello", layers=[ends, broken])
        assert ends.kinds == ["read"]
        assert [(record.levelno, record.exc_info[0]) for record in caplog.records] == [
            (logging.ERROR, ZeroDivisionError)
        ]


class TestItsSourceIsClosed:
    @pytest.fixture
    def closed(self):
        return asyncio.Event()

    @pytest.fixture
    def watching(self, closed):
        async def layer(call, call_next):
            stream = await call_next(call)
            source = stream._source

            async def watched():
                try:
                    async for chunks in source:
                        yield chunks
                finally:
                    closed.set()

            stream._source = watched()
            await anext(stream._source)
            return stream

        return layer

    async def test_when_it_is_cancelled(self, closed, watching):
        async with send(ENDLESS, layers=[watching]):
            assert not closed.is_set()
        assert closed.is_set()

    async def test_when_it_is_abandoned(self, closed, watching):
        async for _ in send(ENDLESS, layers=[watching]):
            break
        with pytest.warns(ResourceWarning):
            await collected()
        assert closed.is_set()

    async def test_when_it_is_abandoned_and_warnings_are_errors(self, closed, watching):
        chunks = aiter(send(ENDLESS, layers=[watching]))
        await anext(chunks)
        with pytest.raises(ResourceWarning):
            await chunks.aclose()
        assert closed.is_set()

    async def test_when_a_tap_fails(self, closed, watching):
        def see(chunk):
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011
            await send(ENDLESS, layers=[tapping("content_block_delta", see), watching])
        assert closed.is_set()


class TestTaps:
    async def test_see_the_events_of_their_kind_and_no_others(self):
        seen = []
        await send("Hello", layers=[tapping("message_start", seen.append)])
        assert [chunk.type for chunk in seen] == ["message_start"]

    async def test_see_an_event_before_the_reader_does(self):
        seen = []
        stream = send(text_events("a", "b", "c"), layers=[tapping("content_block_delta", seen.append)])
        assert [len(seen) async for chunk in stream if chunk.text] == [1, 2, 3]

    async def test_of_one_kind_all_see_it(self):
        seen = []
        layers = [tapping("message_stop", lambda chunk, name=name: seen.append(name)) for name in ("outer", "inner")]
        await send("Hello", layers=layers)
        assert seen == ["inner", "outer"]

    @pytest.mark.parametrize("reads", [[text_events("a", "b", "c")], text_events("a", "b", "c")], ids=["one", "many"])
    async def test_one_that_raises_fails_the_stream_after_the_chunks_before_it(self, ends, reads):
        def see(chunk):
            if chunk.text == "c":
                raise error

        error = OverloadedError("enough")
        stream = send(reads, layers=[ends, tapping("content_block_delta", see)])
        got = []
        with pytest.raises(OverloadedError) as raised:
            await read_into(got, stream)
        assert got == ["", "", "a", "b"]
        assert raised.value is error
        assert ends.outcomes == [Outcome("failed", error)]


class TestAwaiting:
    async def test_twice_gives_the_same_answer_and_sends_once(self):
        provider = ScriptedProvider("Hello")
        stream = provider.send_message(HI)
        assert (await stream).to_message() == (await stream).to_message()
        assert len(provider.requests) == 1

    async def test_after_iterating_gives_the_whole(self):
        stream = send("Hello")
        assert await texts(stream) == ["Hello"]
        assert (await stream).text == "Hello"

    async def test_after_a_break_inside_async_with_gives_the_whole(self):
        async with send(text_events("a", "b", "c")) as stream:
            async for chunk in stream:
                if chunk.text == "b":
                    break
            assert (await stream).text == "abc"

    async def test_raises_the_error_of_opening_again(self):
        provider = ScriptedProvider(InvalidRequestError("no"))
        stream = provider.send_message(HI)
        errors = []
        for _ in range(2):
            with pytest.raises(InvalidRequestError) as raised:
                await stream
            errors.append(raised.value)
        assert errors[0] is errors[1]
        assert len(provider.requests) == 1

    async def test_raises_the_error_of_reading_again(self):
        stream = send([START, OPEN_BLOCK, *DELTAS, ServerError("broken off")])
        for _ in range(2):
            with pytest.raises(ServerError) as raised:
                await stream
        assert raised.value.partial.text == "abcd"

    async def test_after_cancelling_raises_with_what_arrived(self):
        stream = send(ENDLESS)
        async for chunk in stream:
            if chunk.text == "b":
                await stream.cancel()
        with pytest.raises(StreamInterruptedError) as raised:
            await stream
        assert raised.value.code == "cancelled"
        assert raised.value.partial.text == "ab"

    async def test_several_tasks_at_once_sends_once(self):
        provider = ScriptedProvider([0.5, *text_events("Hello")], clock=(clock := ManualClock()))
        stream = provider.send_message(HI)
        responses = asyncio.gather(asyncio.ensure_future(stream), asyncio.ensure_future(stream))
        await clock.advance(1)
        assert [response.text for response in await responses] == ["Hello", "Hello"]
        assert len(provider.requests) == 1


class TestIterating:
    async def test_again_inside_async_with_loses_no_chunk(self):
        async with send([text_events("a", "b", "c", "d")]) as stream:
            got = []
            for stop in "b", "c", None:
                async for chunk in stream:
                    got.append(chunk.text)
                    if chunk.text == stop:
                        break
            assert "".join(got) == "abcd"
            assert len(got) == 4 + 5

    async def test_text_only(self):
        assert [text async for text in send(text_events("a", "b")).text()] == ["a", "b"]

    async def test_after_the_end_gives_nothing(self):
        stream = send("Hello")
        await stream
        assert await texts(stream) == []

    async def test_the_response_so_far_is_there_at_any_time(self):
        stream = send(text_events("a", "b"))
        assert stream.response.content == []
        async with stream:
            async for chunk in stream:
                if chunk.text == "a":
                    assert stream.response.text == "a"
                    assert stream.response.stop_reason is None
            assert stream.response.stop_reason == "end_turn"

    async def test_the_response_stays_the_same_once_the_stream_has_ended(self):
        stream = send("Hello")
        assert await stream is stream.response


class TestPeeking:
    async def test_takes_nothing_from_the_reader(self):
        stream = await ScriptedProvider("Hello")(Call(MessageRequest.of(HI), ManualClock()))
        found = await stream.peek(lambda chunk: chunk.text == "Hello")
        assert found.text == "Hello"
        types = []
        while await stream.read():
            types += [chunk.type for chunk in stream.pending]
        assert types == [event["type"] for event in text_events("Hello")]

    async def test_up_to_the_end_finds_nothing_and_does_not_end_it(self):
        stream = await ScriptedProvider("Hello")(Call(MessageRequest.of(HI), ManualClock()))
        assert await stream.peek(lambda chunk: False) is None
        assert stream.outcome is None
        assert await stream.read()
        assert len(list(stream.pending)) == len(text_events("Hello"))
        assert not await stream.read()
        assert stream.outcome == Outcome("read")

    async def test_a_stream_that_breaks_fails_it(self):
        error = ServerError("broken off")
        stream = await ScriptedProvider([START, error])(Call(MessageRequest.of(HI), ManualClock()))
        with pytest.raises(ServerError):
            await stream.peek(lambda chunk: bool(chunk.text))
        assert stream.outcome == Outcome("failed", error)


class TestCancelling:
    async def test_waits_until_the_reader_has_left(self):
        left, may_leave = [], asyncio.Event()

        async def slow_to_leave(call, call_next):
            stream = await call_next(call)
            source = stream._source

            async def watched():
                try:
                    async for chunks in source:
                        yield chunks
                except asyncio.CancelledError:
                    await may_leave.wait()
                    left.append("reader")
                    raise

            stream._source = watched()
            return stream

        stream = send(ENDLESS, layers=[slow_to_leave])
        reader = asyncio.create_task(texts(stream))
        await settle()
        cancelled = asyncio.ensure_future(stream.cancel())
        cancelled.add_done_callback(lambda _: left.append("cancel"))
        await settle()
        assert left == []
        may_leave.set()
        await cancelled
        await reader
        assert left == ["reader", "cancel"]

    async def test_wakes_a_reader_that_waits_in_another_task(self):
        stream = send(ENDLESS)
        reader = asyncio.create_task(texts(stream))
        await settle()
        assert not reader.done()
        await stream.cancel()
        assert await reader == ["a", "b", "c", "d"]
        assert reader.cancelling() == 0

    async def test_wakes_one_that_waits_for_the_stream_to_open(self, ends):
        provider = ScriptedProvider([math.inf, "never"], layers=[ends], clock=ManualClock())
        stream = provider.send_message(HI)
        reader = asyncio.create_task(texts(stream))
        await settle()
        await stream.cancel()
        assert await reader == []
        assert ends.kinds == []

    async def test_wakes_one_that_awaits_the_response(self):
        stream = send(ENDLESS)
        reader = asyncio.ensure_future(stream)
        await settle()
        await stream.cancel()
        with pytest.raises(StreamInterruptedError) as raised:
            await reader
        assert raised.value.partial.text == "abcd"

    async def test_ends_the_loop_that_does_it(self):
        stream = send([[START, OPEN_BLOCK, *DELTAS], math.inf])
        got = []
        async for chunk in stream:
            got.append(chunk.text)
            if chunk.text == "b":
                stream.cancel()
        assert "".join(got) == "ab"

    async def test_twice_is_once(self, ends):
        stream = send(ENDLESS, layers=[ends])
        reader = asyncio.create_task(texts(stream))
        await settle()
        stream.cancel()
        await stream.cancel()
        assert len(await reader) == 4
        assert ends.kinds == ["cancelled"]

    async def test_before_it_is_used_sends_nothing(self):
        provider = ScriptedProvider("Hello")
        stream = provider.send_message(HI)
        await stream.cancel()
        assert await texts(stream) == []
        assert provider.requests == []

    async def test_a_reader_that_is_cancelled_by_somebody_else_too_stays_cancelled(self):
        stream = send(ENDLESS)
        reader = asyncio.create_task(texts(stream))
        await settle()
        reader.cancel()
        stream.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    async def test_spares_a_reader_that_had_been_cancelled_before_and_went_on(self):
        async def read():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return await texts(stream)

        stream = send(ENDLESS)
        reader = asyncio.create_task(read())
        await settle()
        reader.cancel()
        await settle()
        await stream.cancel()
        assert await reader == ["a", "b", "c", "d"]


class TestTiming:
    async def test_counts_from_the_first_use_to_the_end(self):
        clock = ManualClock()
        stream = send([2, START, OPEN_BLOCK, 3, *DELTAS, CLOSE_BLOCK, DELTA, STOP], clock=clock)
        await clock.advance(10)
        response = await clock.run(stream)
        await clock.advance(10)
        assert response.timing.first_chunk == 2
        assert stream.response.timing.total == 5

    async def test_attempts_are_listed_with_what_made_them_fail(self):
        async def again(call, call_next):
            try:
                return await call_next(call)
            except OverloadedError:
                return await call_next(call)

        response = await send(OverloadedError("busy"), "Hello", layers=[again])
        assert [(attempt.number, attempt.error_code) for attempt in response.attempts] == [(1, "overloaded"), (2, None)]


async def test_says_in_its_repr_how_it_stands():
    stream = send("Hello")
    assert repr(stream).endswith(": not opened>")
    async with stream:
        assert repr(stream).endswith(": open>")
        await stream
    assert repr(stream).endswith(": read>")


async def test_leaving_while_another_task_reads_wakes_it(ends):
    stream = send(ENDLESS, layers=[ends])
    async with stream:
        texts = []
        reader = asyncio.create_task(read_into(texts, stream))
        await settle()
    await reader
    assert texts[2:] == ["a", "b", "c", "d"]
    assert ends.kinds == ["cancelled"]


async def test_cancelling_from_a_tap_ends_the_loop_and_cancels_nobody(ends):
    stream = send(text_events("a", "b"), layers=[tapping("content_block_stop", lambda chunk: stream.cancel()), ends])
    async for _ in stream:
        pass
    await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0
    assert ends.kinds == ["cancelled"]


async def test_giving_up_on_a_cancel_does_not_spoil_it():
    stream = send(ENDLESS)
    async with stream:
        first = asyncio.ensure_future(stream.cancel())
        first.cancel()
        await stream.cancel()
    assert not stream.active


async def test_a_call_whose_opening_was_cancelled_is_not_made_again():
    provider = ScriptedProvider([math.inf], text_events("a"), clock=ManualClock())
    stream = provider.send_message(HI)
    opening = asyncio.create_task(read_into([], stream))
    await settle()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    with pytest.raises(StreamInterruptedError, match="cancelled"):
        await stream
    assert len(provider.requests) == 1


async def test_a_stream_that_was_opened_and_dropped_is_abandoned(ends):
    stream = send(ENDLESS, layers=[ends])
    await stream.__aenter__()
    streams = [stream]
    del stream
    with pytest.warns(ResourceWarning, match="was abandoned"):
        streams.clear()
    assert ends.kinds == ["abandoned"]


async def test_a_stream_that_has_been_awaited_has_no_chunks_left():
    stream = send([START, [OPEN_BLOCK, *DELTAS], [CLOSE_BLOCK, DELTA, STOP]])
    await stream
    assert [chunk async for chunk in stream] == []


async def test_an_end_hook_that_is_cancelled_stops_no_other(ends, caplog):
    def cancelled(outcome):
        raise asyncio.CancelledError

    async def layer(call, call_next):
        stream = await call_next(call)
        stream.on_end(cancelled)
        return stream

    await send(text_events("a"), layers=[ends, layer])
    assert ends.kinds == ["read"]
    assert "an end hook failed" in caplog.text


async def test_a_layer_that_forgets_its_stream_is_named():
    async def forgetful(call, call_next):
        await call_next(call)

    with pytest.raises(TypeError, match=r"forgetful.* returned None"):
        await send(text_events("a"), layers=[forgetful])


async def test_a_stream_tells_how_it_ended_once_it_has():
    stream = send(text_events("a"))
    assert stream.outcome is None
    async with stream:
        assert stream.outcome is None
    assert stream.outcome.kind == "cancelled"


async def test_a_stream_tells_whether_chunks_of_the_same_read_wait():
    stream = send([START, [OPEN_BLOCK, *DELTAS], [CLOSE_BLOCK, DELTA, STOP]])
    assert not stream.buffered
    waiting = [stream.buffered async for _ in stream]
    assert waiting == [False, *[True] * len(DELTAS), False, True, True, False]
