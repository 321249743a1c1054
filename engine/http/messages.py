"""Requests and replies as plain types, and the exchange that joins them.

Contract: bytes, text and JSON values only. A `Content` is parsed or written at most once, so that a body
crosses from one mapping to another in the process without being parsed again.
Must not know mappings, sockets or any HTTP library.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl

from engine.http.fields import first_value
from engine.language.budget import DEFAULT_LIMITS, Budget, Limits
from engine.language.uses import ITEM, Step, VariablePath, written
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


class WholeSource:
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


class UpstreamReply:
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
    def is_whole(self) -> bool:
        """Whether all of the answer is here."""
        return self.source is None

    def header(self, name: str) -> str | None:
        """The first value of a header; `name` in lower case."""
        return first_value(self.headers, name)


class Outbound:
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
    def is_whole(self) -> bool:
        """Whether all of the answer is here."""
        return self.stream is None and self.source is None


class Exchange(Budget):
    """One request with its reply: what the `$name` variables of expressions read.

    Generated code reads the attributes; `warnings` receives what `warn()` says, `dropped` names the fields
    of the client's body that were not carried over, `case` is the number of the answer that was chosen.
    In a stream `state` is what its rules remember, `owned` those parts of it that grow in place, `out` takes
    what they emit, `sent` counts what they have emitted before, and `done` says that the upstream has told
    its end: by its closing word, or as it is another mapping or gave a whole answer. `calls` has what
    `$calls` reads, `index` is the position of a call among those made for a list, `tried` names every
    upstream that was called, and what came of it.
    `raw_params` are `params` as they came, percent-encoded. `nulls` are the paths that `drop_null` has
    looked at.
    """

    __slots__ = (
        "_headers",
        "_query",
        "_reply_headers",
        "body",
        "calls",
        "case",
        "done",
        "dropped",
        "inbound",
        "index",
        "nulls",
        "out",
        "owned",
        "params",
        "raw_params",
        "reply",
        "reply_body",
        "sent",
        "started_ns",
        "state",
        "tried",
        "upstream",
        "warnings",
    )

    def __init__(self, inbound: Inbound, params: dict[str, str], limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self.inbound = inbound
        self.params = params
        self.raw_params: dict[str, str] = {}
        self.body: Any = None
        self.upstream: str | None = None
        self.started_ns = time.monotonic_ns()
        self.warnings: list[str] = []
        self.index = 0
        self.tried: list[tuple[str, int | str]] = []
        self._query: dict[str, Any] | None = None
        self._headers: dict[str, str] | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Have nothing of any attempt, so that the next one finds none of what the last has left behind."""
        self.reply: UpstreamReply | None = None
        self.reply_body: Any = None
        self._reply_headers: dict[str, str] | None = None
        self.dropped: list[str] = []
        self.nulls: set[VariablePath] | None = None
        self.case: int | None = None
        self.calls: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.owned: dict[str, Any] = {}
        self.out: list[Any] = []
        self.sent = 0
        self.done = False

    def warn(self, message: str) -> None:
        """Note something for the log."""
        self.warnings.append(message)

    def drop(self, field: str) -> None:
        """Note that a field of the client's body, told by its path, is not carried over."""
        self.dropped.append(field)

    def drop_null(self, path: VariablePath) -> None:
        """Note that a field of the client's body is not carried over, where it came and is null, or where
        something that it is in is null.

        Looked for once in an exchange, for all items of a list together.
        """
        if self.nulls is None:
            self.nulls = set()
        if path not in self.nulls:
            self.nulls.add(path)
            found = [written(field) for field in _nulls_along(self.body, path)]
            self.dropped += [field for field in found if field not in self.dropped]

    @property
    def query(self) -> dict[str, Any]:
        """Query parameters; one that came several times is a list."""
        if self._query is None:
            query = self.inbound.query
            if not query.isascii():
                query = query.encode("latin-1", "replace").decode("utf-8", "replace")
            self._query = _grouped(parse_qsl(query, keep_blank_values=True))
        return self._query

    @property
    def headers(self) -> dict[str, str]:
        """Request headers by lower-case name, repeated ones joined with a comma (RFC 9110, 5.3)."""
        if self._headers is None:
            self._headers = joined(self.inbound.headers)
        return self._headers

    @property
    def status(self) -> int | None:
        """The upstream's status."""
        return None if self.reply is None else self.reply.status

    @property
    def reply_headers(self) -> dict[str, str]:
        """The upstream's headers, as `headers`."""
        if self._reply_headers is None:
            self._reply_headers = joined(self.reply.headers if self.reply else ())
        return self._reply_headers


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields by name, those of one name joined with commas (RFC 9110, 5.3)."""
    fields: dict[str, str] = {}
    for name, value in headers:
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _nulls_along(body: Any, path: VariablePath) -> Iterator[VariablePath]:
    """The fields along a path that are null, in one of the items where it goes through lists."""
    values = [body]
    for end, step in enumerate(path, 1):
        values = [inner for value in values for inner in _at(value, step)]
        if any(value is None for value in values):
            yield path[:end]


def _at(value: Any, step: Step) -> Iterable[Any]:
    """What a step of a path leads to."""
    if step == ITEM:
        return value if type(value) is list else value.values() if type(value) is dict else ()
    return (value[step],) if type(value) is dict and step in value else ()


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in grouped.items()}
