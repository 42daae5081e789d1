"""Run the code of one answer, and say what its expressions give.

A script for a process in the sandbox (``python -I -S -B -c HARNESS``), started by :mod:`claudeprov.bench.grade`, which
writes the job to its standard input. It knows the questions and not the right answers, so the code that it runs has
nothing to forge. It writes JSON lines, one for loading the code and one for each expression: ``{"value": repr}`` or
``{"raised": [class names], "message": text}``.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import types
from typing import Any

OUT_OF_MEMORY = b'{"raised": ["MemoryError", "Exception", "BaseException"], "message": "out of memory"}\n'
KNOWN = [kind for kind in vars(builtins).values() if isinstance(kind, type)]


def name_of(kind: type) -> str:
    """Return a name that is an exception of Python's only where the class is."""
    known = any(kind is each for each in KNOWN)
    return kind.__name__ if known else f"{kind.__module__}.{kind.__name__}"


def main() -> None:
    job = json.load(sys.stdin)
    report = open(os.dup(1), "wb", buffering=0)  # noqa: SIM115
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)

    def tell(**outcome: Any) -> None:
        report.write(json.dumps(outcome).encode() + b"\n")

    os.environ.clear()
    answer = types.ModuleType("answer")
    sys.modules["answer"] = answer

    def attempt(source: str, mode: str) -> Any:
        code = compile(source, "<answer>", mode, dont_inherit=True)
        return eval(code, answer.__dict__)  # noqa: S307

    for source, mode in [(job["code"], "exec"), *((call, "eval") for call in job["calls"])]:
        try:
            tell(value=repr(attempt(source, mode)))
        except MemoryError:
            report.write(OUT_OF_MEMORY)
            return
        except BaseException as error:
            message = str(error).encode(errors="backslashreplace").decode()
            tell(raised=[name_of(kind) for kind in type(error).__mro__], message=message)
    return


if __name__ == "__main__":
    main()
    os._exit(0)  # whatever the code left to run at exit does not run
