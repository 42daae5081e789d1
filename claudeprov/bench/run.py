"""A run: each task of a suite is one call, and each answer that can be graded is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from claudeprov.bench.grade import GradingError, grade, run_code
from claudeprov.bench.result import Failure, Row
from claudeprov.bench.suite import GenerationTask, SessionTask, Suite, Task
from claudeprov.errors import CassetteMissError, ProviderError
from claudeprov.response import MessageResponse


class Provider(Protocol):
    """What a run needs of a provider."""

    def send_message(self, request: Any, /) -> Awaitable[MessageResponse]:
        """Make one call."""
        ...


async def run_suite(
    provider: Provider, suite: Suite, *, concurrency: int = 4, on_row: Callable[[Row], object] | None = None
) -> list[Row]:
    """Execute *suite* and return a row for each task, in the suite's order.

    A call that fails, or whose answer cannot be graded, becomes a row with a failure, and the run goes on.

    Args:
        provider: Opened.
        suite: The tasks.
        concurrency: How many calls are made at a time.
        on_row: Told of each row as it is done; what it has seen is what an interrupted run has.

    Raises:
        GradingError: This machine cannot run code within limits; no call was made.
        Exception: Whatever else a call raises, at once and as it is; it is a mistake of a layer or of ours.
    """
    if any(isinstance(task, GenerationTask) for task in suite.tasks):
        await run_code("")
    rows: dict[str, Row] = {}
    pending = iter(suite.tasks)

    async def work() -> None:
        for task in pending:
            row = rows[task.id] = await run_task(provider, task)
            if on_row is not None:
                on_row(row)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(concurrency, len(suite.tasks))):
                workers.create_task(work())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [rows[task.id] for task in suite.tasks]


async def run_task(provider: Provider, task: Task) -> Row:
    """Make the call of *task* and grade its answer, unless it is a session."""
    row = Row(id=task.id, kind=task.kind)
    try:
        response = await provider.send_message(request_of(task))
    except ProviderError as error:
        # without credentials, what was not recorded is an error of authentication; here it still was not recorded
        code = error.__cause__.code if isinstance(error.__cause__, CassetteMissError) else error.code
        failure = Failure(kind=type(error).__name__, code=code, message=error.message, request_id=error.request_id)
        facts = {"attempts": error.context.get("attempts")} if error.partial is None else _facts(error.partial)
        return row.model_copy(update={**facts, "failure": failure})
    row = row.model_copy(update=_facts(response))
    if isinstance(task, SessionTask):
        return row
    try:
        mark = await grade(task, response.text)
    except GradingError as error:
        failure = Failure(kind=type(error).__name__, code=error.code, message=error.message)
        return row.model_copy(update={"failure": failure})
    return row.model_copy(update={"verdict": mark.verdict, "detail": mark.detail})


def request_of(task: Task) -> dict[str, Any]:
    """The request that *task* makes: parameters of the Messages API."""
    if isinstance(task, SessionTask):
        return task.request
    return {"messages": [{"role": "user", "content": task.prompt}], "max_tokens": task.max_tokens}


def _facts(response: MessageResponse) -> dict[str, Any]:
    """What a response, or a part of one, adds to its row."""
    return {
        "seconds": response.timing.total,
        "first_chunk_seconds": response.timing.first_chunk,
        "input_tokens": response.usage.input_tokens,
        "output_tokens": response.usage.output_tokens,
        "cost_usd": response.cost.total_usd,
        "cost_reason": response.cost.reason,
        "stop_reason": response.stop_reason,
        "attempts": len(response.attempts),
        "model": response.model,
        "request_id": response.request_id,
        "text": response.text,
    }
