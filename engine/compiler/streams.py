"""Compiles streaming responses: framings, state, rules, event names and end markers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.compiler.context import MappingContext
from engine.compiler.rules import Stage, compile_rules
from engine.language.codegen import Atom, Compiled
from engine.language.expressions import Scope, Variable, Withheld
from engine.language.spec import CollectSpec, RuleSpec, StreamSpec
from engine.language.uses import VariableOrigin
from engine.locations import Node
from engine.plan import CollectPlan, StreamPlan, TranslationPlan

EVENT: Final = Atom("p", origin=VariableOrigin(("event",)))
ERROR: Final = Atom("p", origin=VariableOrigin(("error",)))
_WHOLE_STATE: Final = Atom("x.state", "object", VariableOrigin(("state",)))
_NOT_OVER: Final = Withheld("unknown-variable", "whether the end marker was received is known only in 'end'")
_TRANSLATING: Final = ("from", "state", "rules", "end", "error")
_WRITING: Final = ("emit", "every")


def compile_stream(
    context: MappingContext, spec: StreamSpec, scope: Scope, label: str, has_call: bool
) -> StreamPlan:
    """The plan of a streaming response."""
    framing, options = framing_of(spec.to)
    name = options.get("event") if options else None
    names = scope.with_payload(EVENT)
    done = options.value.get("done") if options else None
    _check_keys(context, spec, has_call)
    return StreamPlan(
        translation=_translation(context, spec, scope, label) if has_call else None,
        framing=framing,
        event=context.template(name, names, f"{label}.to.event"),
        done=done.encode() if done else None,
        emit=context.template(spec.emit, scope, f"{label}.emit"),
        every=context.seconds(spec.every) or 0.0,
        keep_alive=context.seconds(spec.keep_alive),
    )


def compile_collect(context: MappingContext, spec: CollectSpec, scope: Scope, label: str) -> CollectPlan:
    """The plan of a stream that is read to its end."""
    return CollectPlan(_translation(context, spec, scope, label))


def _translation(
    context: MappingContext, spec: StreamSpec | CollectSpec, scope: Scope, label: str
) -> TranslationPlan:
    framing, options = framing_of(spec.from_) if spec.from_ is not None else (None, None)
    done = options.value.get("done") if options else None
    wrap = framing_of(spec.to)[1] if isinstance(spec, StreamSpec) else None
    state = spec.state
    names = tuple(state.value) if state is not None else ()

    def rules(
        found: tuple[RuleSpec, ...], payload: Atom, what: str, is_done: Variable = _NOT_OVER
    ) -> Compiled | None:
        below = scope.with_payload(payload).with_variables({"done": is_done})
        stage = Stage(wrap=wrap.get("wrap") if wrap is not None and what != "error" else None)
        return compile_rules(
            context.templates, found, below, names, spec.node, f"{label}.{what}", what == "rules", stage
        )

    end = rules(spec.end, _WHOLE_STATE, "end", Atom("x.done", "boolean", VariableOrigin(("done",))))
    return TranslationPlan(
        framing=framing,
        done=done.encode() if done else None,
        state=initial_state(context, state, scope, label),
        rules=rules(spec.rules, EVENT, "rules"),
        ends=() if end is None else (end,),
        error=rules(spec.error, ERROR, "error") if isinstance(spec, StreamSpec) else None,
    )


def initial_state(
    context: MappingContext, state: Node | None, scope: Scope, label: str
) -> tuple[tuple[str, Compiled], ...]:
    """The names of a stream's state with the templates of their initial values."""
    if state is None:
        return ()
    empty = scope.with_payload(Atom("p", "null"))
    return tuple(
        (name, context.templates.compile(state[name], empty, f"{label}.state.{name}")) for name in state.value
    )


def stream_templates(plan: StreamPlan | CollectPlan) -> Iterator[Compiled]:
    """All templates and rules of a stream."""
    parts: list[Compiled | None] = [plan.event, plan.emit] if isinstance(plan, StreamPlan) else []
    translation = plan.translation
    if translation is not None:
        parts += [template for _, template in translation.state]
        parts += [translation.rules, *translation.ends, translation.error]
    return (part for part in parts if part is not None)


def framing_of(node: Node) -> tuple[str, Node | None]:
    """The name and options of a framing: `sse`, or `{sse: {…}}`."""
    if isinstance(node.value, str):
        return node.value, None
    name, options = next(iter(node.items()))
    return name, options if isinstance(options.value, dict) else None


def _check_keys(context: MappingContext, spec: StreamSpec, has_call: bool) -> None:
    """Report keys that do not match the source of events: the upstream, or `emit` without a call."""
    wrong, why = (_WRITING, "without a call") if has_call else (_TRANSLATING, "with a call")
    for name in wrong:
        node = spec.node.get(name)
        if node is not None:
            context.findings.error("misused-stream", f"'{name}' is only allowed {why}", node.key_span)
    options = framing_of(spec.to)[1]
    wrap = options.get("wrap") if options is not None and not has_call else None
    if wrap is not None:
        context.findings.error("misused-stream", "'wrap' is only allowed with a call", wrap.key_span)
    needed, where = ("rules", "with a call") if has_call else ("emit", "without a call")
    if spec.node.get(needed) is None:
        context.findings.error("misused-stream", f"a stream {where} requires '{needed}'", spec.node.key_span)
