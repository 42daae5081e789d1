"""Grading: code that is wrong, clumsy or up to no good gets the right verdict and leaves nothing behind."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from claudeprov.bench import grade as grading
from claudeprov.bench.grade import Grade, GradingError, Limits, grade, run_code
from claudeprov.bench.suite import AnalysisTask, Check, GenerationTask

ONE = (Check(call="f(1)", gives=1),)
TIGHT = Limits(wall_seconds=5, cpu_seconds=1)


@pytest.fixture(autouse=True)
def temporary_folders(tmp_path, monkeypatch):
    """Every test leaves its folder for temporary ones as empty as it was."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


async def verdict(code, checks=ONE, limits=TIGHT):
    return (await run_code(dedent(code), checks, limits)).verdict


async def test_code_that_gives_every_value_passes():
    checks = (Check(call="f(1)", gives=1), Check(call="[f('a'), f(None)]", gives=["a", None]))
    assert await run_code("def f(x): return x", checks) == Grade("passed")


async def test_the_first_wrong_value_is_told():
    checks = (*ONE, Check(call="f([2])", gives=[3]), Check(call="f(4)", gives=5))
    assert await run_code("def f(x): return x", checks) == Grade("failed", "f([2]) gave [2], not [3]")


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
    assert await run_code("def f(x): raise KeyError(x)", checks) == Grade(
        "failed", "f(1) raised KeyError, not ValueError"
    )
    assert await run_code("def f(x): return x", checks) == Grade("failed", "f(1) gave 1, not ValueError")


async def test_an_exception_is_an_error():
    assert await run_code("def f(x): return x / 0", ONE) == Grade(
        "error", "f(1) raised ZeroDivisionError: division by zero"
    )


async def test_code_that_does_not_compile_is_an_error():
    mark = await run_code("def f(x) return x", ONE)
    assert mark.verdict == "error"
    assert mark.detail.startswith("loading the code raised SyntaxError")


async def test_an_unusual_message_of_an_exception_is_told():
    mark = await run_code("def f(x): raise ValueError('\\ud800 \\x1b[31m\\n')", ONE)
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
    assert await run_code(code, ONE, TIGHT) == Grade("timeout", "more than 1 s of CPU time")


async def test_endless_waiting_is_a_timeout():
    code = "import time\ntime.sleep(1000)"
    assert await run_code(code, ONE, Limits(wall_seconds=0.3)) == Grade("timeout", "not done after 0.3 s")


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


async def test_the_working_directory_is_an_empty_folder_to_write_to(temporary_folders):
    code = """
        import os
        def f(x):
            found = os.listdir()
            open("a.txt", "w").write("text")
            return [found, open("a.txt").read(), os.getcwd().startswith(x)]
        """
    checks = (Check(call=f"f({str(temporary_folders)!r})", gives=[[], "text", True]),)
    assert await verdict(code, checks) == "passed"


async def test_large_files_cannot_be_written():
    mark = await run_code("def f(x): open('a', 'wb').write(bytes(2**21))", ONE)
    assert mark.detail == "f(1) raised OSError: [Errno 27] File too large"


async def test_many_files_cannot_be_held_open():
    assert await verdict("kept = [open(str(n), 'w') for n in range(100)]") == "error"


async def test_standard_input_is_at_its_end():
    assert await verdict("import sys\ndef f(x): return sys.stdin.read()", (Check(call="f(1)", gives=""),)) == "passed"


async def test_what_is_printed_goes_nowhere():
    assert await verdict("import os\nprint('x' * 10**7)\nos.write(1, b'{}\\n')\ndef f(x): return x") == "passed"


async def test_values_that_are_too_long_are_an_error():
    assert await run_code("def f(x): return 'x' * 10**7", ONE) == Grade("error", "f(1) gave a value that is too long")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
async def test_under_root_the_code_is_run_by_nobody():
    assert await verdict("import os\ndef f(x): return os.getuid()", (Check(call="f(1)", gives=65534),)) == "passed"


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
    mark = await run_code("import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGTERM)", ONE)
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
    assert (await run_code(dedent(code), SECRET)).detail == "f(1) gave False, not 'a value that no one guesses'"


async def test_folders_that_are_nested_deep_or_shut_are_removed():
    code = """
        import os
        os.mkdir("shut"); os.mkdir("shut/in"); os.chmod("shut", 0)
        for _ in range(1100):
            os.mkdir("d"); os.chdir("d")
        def f(x): return x
        """
    assert await verdict(code, limits=Limits()) == "passed"


async def test_other_calls_go_on_while_a_folder_is_removed(monkeypatch):
    threads = []
    run = subprocess.run

    def observed(*args, **options):
        threads.append(threading.current_thread())
        return run(*args, **options)

    monkeypatch.setattr(subprocess, "run", observed)
    assert await verdict("def f(x): return x") == "passed"
    assert threads
    assert threading.current_thread() not in threads


async def test_trouble_of_the_machine_is_an_error_of_grading(monkeypatch):
    async def too_many(*args, **options):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", too_many)
    with pytest.raises(GradingError, match="Too many open files"):
        await run_code("def f(x): return x", ONE)


async def test_a_cancelled_grading_ends_its_process(monkeypatch):
    started = asyncio.Event()
    processes = []
    create = asyncio.create_subprocess_exec

    async def observed(*args, **options):
        processes.append(await create(*args, **options))
        started.set()
        return processes[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", observed)
    grading_task = asyncio.create_task(run_code("import time\ntime.sleep(1000)", ONE))
    await started.wait()
    grading_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await grading_task
    assert processes[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('print(\'{"refused": "no limits here"}\')', "no limits here"),
        ("raise SystemExit(3)", "the harness ended with status 3"),
    ],
)
async def test_a_machine_that_cannot_hold_the_limits_is_not_the_fault_of_the_code(tmp_path, monkeypatch, script, said):
    harness = tmp_path / "harness.py"
    harness.write_text(script)
    monkeypatch.setattr(grading, "_HARNESS", harness)
    with pytest.raises(GradingError, match=said):
        await run_code("def f(x): return x", ONE)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a filter of system calls is Linux's")
def test_where_the_limit_on_processes_does_not_bind_a_filter_of_system_calls_does(tmp_path):
    """A root that cannot leave root, as in some containers, played by a harness that does not try."""
    harness = Path(grading.__file__).with_name("harness.py").read_text()
    stays_root = harness.replace("    leave_root()\n", "")
    assert stays_root != harness
    (tmp_path / "harness.py").write_text(stays_root)
    limits = {"cpu_seconds": 5, "file_bytes": 2**20, "memory_bytes": 2**28}
    job = {"code": "import os\ndef f(x): os.fork()", "calls": ["f(1)"], "limits": limits}
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-I", "-S", "-B", tmp_path / "harness.py", tmp_path / "job.json"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout.splitlines()
    assert [json.loads(line).get("raised", ["none"])[0] for line in said] == ["none", "none", "BlockingIOError"]


async def test_an_answer_without_the_code_asked_for_has_no_code():
    task = GenerationTask(id="a", kind="generation", prompt="p", max_tokens=9, defines="f", checks=ONE)
    assert await grade(task, "I would rather not.") == Grade("no_code", "no code in the answer defines f")


async def test_a_wrong_value_of_an_analysis_is_told():
    task = AnalysisTask(id="a", kind="analysis", prompt="p", max_tokens=9, answer=3)
    assert await grade(task, "3") == Grade("passed")
    assert await grade(task, "It is 4.\nTruly.") == Grade("failed", "answered It is 4., not 3")
