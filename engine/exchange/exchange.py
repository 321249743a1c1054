"""One exchange: a request, its upstream's response, and the state that generated code reads and writes.

Must not know sockets or any HTTP library.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from engine.http.fields import joined
from engine.http.messages import Inbound, UpstreamResponse
from engine.language.budget import DEFAULT_LIMITS, Budget, Limits
from engine.language.uses import ITEM, Step, VariablePath, path_text


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
        "_upstream_headers",
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
        "sent",
        "started_ns",
        "state",
        "tried",
        "upstream",
        "upstream_body",
        "upstream_response",
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
        self.reset()

    def reset(self) -> None:
        """Have nothing of any attempt, so that the next one finds none of what the last has left behind."""
        self.upstream_response: UpstreamResponse | None = None
        self.upstream_body: Any = None
        self._upstream_headers: dict[str, str] | None = None
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
            found = [path_text(field) for field in _nulls_along(self.body, path)]
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
        return None if self.upstream_response is None else self.upstream_response.status

    @property
    def upstream_headers(self) -> dict[str, str]:
        """The upstream's headers, as `headers`."""
        if self._upstream_headers is None:
            self._upstream_headers = joined(self.upstream_response.headers if self.upstream_response else ())
        return self._upstream_headers


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
