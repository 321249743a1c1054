"""A case of a suite file → a compiled case: its request as bytes, its expectations compiled.

Contract: findings are collected; a case with findings never runs. Must not know how a case runs, nor how its
mapping was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from engine.codecs import FRAMINGS
from engine.compiler.environment import Environment
from engine.compiler.files import declared
from engine.compiler.masking import file_credentials
from engine.diagnostics import Findings, suggestion
from engine.http.messages import EMPTY, JSON, TEXT, Content, Headers, Inbound, UpstreamResponse
from engine.http.request_target import literal_path
from engine.language.codegen import Atom
from engine.language.expressions import Record, Scope
from engine.language.spec import MappingSpec
from engine.language.templates import TemplateCompiler
from engine.locations import Node
from engine.plan import PlanSet
from engine.testing import spec
from engine.testing.expectations import Expectation, Fields, Scalar, literal
from engine.testing.notation import ExpectationCompiler
from engine.values import JsonError, dumps, text

_REQUEST_ID: Final = "test"

_REQUEST: Final = Record(
    {
        "id": Atom("x.inbound.request_id", "string"),
        "method": Atom("x.inbound.method", "string"),
        "path": Atom("x.inbound.path", "string"),
        "params": Atom("x.params", "object"),
        "query": Atom("x.query", "object"),
        "headers": Atom("x.headers", "object"),
        "body": Atom("x.body"),
    }
)


@dataclass(frozen=True, slots=True)
class StubbedCall:
    """An expected call, part by part, and its stub: a response, or the name of a failure.

    A streaming response is read in pieces of `split` bytes, if that is set.
    """

    node: Node
    expected: Mapping[str, Expectation]
    response: UpstreamResponse
    failure: str | None
    split: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A compiled case.

    Attributes:
        inbound: the client's request, without its body, which is `content`.
        expected: the expectations of the response, part by part.
        body: the JSON value of `content`, for expectations.
        keys: credentials of upstreams that are read from files; never shown.
    """

    spec: spec.CaseSpec
    plans: PlanSet
    inbound: Inbound
    content: Content
    body: Any
    calls: tuple[StubbedCall, ...]
    expected: Mapping[str, Expectation]
    keys: frozenset[str] = frozenset()


