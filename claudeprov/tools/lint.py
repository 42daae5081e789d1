"""The tool that lints Python through ruff, where it is installed.

Ruff gets each file's text from here, on its standard input: it opens none of the files itself, writes no cache, and
sees nothing of the environment. It does look for its configuration in the folders above the file, as it always does.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from claudeprov.tools.jail import Root
from claudeprov.tools.paging import clipped, page
from claudeprov.tools.text import read_text
from claudeprov.tools.tool import ToolError
from claudeprov.tools.tree import Walk

MAX_SECONDS = 20.0
"""Most seconds that one lint goes on before it says what it did not look at."""

MAX_BYTES = 256 * 1024
"""The longest file that is linted: ruff holds all that it finds in memory, some hundred times the text."""

MAX_FINDINGS = 2_000
"""Most findings that one lint collects."""

_AT_ONCE = 4
_FINDING = re.compile(r"^.*?:(\d+:\d+): ([A-Z]+[0-9]+|[a-z-]+):? (?:\[\*\] )?")
_RULE = re.compile(r"[A-Z]{1,6}[0-9]{0,4}")


def lint(
    root: Root | str | Mapping[str, Any],
    path: str = ".",
    rules: Sequence[str] = (),
    globs: Sequence[str] = (),
    offset: int = 0,
) -> str:
    """Lint a Python file, or all Python files below a folder, with ruff, and change nothing.

    Use it to find bugs, and to see what a project's own rules say of its code. Returns, under each file's path, one
    finding a line: line, column, rule, message. The rules are those of the project's ruff configuration, or ruff's own.

    Args:
        path: Python file or folder to lint, relative to the root.
        rules: Ruff rules or their prefixes to check instead, such as ["F", "B006", "SIM"].
        globs: Lint only files that fit one of these patterns, such as ["src/**", "!tests/"].
        offset: Number of findings to leave out; a cut result says which to ask for.
    """
    if wrong := [rule for rule in rules if not _RULE.fullmatch(rule)]:
        raise ToolError(f"{wrong[0]!r} is no rule of ruff; give codes or prefixes such as F, B006 or ALL.")
    ruff = _ruff()
    walk = Walk(Root.of(root), path, globs)
    blocks: list[str] = []
    places: list[str] = []
    notes: list[str] = []
    files = 0
    until = time.monotonic() + MAX_SECONDS
    paths = [entry.path for entry in walk.files() if entry.path.endswith((".py", ".pyi"))]

    def check(path: str) -> list[str] | None:
        return _findings(ruff, walk.root, path, rules) if time.monotonic() < until else None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for place, found in zip(paths, pool.map(check, paths), strict=True):
            if found is None:
                notes.append(
                    f"stopped after {MAX_SECONDS:g} s with {len(paths) - files:,} files to go: name a folder below"
                )
                break
            files += 1
            blocks += found
            places += [place] * len(found)
            if len(blocks) >= MAX_FINDINGS:
                pool.shutdown(cancel_futures=True)
                notes.append(f"stopped after {MAX_FINDINGS:,} findings: name a folder below or rules")
                break
    head = "; ".join([f"{len(blocks):,} findings in {files:,} Python files", *notes, *walk.notes])
    return page(blocks, offset, "findings", head=head, headings=places)


def _ruff() -> str:
    beside = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    if ruff := shutil.which("ruff", path=beside):
        return os.path.abspath(ruff)
    raise ToolError("ruff is not installed here, so nothing can be linted; whoever runs this can: pip install ruff")


def _findings(ruff: str, root: Root, path: str, rules: Sequence[str]) -> list[str]:
    try:
        text = read_text(root, path)
    except ToolError as error:
        return [f"not linted: {error}"]
    content = text.content.encode("utf-8")
    if len(content) > MAX_BYTES:
        return [f"not linted: it has {len(content):,} bytes; files of at most {MAX_BYTES:,} bytes are linted"]
    select = [f"--select={','.join(rules)}"] if rules else []
    status, found = _check(ruff, root, path, content, select)
    notes = []
    if status not in (0, 1):
        # What ruff says of a configuration may quote a file outside the root that it extends, so it is not passed on.
        status, found = _check(ruff, root, path, content, [*select, "--isolated"])
        notes.append("ruff cannot use the project's configuration: these are its own rules")
    if status == -signal.SIGKILL:
        return [f"not linted: ruff took more than {MAX_SECONDS:g} s, or was killed"]
    if status not in (0, 1):
        return [f"not linted: ruff ended with status {status}; are the rules right?"]
    return [*notes, *found]


def _check(ruff: str, root: Root, path: str, content: bytes, options: Sequence[str]) -> tuple[int, list[str]]:
    """Return ruff's status and its first findings; it is killed where it has more to say."""
    command = [ruff, "check", "--quiet", "--no-cache", "--no-fix", "--output-format=concise", *options]
    with tempfile.TemporaryFile() as given:  # a pipe would have to be written to while ruff is read
        given.write(content)
        given.seek(0)
        process = subprocess.Popen(  # noqa: S603  # no shell, and nothing in it that a model wrote but rules and a path
            [*command, f"--stdin-filename={root.path / path}", "-"],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd=root.path,
        )
    timer = threading.Timer(MAX_SECONDS, process.kill)
    timer.start()
    try:
        with process:
            lines = list(islice(process.stdout or (), MAX_FINDINGS))
            more = len(lines) == MAX_FINDINGS
            if more:
                process.kill()
    finally:
        timer.cancel()
    found = [_FINDING.sub(r"\1 \2 ", clipped(line.decode("utf-8", "replace").rstrip())) for line in lines]
    return 1 if more else process.returncode, found
