"""``claudeprov chat``: one answer, or a conversation on a terminal, shown as it arrives."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from claudeprov.chunk import MessageChunk
from claudeprov.commands import calls
from claudeprov.commands.terminal import opening_notes, printable
from claudeprov.cost import Cost
from claudeprov.errors import ConfigurationError, ProviderError
from claudeprov.provider import AnthropicClaudeProvider, Mode
from claudeprov.response import MessageResponse, Usage
from claudeprov.settings import Settings
from claudeprov.stream import MessageStream
from claudeprov.tools.result import ToolRun
from claudeprov.tools.stream import ToolStream

HELP = "ask a model, once or in a conversation, and see the answer as it arrives"
EXAMPLE = 'claudeprov chat model=sonnet -p "Why is the sky blue?"'

Messages = list[dict[str, Any]]

_COMMANDS = ("/reset", "/exit")
_CUT_OFF = "\n\n[cut off here]"
"""Tells the model, in its own turn, that the user saw no more of it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("-p", "--prompt", metavar="TEXT", help="the prompt")
    prompt.add_argument(
        "--file",
        metavar="FILE",
        help="read the prompt from FILE, - for standard input; "
        "without a prompt a terminal gets a conversation, anything else is read as the prompt",
    )
    parser.add_argument("--system", metavar="TEXT", help="the system prompt")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON document with the whole response, at its end")
    output.add_argument("--chunks", action="store_true", help="the events of the stream as JSON lines, as they arrive")


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Answer the prompt; without one, hold a conversation."""
    prompt = _prompt(args)
    with asyncio.Runner() as runner:
        provider = AnthropicClaudeProvider(settings)
        runner.run(provider.initialize())
        try:
            for note in opening_notes(provider):
                _note(note)
            if prompt is None:
                _converse(runner, provider, args.system)
            else:
                stream = _send(provider, [{"role": "user", "content": prompt}], args.system)
                if args.json:
                    runner.run(_print_document(stream, provider.mode))
                else:
                    runner.run(_print_chunks(stream) if args.chunks else _print_text(stream))
                    _note(_summary(stream))
                if isinstance(stream, ToolStream) and stream.run.error is not None:
                    raise stream.run.error
        finally:
            runner.run(provider.dispose())
    return 0


def _prompt(args: argparse.Namespace) -> str | None:
    """Find the prompt; ``None`` where a conversation is wanted."""
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if args.prompt is not None:
        source, text = "--prompt", str(args.prompt)
    elif args.file not in (None, "-"):
        source = f"--file {args.file}"
        text = _read(source, Path(args.file).read_bytes)
    elif args.file is None and on_terminal and not args.json and not args.chunks:
        return None
    else:
        if sys.stdin.isatty():
            _note("the prompt, ended by Ctrl-D:")
        source = "standard input"
        text = _read(source, sys.stdin.buffer.read)
    if not text.strip():
        raise ConfigurationError(f"{source} is empty: give a prompt with -p, --file or standard input")
    return text.rstrip()


def _read(source: str, read: Callable[[], bytes]) -> str:
    try:
        return read().decode()
    except OSError as error:
        raise ConfigurationError(f"{source} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{source} is no UTF-8 text: {error}") from error


def _send(provider: AnthropicClaudeProvider, messages: Messages, system: str | None) -> MessageStream | ToolStream:
    request: dict[str, Any] = {"messages": messages} | ({"system": system} if system else {})
    if provider.settings.tools is None:
        return provider.send_message(request)
    return provider.run_tools(request, ask=calls.ask_on_terminal if sys.stdin.isatty() else None)


def _converse(runner: asyncio.Runner, provider: AnthropicClaudeProvider, system: str | None) -> None:
    """Answer what the user types, until he ends it; a failed or cut answer does not."""
    with suppress(ImportError):  # gives input() line editing and a history
        import readline  # noqa: F401

    _note(f"{provider.settings.model.id}: Ctrl-C cuts an answer off, Ctrl-D ends, /reset begins anew")
    messages: Messages = []
    for prompt in _typed():
        if prompt == "/reset":
            messages = []
            continue
        asked = [*messages, {"role": "user", "content": prompt}]
        stream = _send(provider, asked, system)
        try:
            runner.run(_print_text(stream))
            _note(_summary(stream))
        except KeyboardInterrupt:
            _note("cut off")
        except ProviderError as error:
            _note(f"error: {error.message}")
        kept = _conversation(stream, asked)
        if kept is None:
            _note("this turn is left out of the conversation")
        else:
            messages = kept


def _typed() -> Iterator[str]:
    """Ask for one prompt after another, until Ctrl-D or ``/exit``.

    A Ctrl-C that comes just after the answer it was meant for must not cost the conversation: only the second of two
    ends it.
    """
    interrupted = False
    while True:
        try:
            prompt = input("> ").rstrip()
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            if interrupted:
                raise
            interrupted = True
            _note("Ctrl-C again, or Ctrl-D, ends")
            continue
        except UnicodeDecodeError as error:
            _note(f"that is no UTF-8 text: {error}")
            continue
        except EOFError:
            sys.stderr.write("\n")
            return
        interrupted = False
        if prompt == "/exit":
            return
        if re.fullmatch(r"/[a-z]+", prompt) and prompt not in _COMMANDS:
            _note(f"there is no command {prompt} (there are: {', '.join(_COMMANDS)})")
        elif prompt.strip():
            yield prompt


def _conversation(stream: MessageStream | ToolStream, asked: Messages) -> Messages | None:
    """What was asked and answered, as it goes back with the next request; ``None``: nothing of the answer can."""
    if isinstance(stream, ToolStream):
        run = stream.run
        answer = _answer_to_keep(run.response) if run.response and run.response.stop_reason is None else None
        kept = [*run.messages, {"role": "assistant", "content": answer}] if answer else list(run.messages)
        return kept if len(kept) > len(asked) else None
    answer = _answer_to_keep(stream.response)
    return None if answer is None else [*asked, {"role": "assistant", "content": answer}]


def _answer_to_keep(response: MessageResponse) -> str | list[dict[str, Any]] | None:
    """What of an answer goes back with the next request: its blocks unchanged; of one that was cut off, the text.

    ``None`` where the API would not take it back: a refusal, which is to be discarded, or no text.
    """
    if response.stop_reason == "refusal" or not response.text.strip():
        return None
    return response.text + _CUT_OFF if response.stop_reason is None else response.content


async def _print_text(stream: MessageStream | ToolStream) -> None:
    screen = _Screen()
    try:
        async with stream:
            async for chunk in stream:
                screen.show(chunk)
    finally:
        screen.end_line()


async def _print_chunks(stream: MessageStream | ToolStream) -> None:
    async with stream:
        async for chunk in stream:
            sys.stdout.write(json.dumps(chunk.data) + "\n")
            sys.stdout.flush()


async def _print_document(stream: MessageStream | ToolStream, mode: Mode) -> None:
    answer = await stream
    response = answer.response if isinstance(answer, ToolRun) else answer
    assert response is not None  # a run that has none failed
    cost, timing = answer.cost, response.timing
    document = {
        "message": response.to_message(),
        "cost": asdict(cost) | {"items": [item._asdict() for item in cost.items]},
        "timing": asdict(timing) | {"started_at": timing.started_at.isoformat()},
        "attempts": [asdict(attempt) for attempt in response.attempts],
        "request_id": response.request_id,
        "mode": mode,
    }
    if isinstance(answer, ToolRun):
        document["tools"] = calls.document(answer)
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")  # str: of decimals


class _Screen:
    """Shows text on standard output; thinking and calls of tools, which are no result, on standard error."""

    def __init__(self) -> None:
        self._out: TextIO = sys.stdout
        self._line_is_open = False
        self._called: dict[str, Any] = {}

    def show(self, chunk: MessageChunk) -> None:
        if chunk.thinking:
            self._write(sys.stderr, chunk.thinking)
        if chunk.text:
            self._write(sys.stdout, chunk.text)
        if chunk.type == "tool_call":
            self._called[chunk.data["id"]] = chunk.data["input"]
            self.end_line()
        if chunk.type == "tool_result":
            self.end_line()
            _note(calls.told(chunk.data, self._called.pop(chunk.data["id"])))

    def end_line(self) -> None:
        if self._line_is_open:
            self._out.write("\n")
            self._out.flush()
        self._line_is_open = False

    def _write(self, out: TextIO, text: str) -> None:
        if out is not self._out:
            self.end_line()
            self._out = out
        out.write(_dim(text) if out is sys.stderr else printable(text, out))
        out.flush()
        self._line_is_open = not text.endswith("\n")


def _note(text: str) -> None:
    sys.stderr.write(f"{_dim(text)}\n")
    sys.stderr.flush()


def _dim(text: str) -> str:
    """Make *text* fit for standard error: dim on a terminal that can and may."""
    text = printable(text, sys.stderr)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
    return text if plain else f"\x1b[2m{text}\x1b[22m"


def _summary(stream: MessageStream | ToolStream) -> str:
    """Usage, cost and latency on one line; then what was not as usual."""
    if isinstance(stream, ToolStream):
        run = stream.run
        seconds = sum(response.timing.total for response in run.responses)
        return "; ".join((_tokens(run.usage), _cost(run.cost), calls.summary(run), f"model {seconds:.2f} s"))
    response = stream.response
    timing = response.timing
    first = "" if timing.first_chunk is None else f"first chunk {timing.first_chunk:.2f} s, "
    parts = [_tokens(response.usage), _cost(response.cost), f"{first}total {timing.total:.2f} s"]
    if len(response.attempts) > 1:
        parts.append(f"{len(response.attempts)} attempts")
    if response.stop_reason != "end_turn":
        parts.append(_ending(response))
    return " ".join("; ".join(parts).split())  # one line, whatever the model's name or explanation holds


def _tokens(usage: Usage) -> str:
    counts = [
        (usage.input_tokens, "in"),
        (usage.cache_read_input_tokens or None, "from cache"),
        (usage.cache_creation_input_tokens or None, "to cache"),
        (usage.output_tokens, "out"),
    ]
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count is not None)
    thinking = f" ({usage.thinking_tokens:,} thinking)" if usage.thinking_tokens else ""
    return f"tokens: {told}{thinking}" if told else "tokens unknown"


def _cost(cost: Cost) -> str:
    if cost.low_usd is None:
        return f"cost unknown ({cost.reason})"
    told = f"cost {cost.low_usd.normalize():f}"
    if cost.total_usd is None:
        told += f" or more, up to {cost.high_usd.normalize():f}" if cost.high_usd is not None else " or more"
    return "; ".join((f"{told} USD", *cost.notes))


def _ending(response: MessageResponse) -> str:
    match response.stop_reason:
        case "max_tokens":
            return "truncated at max_tokens"
        case "model_context_window_exceeded":
            return "truncated at the end of the context window"
        case "stop_sequence":
            return f"stopped at {response.stop_sequence!r}"
        case "refusal":
            details = response.stop_details or {}
            category, explanation = details.get("category"), details.get("explanation")
            return f"refused ({category or 'no category'}): {explanation or 'no reason given'}"
        case reason:
            return f"stopped: {reason or 'unknown'}"