class CaseCompiler:
    """Compiles one case."""

    def __init__(
        self, case: spec.CaseSpec, mapping: MappingSpec, environment: Environment, findings: Findings
    ) -> None:
        self.spec = case
        self.upstreams = {*declared(mapping, "upstreams"), *mapping.upstreams}
        self.findings = findings
        self.mapping, self.vars = mapping, environment.vars
        file, names = case.node.document.file.name, environment.compiler.names
        templates = TemplateCompiler(findings, file=file, names=names)
        scope = Scope(Atom("p"), {**environment.variables(secrets=True), "request": _REQUEST})
        self.values = ExpectationCompiler(templates, scope, findings)

    def compile(self, plans: PlanSet) -> Case:
        inbound, content = self._inbound(self.spec.request)
        return Case(
            spec=self.spec,
            plans=plans,
            inbound=inbound,
            content=content,
            body=_json_or_nothing(content),
            calls=tuple(self._call(upstream) for upstream in self.spec.upstream),
            expected=self._expected_response(self.spec.expect),
            keys=frozenset(file_credentials(self.mapping, self.vars, plans.mappings.values())),
        )

    # Requests and stub responses

    def _inbound(self, request: spec.RequestSpec) -> tuple[Inbound, Content]:
        headers = _header_fields(request.headers.value if request.headers else {})
        content = self._content(request.body, request.text, headers)
        path, query = self._target(request.path, request.query)
        inbound = Inbound(
            method=request.method or ("GET" if content.is_empty else "POST"),
            path=literal_path(path.value),
            query=_query(query),
            headers=_with_type(headers, content),
            request_id=dict(headers).get("x-request-id", _REQUEST_ID),
        )
        return inbound, content

    def _target(self, path: Node, query: Node | None) -> tuple[Node, Node | None]:
        """A path and its query, which may be part of the path."""
        written = path.value
        if not isinstance(written, str) or "?" not in written or "${" in written:
            return path, query
        if query is not None:
            self.findings.error("bad-value", "the path already contains a query", query.key_span)
        end = written.index("?")
        return path.part(0, written[:end]), path.part(end + 1, written[end + 1 :])

    def _content(self, body: Node | None, plain: Node | None, headers: Headers) -> Content:
        """A body as bytes, so that it is parsed like a body from the network."""
        media_type = dict(headers).get("content-type")
        if plain is not None:
            return Content(self._bytes(plain, _encoded), media_type or TEXT)
        if body is not None:
            return Content(self._bytes(body, dumps), media_type or JSON)
        return Content(b"", media_type or "")

    def _bytes(self, node: Node, write: Callable[[Any], bytes]) -> bytes:
        try:
            return write(node.value)
        except (JsonError, UnicodeEncodeError):
            message = "this value cannot be encoded as JSON or UTF-8"
            self.findings.error("bad-value", message, node.span)
            return b""

    def _stub_response(self, response: spec.StubResponseSpec | None) -> UpstreamResponse:
        if response is None:
            return UpstreamResponse(spec.DEFAULT_STATUS, (), EMPTY)
        headers = _header_fields(response.headers)
        content = self._content(response.body, response.text, headers)
        if response.events is not None:
            content = self._stub_events(response.events, content.media_type)
        return UpstreamResponse(response.status, _with_type(headers, content), content)

    def _stub_events(self, events: Node, media_type: str) -> Content:
        """A stream of events, by the name of its framing."""
        ((name, items),) = events.items()
        framing = FRAMINGS[name]
        encoder = framing.encoder()
        data = [
            encoder.encode(self._bytes(item["data"], _event_data), *map(item.value.get, ("name", "id")))
            for item in items.elements()
        ]
        return Content(b"".join(data), media_type or framing.media_type)

    # Expectations

    def _call(self, upstream: spec.UpstreamSpec) -> StubbedCall:
        expected = self._expected_call(upstream.expect) if upstream.expect else {}
        split = upstream.response.split if upstream.response else None
        return StubbedCall(
            upstream.node, expected, self._stub_response(upstream.response), upstream.fail, split
        )

    def _expected_call(self, call: spec.CallSpec) -> dict[str, Expectation]:
        self._check_upstream(call.upstream)
        path, query = self._target(call.path, call.query) if call.path else (None, call.query)
        return _present(
            upstream=_compiled(call.upstream, literal),
            method=_compiled(call.method, literal),
            path=_compiled(path, self.values.compile),
            query=_compiled(query, self._query),
            headers=_compiled(call.headers, self._headers),
            body=_compiled(call.body, self.values.compile),
            form=_compiled(call.form, self.values.texts.compile),
        )

    def _check_upstream(self, node: Node | None) -> None:
        if node is not None and node.value not in self.upstreams:
            hint = suggestion(str(node.value), self.upstreams)
            self.findings.error("unknown-upstream", f"unknown upstream '{node.value}'", node.span, hint)

    def _query(self, node: Node) -> Expectation:
        """The expectation of a query: an object, or the text after '?' in a path."""
        if not isinstance(node.value, str):
            return self.values.texts.compile(node)
        pairs = parse_qs(node.value, keep_blank_values=True)
        fields = {name: found[0] if len(found) == 1 else found for name, found in pairs.items()}
        return literal(Node(node.document, node.path, fields))

    def _headers(self, node: Node) -> Expectation:
        texts = self.values.texts
        return Fields(node, {name.lower(): texts.field(child) for name, child in node.items()}, is_open=True)

    def _expected_response(self, expected: spec.ExpectedResponseSpec | None) -> dict[str, Expectation]:
        if expected is None:
            return {"status": Scalar(self.spec.node["name"], spec.DEFAULT_STATUS)}
        status = expected.status
        if not isinstance(status, Node):
            status = Node(expected.node.document, expected.node.path, status)
        return _present(
            status=literal(status),
            headers=_compiled(expected.headers, self._headers),
            body=_compiled(expected.body, self.values.compile),
            text=_compiled(expected.text, self.values.compile),
            events=_compiled(expected.events, self.values.compile),
            warnings=_compiled(expected.warnings, self.values.compile),
        )


def _compiled(node: Node | None, compile_node: Callable[[Node], Expectation]) -> Expectation | None:
    return None if node is None else compile_node(node)


def _present(**parts: Expectation | None) -> dict[str, Expectation]:
    return {name: part for name, part in parts.items() if part is not None}


def _header_fields(headers: Mapping[str, Any]) -> Headers:
    present = ((name.lower(), value) for name, value in headers.items() if value is not None)
    return tuple((name, text(value)) for name, value in present)


def _with_type(headers: Headers, content: Content) -> Headers:
    """The headers, with the media type of the content if they have no Content-Type."""
    if not content.media_type or "content-type" in dict(headers):
        return headers
    return (*headers, ("content-type", content.media_type))


def _query(node: Node | None) -> str:
    if node is None:
        return ""
    return node.value if isinstance(node.value, str) else urlencode(list(_pairs(node.value)))


def _pairs(fields: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                yield name, text(item)


def _encoded(value: str) -> bytes:
    return value.encode()


def _event_data(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else dumps(value)


def _json_or_nothing(content: Content) -> Any:
    try:
        return None if content.is_empty else content.value
    except JsonError:
        return None
