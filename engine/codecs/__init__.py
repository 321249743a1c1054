"""Framings of event streams: bytes → events and back. Each framing has a module and a row in `FRAMINGS`.

Contract: a decoder takes bytes as they are received, split anywhere, and returns the complete events. It
raises only `FramingError`, and the size of one event is bounded. A decoder reads one stream: after `close` or
an error it takes no more bytes. Data remains bytes, and its content is not interpreted.
Must not know mappings, rules or the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from engine.codecs import aws_events, ndjson, sse
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
    """A framing: its decoder and encoder, and how HTTP messages name and carry it.

    Attributes:
        media_type: the media type of responses to clients.
        aliases: other media types by which upstreams name the framing.
        prefixes: the beginnings of a stream, by which it is recognized without a media type.
        headers: default header fields of responses to clients, names in lower case.
        has_comments: whether it has bytes that are no event.
    """

    __slots__ = ("aliases", "decoder", "encoder", "has_comments", "headers", "media_type", "prefixes")

    def __init__(
        self,
        media_type: str,
        decoder: NewDecoder,
        encoder: Callable[[], Encoder],
        *,
        aliases: tuple[str, ...] = (),
        prefixes: tuple[bytes, ...] = (),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.media_type = media_type
        self.decoder = decoder
        self.encoder = encoder
        self.aliases = aliases
        self.prefixes = prefixes
        self.headers = headers
        self.has_comments = bool(encoder().comment())


#: Each framing by its name in mappings.
FRAMINGS: Final[Mapping[str, Framing]] = {
    "sse": Framing(
        "text/event-stream",
        sse.SseDecoder,
        sse.SseEncoder,
        prefixes=(b"data:", b"event:", b":", b"id:"),
        # Caches and proxies would otherwise buffer events.
        headers={"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"},
    ),
    "ndjson": Framing(
        "application/x-ndjson",
        ndjson.NdjsonDecoder,
        ndjson.NdjsonEncoder,
        aliases=("application/ndjson", "application/jsonl", "application/json-lines"),
        prefixes=(b"{", b"["),
    ),
    "aws_events": Framing(
        "application/vnd.amazon.eventstream",
        aws_events.AwsEventsDecoder,
        aws_events.AwsEventsEncoder,
    ),
}

#: The names of the framings by media type.
MEDIA_TYPES: Final[Mapping[str, str]] = {
    media_type: name
    for name, framing in FRAMINGS.items()
    for media_type in (framing.media_type, *framing.aliases)
}
