"""The event, its size limit, and the protocols of decoders and encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

#: The maximum size of one event in bytes, including its line ends, field names and comments.
MAX_EVENT_BYTES: Final = 4 * 1024 * 1024


class Event(NamedTuple):
    """One event: its data, and its name and id if the framing has them."""

    data: bytes
    name: str | None = None
    id: str | None = None


#: Creates an event from its class and a tuple of all fields, in half the time of a call of the class.
new_event: Final = tuple.__new__


class FramingError(Exception):
    """An event beyond the size limit, bytes that are no event, or bytes after the end of a stream.

    The text contains no payload.

    Attributes:
        events: the events that the same bytes completed before the error; they are valid, so that no chunking
            loses an event.
    """

    def __init__(self, text: str, events: Sequence[Event] = ()) -> None:
        super().__init__(text)
        self.events = tuple(events)


class Decoder(Protocol):
    """Bytes → events of one stream. It ends with `close` or an error."""

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that they complete.

        Raises:
            FramingError: an event exceeds the size limit, or the decoder has ended.
        """
        ...

    def close(self) -> list[Event]:
        """End the stream; return the event that only its end completes, if there is one.

        Raises:
            FramingError: the last event is incomplete, and its framing has lengths.
        """
        ...


class NewDecoder(Protocol):
    """A factory of decoders."""

    def __call__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> Decoder:
        """Create a decoder with this size limit of one event."""
        ...


class Encoder(Protocol):
    """Events → bytes."""

    def encode(self, data: bytes, name: str | None = None, identifier: str | None = None) -> bytes:
        """The bytes of one event whose data is compact JSON or an end marker such as `[DONE]`."""
        ...

    def comment(self) -> bytes:
        """Bytes that keep a connection alive and that clients skip; empty if the framing has none."""
        ...
