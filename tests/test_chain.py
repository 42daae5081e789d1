"""What a call is, and how layers fold."""

from __future__ import annotations

import sys

import pytest

from claudeprov.chain import Call, chain
from claudeprov.errors import ProviderError
from claudeprov.request import MessageRequest
from claudeprov.testing import ManualClock, ScriptedProvider, text_events

HI = {"messages": [{"role": "user", "content": "Hi"}]}


def call(clock=None):
    return Call(MessageRequest.of(HI), clock or ManualClock())


class TwoAttempts:
    """A retry in small."""

    async def __call__(self, call, call_next):
        try:
            return await call_next(call)
        except ProviderError:
            return await call_next(call)


class Count:
    def __init__(self):
        self.failures = 0

    async def __call__(self, call, call_next):
        try:
            return await call_next(call)
        except ProviderError:
            self.failures += 1
            raise


@pytest.mark.parametrize(("counts_outside", "failures"), [(True, 1), (False, 2)])
async def test_layers_are_listed_outermost_first(counts_outside, failures):
    """The number that differs when two layers swap: failed calls outside of the retry, failed attempts inside."""
    count = Count()
    layers = [count, TwoAttempts()] if counts_outside else [TwoAttempts(), count]
    with pytest.raises(ProviderError):
        await chain(layers, ScriptedProvider(ProviderError("no")))(call())
    assert count.failures == failures


async def test_a_chain_of_no_layers_is_the_provider():
    provider = ScriptedProvider("Hello")
    assert chain([], provider) is provider


async def test_a_layer_may_change_the_request():
    async def other_model(call, call_next):
        call.request = call.request.model_copy(update={"model": "other"})
        return await call_next(call)

    provider = ScriptedProvider("Hello")
    stream = await chain([other_model], provider)(call())
    await stream.close()
    assert provider.requests[0].model == "other"


async def test_one_chain_serves_many_calls():
    open_stream = chain([TwoAttempts()], ScriptedProvider("Hello"))
    first, second = call(), call()
    assert (await open_stream(first)).call is first
    assert (await open_stream(second)).call is second


async def test_each_call_has_an_id_of_its_own_and_counts_its_time_from_its_start():
    clock = ManualClock()
    first = call(clock)
    assert first.id != call(clock).id
    await clock.advance(3)
    first.start()
    assert first.started == 3
    assert first.started_at == clock.now()


async def test_an_event_costs_as_many_function_calls_with_20_layers_as_with_none():
    async def layer(call, call_next):
        stream = await call_next(call)
        stream.on_end(lambda outcome: None)
        return stream

    async def calls_per_event(layers):
        totals = []
        for length in (10, 1010):
            provider = ScriptedProvider(text_events(*["x"] * length), layers=[layer] * layers)
            stream = provider.send_message(HI)
            await anext(chunks := aiter(stream))  # opened: from here on only events cost
            totals.append(await _function_calls(chunks))
        return round((totals[1] - totals[0]) / 1000)

    assert await calls_per_event(20) == await calls_per_event(0)


async def _function_calls(chunks):
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        async for _ in chunks:
            pass
    finally:
        sys.setprofile(None)
    return count
