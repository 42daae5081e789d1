"""The tool that lints Python through ruff, where it is installed.

Ruff gets each file's text from here, on its standard input: it opens none of the files itself, writes no cache, and
sees nothing of the environment. It does look for its configuration in the folders above the file, as it always does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from claudeprov.tools.jail import Root
from claudeprov.tools.paging import page
from claudeprov.tools.text import Text, read_text
from claudeprov.tools.tool import ToolError
from claudeprov.tools.tree import Walk

MAX_SECONDS = 20.0
"""Most seconds that one lint goes on before it says what it did not look at."""

_AT_ONCE = 4
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
    select = [f"--select={','.join(rules)}"] if rules else []
    answer = _check(ruff, root, path, text, select)
    notes = []
    if answer.returncode not in (0, 1):
        # What ruff says of a configuration may quote a file outside the root that it extends, so it is not passed on.
        answer = _check(ruff, root, path, text, [*select, "--isolated"])
        notes.append("ruff cannot use the project's configuration: these are its own rules")
    if answer.returncode not in (0, 1):
        return [f"not linted: ruff ended with status {answer.returncode}; are the rules right?"]
    return [
        *notes,
        *(
            f"{found['location']['row']}:{found['location']['column']} {found['code']} {found['message']}"
            for found in json.loads(answer.stdout)
        ),
    ]


def _check(ruff: str, root: Root, path: str, text: Text, options: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [ruff, "check", "--quiet", "--no-cache", "--no-fix", "--output-format=json", *options]
    try:
        return subprocess.run(  # noqa: S603  # no shell, and nothing in it that a model wrote but rules and a path
            [*command, f"--stdin-filename={root.path / path}", "-"],
            input=text.content,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=MAX_SECONDS,
            env={},
            cwd=root.path,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"ruff took more than {MAX_SECONDS:g} s over {path!r}.") from None
