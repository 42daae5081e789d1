"""The sandbox as its users see it."""

import asyncio
import contextlib
import errno
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

import claudeprov
from claudeprov.errors import SandboxUnavailableError
from claudeprov.sandbox import Limits, Sandbox, SandboxSettings, root
from claudeprov.sandbox.run import _GUARD, execute

REFUSES = """
import os, sys
os.read(int(sys.argv[1]), 2**20)
os.write(int(sys.argv[1]), b'{"refused": "not here"}\\n')
"""


@pytest.fixture(autouse=True)
def temporary_folders(tmp_path, monkeypatch):
    """Every test leaves its folder for temporary ones as empty as it was."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    for above in (folder, *folder.parents[:3]):
        above.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


async def test_a_program_gets_its_files_and_its_input_and_is_told_of_wholly(run, level):
    code = (
        "import sys\nprint(open('a/b.txt').read(), open('c').read())\nsys.stderr.write(sys.stdin.read())\nsys.exit(3)"
    )
    finished = await run(code, files={"a/b.txt": "text", "c": b"bytes"}, stdin=b"input")
    assert (finished.stdout, finished.stderr, finished.exit_code) == (b"text bytes\n", b"input", 3)
    assert (finished.ended_by, finished.cut, finished.level) == ("itself", False, level.name)
    assert 0 < finished.seconds < 10
    assert finished.peak_memory > 2**20


async def test_its_environment_is_four_variables(run):
    finished = await run(
        "import os\nprint(*sorted(os.environ))\nassert os.getcwd() == os.environ['HOME'] == os.environ['TMPDIR']"
    )
    assert finished.stdout == b"HOME LANG PATH TMPDIR\n"


async def test_input_that_is_not_read_is_no_trouble(run):
    assert (await run("", stdin=bytes(2**20))).exit_code == 0


async def test_a_signal_that_ended_it_is_told(run):
    assert (await run("import os\nos.abort()")).exit_code == -6


async def test_output_of_just_as_much_as_is_allowed_is_not_cut(run):
    finished = await run("print('x' * 1023)", output_kib=1)
    assert (len(finished.stdout), finished.cut, finished.ended_by) == (1024, False, "itself")


async def test_a_program_that_is_not_there_ends_with_127(level):
    finished = await execute(level.name, {}, ["no-such-program"], stdin=b"", limits=Limits())
    assert (finished.exit_code, finished.stderr) == (127, b"no-such-program: No such file or directory\n")


async def test_a_shell_and_the_systems_programs_are_there(level):
    command = ["sh", "-c", "echo hello && exec cat /dev/null"]
    finished = await execute(level.name, {}, command, stdin=b"", limits=Limits())
    assert (finished.exit_code, finished.stdout) == (0, b"hello\n")


async def test_what_is_installed_for_the_interpreter_is_there(level):
    if level.name == "limits" and os.geteuid() == 0:
        pytest.skip("root's own interpreter may lie where no other user can go")
    command = [sys.executable, "-m", "pytest", "-q", "--disable-plugin-autoload", "-p", "no:cacheprovider"]
    files = {"test_f.py": "def test_f():\n    assert 1 + 1 == 3"}
    finished = await execute(level.name, files, command, stdin=b"", limits=Limits())
    assert (finished.exit_code, finished.stderr) == (1, b"")
    assert b"assert (1 + 1) == 3" in finished.stdout


@pytest.mark.parametrize("name", ["", ".", "..", "/etc/x", "../x", "a/../../x", "a/..", "x\0y"])
async def test_a_file_cannot_be_put_elsewhere(name):
    with pytest.raises(ValueError, match="no path below the folder"):
        await Sandbox(SandboxSettings(require=())).run({name: "x"}, ["true"])


async def test_files_that_do_not_fit_are_refused_before_anything_runs(having, run):
    having("disk")
    with pytest.raises(SandboxUnavailableError, match="No space left"):
        await run("", files={"large": bytes(2**20 + 1)}, disk_mib=1)


async def test_many_runs_at_once_know_nothing_of_each_other(run):
    code = """
        import os, sys, time
        open("x", "x").write(sys.argv[1])
        time.sleep(0.1)
        print(open("x").read(), os.listdir())
        """
    finished = await asyncio.gather(*(run(code, number) for number in range(8)))
    assert [one.stdout for one in finished] == [f"{number} ['x']\n".encode() for number in range(8)]


async def test_a_cancelled_run_leaves_no_process(run, left):
    running = asyncio.create_task(run("import time\ntime.sleep(1000)", "cancelled-run", seconds=1000.0))
    while not left("cancelled-run"):  # noqa: ASYNC110 - nothing tells when a process has started
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left("cancelled-run") == []


async def test_a_run_can_be_cancelled_at_any_moment_of_its_start(run, left, monkeypatch):
    monkeypatch.setattr("claudeprov.sandbox.run._GUARD", f"{_GUARD}\n# cancelled-guard")
    running = [asyncio.create_task(run("import time\ntime.sleep(1000)", seconds=1000.0)) for _ in range(40)]
    for turn in range(10):
        await asyncio.sleep(0)
        for one in running[turn::10]:
            one.cancel()
    done, waiting = await asyncio.wait(running, timeout=20)
    assert (len(waiting), {one.cancelled() for one in done}) == (0, {True})
    assert left("cancelled-guard") == []


async def test_a_second_cancellation_during_the_start_leaves_no_guard(run, left, monkeypatch):
    monkeypatch.setattr("claudeprov.sandbox.run._GUARD", f"{_GUARD}\n# cancelled-twice")
    running = [asyncio.create_task(run("import time\ntime.sleep(1000)", seconds=1000.0)) for _ in range(20)]
    for turn in range(10):
        await asyncio.sleep(0)
        for one in [*running[turn::10], *(running[turn - 1 :: 10] if turn else ())]:
            one.cancel()
    done, waiting = await asyncio.wait(running, timeout=20)
    assert (len(waiting), {one.cancelled() for one in done}) == (0, {True})
    assert left("cancelled-twice") == []


async def test_when_the_guard_is_killed_the_command_ends_with_it(run, left, monkeypatch):
    monkeypatch.setattr("claudeprov.sandbox.run._GUARD", f"{_GUARD}\n# killed-guard")
    code = """
        import ctypes, os, sys, time
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # it would rather not
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(1000)", "is-" "ready"])
        """
    running = asyncio.create_task(run(code, seconds=1000.0))
    while not left("is-ready"):  # noqa: ASYNC110 - nothing tells when a process has started
        await asyncio.sleep(0.01)
    for guard in left("killed-guard"):
        with contextlib.suppress(ProcessLookupError):  # it ended with one before it
            os.kill(guard, signal.SIGKILL)
    with pytest.raises(SandboxUnavailableError, match="ended with status"):
        await running
    async with asyncio.timeout(10):
        while left("is-ready"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_trouble_of_the_machine_is_told_as_such(monkeypatch):
    async def too_many(*args, **options):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", too_many)
    with pytest.raises(SandboxUnavailableError, match=r"limits: cannot be started.*Too many open files"):
        await execute("limits", {}, ["true"], stdin=b"", limits=Limits())


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ("import os\nos._exit(3)", "limits: ended with status 3"),
        ("raise SystemExit('no room')", "limits: no room"),
        (REFUSES, "limits: not here"),
    ],
)
async def test_a_sandbox_that_breaks_down_is_no_end_of_the_program(monkeypatch, guard, said):
    monkeypatch.setattr("claudeprov.sandbox.run._GUARD", guard)
    with pytest.raises(SandboxUnavailableError, match=said):
        await execute("limits", {}, ["true"], stdin=b"", limits=Limits())


async def test_a_guard_that_hangs_is_killed(monkeypatch, left):
    monkeypatch.setattr("claudeprov.sandbox.run._GUARD", "import time\ntime.sleep(1000)  # hanging-guard")
    monkeypatch.setattr("claudeprov.sandbox.run._GRACE_SECONDS", 0.1)
    with pytest.raises(SandboxUnavailableError, match="limits: it did not end in time"):
        await execute("limits", {}, ["true"], stdin=b"", limits=Limits(seconds=0.1))
    assert left("hanging-guard") == []


def test_what_is_shown_of_the_machine_is_programs_and_libraries():
    shown = root.binds()
    homes = {"/", "/etc", "/home", "/root", "/usr", "/var", "/tmp", str(Path.home()), str(Path(__file__).parents[2])}
    assert homes.isdisjoint(shown)
    assert root.PYTHON in shown or any(root.PYTHON.startswith(f"{folder}/") for folder in shown)


async def test_when_the_callers_process_is_killed_nothing_goes_on(level, left):
    code = f"""
import asyncio
from claudeprov.sandbox.run import Limits, execute, root
root.PYTHON = {root.PYTHON!r}
command = (root.PYTHON, "-c", "import time; time.sleep(1000)", "orphan-of-a-test")
asyncio.run(execute({level.name!r}, {{}}, command, stdin=b"", limits=Limits(seconds=1000.0)))
"""
    caller = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=Path(claudeprov.__file__).parents[1])
    try:
        while not left("orphan-of-a-test"):  # noqa: ASYNC110 - nothing tells when a process has started
            await asyncio.sleep(0.01)
    finally:
        caller.kill()
        await caller.wait()
    async with asyncio.timeout(10):
        while left("orphan-of-a-test"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
