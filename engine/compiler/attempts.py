"""Ways to answer: the calls of an attempt, and its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.compiler.calls import CallCompiler, call_variables
from engine.compiler.context import MappingContext
from engine.compiler.reads import RESPONSE_BODY, RESPONSE_STATUS, calls_parsed, client_fields, read_tree
from engine.compiler.rules import state_variable
from engine.compiler.streams import compile_collect, compile_stream, stream_templates
from engine.diagnostics import suggestion
from engine.language.codegen import Atom, Compiled
from engine.language.expressions import Record, Scope
from engine.language.spec import AttemptSpec, CaseSpec
from engine.language.uses import Uses, VariableOrigin
from engine.locations import Node
from engine.plan import (
    AttemptPlan,
    CallPlan,
    CasePlan,
    CollectPlan,
    ForwardPlan,
    StreamPlan,
    UpstreamPlan,
    upstreams_of,
)

#: The ways to an answer of which an attempt has one at most.
_WAYS = ("call", "calls", "forward")
#: Those that can stand together: calls that have names come before the one that answers.
_FRIENDS = ("call", "calls")


@dataclass(slots=True)
class AttemptCompiler:
    """Compiles the attempts of one route.

    Attributes:
        is_builtin: what answers are written from is made by the engine.
        notes_nulls: a null of the client's that a call leaves out is noted, as it asks for something.
        uses: what the templates of all attempts read.
        conditions: what the `when` of the attempts read.
    """

    context: MappingContext
    upstreams: Mapping[str, UpstreamPlan]
    params: Mapping[str, str]
    label: str
    is_builtin: bool = False
    notes_nulls: bool = False
    cases: int = 0
    uses: list[Uses] = field(default_factory=list)
    conditions: list[Uses] = field(default_factory=list)

    def compile(self, spec: AttemptSpec) -> AttemptPlan:
        """One attempt; what its `when` reads, and those before it, is carried over by every call."""
        check_ways(self.context, spec)
        when = self.context.template(
            spec.when, self.context.call_scope(self.params), f"{self.label} try.when"
        )
        if when is not None:
            self.conditions.append(when.uses)
        plan, uses = _OneAttempt(self, spec).compile()
        self.uses.append(uses)
        self.cases += len(plan.cases)
        return replace(plan, when=when)


class _OneAttempt:
    """Compiles one attempt."""

    def __init__(self, owner: AttemptCompiler, spec: AttemptSpec) -> None:
        self.context = owner.context
        self.findings = owner.context.findings
        self.spec = spec
        self.params = owner.params
        self.label = owner.label
        self.first_case = owner.cases
        self.is_builtin = owner.is_builtin
        self.has_call = has_way(spec.node, "call") or has_way(spec.node, "calls")
        self.calls = CallCompiler(
            owner.context, owner.upstreams, owner.params, owner.label, owner.notes_nulls
        )
        self.uses = list(owner.conditions)

    def compile(self) -> tuple[AttemptPlan, Uses]:
        """The attempt's plan, and what its templates read."""
        spec = self.spec
        named, cases_of_call = self.calls.together(spec), self.calls.cases(spec)
        before, calls = (named, cases_of_call) if spec.call else ([], named)
        forward, forwarded = self._forward()
        cases = self._cases()
        self._check_order(cases)
        every = [*before, *calls]
        uses = Uses.of_all((*self.uses, forwarded, *(own for _, own in every)))
        parsed = calls_parsed(uses)
        conditions = [plan.when.uses for plan, _ in calls if plan.when is not None]
        shared = Uses.of_all((*self.uses, *conditions, *(own for _, own in before)))
        plan = AttemptPlan(
            when=None,
            before=tuple(replace(call, reads_upstream_body=call.name in parsed) for call, _ in before),
            calls=tuple(
                replace(
                    call,
                    reads=read_tree(client_fields(own) | client_fields(shared)),
                    reads_upstream_body=call.name in parsed,
                )
                for call, own in calls
            ),
            together=bool(spec.calls) and not spec.call,
            reads=read_tree(client_fields(uses)),
            forward=forward,
            watched=_watched([call for call, _ in every], forward),
            cases=cases,
            first_case=self.first_case,
            streams=bool(calls) and any(case.stream or case.collect for case in cases),
            reads_upstream_body=bool(calls) and self._reads_reply(cases),
        )
        return plan, uses

    def _forward(self) -> tuple[ForwardPlan | None, Uses]:
        if self.spec.forward is None:
            return None, Uses()
        return self.calls.forward(self.spec.forward)

    # The answers

    def _cases(self) -> tuple[CasePlan, ...]:
        scope = self.context.respond_scope(self.params, self.has_call)
        if self.spec.calls:
            scope = scope.with_variables({"calls": Record(call_variables(self.spec.calls))})
        if self.is_builtin:
            scope = scope.with_payload(Atom("p", "object", VariableOrigin(("health",))))
        return tuple(self._case(case, scope, number) for number, case in enumerate(self.spec.respond))

    def _condition_scope(self, scope: Scope) -> Scope:
        """What a condition sees: secrets too, as it shows nothing of what it compares; texts in it do not."""
        environment = self.context.environment
        variables = {**scope.variables, "env": environment.variables(secrets=True)["env"]}
        return replace(scope, variables=variables, message_variables=environment.told())

    def _case(self, case: CaseSpec, scope: Scope, number: int) -> CasePlan:
        is_only = len(self.spec.respond) == 1 and not self.first_case
        label = "respond" if is_only else f"respond[{self.first_case + number}]"
        status = case.status
        when = self._template(case.when, self._condition_scope(scope), f"{label}.when")
        return CasePlan(
            when=when,
            for_failures=when is not None and when.uses.refers_to(RESPONSE_STATUS),
            status=self._status(status, scope, label) if status else 200,
            headers=self._template(case.headers, scope, f"{label}.headers"),
            body=self._body(case, scope, label),
            stream=self._stream(case, scope, label) if case.stream else None,
            collect=self._collect(case, scope, label) if case.collect else None,
        )

    def _body(self, case: CaseSpec, scope: Scope, label: str) -> Compiled | None:
        if case.body is not None and case.stream is not None:
            message = "a case has a body or a stream, not both"
            self.findings.error("misused-stream", message, case.body.key_span)
        if case.collect is not None and case.collect.state is not None:
            names = case.collect.state.value
            scope = scope.with_variables({"state": state_variable(names, "x.state")})
        return self._template(case.body, scope, f"{label}.body")

    def _stream(self, case: CaseSpec, scope: Scope, label: str) -> StreamPlan:
        assert case.stream is not None
        plan = compile_stream(self.context, case.stream, scope, f"{self.label} {label}.stream", self.has_call)
        self.uses += (template.uses for template in stream_templates(plan))
        return plan

    def _collect(self, case: CaseSpec, scope: Scope, label: str) -> CollectPlan:
        assert case.collect is not None
        if not self.has_call:
            message = "'collect' reads the upstream's stream; this route calls none"
            self.findings.error("misused-stream", message, case.collect.node.key_span)
        plan = compile_collect(self.context, case.collect, scope, f"{self.label} {label}.collect")
        self.uses += (template.uses for template in stream_templates(plan))
        return plan

    def _check_order(self, cases: tuple[CasePlan, ...]) -> None:
        """Whether an answer streams is known before the upstream's body is there."""
        streaming = [number for number, case in enumerate(cases) if case.stream or case.collect]
        if not streaming or not self.has_call:
            return
        for case, written in zip(cases[: streaming[-1] + 1], self.spec.respond, strict=False):
            if _reads_response(case.when) and written.when is not None:
                message = "this is asked before the upstream's body is there: a stream may be the answer"
                self.findings.error("misused-stream", message, written.when.span)

    def _status(self, node: Node, scope: Scope, label: str) -> int | Compiled:
        status = self.context.status(node, scope, f"{self.label} {label}.status")
        if not isinstance(status, int):
            self.uses.append(status.uses)
        return status

    def _template(self, node: Node | None, scope: Scope, what: str) -> Compiled | None:
        compiled = self.context.template(node, scope, f"{self.label} {what}")
        if compiled is not None:
            self.uses.append(compiled.uses)
        return compiled

    def _reads_reply(self, cases: Iterable[CasePlan]) -> bool:
        """Whether any answer needs the upstream's body parsed."""
        parts = (part for case in cases for part in (case.when, case.status, case.headers, case.body))
        return any(map(_reads_response, parts))


