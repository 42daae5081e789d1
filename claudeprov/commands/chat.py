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
from claudeprov.commands.terminal import printable
from claudeprov.errors import ConfigurationError, ProviderError
from claudeprov.provider import AnthropicClaudeProvider, Mode
from claudeprov.response import MessageResponse
from claudeprov.settings import Settings
from claudeprov.stream import MessageStream

HELP = "ask a model, once or in a conversation, and see the answer as it arrives"
EXAMPLE = 'claudeprov chat model=sonnet -p "Why is the sky blue?"'

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
            if provider.cassette_note:
                _note(provider.cassette_note)
            if prompt is None:
                _converse(runner, provider, args.system)
            else:
                stream = provider.send_message(_request([{"role": "user", "content": prompt}], args.system))
                if args.json:
                    runner.run(_print_document(stream, provider.mode))
                else:
                    runner.run(_print_chunks(stream) if args.chunks else _print_text(stream))
                    _note(_summary(stream.response))
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


def _request(messages: list[dict[str, Any]], system: str | None) -> dict[str, Any]:
    request: dict[str, Any] = {"messages": messages}
    return request | {"system": system} if system else request


def _converse(runner: asyncio.Runner, provider: AnthropicClaudeProvider, system: str | None) -> None:
    """Answer what the user types, until he ends it; a failed or cut answer does not."""
    with suppress(ImportError):  # gives input() line editing and a history
        import readline  # noqa: F401

    _note(f"{provider.settings.model.id}: Ctrl-C cuts an answer off, Ctrl-D ends, /reset begins anew")
    messages: list[dict[str, Any]] = []
    for prompt in _typed():
        if prompt == "/reset":
            messages = []
            continue
        messages.append({"role": "user", "content": prompt})
        stream = provider.send_message(_request(messages, system))
        try:
            runner.run(_print_text(stream))
            _note(_summary(stream.response))
        except KeyboardInterrupt:
            _note("cut off")
        except ProviderError as error:
            _note(f"error: {error.message}")
        answer = _answer_to_keep(stream.response)
        if answer is None:
            messages.pop()
            _note("this turn is left out of the conversation")
        else:
            messages.append({"role": "assistant", "content": answer})


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


def _answer_to_keep(response: MessageResponse) -> str | list[dict[str, Any]] | None:
    """What of an answer goes back with the next request: its blocks unchanged; of one that was cut off, the text.

    ``None`` where the API would not take it back: a refusal, which is to be discarded, or no text.
    """
    if response.stop_reason == "refusal" or not response.text.strip():
        return None
    return response.text + _CUT_OFF if response.stop_reason is None else response.content


async def _print_text(stream: MessageStream) -> None:
    screen = _Screen()
    try:
        async with stream:
            async for chunk in stream:
                screen.show(chunk)
    finally:
        screen.end_line()


async def _print_chunks(stream: MessageStream) -> None:
    async with stream:
        async for chunk in stream:
            sys.stdout.write(json.dumps(chunk.data) + "\n")
            sys.stdout.flush()


async def _print_document(stream: MessageStream, mode: Mode) -> None:
    response = await stream
    cost, timing = response.cost, response.timing
    document = {
        "message": response.to_message(),
        "cost": asdict(cost) | {"items": [item._asdict() for item in cost.items]},
        "timing": asdict(timing) | {"started_at": timing.started_at.isoformat()},
        "attempts": [asdict(attempt) for attempt in response.attempts],
        "request_id": response.request_id,
        "mode": mode,
    }
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")  # str: of decimals


class _Screen:
    """Shows text on standard output and thinking, which is no result, on standard error."""

    def __init__(self) -> None:
        self._out: TextIO = sys.stdout
        self._line_is_open = False

    def show(self, chunk: MessageChunk) -> None:
        if chunk.thinking:
            self._write(sys.stderr, chunk.thinking)
        if chunk.text:
            self._write(sys.stdout, chunk.text)

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


def _summary(response: MessageResponse) -> str:
    """Usage, cost and latency on one line; then what was not as usual."""
    timing = response.timing
    first = "" if timing.first_chunk is None else f"first chunk {timing.first_chunk:.2f} s, "
    parts = [_tokens(response), _cost(response), f"{first}total {timing.total:.2f} s"]
    if len(response.attempts) > 1:
        parts.append(f"{len(response.attempts)} attempts")
    if response.stop_reason != "end_turn":
        parts.append(_ending(response))
    return " ".join("; ".join(parts).split())  # one line, whatever the model's name or explanation holds


def _tokens(response: MessageResponse) -> str:
    usage = response.usage
    counts = [
        (usage.input_tokens, "in"),
        (usage.cache_read_input_tokens or None, "from cache"),
        (usage.cache_creation_input_tokens or None, "to cache"),
        (usage.output_tokens, "out"),
    ]
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count is not None)
    thinking = f" ({usage.thinking_tokens:,} thinking)" if usage.thinking_tokens else ""
    return f"tokens: {told}{thinking}" if told else "tokens unknown"


def _cost(response: MessageResponse) -> str:
    cost = response.cost
    if cost.total_usd is None:
        return f"cost unknown ({cost.reason})"
    return "; ".join((f"cost {cost.total_usd.normalize():f} USD", *cost.notes))


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
