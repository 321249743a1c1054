"""Streams whose events all end with the same bytes: bytes → blocks, each of which is an event or empty.

Contract: the time is linear in the bytes for any chunking; only the bytes of one event are stored, once; the
result, errors included, is the same for any chunking.
Must not know what is in a block.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import ClassVar, Final

from engine.codecs.events import MAX_EVENT_BYTES, Event, FramingError

#: As integers, because searching for these is several times as fast as for single-byte strings.
LF: Final = 10
CR: Final = 13


class BlockDecoder(ABC):
    """Reads blocks up to `END`, which consists of LFs; a subclass converts blocks to events."""

    __slots__ = ("_has_ended", "_max", "_rest", "_split")

    END: ClassVar[bytes]

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._rest = bytearray()
        self._has_ended = False
        # Twice as fast as `bytes.split` if the end is longer than a byte, and no slower otherwise.
        self._split = re.compile(self.END).split

    @abstractmethod
    def _events(self, blocks: list[bytes]) -> list[Event]:
        """The events of blocks, which are given without their ends; a block may have no event."""

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that they complete."""
        if self._has_ended:
            raise FramingError("bytes after the end of the stream")
        # The most common data by far: one event, complete.
        length = len(data) - len(self.END)
        if not self._rest and data.find(self.END) == length >= 0 and len(data) <= self._max:
            return self._events([data[:length]])
        # Only if all the bytes together are beyond the limit can an event be.
        is_large = len(self._rest) + len(data) > self._max
        blocks = self._blocks(data)
        fitting = self._fitting(blocks) if is_large else blocks
        events = self._events(fitting)
        if is_large and (len(fitting) < len(blocks) or len(self._rest) > self._max):
            self._end()
            raise FramingError(f"an event larger than {self._max} bytes", events)
        return events

    def _blocks(self, data: bytes) -> list[bytes]:
        """The blocks that the data completes; only the data is searched, as the stored bytes have no end."""
        rest = self._rest
        if rest.endswith(b"\n"):
            # This may be the first half of an end.
            rest.pop()
            data = b"\n" + data
        *blocks, tail = self._split(data)
        if blocks and rest:
            rest += blocks[0]
            blocks[0] = bytes(rest)
            rest.clear()
        rest += tail
        return blocks

    def _fitting(self, blocks: list[bytes]) -> list[bytes]:
        """The blocks before the first that is beyond the limit."""
        largest = self._max - len(self.END)
        large = (index for index, block in enumerate(blocks) if len(block) > largest)
        return blocks[: next(large, len(blocks))]

    def _end(self) -> None:
        self._rest.clear()
        self._has_ended = True

    def close(self) -> list[Event]:
        """Return the last event if its end is missing; nothing after an error or another `close`."""
        events = self._events([bytes(self._rest)])
        self._end()
        return events
