"""Server-sent events by the HTML standard (section 9.2.6, "Interpreting an event stream").

Lines end only at CR LF, LF or CR; a byte order mark at the start is skipped; comments and unknown fields are
ignored, also `retry`, because connections are never resumed. An event without data is ignored; an empty name
means no name. An `id` is that of its own event alone, and one with NUL is ignored. Unlike a browser, this
decoder returns the last event even if the blank line after it is missing, because some servers omit it. Data
is not decoded but passed on as the received bytes.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from engine.codecs.blocks import CR, LF, BlockDecoder
from engine.codecs.events import MAX_EVENT_BYTES, Event, new_event

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class SseDecoder(BlockDecoder):
    """Reads events."""

    __slots__ = ("_ends_with_cr", "_is_first")

    END: ClassVar[bytes] = b"\n\n"

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes)
        self._ends_with_cr = False
        self._is_first = True

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that they complete."""
        if self._ends_with_cr or CR in data:
            data = self._with_lf(data)
        return BlockDecoder.feed(self, data)  # half the cost of `super()`

    def _with_lf(self, data: bytes) -> bytes:
        """The data with LF as its only line end. A CR ends its line at once; an LF after it is ignored."""
        if self._ends_with_cr and data:
            data = data.removeprefix(b"\n")
            self._ends_with_cr = False
        if data:
            self._ends_with_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _events(self, blocks: list[bytes]) -> list[Event]:
        if self._is_first and blocks:
            blocks[0] = blocks[0].removeprefix(_BOM)
            self._is_first = False
        return [event for block in blocks if (event := _read(block)) is not None]


def _read(block: bytes) -> Event | None:
    """The event of a block of lines, or None."""
    # The most common form by far: one line of data.
    if block.startswith(b"data: ") and LF not in block:
        return new_event(Event, (block[6:], None, None))
    data: list[bytes] = []
    name = identifier = b""
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
        elif field == b"id" and b"\0" not in value:
            identifier = value.removeprefix(b" ")
    return Event(b"\n".join(data), _text(name), _text(identifier)) if data else None


def _text(value: bytes) -> str | None:
    return value.decode("utf-8", "replace") or None


class SseEncoder:
    """Writes events."""

    __slots__ = ()

    def encode(self, data: bytes, name: str | None = None, identifier: str | None = None) -> bytes:
        """One event. Compact JSON has no line end; other data becomes one field per line."""
        if LF in data or CR in data:
            data = _LINE_END.sub(b"\ndata: ", data)
        event = b"data: " + data + b"\n\n"
        if identifier is not None:
            event = b"id: " + _one_line(identifier.replace("\0", " ")) + b"\n" + event
        return event if name is None else b"event: " + _one_line(name) + b"\n" + event

    def comment(self) -> bytes:
        """A comment line, which clients skip."""
        return b":\n\n"


def _one_line(name: str) -> bytes:
    return _LINE_END.sub(b" ", name.encode("utf-8", "replace"))
