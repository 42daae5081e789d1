"""What a ledger keeps of a prompt in place of the prompt: hashes, and how long its parts are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from sys import intern
from typing import Any, NamedTuple

import msgspec

_MEDIA_CHARACTERS = 6000
"""What an image or a document in base64 counts in a prompt's length: some 1,500 tokens, whatever its bytes."""


class Prefix(NamedTuple):
    """The beginning of a prompt, up to a place where a cache could end it."""

    hash: str
    """Equal for equal tools, system prompts and messages up to there, marks for the cache left out."""
    length: int
    """Characters of its JSON; their share of the whole prompt's is taken for that of the tokens."""


def request_hash(body: Mapping[str, Any]) -> str:
    """Hash a request's JSON body: 128 bits in hexadecimal, equal for equal bodies in any order of their keys."""
    return blake2b(_json(body), digest_size=16).hexdigest()


def prefixes_of(body: Mapping[str, Any]) -> tuple[Prefix, ...]:
    """Return the prefixes of a request's prompt that another request may share, shortest first, the whole one last.

    They end after the tools; the system prompt; the first block of the first message, where a document often stands;
    the message before the last answer, which is all that the turn before sent; and the last message.
    """
    digest, length = blake2b(digest_size=8), 0
    found: list[Prefix] = []
    for block, is_end in _blocks(body):
        data = _json(_without_mark(block))
        digest.update(data)
        length += len(data) - _surplus(block)
        if is_end:
            found.append(Prefix(digest.copy().hexdigest(), length))
    return tuple(found)


def as_text(prefixes: Sequence[Prefix]) -> str:
    """Write prefixes into one column."""
    return " ".join(f"{prefix.hash}:{prefix.length}" for prefix in prefixes)


def from_text(text: str) -> tuple[Prefix, ...]:
    """Read what :func:`as_text` wrote."""
    pairs = (word.split(":") for word in text.split())
    return tuple(Prefix(intern(hash_), int(length)) for hash_, length in pairs)  # a million calls share some


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    """Yield the blocks of a prompt in the order of the cache, each with whether a prefix ends there."""
    for part in ("tools", "system"):
        blocks = _listed(body.get(part))
        yield from ((block, position == len(blocks)) for position, block in enumerate(blocks, 1))
    messages = [message for message in _listed(body.get("messages")) if isinstance(message, Mapping)]
    answers = [position for position, message in enumerate(messages) if message.get("role") == "assistant"]
    ends = {len(messages) - 1, answers[-1] - 1 if answers else -1}
    for number, message in enumerate(messages):
        blocks = _listed(message.get("content"))
        for position, block in enumerate(blocks, 1):
            is_first = number == 0 and position == 1
            yield (message.get("role"), block), is_first or (number in ends and position == len(blocks))


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _without_mark(block: Any) -> Any:
    if isinstance(block, tuple):
        return [block[0], _without_mark(block[1])]
    if isinstance(block, Mapping):
        return {name: value for name, value in block.items() if name != "cache_control"}
    return block


def _surplus(block: Any) -> int:
    """How many characters of base64 are more than their tokens' share."""
    source = block[1].get("source") if isinstance(block, tuple) and isinstance(block[1], Mapping) else None
    data = source.get("data") if isinstance(source, Mapping) and source.get("type") == "base64" else None
    return len(data) - _MEDIA_CHARACTERS if isinstance(data, str) else 0


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, order="deterministic", enc_hook=repr)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold and UTF-8 cannot
        return repr(value).encode(errors="backslashreplace")
