"""Framings of event streams: bytes → events and back, one file a framing, one row a framing in `FRAMINGS`.

Contract: a decoder takes bytes as they come, split anywhere, and gives the events that are complete; only
`FramingError` escapes, and what one event may take is bounded. A decoder reads one stream: after `close` or a
failure it takes no more. Data stays bytes: what is in it is not known here.
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
    """How one framing is read, written and named. `has_comments`: bytes can be written that are no event."""

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

#: The framings by the media types that name them.
MEDIA_TYPES: Final[Mapping[str, str]] = {
    **{framing.media_type: name for name, framing in FRAMINGS.items()},
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json-lines": "ndjson",
}
