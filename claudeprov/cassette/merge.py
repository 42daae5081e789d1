"""How recordings of several sessions come together in one file."""

from __future__ import annotations

import fcntl
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vcr.cassette import Cassette
from vcr.request import Request

from claudeprov.cassette.file import load, save
from claudeprov.cassette.interaction import Interaction, interactions
from claudeprov.cassette.match import sent_of
from claudeprov.cassette.rules import NO_RULES, Rules

Pair = tuple[Request, dict[str, Any]]
"""One exchange as vcrpy holds it."""


def merge(
    cassette: Cassette, keeps: Callable[[Interaction], bool], *, rules: Rules = NO_RULES, add: bool = False
) -> None:
    """Write *cassette* into its file, in the place of what the file holds of the same requests.

    Whoever writes last wins a request that two sessions have recorded; what only one has stays. Other processes and
    threads wait meanwhile, by a lock on the file's folder, which leaves nothing behind.

    Args:
        cassette: The new recordings.
        keeps: Whether a recording of another request, which the file holds, stays there.
        rules: Which requests are the same.
        add: Put the new recordings of a request behind the old ones instead.

    Raises:
        CassetteError: The file is no cassette, or the new one would hold a secret; the file stays as it is.
    """
    path: Path = cassette.path
    with _locked(path.parent):
        if path.exists():
            old = list(interactions(load(path)))
            cassette.data[:] = _merged(old, cassette.data, keeps, rules, add=add)
        save(cassette)


def _merged(
    old: Sequence[Interaction],
    new: Sequence[Pair],
    keeps: Callable[[Interaction], bool],
    rules: Rules,
    *,
    add: bool,
) -> Iterator[Pair]:
    """The file's recordings in their order, with the new ones of a request where its first one was, or else last."""
    waiting: defaultdict[bytes, list[Pair]] = defaultdict(list)
    for pair in new:
        waiting[sent_of(pair[0], rules).key].append(pair)
    replaced = set() if add else set(waiting)
    for item in old:
        key = sent_of(item.request, rules).key
        if key in replaced:
            yield from waiting.pop(key, ())
        elif keeps(item):
            yield item.cassette.data[item.index]
    for pairs in waiting.values():
        yield from pairs


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
