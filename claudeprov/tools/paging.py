"""Results of bounded size: whole lines as long as they fit, then what is missing and how to ask for it."""

from __future__ import annotations

from collections.abc import Sequence

MAX_CHARS = 20_000
"""Most characters of one result, about 6,000 tokens of code."""

MAX_LINE = 1_000
"""Most characters of one line of a result."""


def clipped(line: str, limit: int = MAX_LINE) -> str:
    """Return a line, cut with a count of what is missing where it is too long."""
    return line if len(line) <= limit else f"{line[:limit]} …[{len(line) - limit:,} more characters]"


def fitting(blocks: Sequence[str], chars: int = MAX_CHARS) -> int:
    """Return how many of the first blocks fit into one result; at least one, where there is one."""
    used = 0
    for count, block in enumerate(blocks):
        used += len(block) + 1
        if used > chars and count:
            return count
    return len(blocks)


def page(blocks: Sequence[str], offset: int, what: str, *, head: str = "", headings: Sequence[str] = ()) -> str:
    """Return the blocks from *offset* on that fit, under a head, and a last line that says what was cut.

    Args:
        blocks: What was found, all of it, each of one or more lines.
        offset: How many to leave out, as an earlier, cut result said.
        what: What a block is, in the plural.
        head: Lines before the blocks.
        headings: What each block stands under; said once for blocks that follow each other under the same.
    """
    offset = max(0, offset)
    rest = [
        f"{headings[number]}\n{blocks[number]}"
        if headings and (number == offset or headings[number] != headings[number - 1])
        else blocks[number]
        for number in range(offset, len(blocks))
    ]
    shown = fitting(rest)
    lines = [head] if head else []
    lines += [clipped(block, MAX_CHARS) for block in rest[:shown]]
    if offset >= len(blocks) > 0:
        lines.append(f"[There are only {len(blocks):,} {what}: ask with an offset below that.]")
    elif shown < len(rest):
        last = offset + shown
        lines.append(
            f"[Cut: {what} {offset + 1:,} to {last:,} of {len(blocks):,}. For the rest, ask with offset={last}.]"
        )
    return "\n".join(lines)
