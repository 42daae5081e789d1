"""How many tokens a text is to Claude: the smallest number of pieces of a vocabulary that it can be laid out with.

Anthropic publishes no tokenizer of Claude 3 or later. The vocabularies beside this module, and the rules, which are
simpler here, were measured at the count endpoint by the project ctok (see ``vocabulary/NOTICE``). Words, numbers, runs
of signs and of white space, and other characters are laid out one by one; what hardly ever matters is left out.

A word that begins with a capital is a mark and a lower-case word, and one space between two words, or beside
punctuation, belongs to them. So ``Hello, world!`` becomes ``^<hello>`` ``,>`` ``<world>`` ``!``.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

Generation = Literal["claude-3", "claude-4.7"]
"""Models up to 4.6 and Haiku 4.5; and all later ones."""

_START, _END, _TITLE, _CAPITALS = "\ue000", "\ue001", "\ue002", "\ue003"
"""Marks of where a word begins and ends, and of its case; texts hold none of them once they are normalized."""
_MARKS = _START + _END + _TITLE + _CAPITALS
_AFFIXES = {
    "whole": (_START, _END),
    "start": (_START, ""),
    "end": ("", _END),
    "inner": ("", ""),
    "title": (_TITLE + _START, _END),
    "capitals": (_CAPITALS + _START, _END),
}
_LONGEST_RUN = 128
"""Characters laid out at a time: of a longer word, which no language has, the rest is a word of its own."""
_NORMALIZED = 1024
"""Characters normalized at a time: it takes the square of a run of accents, which are put in order."""
_KNOWN_TEXTS = 4096
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
_SPACES = dict.fromkeys([0, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F], " ")
_VOWELS = {0, *range(10, 200)}
"""Combining classes of marks that are letters of a word; other marks (accents that stayed apart, viramas) part it."""
_DROPPED = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x9f\ue000-\uf8ff]")
_CONTRACTIONS = "'(?:s|t|d|m|ll|re|ve)"


class Tokenizer:
    """Counts the tokens of texts for one generation of models."""

    def __init__(self, vocabulary: dict[str, Any]) -> None:
        self._pieces = {
            before + piece + after
            for group, (before, after) in _AFFIXES.items()
            for line in vocabulary[group]
            for piece in line.split()
        }
        self._bytes = {bytes.fromhex(token) for line in vocabulary["bytes"] for token in line.split()}
        self._bytes |= {piece.encode() for piece in self._pieces if len(piece) == 1}
        self._lengths, self._byte_lengths = _lengths(self._pieces), _lengths(self._bytes)
        self._normalizes_quotes: bool = vocabulary["normalizes_quotes"]
        self._shortest_capitals: int = vocabulary["shortest_capitals"] or sys.maxsize
        self._counted: dict[tuple[int, int], int] = {}
        self._cost = lru_cache(maxsize=1 << 16)(self._cost_of)
        self._alone = lru_cache(maxsize=1 << 15)(self._cost_alone)

    def count(self, text: str) -> int:
        """Return how many tokens *text* is, without what a request or an answer adds; at once if it is known."""
        known = (len(text), hash(text))
        tokens = self._counted.get(known)
        if tokens is None:
            runs = Counter(_runs(self._normalized(text)))
            tokens = sum(self._cost(run) * times for run, times in runs.items())
            if len(self._counted) >= _KNOWN_TEXTS:
                del self._counted[next(iter(self._counted))]
            self._counted[known] = tokens
        return tokens

    def _normalized(self, text: str) -> str:
        if not text.isascii():
            pieces = (text[at : at + _NORMALIZED] for at in range(0, len(text), _NORMALIZED))
            text = "".join(unicodedata.normalize("NFC", piece) for piece in pieces).translate(_SPACES)
            if self._normalizes_quotes:
                text = text.translate(_QUOTES)
        return _DROPPED.sub("", text)

    def _cost_of(self, run: str) -> int:
        first = run.strip(_START)[:1]
        if run[0] in " \n\t":
            return -(-len(run) // 16)
        if run[0] in "0123456789":
            return -(-len(run) // 3)
        if _class(ord(first)) == "word":
            run = self._word(run.strip(_MARKS))
        elif len(run) > 1 and run[1].isalpha():
            run += "" if run.endswith(_END) else _END  # a contraction
        return _tiles(run, self._pieces, self._lengths, self._alone)

    def _word(self, word: str) -> str:
        rest = word[1:]
        if len(word) >= self._shortest_capitals and word.isupper():
            return f"{_CAPITALS}{_START}{word.lower()}{_END}"
        if word[0].isupper() and rest == rest.lower():
            return f"{_TITLE}{_START}{word.lower()}{_END}"
        return f"{_START}{word}{_END}"

    def _cost_alone(self, char: str) -> int:
        if char in self._pieces or char in _MARKS:
            return 1
        return _tiles(char.encode("utf-8", "replace"), self._bytes, self._byte_lengths, lambda _: 1)


@cache
def tokenizer(generation: Generation) -> Tokenizer:
    """Return the tokenizer of a generation of models; its vocabulary is read once, when it is first asked for."""
    file = Path(__file__).with_name("vocabulary") / f"{generation}.json"
    return Tokenizer(json.loads(file.read_text(encoding="utf-8")))


def _lengths(pieces: Iterable[Any]) -> dict[Any, set[int]]:
    """The lengths that pieces have, other than one, by how they end."""
    lengths: dict[Any, set[int]] = {}
    for piece in pieces:
        if len(piece) > 1:
            lengths.setdefault(piece[-1], set()).add(len(piece))
    return lengths


def _tiles(run: Any, pieces: Container[Any], lengths: Mapping[Any, set[int]], alone: Callable[[Any], int]) -> int:
    """The smallest number of *pieces* that make up *run*; a character that is none costs what *alone* says."""
    best = [0]
    for end in range(1, len(run) + 1):
        cost = best[end - 1] + alone(run[end - 1])
        for length in lengths.get(run[end - 1], ()):
            start = end - length
            if start >= 0 and best[start] + 1 < cost and run[start:end] in pieces:
                cost = best[start] + 1
        best.append(cost)
    return best[-1]


def _runs(text: str) -> list[str]:
    """Split a text into what is laid out one by one, with the marks of words and punctuation."""
    between, after, before, run = _patterns(0x80 if text.isascii() else 0xE000)
    marked = between.sub(_END + _START, text)
    marked = after.sub(_END + " ", marked)
    marked = before.sub(" " + _START, marked)
    return run.findall(marked)


@cache
def _patterns(end: int) -> Sequence[re.Pattern[str]]:
    """What splits texts whose characters of words and signs are all before *end*."""
    word, sign = _classes(end)
    quote = f"'[{word}]"  # one that opens a word is a piece of its own, and so is the space before it
    most = f"{{1,{_LONGEST_RUN}}}"
    return tuple(
        re.compile(pattern)
        for pattern in (
            f" (?<=[{word}{sign}] )(?=[{word}{sign}])(?!{quote})",
            f" (?<=[{sign}] )(?! )",
            f" (?=[{sign}])(?!{quote})",
            f"(?<=[{word}0-9]){_CONTRACTIONS}(?![{word}]){_END}?|{_START}?[{word}]{most}{_END}?|[0-9]{most}"
            f"|{_START}?[{sign}]{most}{_END}?| {most}|\n{most}|\t{most}|(?s:.)",
        )
    )


def _classes(end: int) -> tuple[str, str]:
    """The characters of words and the signs, as ranges for a pattern; of all others each stands alone."""
    ranges: dict[str, list[str]] = {"word": [], "sign": [], "": []}
    for kind, group in groupby(range(end), _class):
        codes = list(group)
        ranges[kind].append(f"\\u{codes[0]:04x}-\\u{codes[-1]:04x}")
    return "".join(ranges["word"]), "".join(ranges["sign"])


def _class(code: int) -> str:
    """Whether a character belongs to words, to signs, or (CJK, emoji, what is rare) stands alone."""
    char = chr(code)
    category = unicodedata.category(char)
    if category[0] == "L" or (category[0] == "M" and unicodedata.combining(char) in _VOWELS):
        return "" if 0x3400 <= code <= 0x9FFF or 0xAC00 <= code <= 0xD7A3 else "word"
    if (category[0] in "MPS" or category == "Cf") and not 0x3001 <= code <= 0x303F:
        return "sign"
    return ""
