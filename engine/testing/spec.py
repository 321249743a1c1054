"""A suite file as frozen data.

Contract: built from a document that the schema has accepted, or from its valid parts. Each field is a key of
the YAML and each class a definition of the schema (a test checks that they are equal). Short forms are read
into the same fields as long forms. Must not know how anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.locations import Document, Node

#: The status of responses without one in the file.
DEFAULT_STATUS: Final = 200


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """The request of the client. `path` may include the query."""

    node: Node
    method: str | None
    path: Node
    query: Node | None = None
    headers: Node | None = None
    body: Node | None = None
    text: Node | None = None


@dataclass(frozen=True, slots=True)
class CallSpec:
    """The expected request to an upstream; absent parts are not compared. `path` as in a request."""

    node: Node
    upstream: Node | None = None
    method: Node | None = None
    path: Node | None = None
    query: Node | None = None
    headers: Node | None = None
    body: Node | None = None
    form: Node | None = None


@dataclass(frozen=True, slots=True)
class StubResponseSpec:
    """The stub response of an upstream."""

    node: Node
    status: int = DEFAULT_STATUS
    headers: Mapping[str, Any] | None = None
    body: Node | None = None
    text: Node | None = None
    split: int | None = None


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """One call and its outcome: a stub response, or the name of a failure."""

    node: Node
    expect: CallSpec | None
    response: StubResponseSpec | None
    fail: str | None


@dataclass(frozen=True, slots=True)
class ExpectedResponseSpec:
    """The expected response; absent parts are not compared, except for `status`."""

    node: Node
    status: Node | None = None
    headers: Node | None = None
    body: Node | None = None
    text: Node | None = None
    events: Node | None = None
    warnings: Node | None = None


@dataclass(frozen=True, slots=True)
class CaseSpec:
    """One request, its calls, and its response. `upstream` is in the order of the calls."""

    node: Node
    name: str
    env: Mapping[str, str | None]
    request: RequestSpec
    upstream: tuple[UpstreamSpec, ...]
    expect: ExpectedResponseSpec | None


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """A suite file."""

    node: Node
    dragoman: int
    mapping: Node | None
    env: Mapping[str, str | None]
    cases: tuple[CaseSpec, ...]


#: Each class and the definition of the schema whose properties are its fields.
DEFINITIONS: Final[Mapping[type, str]] = {
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
    root = document.root
    cases = root.get("cases")
    return SuiteSpec(
        node=root,
        dragoman=root.value.get("dragoman", 1),
        mapping=root.get("mapping"),
        env=_env(root.get("env")),
        cases=tuple(_case(case) for case in cases.elements()) if cases else (),
    )


def _env(node: Node | None) -> dict[str, str | None]:
    return {} if node is None else {name: _env_text(value) for name, value in node.value.items()}


def _env_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _case(node: Node) -> CaseSpec:
    upstream, expect = node.get("upstream"), node.get("expect")
    return CaseSpec(
        node=node,
        name=node.value["name"],
        env=_env(node.get("env")),
        request=_request(node["request"]),
        upstream=tuple(_upstream(call) for call in _one_or_many(upstream)) if upstream else (),
        expect=_expected_response(expect) if expect else None,
    )


def _one_or_many(node: Node) -> list[Node]:
    return list(node.elements()) if isinstance(node.value, list) else [node]


def _request(node: Node) -> RequestSpec:
    if isinstance(node.value, str):
        method, start = _word(node.value, 0)
        return RequestSpec(node, method, node.part(start, node.value[start:]))
    return RequestSpec(
        node=node,
        method=node.value.get("method"),
        path=node["path"],
        query=node.get("query"),
        headers=node.get("headers"),
        body=node.get("body"),
        text=node.get("text"),
    )


def _word(text: str, start: int) -> tuple[str, int]:
    """The word at `start`, and the index of the next word."""
    end = text.index(" ", start)
    return text[start:end], end + len(text[end:]) - len(text[end:].lstrip(" "))


def _upstream(node: Node) -> UpstreamSpec:
    expect, response = node.get("expect"), node.get("response")
    return UpstreamSpec(
        node=node,
        expect=_call(expect) if expect else None,
        response=_response(response) if response else None,
        fail=node.value.get("fail"),
    )


def _call(node: Node) -> CallSpec:
    if isinstance(node.value, str):
        return _short_call(node)
    names = ("upstream", "method", "path", "query", "headers", "body", "form")
    return CallSpec(node, **{name: node.get(name) for name in names})


def _short_call(node: Node) -> CallSpec:
    """`METHOD /path?query`, or `METHOD upstream /path?query`."""
    text = node.value
    method, start = _word(text, 0)
    upstream = None
    if not text.startswith("/", start):
        name, path_start = _word(text, start)
        upstream, start = node.part(start, name), path_start
    return CallSpec(node, upstream, node.part(0, method), node.part(start, text[start:]))


def _response(node: Node) -> StubResponseSpec:
    status, headers = node.value.get("status", DEFAULT_STATUS), node.value.get("headers")
    return StubResponseSpec(
        node, status, headers, node.get("body"), node.get("text"), node.value.get("split")
    )


def _expected_response(node: Node) -> ExpectedResponseSpec:
    names = ("status", "headers", "body", "text", "events", "warnings")
    return ExpectedResponseSpec(node, **{name: node.get(name) for name in names})
