"""Programs that mean harm get nowhere, at each level, as far as it guarantees that; and nothing of them is left."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

import claudeprov
from claudeprov.sandbox.root import binds

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what holds elsewhere was not tried")

CHECKOUT = Path(claudeprov.__file__).parents[1]


@pytest.fixture
def outside(tmp_path):
    """A folder that everyone may read and write, on the way to which nothing stops anyone."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o777)
    (tmp_path / "file.txt").write_text("a word that no one guesses")
    (tmp_path / "file.txt").chmod(0o666)
    return tmp_path


def exist(*paths):
    return filter(os.path.exists, paths)


async def test_a_program_that_forks_without_end_is_ended(having, run, left):
    having("processes")
    finished = await run(
        """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """,
        "fork-bomb",
        seconds=1.0,
    )
    assert finished.ended_by == "time"
    assert left("fork-bomb") == []


async def test_processes_and_threads_are_counted_together(having, run):
    having("processes")
    finished = await run(
        """
        import os, threading, time
        started = 1
        try:
            while True:
                threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
                started += 1
        except RuntimeError:
            pass
        try:
            os.fork()
        except OSError:
            print("no process more", flush=True)
        print(started, flush=True)
        os._exit(0)
        """,
        processes=4,
        memory_mib=2048,
    )
    if finished.level == "limits":
        assert finished.stdout.startswith(b"no process more\n")
    else:
        assert finished.stdout == b"no process more\n4\n"


async def test_a_program_that_fills_the_memory_is_stopped(run):
    finished = await run("kept = []\nwhile True: kept.append(bytearray(2**20))", memory_mib=128)
    assert (finished.exit_code, finished.ended_by) == (1, "itself")
    assert finished.stderr.rstrip().endswith(b"MemoryError")
    assert 50 * 2**20 < finished.peak_memory < 150 * 2**20


async def test_processes_that_fill_the_memory_together_are_ended(having, run, left):
    having("memory", "processes", "disk")
    finished = await run(
        """
        import os, time
        for _ in range(6):
            if os.fork() == 0:
                break
        kept = bytearray(b"x") * (60 * 2**20)
        time.sleep(100)
        """,
        "together",
        memory_mib=128,
    )
    assert (finished.ended_by, finished.exit_code) == ("memory", None)
    assert left("together") == []


async def test_memory_that_processes_share_counts_once(having, run):
    having("memory", "processes", "disk")
    finished = await run(
        """
        import os, time
        kept = bytearray(b"x") * (60 * 2**20)
        children = []
        for _ in range(6):
            children.append(os.fork())
            if children[-1] == 0:
                time.sleep(0.3)
                os._exit(0)
        for child in children:
            os.waitpid(child, 0)
        """,
        memory_mib=128,
    )
    assert (finished.ended_by, finished.exit_code) == ("itself", 0)


@pytest.mark.parametrize("call", ["os.memfd_create('x')", "libc.shmget(0, 2**20, 0o1600)", "libc.msgget(0, 0o1600)"])
async def test_there_is_no_memory_beside_that_of_processes_and_files(run, call):
    finished = await run(
        f"""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            print({call} if {call} != -1 else os.strerror(ctypes.get_errno()))
        except OSError as error:
            print(error.strerror)
        """
    )
    assert finished.stdout == b"Operation not permitted\n"


async def test_a_program_that_fills_the_disk_is_stopped(having, run):
    having("disk")
    finished = await run(
        """
        import os
        written = 0
        try:
            for number in range(1000):
                written += os.write(os.open(str(number), os.O_CREAT | os.O_WRONLY), bytes(2**20))
        except OSError as error:
            print(error.strerror, written // 2**20)
        """,
        disk_mib=8,
        open_files=2000,
    )
    assert finished.stdout in (b"No space left on device 7\n", b"No space left on device 8\n")


async def test_a_program_that_makes_files_without_end_is_ended(having, run):
    having("disk")
    code = "import os\nfor number in range(10**9): os.close(os.open(str(number), os.O_CREAT))"
    assert (await run(code, disk_mib=8)).ended_by == "disk"


async def test_a_file_cannot_grow_too_large(run):
    finished = await run(
        """
        file = open("large", "wb", buffering=0)
        try:
            print(file.write(bytes(2**21)))
            file.write(b"x")
        except OSError as error:
            print(error.strerror)
        """,
        file_mib=1,
    )
    assert finished.stdout == b"1048576\nFile too large\n"


@pytest.mark.parametrize("stream", [1, 2])
async def test_output_without_end_is_cut_and_ends_the_program(run, stream):
    finished = await run(f"import os\nwhile True: os.write({stream}, b'x' * 5000)", output_kib=64)
    assert (finished.ended_by, finished.cut, finished.exit_code) == ("output", True, None)
    assert len(finished.stdout) + len(finished.stderr) == 64 * 1024


