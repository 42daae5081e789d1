"""Shell completion: the scripts, and the words that can end a command line.

Hydra's own completion calls its argument parser, which fails on Python 3.14, and knows neither commands nor what a key
takes; this one reads the folders of ``conf`` and the settings' types, and so does without importing Hydra.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from claudeprov.commands import COMMANDS, command_parser
from claudeprov.paths import conf_dir
from claudeprov.settings import COMBINED, CONFIG_DIR, GROUPS, keys

_TOP_FLAGS = ("--help", "--shell-completion", "--version")

# A bash that breaks words at "=" wants only what follows the break, so the part before it is taken off the replies.
_BASH = """_claudeprov() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}" current="${COMP_WORDS[COMP_CWORD]}"
    [[ $current == [=:] ]] && current=""
    local word="${line##* }"
    COMPREPLY=($(COMP_LINE="$line" "$1" --shell-completion query 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]#"${word%"$current"}"}")
}
complete -o nospace -o default -F _claudeprov claudeprov
"""
_ZSH = """#compdef claudeprov
_claudeprov() {
    local -a replies
    replies=("${(@f)$(COMP_LINE="${BUFFER[1,CURSOR]}" claudeprov --shell-completion query 2>/dev/null)}")
    compadd -Q -S "" -- $replies
}
compdef _claudeprov claudeprov
"""
_FISH = """function __claudeprov
    set -lx COMP_LINE (commandline -cp)
    claudeprov --shell-completion query 2>/dev/null | string trim --right
end
complete -c claudeprov -f -a '(__claudeprov)'
"""


def complete(shell: str) -> str:
    """Return the script for *shell*, or for ``query`` the words that can end the line in ``COMP_LINE``."""
    scripts = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
    if shell in scripts:
        return scripts[shell]
    return "".join(f"{word}\n" for word in candidates(os.environ.get("COMP_LINE", "")))


def candidates(line: str) -> list[str]:
    """Return the words that can end *line*; one that is whole has a space behind it."""
    _, *words = f"{line}.".split()  # the full stop keeps an empty last word
    last = words.pop()[:-1] if words else ""
    if not words:
        found: Iterator[str] = (f"{word} " for word in (*COMMANDS, *_TOP_FLAGS))
    elif words[0] not in COMMANDS:
        return []
    elif last.startswith("-"):
        found = (f"{flag} " for action in command_parser(words[0])._actions for flag in action.option_strings)
    else:
        found = _overrides(last, words)
    return sorted({word for word in found if word.startswith(last)})


def _overrides(word: str, words: list[str]) -> Iterator[str]:
    mark = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word[len(mark) :].partition("=")
    if key in COMBINED and value.startswith("["):
        chosen = value[: max(value.rfind(","), 0) + 1]  # the bracket, and what is whole
        yield from (f"{mark}{key}={chosen}{option}" for option in _options(key, words))
        return
    if equals:
        values = _options(key, words) if key in GROUPS else _values(key)
        yield from (f"{mark}{key}={value} " for value in values)
        return
    parent = key.rpartition(".")[0]
    known = [name for name, _ in keys()]
    for name in known:
        if name.rpartition(".")[0] == parent:
            yield f"{mark}{name}="
            if any(other.startswith(f"{name}.") for other in known):
                yield f"{mark}{name}."


def _options(group: str, words: list[str]) -> Iterator[str]:
    given = [after for flag, after in pairwise(words) if flag == "--config-dir"]
    user = given[-1:] or filter(None, [os.environ.get(CONFIG_DIR)])
    for folder in (conf_dir(), *map(Path, user)):
        yield from (file.stem for file in (folder / group).glob("*.yaml"))


def _values(key: str) -> Iterator[str]:
    """Yield the values of a key that has only few: those of its literals, and of a truth value."""
    pending: list[Any] = [field.annotation for name, field in keys() if name == key]
    while pending:
        kind = pending.pop()
        if kind is bool:
            yield from ("true", "false")
        elif get_origin(kind) is Literal:
            yield from get_args(kind)
        else:
            pending += get_args(kind)
