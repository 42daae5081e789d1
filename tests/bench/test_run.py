"""Runs: a row for each task, with what the service did wrong kept apart from what the model did."""

import asyncio
from decimal import Decimal

import pytest

from claudeprov.bench import run as running
from claudeprov.bench.grade import Grade
from claudeprov.bench.result import Failure, Row
from claudeprov.bench.run import run_suite
from claudeprov.errors import (
    AuthenticationError,
    BudgetExceededError,
    CassetteMissError,
    RateLimitError,
    SandboxUnavailableError,
    SpendLimitError,
    StreamInterruptedError,
)
from claudeprov.sandbox import Sandbox, SandboxSettings


async def test_a_right_answer_gets_a_row_with_all_that_is_known_of_the_call(script, suite_of, respond):
    rows = await run_suite(script({"a": respond("1", seconds=2.0)}), suite_of("a"))
    assert rows == [
        Row(
            id="a",
            kind="analysis",
            verdict="passed",
            seconds=2.0,
            first_chunk_seconds=0.2,
            input_tokens=10,
            output_tokens=5,
            cost_usd=Decimal("0.01"),
            stop_reason="end_turn",
            attempts=1,
            model="qwen",
            request_id="req_1",
            text="1",
        )
    ]


async def test_the_request_is_the_prompt_and_the_limit_of_the_task(script, suite_of, respond):
    provider = script({"a": respond("1")})
    await run_suite(provider, suite_of("a"))
    assert provider.requests == [{"messages": [{"role": "user", "content": "a"}], "max_tokens": 9}]


async def test_a_wrong_answer_is_no_failure(script, suite_of, respond):
    (row,) = await run_suite(script({"a": respond("2")}), suite_of("a"))
    assert (row.verdict, row.detail, row.failure) == ("failed", "answered 2, not 1", None)


async def test_code_is_run(script, suite_of, respond):
    answers = {"a": respond("def f(): return 1"), "b": respond("def f(): return 2"), "c": respond("No.")}
    rows = await run_suite(script(answers), suite_of("a", "b", "c", kind="generation"))
    assert [row.verdict for row in rows] == ["passed", "failed", "no_code"]


async def test_a_call_that_fails_has_no_verdict_and_the_run_goes_on(script, suite_of, respond):
    answers = {
        "a": RateLimitError("slow down", request_id="req_9", context={"attempts": 4}),
        "b": CassetteMissError("this was not recorded"),
        "c": respond("1"),
    }
    rows = await run_suite(script(answers), suite_of("a", "b", "c"))
    assert [row.verdict for row in rows] == [None, None, "passed"]
    assert rows[0].attempts == 4
    assert rows[0].failure == Failure(
        kind="RateLimitError", code="rate_limited", message="slow down", request_id="req_9"
    )
    assert rows[1].failure.code == "not_recorded"


async def test_a_miss_is_counted_as_such_where_it_is_for_want_of_credentials(script, suite_of):
    refused = AuthenticationError("there are no credentials, and it was not recorded")
    refused.__cause__ = CassetteMissError("it was not recorded")
    (row,) = await run_suite(script({"a": refused}), suite_of("a"))
    assert (row.failure.kind, row.failure.code) == ("AuthenticationError", "not_recorded")


async def test_what_had_arrived_of_a_broken_stream_is_kept_and_not_graded(script, suite_of, respond):
    broken = StreamInterruptedError("cut off", partial=respond("1", stop_reason=None))
    (row,) = await run_suite(script({"a": broken}), suite_of("a"))
    assert (row.verdict, row.text, row.output_tokens) == (None, "1", 5)
    assert row.failure.code == "stream_interrupted"


async def test_an_answer_that_cannot_be_graded_is_a_failure_and_the_run_goes_on(script, suite_of, respond, monkeypatch):
    async def refuse(task, text, sandbox):
        if task.id == "a":
            raise SandboxUnavailableError("Too many open files")
        return Grade("passed")

    monkeypatch.setattr(running, "grade", refuse)
    rows = await run_suite(script({"a": respond("1"), "b": respond("1")}), suite_of("a", "b"))
    assert rows[0].failure == Failure(
        kind="SandboxUnavailableError", code="sandbox_unavailable", message="Too many open files"
    )
    assert (rows[0].verdict, rows[0].text, rows[0].output_tokens, rows[0].request_id) == (None, "1", 5, "req_1")
    assert rows[1].verdict == "passed"


async def test_what_no_call_should_raise_ends_the_run_as_it_is(script, suite_of, respond):
    with pytest.raises(KeyError, match="oops"):
        await run_suite(script({"a": KeyError("oops"), "b": KeyError("oops")}), suite_of("a", "b"))


