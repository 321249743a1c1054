"""Ways to answer: the calls of an attempt, and its answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.codegen import SHELL, Atom, Compiled
from engine.compile.calls import CallCompiler, call_variables
from engine.compile.context import MappingContext
from engine.compile.rules import state_variable
from engine.compile.streams import compile_collect, compile_stream, reads_of, stream_templates
from engine.errors import suggestion
from engine.expressions import Record, Scope
from engine.plan import (
    AttemptPlan,
    CallPlan,
    CasePlan,
    CollectPlan,
    ForwardPlan,
    ReadTree,
    StreamPlan,
    UpstreamPlan,
    upstreams_of,
)
from engine.source import Node, Path
from engine.spec import AttemptSpec, CaseSpec

_STATUS_READ = re.compile(r"\$upstream\s*\.\s*status")
_CALL_BODY_READ = re.compile(r"x\.calls\['(\w+)'\](?!\['(?:status|headers|error)'\])")
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
        reads: the fields of the client's body that all attempts read.
    """

    context: MappingContext
    upstreams: Mapping[str, UpstreamPlan]
    params: Mapping[str, str]
    label: str
    is_builtin: bool = False
    notes_nulls: bool = False
    cases: int = 0
    reads: set[Path] = field(default_factory=set)

    def compile(self, spec: AttemptSpec) -> AttemptPlan:
        """One attempt; what is read for its `when` is carried over by every call."""
        check_ways(self.context, spec)
        when = self.context.template(
            spec.when, self.context.call_scope(self.params), f"{self.label} try.when"
        )
        plan, reads = _OneAttempt(self, spec).compile()
        self.reads |= reads | (when.reads if when is not None else frozenset())
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
        self.reads: set[Path] = set()

    def compile(self) -> tuple[AttemptPlan, set[Path]]:
        """The attempt's plan, and the fields of the client's body that it reads."""
        spec = self.spec
        named, cases_of_call = self.calls.together(spec), self.calls.cases(spec)
        before, calls = (named, cases_of_call) if spec.call else ([], named)
        forward, forwarded = self._forward()
        cases = self._cases()
        self._check_order(cases)
        every = [*before, *calls]
        reads = self.reads.union(forwarded, *(reads for _, reads in every))
        parsed = _calls_parsed(templates_of([call for call, _ in every], cases))
        conditions = {path for plan, _ in calls if plan.when is not None for path in plan.when.reads}
        shared = self.reads.union(conditions, *(reads for _, reads in before))
        plan = AttemptPlan(
            when=None,
            before=tuple(replace(call, reads_reply=call.name in parsed) for call, _ in before),
            calls=tuple(
                replace(call, reads=read_tree(own | shared), reads_reply=call.name in parsed)
                for call, own in calls
            ),
            together=bool(spec.calls) and not spec.call,
            reads=read_tree(reads),
            forward=forward,
            watched=_watched([call for call, _ in every], forward),
            cases=cases,
            first_case=self.first_case,
            streams=bool(calls) and any(case.stream or case.collect for case in cases),
            reads_reply=bool(calls) and self._reads_reply(cases),
        )
        return plan, reads

    def _forward(self) -> tuple[ForwardPlan | None, set[Path]]:
        if self.spec.forward is None:
            return None, set()
        self.calls.reads = set()
        plan = self.calls.forward(self.spec.forward)
        return plan, self.calls.reads

    # The answers

    def _cases(self) -> tuple[CasePlan, ...]:
        scope = self.context.respond_scope(self.params, self.has_call)
        if self.spec.calls:
            scope = scope.with_variables({"calls": Record(call_variables(self.spec.calls))})
        if self.is_builtin:
            scope = scope.with_payload(Atom("p", "object"))
        return tuple(self._case(case, scope, number) for number, case in enumerate(self.spec.respond))

    def _case(self, case: CaseSpec, scope: Scope, number: int) -> CasePlan:
        is_only = len(self.spec.respond) == 1 and not self.first_case
        label = "respond" if is_only else f"respond[{self.first_case + number}]"
        status = case.status
        return CasePlan(
            when=self._template(case.when, scope, f"{label}.when"),
            for_failures=case.when is not None and _reads_status(case.when.value),
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
        self.reads |= reads_of(plan)
        return plan

    def _collect(self, case: CaseSpec, scope: Scope, label: str) -> CollectPlan:
        assert case.collect is not None
        if not self.has_call:
            message = "'collect' reads the upstream's stream; this route calls none"
            self.findings.error("misused-stream", message, case.collect.node.key_span)
        plan = compile_collect(self.context, case.collect, scope, f"{self.label} {label}.collect")
        self.reads |= reads_of(plan)
        return plan

    def _check_order(self, cases: tuple[CasePlan, ...]) -> None:
        """Whether an answer streams is known before the upstream's body is there."""
        streaming = [number for number, case in enumerate(cases) if case.stream or case.collect]
        if not streaming or not self.has_call:
            return
        for case, written in zip(cases[: streaming[-1] + 1], self.spec.respond, strict=False):
            if case.when is not None and case.when.reads_reply and written.when is not None:
                message = "this is asked before the upstream's body is there: a stream may be the answer"
                self.findings.error("misused-stream", message, written.when.span)

    def _status(self, node: Node, scope: Scope, label: str) -> int | Compiled:
        status = self.context.status(node, scope, f"{self.label} {label}.status")
        if not isinstance(status, int):
            self.reads |= status.reads
        return status

    def _template(self, node: Node | None, scope: Scope, what: str) -> Compiled | None:
        compiled = self.context.template(node, scope, f"{self.label} {what}")
        if compiled is not None:
            self.reads |= compiled.reads
        return compiled

    def _reads_reply(self, cases: Iterable[CasePlan]) -> bool:
        """Whether any answer needs the upstream's body parsed."""
        parts = (part for case in cases for part in (case.when, case.status, case.headers, case.body))
        return any(isinstance(part, Compiled) and part.reads_reply for part in parts)


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


def _calls_parsed(templates: Iterable[Compiled]) -> set[str]:
    """The calls whose answers' bodies are read by `$calls`."""
    return {name for template in templates for name in _CALL_BODY_READ.findall(template.source)}


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


def _reads_status(value: object) -> bool:
    return isinstance(value, str) and bool(_STATUS_READ.search(value))


def read_tree(paths: Iterable[Path]) -> ReadTree:
    """The fields read, as a tree; what is read whole covers all below it, what is only asked for nothing."""
    tree: dict[str | int, ReadTree] = {}
    for path in sorted(paths, key=len):
        if not path:
            return True
        branch: ReadTree = tree
        for step in path[:-1]:
            branch = branch if branch is True else branch.setdefault(step, {})  # type: ignore[union-attr]
        if isinstance(branch, dict) and path[-1] != SHELL:
            branch[path[-1]] = True
    return tree
