"""Requests and responses as plain types.

Contract: bytes, text and JSON values only. A `Content` is parsed or written at most once, so that a body
crosses from one mapping to another in the process without being parsed again.
Must not know mappings, sockets or any HTTP library.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from engine.http.fields import first_value
from engine.values import dumps, loads

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
FORM: Final = "application/x-www-form-urlencoded"

#: Bytes of a body that is translated, unless a mapping says otherwise.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024

Headers = tuple[tuple[str, str], ...]

_UNKNOWN: Final = object()
#: More than any body has.
UNMEASURED: Final = 1 << 62


class Content:
    """A body, as bytes or as a JSON value; each is made from the other when first asked for."""

    __slots__ = ("_data", "_most", "_value", "media_type")

    def __init__(
        self, data: bytes | None, media_type: str, value: Any = _UNKNOWN, most: int = UNMEASURED
    ) -> None:
        self._data = data
        self._value = value
        self._most = most
        self.media_type = media_type

    @classmethod
    def json(cls, value: Any, most: int = UNMEASURED) -> Content:
        """A value that takes at most so many bytes."""
        return cls(None, JSON, value, most)

    @property
    def most(self) -> int:
        """How many bytes it has at most."""
        return self._most if self._data is None else len(self._data)

    @property
    def has_data(self) -> bool:
        """Whether the bytes are there."""
        return self._data is not None

    @property
    def data(self) -> bytes:
        """The bytes; raises `JsonError` where the value cannot be written."""
        if self._data is None:
            self._data = dumps(self._value)
        return self._data

    @property
    def value(self) -> Any:
        """The JSON value; raises `JsonError` where the bytes are no JSON."""
        if self._value is _UNKNOWN:
            assert self._data is not None
            self._value = loads(self._data)
        return self._value

    @property
    def is_empty(self) -> bool:
        return self._value is _UNKNOWN and not self._data

    @property
    def is_written(self) -> bool:
        """Whether the bytes are there."""
        return self._data is not None


EMPTY: Final = Content(b"", "")


class Inbound:
    """A client's request.

    Attributes:
        method: upper case.
        path: the raw path as it came, percent-encoding kept, without the query.
        query: the raw query string, without '?'; a character for each byte.
        headers: names in lower case.
        content: the body; `EMPTY` until it has been read.
        request_id: of this request, in logs and towards upstreams.
        key: the name of the client's key, once that is known to be valid.
        address: of the client; empty for a call that another mapping makes.
        is_inside: it is a call that another mapping makes, whose client has been let in.
        is_proxied: it came by a trusted proxy, whose word on the client is taken.
        trace: the trace context of its span (W3C's `traceparent`), None where it has no span.
    """

    __slots__ = (
        "address",
        "content",
        "headers",
        "is_inside",
        "is_proxied",
        "key",
        "method",
        "path",
        "query",
        "request_id",
        "trace",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Headers = (),
        content: Content = EMPTY,
        request_id: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.content = content
        self.request_id = request_id
        self.key: str | None = None
        self.is_inside = False
        self.address = ""
        self.is_proxied = False
        self.trace: str | None = None

    def header(self, name: str) -> str | None:
        """The first value of a header; `name` in lower case."""
        return first_value(self.headers, name)


class BodySource(Protocol):
    """The body of a call that is sent as it comes, from the client."""

    @property
    def length(self) -> int | None:
        """Its number of bytes, or None if that is not known."""

    async def next(self) -> bytes | None:
        """The next bytes; None at the end."""
        ...


class BufferedBody:
    """A `BodySource` whose bytes are here already."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def length(self) -> int:
        return len(self.data)

    async def next(self) -> bytes | None:
        """All of them at once, then None."""
        data, self.data = self.data, b""
        return data or None


class Client(NamedTuple):
    """For whom a mapping calls another one in this process.

    Attributes:
        key: the name of the client's key, None where it has none.
        chose_path: a `{name:path}` parameter of the client's path is a part of the call's.
    """

    key: str | None
    chose_path: bool


class UpstreamRequest:
    """A call as it goes out.

    Attributes:
        target: path and query as they stand on the request line.
        headers: names in lower case.
        content: the body, unless there is a `body`.
        body: a `BodySource` that is read piece by piece, or None.
        timeout: seconds for the whole answer; for its head alone where it is read as it comes.
        raw: the answer's bytes are wanted as they come, with their content coding.
        max_bytes: of a response that is read as a whole.
        has_credentials: it carries credentials of ours.
        client: for whom it is, where another mapping is called.
    """

    __slots__ = (
        "body",
        "client",
        "content",
        "has_credentials",
        "headers",
        "max_bytes",
        "method",
        "raw",
        "target",
        "timeout",
        "upstream",
    )

    def __init__(
        self,
        upstream: str,
        method: str,
        target: str,
        headers: Headers,
        content: Content,
        timeout: float | None = None,
        body: Any = None,
        raw: bool = False,
        max_bytes: int = MAX_BODY_BYTES,
        has_credentials: bool = True,
        client: Client | None = None,
    ) -> None:
        self.client = client
        self.upstream = upstream
        self.has_credentials = has_credentials
        self.method = method
        self.target = target
        self.headers = headers
        self.content = content
        self.timeout = timeout
        self.body = body
        self.raw = raw
        self.max_bytes = max_bytes


class UpstreamResponse:
    """An upstream's answer. Header names are in lower case.

    `source` is where the adapter reads the body from as it comes, for who gives batches of it; without one
    `content` is the whole body. `is_about_us`: its request carried credentials of ours, so that a 401 or 403
    speaks of these. `secrets` are texts that nobody is shown of the body of a failure.
    """

    __slots__ = ("content", "headers", "is_about_us", "secrets", "source", "status")

    def __init__(self, status: int, headers: Headers, content: Content, source: Any = None) -> None:
        self.is_about_us = True
        self.secrets: tuple[bytes, ...] = ()
        self.status = status
        self.headers = headers
        self.content = content
        self.source = source

    @property
    def is_complete(self) -> bool:
        """Whether all of the answer is here."""
        return self.source is None

    def header(self, name: str) -> str | None:
        """The first value of a header; `name` in lower case."""
        return first_value(self.headers, name)


class Response:
    """The answer to a client. Framing headers and content-type come from `content`.

    `stream` is the `EventStream` of an answer that has not ended yet, `source` where the bytes of one that
    goes through come from; its `content` is then empty.
    """

    __slots__ = ("content", "headers", "source", "status", "stream")

    def __init__(
        self, status: int, headers: Headers, content: Content, stream: Any = None, source: Any = None
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.stream = stream
        self.source = source

    @property
    def is_complete(self) -> bool:
        """Whether all of the answer is here."""
        return self.stream is None and self.source is None
