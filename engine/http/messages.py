"""Requests and responses as plain types.

Contract: bytes, text and JSON values only. A `Content` is parsed or encoded at most once, so that a body
passes from one mapping to another in the process without being parsed again.
Must not know mappings, sockets or any HTTP library.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from engine.http.fields import first_value
from engine.values import dumps, loads

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
FORM: Final = "application/x-www-form-urlencoded"

#: Default limit for a body that is translated, in bytes.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024

Headers = tuple[tuple[str, str], ...]

_UNKNOWN: Final = object()
#: The maximum size of a body whose size is not known, in bytes: larger than any body.
UNKNOWN_SIZE: Final = 1 << 62


class Content:
    """A body, as bytes or as a JSON value; each is computed from the other on first access."""

    __slots__ = ("_data", "_max_size", "_value", "media_type")

    def __init__(
        self, data: bytes | None, media_type: str, value: Any = _UNKNOWN, max_size: int = UNKNOWN_SIZE
    ) -> None:
        self._data = data
        self._value = value
        self._max_size = max_size
        self.media_type = media_type

    @classmethod
    def json(cls, value: Any, max_size: int = UNKNOWN_SIZE) -> Content:
        """A JSON body whose encoded size is at most `max_size` bytes."""
        return cls(None, JSON, value, max_size)

    @property
    def max_size(self) -> int:
        """An upper bound for its size in bytes."""
        return self._max_size if self._data is None else len(self._data)

    @property
    def has_data(self) -> bool:
        """Whether the body is available as bytes."""
        return self._data is not None

    @property
    def data(self) -> bytes:
        """The bytes; raises `JsonError` if the value cannot be encoded."""
        if self._data is None:
            self._data = dumps(self._value)
        return self._data

    @property
    def value(self) -> Any:
        """The JSON value; raises `JsonError` if the bytes are not valid JSON."""
        if self._value is _UNKNOWN:
            assert self._data is not None
            self._value = loads(self._data)
        return self._value

    @property
    def is_empty(self) -> bool:
        return self._value is _UNKNOWN and not self._data


EMPTY: Final = Content(b"", "")


class Inbound:
    """A client's request.

    Attributes:
        method: upper case.
        path: the raw path as received, percent-encoded, without the query.
        query: the raw query string, without '?'; one character per byte.
        headers: names in lower case.
        content: the body; `EMPTY` until it has been read.
        request_id: the request ID in logs and in calls to upstreams.
        key: the name of the client's key, once it has been validated.
        address: the client's address; empty for a call from another mapping.
        is_internal: it is a call from another mapping, where the client was authorized.
        is_proxied: it was received from a trusted proxy, whose `X-Forwarded-*` fields are used.
        trace: the trace context of its span (W3C `traceparent`), or None if it has no span.
    """

    __slots__ = (
        "address",
        "content",
        "headers",
        "is_internal",
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
        self.is_internal = False
        self.address = ""
        self.is_proxied = False
        self.trace: str | None = None

    def header(self, name: str) -> str | None:
        """The first value of a header; `name` in lower case."""
        return first_value(self.headers, name)


class BodySource(Protocol):
    """A client's body that is streamed to an upstream."""

    @property
    def length(self) -> int | None:
        """The length in bytes, or None if it is unknown."""

    async def next(self) -> bytes | None:
        """The next bytes; None at the end."""
        ...


class BufferedBody:
    """A `BodySource` whose bytes are in memory."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def length(self) -> int:
        return len(self.data)

    async def next(self) -> bytes | None:
        """All bytes at once, then None."""
        data, self.data = self.data, b""
        return data or None


class Client(NamedTuple):
    """The client on whose behalf a mapping calls another mapping in this process.

    Attributes:
        key: the name of the client's key, or None.
        chose_path: the path of the call contains a `{name:path}` parameter of the client's path.
    """

    key: str | None
    chose_path: bool


class UpstreamRequest:
    """A request to an upstream.

    Attributes:
        target: path and query of the request line.
        headers: names in lower case.
        content: the body, unless there is a `body`.
        body: a `BodySource` that is streamed, or None.
        timeout: seconds until the response is complete; until its head has arrived, if the body is streamed.
        raw: the body of the response is forwarded unchanged, with its content coding.
        max_bytes: the limit for a response that is buffered.
        has_credentials: it carries credentials of the mapping.
        client: the client on whose behalf another mapping is called.
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
    """An upstream's response. Header names are in lower case.

    Attributes:
        source: the body, read as it arrives; None if `content` is the complete body.
        used_own_credentials: the request carried credentials of the mapping, so that a 401 or 403 concerns
            these.
        secrets: texts that are masked in the body of a failed response.
    """

    __slots__ = ("content", "headers", "secrets", "source", "status", "used_own_credentials")

    def __init__(self, status: int, headers: Headers, content: Content, source: Any = None) -> None:
        self.used_own_credentials = True
        self.secrets: tuple[bytes, ...] = ()
        self.status = status
        self.headers = headers
        self.content = content
        self.source = source

    @property
    def is_complete(self) -> bool:
        """Whether the complete body is in `content`."""
        return self.source is None

    def header(self, name: str) -> str | None:
        """The first value of a header; `name` in lower case."""
        return first_value(self.headers, name)


class Response:
    """The response to a client. Framing headers and Content-Type are derived from `content`.

    Attributes:
        stream: the `EventStream` of a streaming response, or None.
        source: the source of the bytes of a forwarded response, or None. With either, `content` is empty.
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
        """Whether the complete body is in `content`."""
        return self.stream is None and self.source is None
