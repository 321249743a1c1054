"""Requests and responses as plain types.

Contract: bytes, text and JSON values only. A `Content` is parsed or encoded at most once, so that a body
passes from one mapping to another in the process without being parsed again.
Must not know mappings, sockets or any HTTP library.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, NewType, Protocol, TypeAlias

from engine.http.auth import NO_CREDENTIALS, Credentials
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
        client: the client's address; empty for a call from another mapping.
        address: what limits count as one client: its address, or for IPv6 its /64 network; empty as `client`.
        is_internal: it is a call from another mapping, where the client was authorized.
        is_proxied: it was received from a trusted proxy, whose `X-Forwarded-*` fields are used.
        trace: the trace context of its span (W3C `traceparent`), or None if it has no span.
    """

    __slots__ = (
        "address",
        "client",
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
        self.client = ""
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
    """A request to an upstream; one that can be sent is an `OutgoingRequest`.

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
        credentials: what the authentication of its upstream has added.
    """

    __slots__ = (
        "body",
        "client",
        "content",
        "credentials",
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
        body: BodySource | None = None,
        raw: bool = False,
        max_bytes: int = MAX_BODY_BYTES,
        has_credentials: bool = True,
        client: Client | None = None,
        credentials: Credentials = NO_CREDENTIALS,
    ) -> None:
        self.client = client
        self.credentials = credentials
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

    def authenticated(self, headers: Headers, target: str, credentials: Credentials) -> UpstreamRequest:
        """A copy with other header fields and another target, which have these credentials."""
        return UpstreamRequest(
            self.upstream,
            self.method,
            target,
            headers,
            self.content,
            self.timeout,
            self.body,
            self.raw,
            self.max_bytes,
            self.has_credentials,
            self.client,
            credentials,
        )


#: A request that has been through `engine.exchange.outgoing`, and so has the credentials of its upstream.
OutgoingRequest = NewType("OutgoingRequest", UpstreamRequest)


#: A piece of a response body: bytes, events of another mapping, or None at the end.
Batch: TypeAlias = bytes | list[Any] | None

#: Receives batches; returns False to pause.
Feed: TypeAlias = Callable[[bytes | list[Any]], bool]


class Source(Protocol):
    """The body of a response that is read as it arrives."""

    def next(self) -> Awaitable[Batch]:
        """The next batch; None at the end.

        Raises:
            ExchangeError: the upstream disconnected, or sent nothing for too long.
        """
        ...

    def pump(self, feed: Feed) -> Awaitable[bool]:
        """Pass batches to `feed` as soon as they arrive, until it returns False. Returns whether the body has
        ended.

        Raises:
            ExchangeError: as `next`.
        """
        ...

    def content(self, limit: int) -> Awaitable[Content]:
        """The rest of the body.

        Raises:
            ExchangeError: as `next`; the rest is larger than `limit` bytes.
        """
        ...

    def aclose(self) -> Awaitable[None]:
        """Stop reading; an upstream that is still sending is disconnected."""
        ...


class CallOutcome(NamedTuple):
    """A call to an upstream: the status of its response, or the kind of its failure.

    `mapping` is the mapping that made the call, if another mapping of this process called that one; else it
    is empty.
    """

    upstream: str
    outcome: int | str
    mapping: str = ""

    @property
    def name(self) -> str:
        """The name of the upstream, after that of the mapping."""
        return f"{self.mapping}:{self.upstream}" if self.mapping else self.upstream


class Report(NamedTuple):
    """What an exchange reports about itself, to the mapping that called it or with a cached response.

    Attributes:
        dropped: the fields of its request that were not carried over, as they are named in a header.
        inner_dropped: those of the mappings that it called, each as `mapping:field`.
        calls: the calls that it made.
    """

    dropped: tuple[str, ...] = ()
    inner_dropped: tuple[str, ...] = ()
    calls: tuple[CallOutcome, ...] = ()


NO_REPORT: Final = Report()


class UpstreamResponse:
    """An upstream's response. Header names are in lower case.

    Attributes:
        report: what the exchange of another mapping reports, if that is the upstream.
        source: the body, read as it arrives; None if `content` is the complete body.
        used_own_credentials: the request carried credentials of the mapping, so that a 401 or 403 concerns
            these.
        secrets: texts that are masked in the body of a failed response.
    """

    __slots__ = ("content", "headers", "report", "secrets", "source", "status", "used_own_credentials")

    def __init__(self, status: int, headers: Headers, content: Content, source: Source | None = None) -> None:
        self.used_own_credentials = True
        self.secrets: tuple[bytes, ...] = ()
        self.report = NO_REPORT
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


class CompleteResponse:
    """A response to a client whose body is complete. Framing headers and Content-Type come from `content`.

    A cached response also has the `report` of its exchange, or of the other mapping that sent it.
    """

    __slots__ = ("content", "headers", "report", "status")

    def __init__(self, status: int, headers: Headers, content: Content) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.report = NO_REPORT

    @property
    def media_type(self) -> str:
        """The Content-Type; empty if there is none."""
        return self.content.media_type

    def with_headers(self, headers: Headers) -> CompleteResponse:
        """A copy with other header fields."""
        return CompleteResponse(self.status, headers, self.content)


class ByteStreamResponse:
    """A response to a client whose bytes are forwarded from `source`. `media_type` is its Content-Type, or
    empty."""

    __slots__ = ("headers", "media_type", "source", "status")

    def __init__(self, status: int, headers: Headers, media_type: str, source: Source) -> None:
        self.status = status
        self.headers = headers
        self.media_type = media_type
        self.source = source

    def with_headers(self, headers: Headers) -> ByteStreamResponse:
        """A copy with other header fields."""
        return ByteStreamResponse(self.status, headers, self.media_type, self.source)
