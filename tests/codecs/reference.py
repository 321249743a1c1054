"""The HTML standard's algorithm for event streams, written literally: for complete streams, and slow.

Tests compare `engine.codecs.sse` with it. It has the same documented deviations: data stays bytes, an `id` is
that of its own event alone, `retry` does nothing, and the end of the stream ends the last event.
"""

from __future__ import annotations

from engine.codecs import Event


def events_of(stream: bytes) -> list[Event]:
    """The events of a complete stream."""
    events: list[Event] = []
    data = name = identifier = b""
    for line in [*lines_of(stream.removeprefix(b"\xef\xbb\xbf")), b""]:
        if not line:
            if data:
                names = (value.decode("utf-8", "replace") or None for value in (name, identifier))
                events.append(Event(data.removesuffix(b"\n"), *names))
            data = name = identifier = b""
            continue
        field, value = line, b""
        if b":" in line:
            colon = line.index(b":")
            field, value = line[:colon], line[colon + 1 :]
            if value[:1] == b" ":
                value = value[1:]
        if field == b"event":
            name = value
        elif field == b"id" and b"\0" not in value:
            identifier = value
        elif field == b"data":
            data += value + b"\n"
    return events


def lines_of(stream: bytes) -> list[bytes]:
    """The lines of a stream, read byte by byte; text after the last line end is a line too."""
    lines = [bytearray()]
    for before, byte in zip(b"\0" + stream, stream, strict=False):
        if byte == ord("\n") and before == ord("\r"):
            continue
        if byte in b"\r\n":
            lines.append(bytearray())
        else:
            lines[-1].append(byte)
    return [bytes(line) for line in lines]
