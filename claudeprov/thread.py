"""Blocking functions, each in a thread of its own that nobody has to wait for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


async def in_thread(function: Callable[[], _T], name: str) -> _T:
    """Await *function* in a thread of that name; whoever is cancelled leaves it behind, for no thread can be stopped.

    It is a daemon of its own, not one of the event loop's pool: a loop waits for its pool before it closes, and a
    function that is stuck would keep the program from ending.

    Raises:
        RuntimeError: It raised ``StopIteration``, which no future takes, or ``KeyboardInterrupt``, which would end the
            event loop, though nobody has pressed a key: only the main thread is told of that.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result: _T | None = None
        error: BaseException | None = None
        try:
            result = function()
        except (StopIteration, KeyboardInterrupt) as raised:
            error = RuntimeError(f"it raised {raised!r}")
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=name, daemon=True).start()
    return await done