def templates_of(calls: Iterable[CallPlan], cases: Iterable[CasePlan]) -> Iterator[Compiled]:
    """All templates of calls and answers."""
    parts: list[object] = []
    for call in calls:
        parts += (call.when, call.query, call.headers, call.body, call.form, call.each)
        parts += (getattr(call.upstream, "template", None), *(part.template for part in call.path))
    for case in cases:
        parts += (case.when, case.status, case.headers, case.body)
        for reader in (case.stream, case.collect):
            parts += () if reader is None else stream_templates(reader)
    return (part for part in parts if isinstance(part, Compiled))


def _watched(calls: Iterable[CallPlan], forward: ForwardPlan | None) -> tuple[str, ...]:
    """The upstreams whose health tells beforehand that an attempt will fail."""
    upstreams = upstreams_of(*calls, forward)
    return tuple(u.name for u in upstreams if isinstance(u, UpstreamPlan) and u.health is not None)


def _reads_response(part: object) -> bool:
    return isinstance(part, Compiled) and part.uses.refers_to(RESPONSE_BODY)


def has_way(node: Node, key: str) -> bool:
    """Whether the file has this key here, be its value one that cannot be made out."""
    return key in written_keys(node)


def written_keys(node: Node) -> Iterable[str]:
    """The keys of a mapping as the file has them, those that were left out with a finding among them."""
    written: object = node.document.original
    for step in node.path:
        written = written[step]  # type: ignore[index]
    return written if isinstance(written, dict) else ()


def is_misspelt(node: Node, names: Iterable[str]) -> bool:
    """Whether the file has a key here that was meant to be one of `names`, and has its finding as that."""
    written = written_keys(node)
    return any(key not in names and suggestion(key, names) for key in written)


def check_ways(context: MappingContext, spec: AttemptSpec) -> None:
    """An attempt goes one way, and those that call have an answer to write."""
    ways = [way for way in _WAYS if has_way(spec.node, way)]
    for way in [] if tuple(ways) == _FRIENDS else ways[1:]:
        message = f"'{ways[0]}' and '{way}' cannot stand together"
        context.findings.error("misused-call", message, spec.node[way].key_span)
    responds = has_way(spec.node, "respond")
    if "forward" in ways and responds:
        message = "'forward' gives the upstream's own answer; there is none to write"
        context.findings.error("misused-call", message, spec.node["respond"].key_span)
    elif not responds and "forward" not in ways and not is_misspelt(spec.node, ("respond", *_WAYS)):
        context.findings.error("missing-key", "'respond' is missing here", spec.node.key_span)
