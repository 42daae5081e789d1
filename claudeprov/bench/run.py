"""A run: each task of a suite is one call, and each answer that can be graded is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from claudeprov.bench.grade import grade
from claudeprov.bench.result import Failure, Row
from claudeprov.bench.suite import SessionTask, Suite, Task
from claudeprov.errors import (
    BudgetExceededError,
    CassetteMissError,
    LimitError,
    ProviderError,
    SandboxUnavailableError,
    SpendLimitError,
)
from claudeprov.response import MessageResponse
from claudeprov.sandbox import Sandbox, SandboxSettings

if TYPE_CHECKING:
    from claudeprov.cost import Cost


class Provider(Protocol):
    """What a run needs of a provider."""

    def send_message(self, request: Any, /, *, tags: Mapping[str, Any] | None = None) -> Awaitable[MessageResponse]:
        """Make one call."""
        ...


async def run_suite(
    provider: Provider,
    suite: Suite,
    *,
    sandbox: Sandbox | None = None,
    run: str | None = None,
    concurrency: int = 4,
    on_row: Callable[[Row], object] | None = None,
) -> list[Row]:
    """Execute *suite* and return a row for each task, in the suite's order.

    A call that fails, or whose answer cannot be graded, becomes a row with a failure, and the run goes on. Where a
    budget or a quota is spent no further call is made, and those under way come to their end; where the budget only
    waits for their settlement, so does the run.

    Args:
        provider: Opened.
        suite: The tasks.
        sandbox: Where the code of answers runs; by default at the best level that this machine has.
        run: The run's name, with which, the suite and the task each call is tagged.
        concurrency: How many calls are made at a time.
        on_row: Told of each row as it is done; what it has seen is what an interrupted run has.

    Raises:
        SandboxUnavailableError: The code of answers cannot be run here; no call was made.
        LimitError: A budget or a quota is spent, and tasks are left.
        Exception: Whatever else a call raises, at once and as it is; it is a mistake of a layer or of ours.
    """
    sandbox = sandbox or Sandbox(SandboxSettings(require=()))
    if suite.has_code:
        await sandbox.level()
    tags = {"suite": suite.name} if run is None else {"run": run, "suite": suite.name}
    rows: dict[str, Row] = {}
    pending = deque(suite.tasks)
    spent: list[LimitError] = []
    under_way: set[str] = set()
    settled = asyncio.Event()

    async def work() -> None:
        while pending and not spent:
            task, done = pending.popleft(), len(rows)
            under_way.add(task.id)
            try:
                row = rows[task.id] = await run_task(provider, task, sandbox, tags={**tags, "task": task.id})
            except LimitError as error:
                under_way.remove(task.id)
                pending.appendleft(task)
                if not (error.retryable and (under_way or len(rows) > done)):
                    spent.append(error)
                    settled.set()
                elif len(rows) == done:
                    settled.clear()
                    await settled.wait()
                continue
            under_way.remove(task.id)
            settled.set()
            if on_row is not None:
                on_row(row)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(concurrency, len(suite.tasks))):
                workers.create_task(work())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    if spent:
        raise spent[0]
    return [rows[task.id] for task in suite.tasks]


async def run_task(provider: Provider, task: Task, sandbox: Sandbox, *, tags: Mapping[str, str] | None = None) -> Row:
    """Make the call of *task*, called by *tags*, and grade its answer, unless it is a session.

    Raises:
        LimitError: A budget or a quota is spent, for other calls as well.
    """
    row = Row(id=task.id, kind=task.kind)
    try:
        response = await provider.send_message(request_of(task), tags=tags)
    except ProviderError as error:
        if _is_spent(error):
            raise
        facts = {"attempts": error.context.get("attempts")} if error.partial is None else _facts(error.partial)
        return row.model_copy(update={**facts, "failure": failure_of(error)})
    row = row.model_copy(update=_facts(response))
    if isinstance(task, SessionTask):
        return row
    try:
        mark = await grade(task, response.text, sandbox)
    except SandboxUnavailableError as error:
        return row.model_copy(update={"failure": failure_of(error)})
    return row.model_copy(update={"verdict": mark.verdict, "detail": mark.detail})


def failure_of(error: ProviderError) -> Failure:
    """What a row, or a result, keeps of an error."""
    # without credentials, what was not recorded is an error of authentication; here it still was not recorded
    code = error.__cause__.code if isinstance(error.__cause__, CassetteMissError) else error.code
    return Failure(kind=type(error).__name__, code=code, message=error.message, request_id=error.request_id)


def _is_spent(error: ProviderError) -> bool:
    budget = isinstance(error, BudgetExceededError) and error.context.get("period") in ("run", "day", "month")
    return budget or isinstance(error, SpendLimitError)


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
        **_cost(response.cost),
        "stop_reason": response.stop_reason,
        "attempts": len(response.attempts),
        "model": response.model,
        "request_id": response.request_id,
        "text": response.text,
    }


def _cost(cost: Cost) -> dict[str, Any]:
    if cost.total_usd is not None:
        return {"cost_usd": cost.total_usd}
    return {"cost_low_usd": cost.low_usd, "cost_high_usd": cost.high_usd, "cost_reason": cost.reason}
