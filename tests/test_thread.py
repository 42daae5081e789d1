from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys

import pytest

from claudeprov.thread import in_thread

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")


async def test_it_returns_what_the_function_returns_and_sees_the_callers_context() -> None:
    variable.set(3)
    assert await in_thread(variable.get, "get") == 3


@pytest.mark.parametrize("error", [ValueError, SystemExit])
async def test_it_raises_what_the_function_raises(error: type[BaseException]) -> None:
    def fail() -> None:
        raise error("no")

    with pytest.raises(error, match="no"):
        await in_thread(fail, "fail")


@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt])
async def test_what_would_mean_something_to_the_event_loop_ends_nothing(error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(RuntimeError, match=error.__name__):
        await in_thread(fail, "fail")


STUCK = """
import asyncio, threading
from claudeprov.thread import in_thread

async def main():
    begun = threading.Event()
    def hang():
        begun.set()
        threading.Event().wait()
    task = asyncio.ensure_future(in_thread(hang, "hang"))
    while not begun.is_set():
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    print(task.cancelled())

asyncio.run(main())
"""


def test_a_program_ends_though_a_cancelled_function_is_stuck() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "True\n"


def test_a_function_that_outlives_its_loop_harms_nobody() -> None:
    import threading

    release, done = threading.Event(), threading.Event()

    def work() -> None:
        release.wait()
        done.set()

    async def main() -> None:
        task = asyncio.ensure_future(in_thread(work, "work"))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    release.set()
    assert done.wait(60)