@pytest.mark.usefixtures("neighbour")
async def test_no_key_reaches_it(having, run, monkeypatch):
    """Not by its own environment, nor by that of another process of the machine."""
    having("environment")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-user")
    finished = await run(
        """
        import glob, os
        print(dict(os.environ))
        for file in glob.glob("/proc/*/environ"):
            try:
                print(open(file).read())
            except OSError:
                pass
        """
    )
    assert b"PATH" in finished.stdout
    assert b"sk-of" not in finished.stdout


async def test_files_of_the_machine_cannot_be_read(having, run, outside):
    having("read")
    files = (
        outside / "file.txt",
        CHECKOUT / "pyproject.toml",
        "/etc/shadow",
        "/etc/passwd",
        "/etc/hostname",
        "/proc/1/environ",
    )
    ways = {str(folder) for path in binds() for folder in (Path(path), *Path(path).parents)}  # to the interpreter
    folders = (Path.home(), CHECKOUT, "/home", "/etc/ssh", "/var", "/run", "/sys", "/mnt")
    finished = await run(
        """
        import os, sys
        for path in sys.argv[1:]:
            try:
                if os.path.isdir(path):
                    print(*(os.path.join(path, name) for name in os.listdir(path)), sep="\\n")
                else:
                    print(open(path).read())
            except OSError:
                pass
        """,
        *files,
        *folders,
    )
    shown = [path for path in finished.stdout.decode().splitlines() if path not in ways]
    assert shown == []
    assert finished.exit_code == 0


async def test_nothing_can_be_written_but_in_its_folder(having, run, outside):
    having("write")
    folders = (outside, "/", "/etc", "/usr/bin", "/usr/lib", "/dev", "/proc", "/var/tmp", Path(sys.base_prefix) / "lib")
    finished = await run(
        """
        import os, sys
        for folder in sys.argv[1:]:
            try:
                open(f"{folder}/x-of-a-test", "w")
                print("wrote to", folder)
            except OSError:
                pass
        open("mine", "w").write("x")
        print(os.getcwd())
        """,
        *folders,
    )
    assert finished.stdout == b"/tmp/run\n"
    assert sorted(outside.iterdir()) == [outside / "file.txt"]


async def test_what_it_writes_to_tmp_and_shm_is_gone_afterwards(having, run):
    having("write")
    await run("open('/tmp/x-of-a-test', 'w').write('x'); open('/dev/shm/x-of-a-test', 'w').write('x')")
    assert [*exist("/tmp/x-of-a-test", "/dev/shm/x-of-a-test")] == []


async def test_no_server_can_be_reached(having, run):
    having("network")
    called = []
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0claudeprov-test")
        abstract.listen()
        abstract.setblocking(False)
        server = await asyncio.start_server(lambda reader, writer: called.append(writer), "127.0.0.1", 0)
        async with server:
            finished = await run(
                """
                import socket, sys
                def attempt(family, kind, address):
                    try:
                        with socket.socket(family, kind) as s:
                            s.settimeout(1)
                            s.connect(address)
                            s.send(b"x")
                            print("reached", address)
                    except OSError:
                        pass
                attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", int(sys.argv[1])))
                attempt(socket.AF_INET, socket.SOCK_STREAM, ("1.1.1.1", 53))
                attempt(socket.AF_INET, socket.SOCK_DGRAM, ("1.1.1.1", 53))
                attempt(socket.AF_INET6, socket.SOCK_STREAM, ("2606:4700:4700::1111", 53))
                attempt(socket.AF_UNIX, socket.SOCK_STREAM, "\\0claudeprov-test")
                attempt(socket.AF_UNIX, socket.SOCK_STREAM, "/var/run/docker.sock")
                for family in (socket.AF_VSOCK, socket.AF_PACKET, socket.AF_ALG):
                    try:
                        socket.socket(family, socket.SOCK_STREAM)
                        print("has", family)
                    except OSError:
                        pass
                """,
                server.sockets[0].getsockname()[1],
            )
        with pytest.raises(BlockingIOError):
            abstract.accept()
    assert (finished.stdout, finished.exit_code, called) == (b"", 0, [])


async def test_ignoring_signals_does_not_help(run, left):
    finished = await run(
        """
        import signal
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True: pass
        """,
        "ignorer",
        seconds=0.5,
    )
    assert (finished.ended_by, finished.exit_code) == ("time", None)
    assert finished.seconds < 2
    assert left("ignorer") == []


async def test_too_much_cpu_time_is_told_from_too_much_time(run):
    endless = "import signal\nif {}: signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    assert (await run(endless.format(0), cpu_seconds=1)).ended_by == "cpu_time"
    assert (await run(endless.format(1), cpu_seconds=1)).ended_by == "cpu_time"
    assert (await run("import time\ntime.sleep(1000)", seconds=0.3)).ended_by == "time"


