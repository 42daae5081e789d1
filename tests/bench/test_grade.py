"""Grading: code that is wrong, clumsy or up to no good gets the right verdict and leaves nothing behind."""

from textwrap import dedent

import pytest

from claudeprov.bench.grade import LIMITS, Grade, grade, run_code
from claudeprov.bench.suite import AnalysisTask, Check, GenerationTask
from claudeprov.errors import SandboxUnavailableError
from claudeprov.sandbox import Sandbox, SandboxSettings

ONE = (Check(call="f(1)", gives=1),)
TIGHT = LIMITS.model_copy(update={"seconds": 5.0, "cpu_seconds": 1})
SANDBOX = Sandbox(SandboxSettings(require=()))


async def graded(code, checks=ONE, limits=LIMITS):
    return await run_code(dedent(code), checks, SANDBOX, limits)


async def verdict(code, checks=ONE, limits=TIGHT):
    return (await graded(code, checks, limits)).verdict


async def test_code_that_gives_every_value_passes():
    checks = (Check(call="f(1)", gives=1), Check(call="[f('a'), f(None)]", gives=["a", None]))
    assert await graded("def f(x): return x", checks) == Grade("passed")


async def test_the_first_wrong_value_is_told():
    checks = (*ONE, Check(call="f([2])", gives=[3]), Check(call="f(4)", gives=5))
    assert await graded("def f(x): return x", checks) == Grade("failed", "f([2]) gave [2], not [3]")


@pytest.mark.parametrize("value", ["True", "1.0", "'1'", "[1]"])
async def test_a_value_of_another_type_is_wrong(value):
    assert await verdict(f"def f(x): return {value}") == "failed"


async def test_checks_share_a_namespace():
    checks = (Check(call="(box := [])", gives=[]), Check(call="(box.append(f(1)), box)[1]", gives=[1]))
    assert await verdict("def f(x): return x", checks) == "passed"


async def test_an_error_that_is_asked_for_passes_as_does_its_subclass():
    checks = (Check(call="f(1)", raises="LookupError"),)
    assert await verdict("def f(x): raise KeyError(x)", checks) == "passed"


async def test_an_error_of_another_kind_or_none_fails():
    checks = (Check(call="f(1)", raises="ValueError"),)
    assert await graded("def f(x): raise KeyError(x)", checks) == Grade(
        "failed", "f(1) raised KeyError, not ValueError"
    )
    assert await graded("def f(x): return x", checks) == Grade("failed", "f(1) gave 1, not ValueError")


async def test_an_exception_is_an_error():
    assert await graded("def f(x): return x / 0", ONE) == Grade(
        "error", "f(1) raised ZeroDivisionError: division by zero"
    )


async def test_code_that_does_not_compile_is_an_error():
    mark = await graded("def f(x) return x", ONE)
    assert mark.verdict == "error"
    assert mark.detail.startswith("loading the code raised SyntaxError")


async def test_an_unusual_message_of_an_exception_is_told():
    mark = await graded("def f(x): raise ValueError('\\ud800 \\x1b[31m\\n')", ONE)
    assert mark == Grade("error", "f(1) raised ValueError: \\ud800 \ufffd[31m")


async def test_dataclasses_with_postponed_annotations_can_be_defined():
    code = """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Box:
            x: int
        def f(x):
            return Box(x).x
        """
    assert await verdict(code) == "passed"


async def test_a_main_block_does_not_run():
    assert await verdict("def f(x): return x\nif __name__ == '__main__': f.no") == "passed"


async def test_the_standard_library_can_be_imported():
    assert await verdict("import decimal, heapq, json, random, re, sqlite3\ndef f(x): return x") == "passed"


async def test_other_packages_cannot_be_imported():
    assert await verdict("def f(x):\n    import claudeprov") == "error"


@pytest.mark.parametrize("code", ["while True: pass", "def f(x):\n    while True: pass"])
async def test_an_endless_loop_is_a_timeout(code):
    assert await graded(code, ONE, TIGHT) == Grade("timeout", "more than 1 s of CPU time")


async def test_endless_waiting_is_a_timeout():
    code = "import time\ntime.sleep(1000)"
    assert await graded(code, ONE, LIMITS.model_copy(update={"seconds": 0.3})) == Grade(
        "timeout", "not done after 0.3 s"
    )


async def test_filling_the_memory_is_told_from_other_errors():
    assert await verdict("kept = []\nwhile True: kept.append(bytearray(2**20))") == "memory"
    assert await verdict("def f(x): return [0] * 10**10") == "memory"


@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess\nsubprocess.Popen(['sleep', '1000'])",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "import threading\nwhile True: threading.Thread(target=print).start()",
    ],
)
async def test_no_process_and_no_thread_can_be_started(code):
    assert await verdict(code) == "error"


