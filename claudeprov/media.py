"""How many tokens images and documents are, from what stands in their first bytes."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

PATCH = 28
"""Pixels a side of what is one token of an image."""
STANDARD, HIGH_RESOLUTION = (1568, 1568), (2576, 4784)
"""The longest side in pixels, and the most tokens, to which a larger image is scaled down."""

_MOST_PACKED, _MOST_UNPACKED = 4096, 1 << 24
"""Of a PDF, the packed parts that are looked into, and the bytes that they may come to together."""
_LONGEST_DICTIONARY = 1024
"""Bytes in which a part of a PDF tells what it is, before it begins."""


class Size(NamedTuple):
    """Tokens: the likely number, and between which two it is."""

    tokens: int
    low: int
    high: int


def image_size(source: Mapping[str, Any], *, high_resolution: bool) -> Size:
    """Size an image block's *source*: patches of 28 x 28 pixels, once it is scaled down to what the model takes.

    Of an image that cannot be looked at (a URL, a file, an unknown format) only the most is known.
    """
    _, most = limits = HIGH_RESOLUTION if high_resolution else STANDARD
    pixels = image_pixels(_bytes(source, 1 << 18))
    if pixels is None:
        return Size(1000, 1, most)
    tokens = _patches(*pixels, *limits)
    return Size(tokens, tokens, tokens)


def document_size(source: Mapping[str, Any]) -> Size | None:
    """Size a PDF: each page is an image and the text that stands on it; ``None`` where its pages cannot be counted.

    A page was 1,568 tokens and its text in all recordings, on both generations; the text is not looked at, so that up
    to 3,000 tokens of it are allowed for, of which 500 are likely.
    """
    pages = pdf_pages(_bytes(source))
    return Size(pages * 2100, pages * 1500, pages * 4600) if pages else None


def image_pixels(data: bytes) -> tuple[int, int] | None:
    """Read the width and height of a PNG, JPEG, GIF or WebP from its beginning."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        found = data[16:20], data[20:24]
    elif data[:4] == b"GIF8":
        found = data[7:5:-1], data[9:7:-1]
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    elif data[:2] == b"\xff\xd8":
        return _jpeg(data)
    else:
        return None
    width, height = (int.from_bytes(side) for side in found)
    return (width, height) if width and height else None


def pdf_pages(data: bytes) -> int:
    """Count the pages of a PDF, also where its objects are packed.

    0 if it is none, or its pages are not known: they cannot be unpacked, or would take too long.
    """
    if not data.lstrip().startswith(b"%PDF"):
        return 0
    return _pages(data) or _packed_pages(data)


def _packed_pages(data: bytes) -> int:
    pages, left = 0, _MOST_UNPACKED
    _, *packed = data.split(b"/ObjStm", _MOST_PACKED)
    for part in packed:
        start = re.search(rb"stream\r?\n", part[:_LONGEST_DICTIONARY])
        if start is None:
            continue
        try:
            unpacked = zlib.decompressobj().decompress(part[start.end() :], left)
        except zlib.error:
            return 0
        pages += _pages(unpacked)
        left -= len(unpacked)
        if left <= 0:
            return 0
    return pages if len(packed) < _MOST_PACKED else 0


def _pages(data: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page(?![a-zA-Z])", data))


def _patches(width: int, height: int, side: int, most: int) -> int:
    """Patches of an image, scaled down until neither its longest side nor its tokens are over the limits."""
    scale = min(1.0, side / max(width, height))
    while True:
        tokens = -(-max(1, int(width * scale)) // PATCH) * -(-max(1, int(height * scale)) // PATCH)
        if tokens <= most:
            return tokens
        scale *= 0.99


def _bytes(source: Mapping[str, Any], most: int | None = None) -> bytes:
    data = source.get("data")
    if source.get("type") != "base64" or not isinstance(data, str):
        return b""
    try:
        return base64.b64decode(data[:most] if most else data)
    except (binascii.Error, ValueError):
        return b""


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind, bits = data[12:16], int.from_bytes(data[20:30], "little")
    if kind == b"VP8X":
        return (bits >> 32 & 0xFFFFFF) + 1, (bits >> 56 & 0xFFFFFF) + 1
    if kind == b"VP8L":
        return (bits >> 8 & 0x3FFF) + 1, (bits >> 22 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return bits >> 48 & 0x3FFF, bits >> 64 & 0x3FFF
    return None
