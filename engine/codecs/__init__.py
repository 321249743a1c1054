"""Framings of event streams: bytes → events and back. Each framing has a module and a row in `FRAMINGS`.

Contract: a decoder takes bytes as they are received, split anywhere, and returns the complete events. It
raises only `FramingError`, and the size of one event is bounded. A decoder reads one stream: after `close` or
an error it takes no more bytes. Data remains bytes, and its content is not interpreted.
Must not know mappings, rules or the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from engine.codecs import ndjson, sse
from engine.codecs.events import MAX_EVENT_BYTES, Decoder, Encoder, Event, FramingError, NewDecoder

__all__ = [
    "FRAMINGS",
    "MAX_EVENT_BYTES",
    "MEDIA_TYPES",
    "Decoder",
    "Encoder",
    "Event",
    "Framing",
    "FramingError",
    "NewDecoder",
]


class Framing:
    """The decoder, encoder and media type of a framing; `has_comments` if it has bytes that are no event."""

    __slots__ = ("decoder", "encoder", "has_comments", "media_type")

    def __init__(self, media_type: str, decoder: NewDecoder, encoder: Callable[[], Encoder]) -> None:
        self.media_type = media_type
        self.decoder = decoder
        self.encoder = encoder
        self.has_comments = bool(encoder().comment())


FRAMINGS: Final[Mapping[str, Framing]] = {
    "sse": Framing("text/event-stream", sse.SseDecoder, sse.SseEncoder),
    "ndjson": Framing("application/x-ndjson", ndjson.NdjsonDecoder, ndjson.NdjsonEncoder),
}

#: The names of the framings by media type.
MEDIA_TYPES: Final[Mapping[str, str]] = {
    **{framing.media_type: name for name, framing in FRAMINGS.items()},
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json-lines": "ndjson",
}
