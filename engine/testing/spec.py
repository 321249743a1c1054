"""A suite file as frozen data.

Contract: each class is a definition of the suite schema, and each field a key with its type and default (a
test compares them). Read from a document that is valid by the schema, or from its valid parts. Must not know
how anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from engine.language.spec_reader import Spec, read_spec
from engine.locations import Document, Node

#: The status of responses without one in the file.
DEFAULT_STATUS: Final = 200


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RequestSpec(Spec):
    """The request of the client. `path` may include the query. Short form: `METHOD /path?query`."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] | None = None
    path: Node
    query: Node | None = None
    headers: Node | None = None
    body: Node | None = None
    text: Node | None = None

    @classmethod
    def from_short(cls, node: Node) -> RequestSpec:
        method, path = _words(node)
        return cls(node=node, method=method.value, path=path)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CallSpec(Spec):
    """The expected request to an upstream; absent parts are not compared. `path` as in a request.

    Short form: `METHOD /path?query`, or `METHOD upstream /path?query`.
    """

    upstream: Node | None = None
    method: Node | None = None
    path: Node | None = None
    query: Node | None = None
    headers: Node | None = None
    body: Node | None = None
    form: Node | None = None

    @classmethod
    def from_short(cls, node: Node) -> CallSpec:
        method, rest = _words(node)
        if rest.value.startswith("/"):
            return cls(node=node, method=method, path=rest)
        upstream, path = _words(rest)
        return cls(node=node, method=method, upstream=upstream, path=path)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StubResponseSpec(Spec):
    """The stub response of an upstream."""

    status: int = DEFAULT_STATUS
    headers: Mapping[str, Any] = field(default_factory=dict)
    body: Node | None = None
    text: Node | None = None
    events: Node | None = None
    split: int | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UpstreamSpec(Spec):
    """One call and its outcome: a stub response, or the name of a failure."""

    expect: CallSpec | None = None
    response: StubResponseSpec | None = None
    fail: Literal["connect", "timeout", "busy", "open", "broken", "too_large"] | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExpectedResponseSpec(Spec):
    """The expected response; absent parts are not compared, except for `status`."""

    status: Node | int = DEFAULT_STATUS
    headers: Node | None = None
    body: Node | None = None
    text: Node | None = None
    events: Node | None = None
    warnings: Node | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CaseSpec(Spec):
    """One request, its calls, and its response. `upstream` is in the order of the calls."""

    name: str
    env: Mapping[str, str | None] = field(default_factory=dict)
    request: RequestSpec
    upstream: tuple[UpstreamSpec, ...] = ()
    expect: ExpectedResponseSpec | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SuiteSpec(Spec):
    """A suite file."""

    dragoman: int = 1
    mapping: Node | None = None
    env: Mapping[str, str | None] = field(default_factory=dict)
    cases: tuple[CaseSpec, ...] = ()


#: Each class and the definition of the schema whose properties are its fields.
DEFINITIONS: Final[Mapping[type[Spec], str]] = {
    SuiteSpec: "#",
    CaseSpec: "case",
    RequestSpec: "request",
    UpstreamSpec: "upstream",
    CallSpec: "call",
    StubResponseSpec: "response",
    ExpectedResponseSpec: "expected_response",
}


def read(document: Document) -> SuiteSpec:
    """The spec of a document, of the parts that match the suite schema."""
    return read_spec(SuiteSpec, document.root)


def _words(node: Node) -> tuple[Node, Node]:
    """The first word of a text, and the rest of it without the spaces between."""
    word, _, rest = node.value.partition(" ")
    path = rest.lstrip(" ")
    return node.part(0, word), node.part(len(node.value) - len(path), path)
