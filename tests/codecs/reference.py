"""The HTML standard's algorithm for event streams, written literally: for complete streams, and slow.

Tests compare `engine.codecs.sse` with it. It has the same documented deviations: data stays bytes, `id` and
`retry` do nothing, and the end of the stream ends the last event.
"""

from __future__ import annotations

from engine.codecs import Event


def events_of(stream: bytes) -> list[Event]:
    """The events of a complete stream."""
    events: list[Event] = []
    data, name = b"", b""
    for line in [*lines_of(stream.removeprefix(b"\xef\xbb\xbf")), b""]:
        if not line:
            if data:
                events.append(Event(data.removesuffix(b"\n"), name.decode("utf-8", "replace") or None))
            data, name = b"", b""
            continue
        field, value = line, b""
        if b":" in line:
            colon = line.index(b":")
            field, value = line[:colon], line[colon + 1 :]
            if value[:1] == b" ":
                value = value[1:]
        if field == b"event":
            name = value
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
