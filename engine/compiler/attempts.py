"""Compiles attempts: their calls and responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.compiler.calls import CallCompiler, calls_variable
from engine.compiler.context import MappingContext
from engine.compiler.pipelines import compile_pipeline, pipeline_templates
from engine.compiler.reachability import is_unconditional, warn_of_unreachable
from engine.compiler.reads import RESPONSE_BODY, RESPONSE_STATUS, calls_parsed, client_fields, read_tree
from engine.compiler.streams import compile_generated_stream
from engine.compiler.written_keys import has_key, is_misspelled
from engine.language.codegen import Atom, Compiled
from engine.language.expressions import Scope
from engine.language.spec import AttemptSpec, CaseSpec
from engine.language.uses import Uses, VariableOrigin
from engine.locations import Node
from engine.plan import (
    AttemptPlan,
    CallPlan,
    CasePlan,
    ForwardPlan,
    PipelinePlan,
    StreamPlan,
    UpstreamPlan,
    upstreams_of,
)

_RESPOND = "'respond: { body: \"${ @ }\" }' returns the upstream's body"
#: Keys of which an attempt has at most one.
_ACTIONS = ("call", "calls", "forward")
#: The exception: named calls are made before the `call` whose response is used.
_COMBINABLE = ("call", "calls")


@dataclass(slots=True)
class AttemptCompiler:
    """Compiles the attempts of one route.

    Attributes:
        is_builtin: the engine produces the payload of the responses.
        has_body: whether the method is one whose requests have a body.
        notes_nulls: report nulls in the client's body that a call omits, because there they have a meaning.
        counted: the fields of a response that the counts of `usage` depend on; None if these are not known.
        uses: the variables that the templates of all attempts read.
        conditions: the variables that the `when` of the attempts read.
    """

    context: MappingContext
    upstreams: Mapping[str, UpstreamPlan]
    params: Mapping[str, str]
    label: str
    is_builtin: bool = False
    has_body: bool = True
    notes_nulls: bool = False
    counted: frozenset[str] | None = frozenset()
    cases: int = 0
    uses: list[Uses] = field(default_factory=list)
    conditions: list[Uses] = field(default_factory=list)

    def compile(self, spec: AttemptSpec) -> AttemptPlan:
        """The plan of one attempt. The reads of its calls include those of its `when` and of earlier ones."""
        check_actions(self.context, spec)
        when = self.context.template(
            spec.when, self.context.call_scope(self.params), f"{self.label} try.when"
        )
        if when is not None:
            self.conditions.append(when.uses)
        plan, uses = _SingleAttemptCompiler(self, spec).compile()
        self.uses.append(uses)
        self.cases += len(plan.cases)
        return replace(plan, when=when)


class _SingleAttemptCompiler:
    """Compiles one attempt."""

    def __init__(self, owner: AttemptCompiler, spec: AttemptSpec) -> None:
        self.context = owner.context
        self.findings = owner.context.findings
        self.spec = spec
        self.params = owner.params
        self.label = owner.label
        self.first_case = owner.cases
        self.counted = owner.counted
        self.is_builtin = owner.is_builtin
        self.has_body = owner.has_body
        self.has_call = has_key(spec.node, "call") or has_key(spec.node, "calls")
        self.calls = CallCompiler(
            owner.context, owner.upstreams, owner.params, owner.label, owner.notes_nulls
        )
        self.uses = list(owner.conditions)

    def compile(self) -> tuple[AttemptPlan, Uses]:
        """The attempt's plan, and the variables that its templates read."""
        spec = self.spec
        named, alternatives = self.calls.named_calls(spec), self.calls.alternatives(spec)
        before, calls = (named, alternatives) if spec.call else ([], named)
        forward, forwarded = self._forward()
        cases = self._cases()
        self._check_order(cases)
        self._check_reachable(cases)
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
            makes_all_calls=bool(spec.calls) and not spec.call,
            reads=read_tree(client_fields(uses)),
            forward=forward,
            health_checked=_health_checked([call for call, _ in every], forward),
            cases=cases,
            first_case=self.first_case,
            reads_upstream_body=bool(calls) and self._reads_upstream_body(cases),
        )
        return plan, uses

    def _forward(self) -> tuple[ForwardPlan | None, Uses]:
        if self.spec.forward is None:
            return None, Uses()
        return self.calls.forward(self.spec.forward)

    # Responses

    def _cases(self) -> tuple[CasePlan, ...]:
        has_body = self.has_body or self.is_builtin
        scope = self.context.respond_scope(self.params, self.has_call, has_body)
        if self.spec.calls:
            scope = scope.with_variables({"calls": calls_variable(self.spec.calls)})
        if self.is_builtin:
            scope = scope.with_payload(Atom("p", "object", VariableOrigin(("health",))))
        return tuple(self._case(case, scope, number) for number, case in enumerate(self.spec.respond))

    def _condition_scope(self, scope: Scope) -> Scope:
        """The scope of a condition: it may read secrets, as its result exposes none; texts may not."""
        environment = self.context.environment
        variables = {**scope.variables, "env": environment.variables(secrets=True)["env"]}
        return replace(scope, variables=variables, message_variables=environment.displayable())

    def _case(self, case: CaseSpec, scope: Scope, number: int) -> CasePlan:
        is_only = len(self.spec.respond) == 1 and not self.first_case
        label = "respond" if is_only else f"respond[{self.first_case + number}]"
        when = self._template(case.when, self._condition_scope(scope), f"{label}.when")
        return CasePlan(
            when=when,
            handles_errors=when is not None and when.uses.refers_to(RESPONSE_STATUS),
            status=self._status(case.status, scope, label),
            headers=self._template(case.headers, scope, f"{label}.headers"),
            body=self._body(case, scope, label),
            stream=self._stream(case, scope, label),
            pipeline=self._pipeline(case, scope, label),
        )

    def _body(self, case: CaseSpec, scope: Scope, label: str) -> Compiled | None:
        if case.body is not None and case.stream is not None:
            message = "a response has either a body or a stream, not both"
            self.findings.error("misused-stream", message, case.body.key_span)
        return self._template(case.body, scope, f"{label}.body")

    def _stream(self, case: CaseSpec, scope: Scope, label: str) -> StreamPlan | None:
        """The plan of a stream that is generated without a call."""
        if self.has_call and has_key(case.node, "stream"):
            message = "'stream' generates events without a call, but this route calls an upstream"
            hint = "use 'pipeline', with 'stream_when', to translate the upstream's response"
            written = Node(case.node.document, (*case.node.path, "stream"), None)
            self.findings.error("misused-stream", message, written.key_span, hint)
        if case.stream is None or self.has_call:
            return None
        plan = compile_generated_stream(self.context, case.stream, scope, f"{self.label} {label}.stream")
        templates = (plan.event, plan.identifier, plan.emit)
        self.uses += (template.uses for template in templates if template is not None)
        return plan

    def _pipeline(self, case: CaseSpec, scope: Scope, label: str) -> PipelinePlan | None:
        if not case.pipeline:
            if case.stream_when is not None and not has_key(case.node, "pipeline"):
                message = "'stream_when' is only allowed with 'pipeline'"
                self.findings.error("misused-pipeline", message, case.stream_when.key_span)
            return None
        self._check_pipeline(case)
        plan = compile_pipeline(self.context, case, scope, f"{self.label} {label}", self.counted)
        self.uses += (template.uses for template in pipeline_templates(plan))
        return plan

    def _check_pipeline(self, case: CaseSpec) -> None:
        """Report what cannot be combined with a pipeline."""
        if not self.has_call:
            message = "'pipeline' reads an upstream's response, but this route calls no upstream"
            self.findings.error("misused-pipeline", message, case.node["pipeline"].key_span)
        if case.body is not None:
            message = "a response has either a pipeline or 'body', not both"
            self.findings.error("misused-pipeline", message, case.body.key_span)

    def _check_order(self, cases: tuple[CasePlan, ...]) -> None:
        """Report conditions that read the upstream's body although a streaming response may follow."""
        streaming = [number for number, case in enumerate(cases) if case.pipeline is not None]
        if not streaming or not self.has_call:
            return
        for case, written in zip(cases[: streaming[-1] + 1], self.spec.respond, strict=False):
            if _reads_response(case.when) and written.when is not None:
                message = "this is evaluated before the upstream's body is read, as the response may stream"
                self.findings.error("misused-stream", message, written.when.span)

    def _check_reachable(self, cases: tuple[CasePlan, ...]) -> None:
        """Warn of cases after one without a condition; those for failed calls are selected separately."""
        found = [
            (written.node, is_unconditional(written), self._is_for_failures(case))
            for case, written in zip(cases, self.spec.respond, strict=True)
        ]
        warn_of_unreachable("unreachable-case", found, self.findings)

    def _is_for_failures(self, case: CasePlan) -> bool:
        """Whether a case is, or may be meant, for failed calls."""
        return self.has_call and (case.handles_errors or self.findings.has_errors)

    def _status(self, written: Node | int, scope: Scope, label: str) -> int | Compiled:
        status = self.context.status(written, scope, f"{self.label} {label}.status")
        if not isinstance(status, int):
            self.uses.append(status.uses)
        return status

    def _template(self, node: Node | None, scope: Scope, what: str) -> Compiled | None:
        compiled = self.context.template(node, scope, f"{self.label} {what}")
        if compiled is not None:
            self.uses.append(compiled.uses)
        return compiled

    def _reads_upstream_body(self, cases: Iterable[CasePlan]) -> bool:
        """Whether any response reads the upstream's parsed body."""
        parts = (part for case in cases for part in (case.when, case.status, case.headers, case.body))
        return any(map(_reads_response, parts))


