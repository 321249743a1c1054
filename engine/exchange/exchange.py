"""One exchange: a request, its upstream's response, and the state that generated code reads and writes.

Must not know sockets or any HTTP library.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from engine.codecs import Event
from engine.http.fields import joined
from engine.http.messages import CallOutcome, Inbound, UpstreamResponse
from engine.language.budget import DEFAULT_LIMITS, Budget, Limits
from engine.language.uses import ITEM, Step, VariablePath, path_text

#: The event where there is none: its name and its id are null.
NO_EVENT: Final = Event(b"")

#: Receives a partial response of a pipeline.
Take: TypeAlias = Callable[[Any, "Exchange"], None]


class Exchange(Budget):
    """One request with its response: the values of the `$name` variables in expressions.

    Generated code reads the attributes.

    Attributes:
        params: parameters of the path, decoded; `raw_params` percent-encoded, as received.
        warnings: messages of `warn()`.
        dropped: paths of the fields of the client's body that were not carried over.
        inner_dropped: `mapping:field` for those that the called mappings did not carry over; an ordered set.
        nulls: the paths that `drop_null` has checked.
        case: the number of the selected response case.
        calls: the value of `$calls`.
        index: the position of a call among the calls for a list (`each`).
        tried: the calls that were made, each followed by those that the called mapping made.
        state: the state of a stream's rules; `owned` are the parts of it that are extended in place.
        out: events that the rules of a stream emit; `sent` counts those emitted before.
        take: receives the partial responses of a pipeline.
        is_partial: `take` receives parts of a response, not a complete one.
        usage: the counts of `usage` of a pipeline, from all partial responses; None for other responses.
        values: values of functions that have one value per call site and exchange, by call site.
        event: the upstream's event that is translated.
        done: the upstream's stream is complete: it sent its end marker, or is that of another mapping.
    """

    __slots__ = (
        "_headers",
        "_query",
        "_upstream_headers",
        "body",
        "calls",
        "case",
        "done",
        "dropped",
        "event",
        "inbound",
        "index",
        "inner_dropped",
        "is_partial",
        "nulls",
        "out",
        "owned",
        "params",
        "raw_params",
        "sent",
        "started_ns",
        "state",
        "take",
        "tried",
        "upstream",
        "upstream_body",
        "upstream_response",
        "usage",
        "values",
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
        self.tried: list[CallOutcome] = []
        self._query: dict[str, Any] | None = None
        self._headers: dict[str, str] | None = None
        self.reset()

    def reset(self) -> None:
        """Clear the state of an attempt, before the next one starts."""
        self.upstream_response: UpstreamResponse | None = None
        self.upstream_body: Any = None
        self._upstream_headers: dict[str, str] | None = None
        self.dropped: list[str] = []
        self.inner_dropped: dict[str, None] = {}
        self.nulls: set[VariablePath] | None = None
        self.case: int | None = None
        self.calls: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.owned: dict[str, Any] = {}
        self.out: list[Any] = []
        self.take: Take | None = None
        self.is_partial = False
        self.usage: dict[str, Any] | None = None
        self.values: dict[str, Any] | None = None
        self.sent = 0
        self.done = False
        self.event = NO_EVENT

    def warn(self, message: str) -> None:
        """Add a warning for the log."""
        self.warnings.append(message)

    def once(self, site: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """The value of a function at a call site: computed once in an exchange, so that ids agree."""
        if self.values is None:
            self.values = {}
        if site not in self.values:
            self.values[site] = function(*arguments)
        return self.values[site]

    def drop(self, field: str) -> None:
        """Record that a field of the client's body, given by its path, is not carried over."""
        self.dropped.append(field)

    def drop_null(self, path: VariablePath) -> None:
        """Record that a field of the client's body is not carried over, if it is null or inside a null.

        Checked once per exchange, for all items of a list together.
        """
        if self.nulls is None:
            self.nulls = set()
        if path not in self.nulls:
            self.nulls.add(path)
            found = [path_text(field) for field in _nulls_along(self.body, path)]
            self.dropped += [field for field in found if field not in self.dropped]

    @property
    def query(self) -> dict[str, Any]:
        """Query parameters; a repeated one is a list."""
        if self._query is None:
            query = self.inbound.query
            if not query.isascii():
                query = query.encode("latin-1", "replace").decode("utf-8", "replace")
            self._query = _grouped(parse_qsl(query, keep_blank_values=True))
        return self._query

    @property
    def headers(self) -> dict[str, str]:
        """Request headers by lower-case name, repeated ones joined with commas (RFC 9110, 5.3)."""
        if self._headers is None:
            self._headers = joined(self.inbound.headers)
        return self._headers

    @property
    def status(self) -> int | None:
        """The status of the upstream's response."""
        return None if self.upstream_response is None else self.upstream_response.status

    @property
    def upstream_headers(self) -> dict[str, str]:
        """The headers of the upstream's response, in the form of `headers`."""
        if self._upstream_headers is None:
            self._upstream_headers = joined(self.upstream_response.headers if self.upstream_response else ())
        return self._upstream_headers


def _nulls_along(body: Any, path: VariablePath) -> Iterator[VariablePath]:
    """The prefixes of a path at which a value is null; within lists, the value of any item."""
    values = [body]
    for end, step in enumerate(path, 1):
        values = [inner for value in values for inner in values_at(value, step)]
        if any(value is None for value in values):
            yield path[:end]


def values_at(value: Any, step: Step) -> Iterable[Any]:
    """The values that a step of a path selects."""
    if step == ITEM:
        return value if type(value) is list else value.values() if type(value) is dict else ()
    return (value[step],) if type(value) is dict and step in value else ()


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in grouped.items()}
