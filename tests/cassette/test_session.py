"""Sessions through the provider: what a replay gives is what the recording's reader got, and when."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from random import Random

import httpx2
import pytest

from claudeprov.bench.result import Summary
from claudeprov.bench.run import run_suite
from claudeprov.bench.suite import Suite
from claudeprov.cassette import recording
from claudeprov.cassette.file import load
from claudeprov.cassette.interaction import Details, interactions
from claudeprov.compose import compose
from claudeprov.errors import CallTimeoutError, CassetteError, CassetteMissError, ProviderError
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.testing import ManualClock, text_events

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")

Step = float | bytes | Exception
Answer = tuple[int, dict[str, str], Sequence[Step]]


def event(value: dict[str, object]) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


def stream(*texts: str, waits: Sequence[float] = ()) -> Answer:
    """A whole stream, an event a chunk, with a wait before each of the first ones."""
    steps: list[Step] = []
    for number, value in enumerate(text_events(*texts)):
        steps += [*waits[number : number + 1], event(value)]
    return 200, {"content-type": "text/event-stream", "request-id": "req_0123456789"}, steps


def refusal(status: int, **headers: str) -> Answer:
    body = json.dumps({"type": "error", "error": {"type": "api_error", "message": "no"}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"content-type": "application/json", **named}, [body]


class Service(httpx2.AsyncBaseTransport):
    """Gives the n-th request the n-th answer; floats are seconds of silence, the first of them before the headers."""

    def __init__(self, clock: ManualClock, *answers: Answer) -> None:
        self._clock = clock
        self._answers = iter(answers)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        status, headers, steps = next(self._answers)
        first, *rest = steps
        if isinstance(first, float):
            await self._clock.sleep(first)
        else:
            rest = list(steps)
        if isinstance(first, httpx2.ConnectError):
            raise first
        return httpx2.Response(status, headers=headers, stream=_Body(self._clock, rest))


class _Body(httpx2.AsyncByteStream):
    def __init__(self, clock: ManualClock, steps: Sequence[Step]) -> None:
        self._clock = clock
        self._steps = steps

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, bytes):
                yield step
            else:
                await self._clock.sleep(step)


def opened(
    mode: str, path: Path, clock: ManualClock, *overrides: str, service: Service | None = None
) -> AnthropicClaudeProvider:
    words = [f"cassette={mode}", f"cassette.path='{path}'", "retry.base=0", "retry.overloaded_base=0", *overrides]
    return AnthropicClaudeProvider(compose(words), clock=clock, transport=service)


def ask(prompt: str = "Hi") -> dict[str, object]:
    return {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": prompt}]}


async def read(provider: AnthropicClaudeProvider, clock: ManualClock) -> tuple[list[float], object]:
    """The moments at which the chunks came, from the call's start, and the response's timing."""
    start, message = clock.monotonic(), provider.send_message(ask())
    moments = [clock.monotonic() - start async for _ in message]
    return moments, message.response.timing


async def record(path: Path, *answers: Answer, work: Callable[..., object] = read, overrides: Sequence[str] = ()):
    clock = ManualClock()
    async with opened("record", path, clock, *overrides, service=Service(clock, *answers)) as provider:
        return await clock.run(work(provider, clock))


async def replay(path: Path, *overrides: str, work: Callable[..., object] = read):
    clock = ManualClock()
    async with opened("replay", path, clock, *overrides) as provider:
        return await clock.run(work(provider, clock))


def recorded(path: Path) -> list[Details]:
    return [item.details for item in interactions(load(path)) if item.details]


WAITS = (0.25, 1.013, 0.000007, 0.3, 0.1, 0.2, 2.718281)


async def test_at_the_recorded_pace_each_chunk_comes_when_it_came(tmp_path):
    path = tmp_path / "x.yaml"
    moments, timing = await record(path, stream("a", "b", "c", waits=WAITS))
    again, replayed = await replay(path, "cassette.speed=1")
    assert again == pytest.approx(moments, rel=0, abs=1e-12)
    assert len(set(moments)) == len(WAITS)
    [details] = recorded(path)
    assert round(replayed.first_chunk, 6) == round(timing.first_chunk, 6) == details.first_chunk
    assert round(replayed.total, 6) == round(timing.total, 6) == details.total
    at = [round(moment, 6) for moment in again]
    assert at == [round(sum(details.waits[: number + 2]) / 1_000_000, 6) for number in range(len(at))]


@pytest.mark.parametrize(("speed", "share"), [("0", 0), ("2", 0.5), ("0.5", 2)])
async def test_another_pace_is_that_many_times_as_fast(tmp_path, speed, share):
    path = tmp_path / "x.yaml"
    moments, _ = await record(path, stream("a", "b", "c", waits=WAITS))
    again, _ = await replay(path, f"cassette.speed={speed}")
    assert again == pytest.approx([moment * share for moment in moments])


async def test_a_benchs_result_has_the_recorded_times(tmp_path):
    path = tmp_path / "x.yaml"
    tasks = [
        {"id": name, "kind": "analysis", "prompt": name, "max_tokens": 9, "answer": "yes", "choices": ["yes", "no"]}
        for name in "abc"
    ]
    suite = Suite.model_validate({"name": "mine", "tasks": tasks})

    async def bench(provider, clock):
        return await run_suite(provider, suite, concurrency=2)

    answers = [stream("yes", waits=[wait, 0.1, 0.7]) for wait in (0.3, 1.1, 0.123456)]
    live = await record(path, *answers, work=bench)
    rows = await replay(path, "cassette.speed=1", work=bench)
    times = [(round(row.first_chunk_seconds, 6), round(row.seconds, 6)) for row in rows]
    assert times == [(details.first_chunk, details.total) for details in recorded(path)]
    other = {"request_id", "seconds", "first_chunk_seconds"}
    assert [row.model_dump(exclude=other) for row in rows] == [row.model_dump(exclude=other) for row in live]
    summary = Summary.of(rows, "recorded")
    assert summary.first_chunk_seconds is not None
    assert round(summary.first_chunk_seconds.p50, 6) == 0.3


async def test_calls_at_once_get_their_own_answers_in_any_order(tmp_path):
    path = tmp_path / "x.yaml"
    prompts = [f"prompt {number % 20}" for number in range(60)]

    async def all_in_order(provider, clock):
        return await asyncio.gather(*(provider.send_message(ask(prompt)) for prompt in prompts))

    async def all_shuffled(provider, clock):
        places = sorted(range(60), key=lambda number: (number // 20, shuffle.random()))
        answers = await asyncio.gather(*(provider.send_message(ask(prompts[place])) for place in places))
        return [answer for _, answer in sorted(zip(places, answers, strict=True), key=lambda pair: pair[0])]

    shuffle = Random(3)
    answers = [stream(f"answer {number}") for number in range(60)]
    live = await record(path, *answers, work=all_in_order)
    for speed in (0, 1):
        again = await replay(path, f"cassette.speed={speed}", work=all_shuffled)
        assert [response.text for response in again] == [response.text for response in live]


async def test_each_attempt_is_recorded_with_its_status_and_the_headers_that_matter(tmp_path):
    path = tmp_path / "x.yaml"
    answers = [
        refusal(529, retry_after="0", x_should_retry="true"),
        (0, {}, [httpx2.ConnectError("no route")]),
        refusal(429, anthropic_ratelimit_requests_remaining="0", set_cookie="secret"),
        stream("at last"),
    ]

    async def attempts(provider, clock):
        response = await provider.send_message(ask())
        return [attempt.error_code for attempt in response.attempts], response.text

    live = await record(path, *answers, work=attempts)
    assert live == (["overloaded", "connection_failed", "rate_limited", None], "at last")
    kept = list(interactions(load(path)))
    assert [item.status for item in kept] == [529, 599, 429, 200]
    assert {"retry-after", "x-should-retry"} <= dict(kept[0].headers).keys()
    assert dict(kept[2].headers).keys() == {"content-type", "anthropic-ratelimit-requests-remaining"}
    assert [details.end for details in recorded(path)] == ["complete", "unanswered", "complete", "complete"]
    assert await replay(path, work=attempts) == live


async def failure(provider, clock):
    with pytest.raises(ProviderError) as caught:
        await provider.send_message(ask())
    partial = caught.value.partial
    return type(caught.value), caught.value.code, partial and partial.text, clock.monotonic()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx2.ReadTimeout("nothing came"), "between_events_timeout"),
        (httpx2.ReadError("reset"), "stream_interrupted"),
        (httpx2.RemoteProtocolError("cut"), "stream_interrupted"),
    ],
)
async def test_a_stream_that_times_out_or_breaks_does_so_again(tmp_path, error, code):
    path = tmp_path / "x.yaml"
    status, headers, steps = stream("a", "b", waits=[0.5, 0.25, 0.125])
    live = await record(path, (status, headers, [*steps[:6], 1.0, error]), work=failure)
    assert (live[1], live[2]) == (code, "a")
    [details] = recorded(path)
    assert (details.end, details.error) == ("broken", f"{type(error).__name__}: {error}")
    assert await replay(path, "cassette.speed=1", work=failure) == live
    assert (await replay(path, work=failure))[:3] == live[:3]


async def test_a_limit_of_the_readers_own_is_recorded_as_a_cancellation_and_ends_a_replay_at_its_pace(tmp_path):
    path = tmp_path / "x.yaml"
    limit = "deadline.total=2"
    live = await record(path, stream("a", waits=[0.1, 0.2, 0.3, 99.0]), work=failure, overrides=[limit])
    assert live[:2] == (CallTimeoutError, "deadline_exceeded")
    assert [details.end for details in recorded(path)] == ["cancelled"]
    assert await replay(path, limit, "cassette.speed=1", work=failure) == live


async def test_a_slow_first_event_is_given_up_and_asked_for_again_in_a_replay_too(tmp_path):
    path = tmp_path / "x.yaml"
    limit = "deadline.first_event=3"

    async def attempts(provider, clock):
        response = await provider.send_message(ask())
        return [attempt.error_code for attempt in response.attempts], response.text, clock.monotonic()

    answers = [stream("never", waits=[50.0]), stream("soon", waits=[0.5])]
    live = await record(path, *answers, work=attempts, overrides=[limit])
    assert live == (["first_event_timeout", None], "soon", 3.5)
    assert [details.end for details in recorded(path)] == ["cancelled", "complete"]
    assert await replay(path, limit, "cassette.speed=1", work=attempts) == live


async def test_where_no_limit_ends_it_again_a_cancelled_recording_says_so(tmp_path):
    path = tmp_path / "x.yaml"
    await record(path, stream("a", waits=[0.1, 99.0]), work=failure, overrides=["deadline.total=2"])
    for speed in (0, 1):
        kind, code, *_ = await replay(path, "deadline=off", f"cassette.speed={speed}", work=failure)
        assert (kind, code) == (CassetteError, "recording_cancelled")


async def test_what_is_ignored_is_told_and_not_looked_at(tmp_path):
    path = tmp_path / "x.yaml"

    def asking(user: str):
        async def work(provider, clock):
            response = await provider.send_message(ask() | {"metadata": {"user_id": user}})
            return response.text, provider.cassette_note

        return work

    await record(path, stream("hello"), work=asking("one"))
    with pytest.raises(CassetteMissError, match=r'\$\.metadata\.user_id: recorded "one", sent "two"'):
        await replay(path, work=asking("two"))
    text, note = await replay(path, "cassette.ignore=['$.metadata.user_id']", work=asking("two"))
    assert text == "hello"
    assert note.endswith(", $.metadata.user_id of requests ignored; nothing is sent")


async def test_what_is_scrubbed_is_not_written_and_its_request_is_found_all_the_same(tmp_path):
    path = tmp_path / "x.yaml"
    scrub = r"cassette.scrub=['user-[0-9]+']"

    async def work(provider, clock):
        return (await provider.send_message(ask("I am user-4711"))).text

    assert await record(path, stream("Hello ", "user-4711"), work=work, overrides=[scrub]) == "Hello user-4711"
    assert "4711" not in path.read_text(encoding="utf-8")
    replayed = await replay(path, scrub, work=work)
    assert len(replayed) == len("Hello user-4711")
    assert replayed.startswith("Hello ")
    with pytest.raises(CassetteMissError):
        await replay(path, work=work)


async def test_a_match_that_is_torn_over_deltas_is_not_written(tmp_path):
    path = tmp_path / "x.yaml"
    with pytest.raises(CassetteError, match=r"a match of cassette\.scrub is torn over several deltas"):
        await record(path, stream("user", "-4711"), overrides=[r"cassette.scrub=['user-[0-9]+']"])
    assert not path.exists()


async def test_a_recording_does_not_block_the_loop_while_it_is_written(tmp_path, monkeypatch):
    where = []
    merge = recording.merge
    monkeypatch.setattr(
        recording, "merge", lambda *given, **more: (where.append(threading.current_thread()), merge(*given, **more))
    )
    await record(tmp_path / "x.yaml", stream("a"))
    assert where
    assert threading.main_thread() not in where