def templates_of(calls: Iterable[CallPlan], cases: Iterable[CasePlan]) -> Iterator[Compiled]:
    """All templates of calls and responses."""
    parts: list[object] = []
    for call in calls:
        parts += (call.when, call.query, call.headers, call.body, call.form, call.each)
        parts += (getattr(call.upstream, "template", None), *(part.template for part in call.path))
    for case in cases:
        parts += (case.when, case.status, case.headers, case.body)
        parts += () if case.stream is None else (case.stream.event, case.stream.emit)
        parts += () if case.pipeline is None else pipeline_templates(case.pipeline)
    return (part for part in parts if isinstance(part, Compiled))


def _health_checked(calls: Iterable[CallPlan], forward: ForwardPlan | None) -> tuple[str, ...]:
    """The upstreams whose health predicts that an attempt fails."""
    upstreams = upstreams_of(*calls, forward)
    return tuple(u.name for u in upstreams if isinstance(u, UpstreamPlan) and u.health is not None)


def _reads_response(part: object) -> bool:
    return isinstance(part, Compiled) and part.uses.refers_to(RESPONSE_BODY)


def check_actions(context: MappingContext, spec: AttemptSpec) -> None:
    """Report conflicting keys of an attempt, and a missing `respond`."""
    actions = [action for action in _ACTIONS if has_key(spec.node, action)]
    for action in [] if tuple(actions) == _COMBINABLE else actions[1:]:
        message = f"'{actions[0]}' and '{action}' cannot be combined"
        context.findings.error("misused-call", message, spec.node[action].key_span)
    responds = has_key(spec.node, "respond")
    if "forward" in actions and responds:
        message = "'forward' returns the upstream's response; 'respond' has no effect"
        context.findings.error("misused-call", message, spec.node["respond"].key_span)
    elif not responds and "forward" not in actions and not is_misspelled(spec.node, ("respond", *_ACTIONS)):
        context.findings.error("missing-key", "'respond' is missing", spec.node.key_span, _RESPOND)
