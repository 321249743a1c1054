"""What all framings share: an event, the bound on one, and the shape of decoders and encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

#: The most bytes one event may take, its line ends, field names and comments included.
MAX_EVENT_BYTES: Final = 4 * 1024 * 1024


class Event(NamedTuple):
    """One event: its data, and its name where the framing has names."""

    data: bytes
    name: str | None = None


#: Makes an event of its class and both fields, in half the time of the class's own call.
new_event: Final = tuple.__new__


class FramingError(Exception):
    """An event beyond the bound, or bytes after the end of a stream. The text holds no payload.

    Attributes:
        events: what the same bytes completed before it; they count, so that no chunking loses an event.
    """

    def __init__(self, text: str, events: Sequence[Event] = ()) -> None:
        super().__init__(text)
        self.events = tuple(events)


class Decoder(Protocol):
    """Bytes → events, of one stream. It ends with `close` or with a failure."""

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; the events that they complete.

        Raises:
            FramingError: an event grows beyond the bound, or the decoder has ended.
        """
        ...

    def close(self) -> list[Event]:
        """The stream has ended; the event that only its end completes, if there is one."""
        ...


class NewDecoder(Protocol):
    """What opens a decoder for a stream."""

    def __call__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> Decoder:
        """A decoder with this bound on one event."""
        ...


class Encoder(Protocol):
    """Events → bytes."""

    def encode(self, data: bytes, name: str | None = None) -> bytes:
        """One event whose data is compact JSON, or a closing word such as `[DONE]`."""
        ...

    def comment(self) -> bytes:
        """Bytes that keep a connection alive and that clients skip; empty where the framing has none."""
        ...