async def test_the_environment_is_empty(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-user")
    assert await verdict("import os\ndef f(x): return dict(os.environ)", (Check(call="f(1)", gives={}),)) == "passed"


async def test_the_working_directory_is_an_empty_folder_to_write_to():
    code = """
        import os
        def f(x):
            found = os.listdir()
            open("a.txt", "w").write("text")
            return [found, open("a.txt").read()]
        """
    assert await verdict(code, (Check(call="f(1)", gives=[[], "text"]),)) == "passed"


async def test_large_files_cannot_be_written():
    mark = await graded("def f(x): open('a', 'wb').write(bytes(2**21))", ONE)
    assert mark.detail == "f(1) raised OSError: [Errno 27] File too large"


async def test_many_files_cannot_be_held_open():
    assert await verdict("kept = [open(str(n), 'w') for n in range(100)]") == "error"


async def test_standard_input_is_at_its_end():
    assert await verdict("import sys\ndef f(x): return sys.stdin.read()", (Check(call="f(1)", gives=""),)) == "passed"


async def test_what_is_printed_goes_nowhere():
    assert await verdict("import os\nprint('x' * 10**7)\nos.write(1, b'{}\\n')\ndef f(x): return x") == "passed"


async def test_values_that_are_too_long_are_an_error():
    assert await graded("def f(x): return 'x' * 10**7", ONE) == Grade("error", "f(1) gave a value that is too long")


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nprint('ok')\nsys.exit(0)",
        "import os\nprint('ok')\nos._exit(0)",
        "import sys\ndef f(x): sys.exit(0)",
        "import os\ndef f(x): os._exit(0)",
        "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGTERM)",
        "import os\nos.execv('/bin/true', ['true'])",
        "import os\nos.closerange(3, 30)\ndef f(x): return 1",
    ],
)
async def test_ending_the_process_is_an_error(code):
    assert await verdict(code) == "error"


async def test_a_signal_that_ended_the_process_is_told():
    mark = await graded("import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGTERM)", ONE)
    assert mark.detail == "f(1) ended the process with signal 15"


SECRET = (Check(call="f(1)", gives="a value that no one guesses"),)


@pytest.mark.parametrize(
    "code",
    [
        "import builtins\nbuiltins.repr = lambda x: 'ok'\ndef f(x): return 0",
        "import builtins\nbuiltins.eval = lambda *a: 'ok'\nbuiltins.compile = lambda *a, **k: None\ndef f(x): return 0",
        "class Same:\n    __eq__ = lambda *_: True\n    __repr__ = lambda _: 'True'\ndef f(x): return Same()",
        "class Odd:\n    def __repr__(self): raise SystemExit\ndef f(x): return Odd()",
        """import os
for fd in range(3, 32):
    try:
        os.write(fd, b'{"value": "None"}\\n{"value": "True"}\\n{"refused": "no"}\\n[]\\nok\\n')
    except OSError:
        pass
os._exit(0)""",
        """import sys
frame = sys._getframe()
while frame:
    for name, value in list(frame.f_locals.items()):
        if name == "job":
            value["calls"].clear()
    frame = frame.f_back
os = __import__("os")
os._exit(0)""",
    ],
)
async def test_a_verdict_cannot_be_forged(code):
    assert await verdict(code, SECRET) in ("error", "failed")


async def test_an_exception_of_the_answers_own_is_not_pythons_by_its_name():
    code = "class ValueError(Exception): pass\ndef f(x): raise ValueError"
    grade = await graded(code, (Check(call="f(1)", raises="ValueError"),))
    assert grade == Grade("failed", "f(1) raised answer.ValueError, not ValueError")


async def test_the_right_values_do_not_enter_the_process():
    code = """
        import gc, sys
        def f(x):
            frame, seen = sys._getframe(), []
            while frame:
                seen += [repr(frame.f_locals), repr(frame.f_globals)]
                frame = frame.f_back
            seen += [repr(thing) for thing in gc.get_objects() if isinstance(thing, (dict, list, tuple))]
            return any("".join(["no one", " guesses"]) in text for text in seen)
        """
    assert (await graded(code, SECRET)).detail == "f(1) gave False, not 'a value that no one guesses'"


async def test_code_is_not_graded_at_a_level_that_does_not_do_what_is_asked_for():
    strict = Sandbox(SandboxSettings(level="limits", require=("disk",)))
    with pytest.raises(SandboxUnavailableError, match="limits: "):
        await run_code("def f(x): return x", ONE, strict)


async def test_an_answer_without_the_code_asked_for_has_no_code():
    task = GenerationTask(id="a", kind="generation", prompt="p", max_tokens=9, defines="f", checks=ONE)
    assert await grade(task, "I would rather not.", SANDBOX) == Grade("no_code", "no code in the answer defines f")


async def test_a_wrong_value_of_an_analysis_is_told():
    task = AnalysisTask(id="a", kind="analysis", prompt="p", max_tokens=9, answer=3)
    assert await grade(task, "3", SANDBOX) == Grade("passed")
    assert await grade(task, "It is 4.\nTruly.", SANDBOX) == Grade("failed", "answered It is 4., not 3")
