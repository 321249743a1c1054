"""NDJSON: one JSON text per line.

Lines end at LF, white space around the text is removed (also a CR before the LF), blank lines are skipped,
and the end of the last line is optional. Written lines contain no character that a reader could mistake for a
line end: some also split on U+0085, U+2028 and U+2029.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from engine.codecs.blocks import CR, LF, BlockDecoder
from engine.codecs.events import Event, new_event

#: The white space of JSON, which has no other control characters.
_WHITE_SPACE: Final = b" \t\r\n"
_UNICODE_LINE_ENDS: Final = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
_ESCAPES: Final = {b"\xc2\x85": rb"\u0085", b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}
#: Between the tokens of a JSON text a line end is equivalent to a space.
_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")


class NdjsonDecoder(BlockDecoder):
    """Reads lines."""

    __slots__ = ()

    END: ClassVar[bytes] = b"\n"

    def _events(self, blocks: list[bytes]) -> list[Event]:
        return [
            new_event(Event, (text, None, None)) for block in blocks if (text := block.strip(_WHITE_SPACE))
        ]


class NdjsonEncoder:
    """Writes lines."""

    __slots__ = ()

    def encode(self, data: bytes, name: str | None = None, identifier: str | None = None) -> bytes:
        """One line; `name` and `identifier` are ignored, as this framing has none."""
        if not data.isascii():
            data = _UNICODE_LINE_ENDS.sub(lambda match: _ESCAPES[match.group()], data)
        if LF in data or CR in data:
            data = data.translate(_SPACES)
        return data + b"\n"

    def comment(self) -> bytes:
        """Empty, as this framing has no comments."""
        return b""
