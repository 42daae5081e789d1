"""A recorded session as a person would read it: what was asked, what came back, and how long it took."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from claudeprov.cassette.answer import answer_of, call_text
from claudeprov.cassette.interaction import Details, Interaction
from claudeprov.cassette.match import sent_of

_BAR = 40
"""Columns of the timing bar."""

_VALUE = 100
"""Characters shown of a value that is no text."""

_SAID = frozenset({"messages", "system", "tools", "model"})
"""Parameters that have lines of their own."""


def text_of(interaction: Interaction, total: int) -> str:
    """Write *interaction*, one of *total*, as lines of a label and a text."""
    sent, details = sent_of(interaction.request), interaction.details
    served = f"served by {details.served}" if details and details.served else ""
    outcome = f"status {interaction.status}" if details is None or details.answered else "no answer"
    end = details.end if details else "not recorded by claudeprov"
    head = ", ".join(filter(None, (f"{sent.method} {sent.path}", sent.model, served, outcome, end)))
    lines = [*_asked(sent.body), *_answered(interaction), *(_timed(details) if details else ())]
    return f"── {interaction.index + 1}/{total}: {head}\n" + "".join(_line(label, text) for label, text in lines)


def document_of(interaction: Interaction) -> dict[str, Any]:
    """*interaction* as a JSON object: the request, the answer that its stream adds up to, details and timing."""
    sent, details = sent_of(interaction.request), interaction.details
    return {
        "number": interaction.index + 1,
        "method": sent.method,
        "path": sent.path,
        "model": sent.model,
        "request": sent.body,
        "status": interaction.status,
        "answer": answer_of(interaction).document,
        "recorded_at": details and details.recorded_at,
        "server": details and details.server,
        "versions": details and details.versions,
        "served": details and details.served,
        "suite": details and details.suite,
        "end": details and details.end,
        "error": details and details.error,
        "timing": details
        and {"first_chunk": details.first_chunk, "total": details.total, "chunks": len(details.sizes)},
    }


def _line(label: str, text: str) -> str:
    return f"{label:>11}  " + text.rstrip("\n").replace("\n", f"\n{'':13}") + "\n"


def _asked(body: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(body, dict):
        if body:
            yield "request", _short(body)
        return
    if parameters := {name: value for name, value in body.items() if name not in _SAID}:
        yield "parameters", ", ".join(f"{name} {_short(value)}" for name, value in parameters.items())
    if tools := body.get("tools"):
        yield "tools", ", ".join(str(tool.get("name")) for tool in tools if isinstance(tool, dict))
    yield from _blocks("system", body.get("system"))
    for message in body.get("messages") or ():
        if isinstance(message, dict):
            yield from _blocks(str(message.get("role")), message.get("content"))


def _answered(interaction: Interaction) -> Iterator[tuple[str, str]]:
    answer, details = answer_of(interaction), interaction.details
    if answer.message is not None:
        yield from _blocks("answer", answer.message.get("content"))
        yield "stopped", str(answer.message.get("stop_reason") or "not told")
        yield "usage", ", ".join(f"{name} {_short(value)}" for name, value in answer.usage.raw.items()) or "not told"
    elif interaction.body:
        yield "answer", _short(answer.document) if answer.document is not None else f"{len(interaction.body)} bytes"
    if failed := next((event for event in answer.events if event.get("type") == "error"), None):
        yield "error", _short(failed.get("error"))
    if details and details.error:
        yield "error", details.error


def _timed(details: Details) -> Iterator[tuple[str, str]]:
    first = "" if details.first_chunk is None else f"first chunk {details.first_chunk:.2f} s, "
    yield "timing", f"{_bar(details)} {first}total {details.total:.2f} s, {len(details.sizes)} chunk(s)"


def _bar(details: Details) -> str:
    """The time from start to end: a dot where nothing came, a block where chunks came."""
    bar = ["·"] * _BAR
    moment = details.waits[0]
    for wait in details.waits[1:-1]:
        moment += wait
        bar[min(_BAR - 1, int(moment / 1_000_000 / (details.total or 1) * _BAR))] = "█"
    return "".join(bar)


def _blocks(label: str, content: Any) -> Iterator[tuple[str, str]]:
    """Each content block with what it is, where it is no text."""
    blocks: Iterable[Any] = content if isinstance(content, list) else filter(None, [content])
    for block in blocks:
        if not isinstance(block, dict):
            yield label, str(block)
            continue
        match block.get("type"):
            case "text":
                yield label, str(block.get("text"))
            case "thinking":
                yield "thinking", str(block.get("thinking") or "not shown by the API")
            case "tool_use" | "server_tool_use":
                yield "tool call", call_text(block)
            case str(kind) if kind.endswith("tool_result"):
                yield from _blocks("tool result", block.get("content"))
            case kind:
                yield label, f"[{kind}] {_short({name: block[name] for name in block if name != 'type'})}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE else f"{text[:_VALUE]}…"