async def test_a_daemon_does_not_outlive_the_run(having, run, left):
    having("processes", "disk")
    finished = await run(
        """
        import os, signal, time
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
                os.write(writer, b"x")
                os.closerange(0, 100)
                while True: time.sleep(1)
            os._exit(0)
        os.read(reader, 1)
        """,
        "daemon",
    )
    assert (finished.ended_by, finished.exit_code) == ("itself", 0)
    assert left("daemon") == []


async def test_killing_everyone_kills_nobody_else(having, run, neighbour):
    having("neighbours")
    finished = await run(
        """
        import os, signal
        for target in (-1, os.getppid(), 1):
            try:
                os.kill(target, signal.SIGKILL)
            except OSError:
                pass
        print("done")
        """
    )
    assert neighbour.poll() is None
    assert finished.stdout in (b"done\n", b"")  # at some levels -1 is the program itself as well
    assert finished.ended_by == "itself"


async def test_at_no_level_can_it_signal_others(run):
    """Where they cannot be hidden, signals to them are denied."""
    finished = await run(
        """
        import os, signal, sys
        for target in (-1, int(sys.argv[1])):
            try:
                os.kill(target, signal.SIGKILL)
                print("killed", target)
            except OSError:
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        """,
        os.getpid(),
    )
    assert (finished.stdout, finished.exit_code) == (b"", -signal.SIGTERM)


async def test_what_happens_to_a_socket_is_no_signal_to_others(run, neighbour):
    """Its owner is sent SIGIO, which ends a process that does not expect it."""
    finished = await run(
        """
        import fcntl, os, socket, struct, sys
        def attempt(own, *sockets):
            try:
                for one in sockets or socket.socketpair():
                    own(one)
                    print("is its owner")
                    fcntl.fcntl(one, fcntl.F_SETFL, fcntl.fcntl(one, fcntl.F_GETFL) | os.O_ASYNC)
                    os.write(one.fileno(), b"x")
            except OSError:
                pass
        for process in (int(sys.argv[1]), os.getppid()):
            owner = struct.pack("i", process)
            for own in (
                lambda one: fcntl.ioctl(one, 0x8901, owner),
                lambda one: fcntl.ioctl(one, 0x8902, owner),
                lambda one: fcntl.fcntl(one, fcntl.F_SETOWN, process),
                lambda one: fcntl.fcntl(one, 15, struct.pack("ii", 1, process)),
            ):
                attempt(own)
                attempt(own, sys.stdin)
        print("done")
        """,
        neighbour.pid,
    )
    assert finished.exit_code == 0
    assert finished.stdout == b"done\n" or finished.level != "limits"  # elsewhere the ids are those of a namespace
    assert neighbour.poll() is None


async def test_processes_of_the_machine_cannot_be_seen_or_traced(having, run):
    having("neighbours")
    finished = await run(
        """
        import ctypes, os, sys
        libc = ctypes.CDLL(None, use_errno=True)
        for process in (1, os.getppid(), int(sys.argv[1])):
            attach = 16
            if libc.ptrace(attach, process, 0, 0) == 0:
                print("traces", process)
            for file in ("mem", "environ", "fd/0", "cwd/x", "root/x"):
                try:
                    open(f"/proc/{process}/{file}", "rb").read(1)
                    print("reads", process, file)
                except OSError:
                    pass
        """,
        os.getpid(),
    )
    assert (finished.stdout, finished.exit_code) == (b"", 0)


@pytest.mark.parametrize(
    "call", ["unshare(0x10000000)", "unshare(0x20000)", "mount(b'x', b'/tmp', b'tmpfs', 0, 0)", "chroot(b'.')"]
)
async def test_no_further_namespace_and_no_mount_can_be_made(run, call):
    finished = await run(f"import ctypes\nprint(ctypes.CDLL(None).{call})")
    assert finished.stdout == b"-1\n"


async def test_links_and_deep_folders_in_its_folder_lead_nowhere(run, outside):
    finished = await run(
        """
        import os, sys
        os.symlink(sys.argv[1], "link")
        os.symlink("/", "root")
        os.mkdir("shut"); os.mkdir("shut/in"); os.chmod("shut", 0)
        for _ in range(1100):
            os.mkdir("d"); os.chdir("d")
        """,
        outside,
    )
    assert finished.exit_code == 0
    assert (outside / "file.txt").read_text() == "a word that no one guesses"


async def test_a_program_that_closes_everything_is_noticed(run):
    finished = await run("import os, time\nos.closerange(0, 200)\ntime.sleep(0.1)\nos._exit(3)")
    assert (finished.exit_code, finished.ended_by) == (3, "itself")


async def test_the_end_cannot_be_forged(run):
    finished = await run(
        """
        import os
        for number in range(3, 64):
            try:
                os.write(number, b'{"exit_code": 0, "ended_by": "itself", "seconds": 0, "peak_memory": 0}\\n')
            except OSError:
                pass
        os._exit(7)
        """
    )
    assert finished.exit_code == 7