def over_budget(period="day", *, retryable=False):
    return BudgetExceededError("too dear", context={"period": period}, retryable=retryable)


@pytest.mark.parametrize("error", [over_budget(), over_budget("run"), over_budget("month"), SpendLimitError("no more")])
async def test_no_call_is_made_once_a_budget_or_a_quota_is_spent(script, suite_of, respond, error):
    told = []
    provider = script({"a": respond("1"), "b": error, "c": respond("1")})
    with pytest.raises(type(error)):
        await run_suite(provider, suite_of("a", "b", "c"), concurrency=1, on_row=lambda row: told.append(row.id))
    assert told == ["a"]
    assert len(provider.requests) == 2


async def test_calls_under_way_come_to_their_end_when_a_budget_is_spent(script, suite_of, respond):
    refused = asyncio.Event()

    async def slow():
        await refused.wait()
        return respond("1")

    async def refuse():
        refused.set()
        return over_budget()

    told = []
    provider = script({"a": slow, "b": refuse, "c": respond("1")})
    with pytest.raises(BudgetExceededError):
        await run_suite(provider, suite_of("a", "b", "c"), concurrency=2, on_row=lambda row: told.append(row.id))
    assert told == ["a"]


async def test_a_run_waits_for_calls_under_way_where_only_they_stand_in_the_way(script, suite_of, respond):
    provider = script({})

    async def answer():
        return over_budget(retryable=True) if provider.open > 2 else respond("1")

    provider.answers = dict.fromkeys("abcdefgh", answer)
    rows = await run_suite(provider, suite_of(*"abcdefgh"), concurrency=4)
    assert [row.id for row in rows] == list("abcdefgh")
    assert [row.verdict for row in rows] == ["passed"] * 8
    assert len(provider.requests) < 8 * 4  # it asks again when a call has ended, not all the time


async def test_a_run_ends_where_nothing_is_under_way_that_could_make_room(script, suite_of):
    provider = script({prompt: over_budget(retryable=True) for prompt in "abc"})
    with pytest.raises(BudgetExceededError):
        await run_suite(provider, suite_of(*"abc"), concurrency=3)
    assert len(provider.requests) <= 9


async def test_a_call_that_is_too_dear_by_itself_is_a_failure_and_the_run_goes_on(script, suite_of, respond):
    rows = await run_suite(script({"a": over_budget("call"), "b": respond("1")}), suite_of("a", "b"))
    assert rows[0].failure.code == "budget_exceeded"
    assert rows[1].verdict == "passed"


async def test_rows_are_in_the_order_of_the_suite_and_told_as_they_are_done(script, suite_of, respond):
    second_is_done = asyncio.Event()

    async def slow():
        await second_is_done.wait()
        return respond("1")

    async def fast():
        second_is_done.set()
        return respond("1")

    told = []
    suite = suite_of("slow", "fast")
    rows = await run_suite(script({"slow": slow, "fast": fast}), suite, on_row=lambda row: told.append(row.id))
    assert [row.id for row in rows] == ["slow", "fast"]
    assert told == ["fast", "slow"]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_calls_are_made_at_a_time_than_allowed(script, suite_of, respond, concurrency):
    provider = script({prompt: respond("1") for prompt in "abcdefg"})
    await run_suite(provider, suite_of(*"abcdefg"), concurrency=concurrency)
    assert provider.most_open == concurrency


async def test_a_cancelled_run_has_told_what_was_done(script, suite_of, respond):
    async def never():
        await asyncio.Event().wait()

    told = asyncio.Queue()
    provider = script({"a": respond("1"), "b": never})
    run = asyncio.create_task(run_suite(provider, suite_of("a", "b"), on_row=told.put_nowait))
    assert (await told.get()).id == "a"
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert told.empty()
    assert provider.open == 0


async def test_nothing_is_sent_where_code_cannot_be_graded(script, suite_of):
    provider = script({})
    strict = Sandbox(SandboxSettings(level="limits", require=("disk",)))
    with pytest.raises(SandboxUnavailableError):
        await run_suite(provider, suite_of("a", kind="generation"), sandbox=strict)
    assert provider.requests == []


async def test_each_call_is_tagged_with_its_run_suite_and_task(script, suite_of, respond):
    provider = script({"a": respond("1"), "b": respond("1")})
    await run_suite(provider, suite_of("a", "b"), run="today", concurrency=1)
    assert provider.tags == [
        {"run": "today", "suite": "small", "task": "a"},
        {"run": "today", "suite": "small", "task": "b"},
    ]
    nameless = script({"a": respond("1")})
    await run_suite(nameless, suite_of("a"))
    assert nameless.tags == [{"suite": "small", "task": "a"}]
