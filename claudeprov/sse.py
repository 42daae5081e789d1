"""Server-sent events out of the bytes of network reads, wherever the network cut them."""

from __future__ import annotations

from claudeprov.errors import StreamInterruptedError

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""An event longer than this is no answer of the Messages API, whose requests and answers end at 32 MB."""

_BOM = b"\xef\xbb\xbf"


class EventReader:
    """Splits a byte stream into events: their lines, ended by ``\\n``, for :func:`data_of` and :func:`name_of`.

    The API sends an ``event:`` line, one ``data:`` line and an empty line, ended by ``\\n``; that form is split
    without looking at single lines. Everything else that the standard allows is read line by line: ``\\r`` and
    ``\\r\\n``, comments, several data lines, fields without a space, a byte order mark. Source of the rules: WHATWG
    HTML, "Server-sent events", with one exception that the official SDK makes too: an event that the end of the body
    leaves without its empty line counts.
    """

    __slots__ = ("_carriage_return", "_head", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._head: bytes | None = b""
        self._carriage_return = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that *data* completes.

        Raises:
            StreamInterruptedError: An event is longer than :data:`MAX_EVENT_BYTES`.
        """
        if self._head is not None:
            data = self._without_bom(self._head + data)
        if data and (self._carriage_return or b"\r" in data):
            data = self._plain_newlines(data)
        if not data:
            return []
        parts = self._parts
        if parts:
            if b"\n\n" not in data and not (parts[-1].endswith(b"\n") and data.startswith(b"\n")):
                self._keep(data)
                return []
            data = b"".join((*parts, data))
            parts.clear()
            self._size = 0
        blocks = data.split(b"\n\n")
        if rest := blocks.pop():
            self._keep(rest)
        return blocks

    def finish(self) -> list[bytes]:
        """The event that the end of the body leaves without its empty line, if any."""
        block = b"".join(self._parts)
        self._parts.clear()
        return [block]

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_EVENT_BYTES:
            raise StreamInterruptedError(
                f"an event of the stream is longer than {MAX_EVENT_BYTES} bytes", code="event_too_large"
            )

    def _without_bom(self, data: bytes) -> bytes:
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._head = data
            return b""
        self._head = None
        return data.removeprefix(_BOM)

    def _plain_newlines(self, data: bytes) -> bytes:
        # A \r that ends a read may be half of a \r\n: its newline is given at once, a following \n is dropped.
        if self._carriage_return:
            data = data.removeprefix(b"\n")
        self._carriage_return = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def data_of(event: bytes) -> bytes:
    """The data of an event, the bytes of a JSON text; empty if it has none, as comments have."""
    at = event.find(b"\ndata: ") + 7
    if at > 6 and event.startswith(b"event: ") and event.find(b"\n", at) < 0:
        return event[at:]
    return b"\n".join(_values(event, b"data"))


def name_of(event: bytes) -> str:
    """The name of an event; empty if it has none."""
    names = _values(event, b"event")
    return names[-1].decode("utf-8", "replace") if names else ""


def _values(event: bytes, field: bytes) -> list[bytes]:
    parts = [line.partition(b":") for line in event.split(b"\n")]
    return [value.removeprefix(b" ") for name, _, value in parts if name == field]
