"""A sandbox for code that a model wrote: it runs locked in, within limits, or not at all.

    sandbox = Sandbox(SandboxSettings(require=("network", "read", "write")))
    finished = await sandbox.run({"test_f.py": code}, [sys.executable, "-m", "pytest", "-q"])

What each level stops, and what it does not, is in docs/sandbox.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from claudeprov.sandbox.level import Level, choose
from claudeprov.sandbox.run import Finished, execute
from claudeprov.settings.sandbox import Limits, SandboxSettings

__all__ = ["Finished", "Level", "Limits", "Sandbox", "SandboxSettings"]


class Sandbox:
    """Runs commands at the best level that the settings allow.

    Args:
        settings: By default, a level that keeps code from everything outside but time.
    """

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.settings = settings or SandboxSettings()

    async def level(self) -> Level:
        """Return the level at which commands are run; a process tries only once what its machine has.

        Raises:
            SandboxUnavailableError: No level does what the settings ask.
        """
        return await choose(self.settings)

    async def run(
        self,
        files: Mapping[str, str | bytes],
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        limits: Limits | None = None,
    ) -> Finished:
        """Run *command* in an empty folder that *files* were put into, and end all that it started.

        It finds the system's programs, the interpreter (``sys.executable``) and what is installed for it. Its
        environment is ``PATH``, ``HOME``, ``TMPDIR`` and ``LANG``. A program that is not there ends with status 127.

        Args:
            files: Contents by path below the folder.
            command: The program and its arguments; no shell reads them.
            stdin: What it can read from standard input.
            limits: What it may use.

        Raises:
            SandboxUnavailableError: No level does what the settings ask, or the sandbox broke down.
            ValueError: The path of a file leads out of the folder.
        """
        level = await choose(self.settings)
        return await execute(level.name, files, command, stdin=stdin, limits=limits or Limits())
