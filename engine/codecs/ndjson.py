"""NDJSON: one JSON text a line.

Lines end at LF, white space around the text is dropped (a CR before the LF too), blank lines are skipped,
and the last line may lack its end. Written lines hold no character that any reader could take for a line end:
some split on U+0085, U+2028 and U+2029 too.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from engine.codecs.blocks import CR, LF, BlockDecoder
from engine.codecs.events import Event, new_event

#: JSON's, and no more: a control character is no white space.
_WHITE_SPACE: Final = b" \t\r\n"
_UNICODE_LINE_ENDS: Final = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
_ESCAPES: Final = {b"\xc2\x85": rb"\u0085", b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}
#: Between the tokens of a JSON text a line end means no more than a space.
_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")


class NdjsonDecoder(BlockDecoder):
    """Reads lines."""

    __slots__ = ()

    END: ClassVar[bytes] = b"\n"

    def _events(self, blocks: list[bytes]) -> list[Event]:
        return [new_event(Event, (text, None)) for block in blocks if (text := block.strip(_WHITE_SPACE))]


class NdjsonEncoder:
    """Writes lines."""

    __slots__ = ()

    def encode(self, data: bytes, name: str | None = None) -> bytes:
        """One line; this framing has no names."""
        if not data.isascii():
            data = _UNICODE_LINE_ENDS.sub(lambda match: _ESCAPES[match.group()], data)
        if LF in data or CR in data:
            data = data.translate(_SPACES)
        return data + b"\n"

    def comment(self) -> bytes:
        """There are no comments."""
        return b""
