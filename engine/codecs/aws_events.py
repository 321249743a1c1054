"""Amazon's event stream, `application/vnd.amazon.eventstream`: binary messages, one after the other.

A message is its length, the length of its headers and the CRC-32 of both, then the headers, the payload, and
the CRC-32 of all before it; numbers are big-endian. The data of an event is its payload, and its name that of
the event or of the exception. An error that the service's model does not have carries its text in a header,
so its data is `{"message": …}`, and its name is the error's code. Other messages and headers are ignored.

Source: Smithy, "Amazon Event Stream Specification".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final
from zlib import crc32

from engine.codecs.events import MAX_EVENT_BYTES, Event, FramingError
from engine.values import dumps

_PRELUDE: Final = struct.Struct(">III")
_LENGTHS: Final = struct.Struct(">II")
_UINT16: Final = struct.Struct(">H")
_UINT32: Final = struct.Struct(">I")
#: The bytes of a message without headers and payload.
_SMALLEST: Final = 16
_CRC_BYTES: Final = 4
_BYTES, _STRING = 6, 7
#: The bytes of a header's value by its type, for those of a fixed size: booleans, integers, timestamp, UUID.
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
#: The header with the name of an event, by the type of its message.
_NAMES: Final = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}


class AwsEventsDecoder:
    """Reads messages."""

    __slots__ = ("_has_ended", "_max", "_rest")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._rest = bytearray()
        self._has_ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that they complete."""
        if self._has_ended:
            raise FramingError("bytes after the end of the stream")
        self._rest += data
        events: list[Event] = []
        try:
            for message in self._messages():
                event = _read(message)
                if event is not None:
                    events.append(event)
        except FramingError as error:
            self._end()
            raise FramingError(str(error), events) from None
        return events

    def _messages(self) -> Iterator[bytes]:
        """The complete messages, which are removed from the stored bytes."""
        start, rest = 0, self._rest
        while len(rest) - start >= _PRELUDE.size:
            size = self._size(start)
            if len(rest) - start < size:
                break
            message = bytes(rest[start : start + size])
            start += size
            if crc32(message[:-_CRC_BYTES]) != _UINT32.unpack_from(message, size - _CRC_BYTES)[0]:
                raise FramingError("a message whose checksum is wrong")
            yield message
        del rest[:start]

    def _size(self, start: int) -> int:
        """The size of the message that starts there, of which only the prelude may have arrived."""
        size, headers, checksum = _PRELUDE.unpack_from(self._rest, start)
        if crc32(self._rest[start : start + _LENGTHS.size]) != checksum:
            raise FramingError("a message whose length has a wrong checksum")
        if size < _SMALLEST or headers > size - _SMALLEST:
            raise FramingError("a message of an impossible length")
        if size > self._max:
            raise FramingError(f"an event larger than {self._max} bytes")
        return int(size)

    def _end(self) -> None:
        self._rest.clear()
        self._has_ended = True

    def close(self) -> list[Event]:
        """End the stream.

        Raises:
            FramingError: the last message is incomplete.
        """
        is_truncated = bool(self._rest)
        self._end()
        if is_truncated:
            raise FramingError("a truncated message")
        return []


def _read(message: bytes) -> Event | None:
    """The event of a message, or None."""
    _, size, _ = _PRELUDE.unpack_from(message)
    start = _PRELUDE.size + size
    headers = dict(_headers(message[_PRELUDE.size : start]))
    kind = headers.get(":message-type", "")
    name = headers.get(_NAMES.get(kind, ""))
    if name is None:
        return None
    if kind == "error":
        return Event(dumps({"message": headers.get(":error-message", "")}), name)
    return Event(message[start:-_CRC_BYTES], name)


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    """The headers whose values are text."""
    position = 0
    while position < len(data):
        name, position = _take(data, position + 1, data[position])
        kind, position = _take(data, position, 1)
        size = _SIZES.get(kind[0])
        if size is None:
            if kind[0] not in (_BYTES, _STRING):
                raise FramingError("a message with a header of an unknown type")
            length, position = _take(data, position, _UINT16.size)
            (size,) = _UINT16.unpack(length)
        value, position = _take(data, position, size)
        if kind[0] == _STRING:
            yield name.decode("utf-8", "replace"), value.decode("utf-8", "replace")


def _take(data: bytes, start: int, size: int) -> tuple[bytes, int]:
    """These bytes, and the position after them."""
    end = start + size
    if end > len(data):
        raise FramingError("a message whose headers are truncated")
    return data[start:end], end


class AwsEventsEncoder:
    """Writes messages."""

    __slots__ = ()

    def encode(self, data: bytes, name: str | None = None, identifier: str | None = None) -> bytes:
        """The message of one event; `identifier` is ignored, as this framing has none."""
        fields = {":message-type": "event", ":event-type": name or "", ":content-type": "application/json"}
        headers = b"".join(map(_header, fields.items()))
        lengths = _LENGTHS.pack(_SMALLEST + len(headers) + len(data), len(headers))
        message = b"".join([lengths, _UINT32.pack(crc32(lengths)), headers, data])
        return message + _UINT32.pack(crc32(message))

    def comment(self) -> bytes:
        """Empty, as this framing has no comments."""
        return b""


def _header(field: tuple[str, str]) -> bytes:
    name, value = (part.encode("utf-8", "replace") for part in field)
    value = value[:0xFFFF]
    return b"".join([bytes([len(name)]), name, bytes([_STRING]), _UINT16.pack(len(value)), value])
