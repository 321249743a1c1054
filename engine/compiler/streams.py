"""Compiles streams: the readers and writers of pipelines, and streams that are generated without a call.

Contract: a reader and a writer have their own `$state`, though there is one dict at request time. Keys that
do not belong together are findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.compiler.context import MappingContext
from engine.compiler.merge_rules import compile_merge
from engine.compiler.rules import Rules, Stage, Translate
from engine.language.codegen import Atom, Compiled
from engine.language.expressions import Record, Scope, Variable, Withheld
from engine.language.spec import PartsSpec, RuleSpec, StreamSpec
from engine.language.uses import VariableOrigin
from engine.locations import Node
from engine.plan import StreamPlan, TranslationPlan

#: What the keys of a writer's state begin with; a name of a state has no such character.
WRITER: Final = ">"
_READER_KEYS: Final = ("from", "complete", "eof")
_WRITER_KEYS: Final = ("to", "start", "error", "keep_alive")

NULL: Final = Atom("None", "null", is_constant=True)
EVENT: Final = Atom("p", origin=VariableOrigin(("event",)))
PART: Final = Atom("p", origin=VariableOrigin(("part",)))
ERROR: Final = Atom("p", origin=VariableOrigin(("error",)))
_DONE: Final = Atom("x.done", "boolean", VariableOrigin(("done",)))
_UNKNOWN_DONE: Final = Withheld(
    "unknown-variable", "whether the end marker was received is known only in 'end' of a reader"
)
_EVENT_FIELDS: Final = Record(
    {
        "name": Atom("x.event[1]", origin=VariableOrigin(("upstream_event", "name"))),
        "id": Atom("x.event[2]", origin=VariableOrigin(("upstream_event", "id"))),
    }
)
_NO_EVENT: Final = Withheld("unknown-variable", "'$event' is known only in 'rules' of a reader")


class StreamCompiler:
    """Compiles the readers and writers of one response."""

    def __init__(self, context: MappingContext, scope: Scope, label: str) -> None:
        self.context = context
        self.scope = scope.with_variables({"done": _UNKNOWN_DONE, "event": _NO_EVENT})
        self.label = label

    def read(self, reader: PartsSpec | None) -> TranslationPlan:
        """How the upstream's events become partial responses; without a reader, each event is one."""
        if reader is None:
            return TranslationPlan(None, None, (), None, (), None)
        name, options = framing_of(reader.from_) if reader.from_ is not None else (None, None)
        done = options.value.get("done") if options else None
        end = self.rules(reader, "end", NULL, "", {"done": _DONE})
        return TranslationPlan(
            framing=name,
            done=done.encode() if done else None,
            state=self.state(reader, ""),
            rules=self.event_rules(reader).compile(reader.node, f"{self.label}.rules"),
            ends=() if end is None else (end,),
            error=None,
            needs_done=bool(done) and reader.eof != "ok",
            takes_text=options is not None and options.value.get("data") == "text",
        )

    def complete(self, reader: PartsSpec | None) -> Compiled | None:
        """The template that gives a complete response the shape of the partial ones."""
        node = None if reader is None else reader.complete
        return self.context.template(node, self.scope.with_payload(EVENT), f"{self.label}.complete")

    def state(self, stream: PartsSpec | None, prefix: str) -> tuple[tuple[str, Compiled], ...]:
        """The names of a stream's state, with the templates of their initial values."""
        if stream is None or stream.state is None:
            return ()
        templates, scope = self.context.templates, self.scope.with_payload(NULL)
        return tuple(
            (prefix + name, templates.compile(node, scope, f"{self.label}.state.{name}"))
            for name, node in stream.state.items()
        )

    def rules(
        self,
        stream: PartsSpec,
        what: str,
        payload: Atom,
        prefix: str,
        variables: Mapping[str, Variable] | None = None,
        rules: tuple[RuleSpec, ...] | None = None,
    ) -> Compiled | None:
        """One function for the rules `what` of a stream; None without rules."""
        wrap = self.wrap(stream) if prefix and what in ("rules", "end") else None
        found = getattr(stream, what) if rules is None else rules
        scope = self.scope.with_payload(payload).with_variables(variables or {})
        stage = Stage(prefix, not prefix, wrap)
        is_repeated = what == "rules"
        written = Rules(self.context.templates, found, scope, state_names(stream), is_repeated, stage)
        return written.compile(stream.node, f"{self.label}.{what}")

    def event_rules(self, reader: PartsSpec) -> Rules:
        """The rules of a reader for one event."""
        return self._rules_of(reader, EVENT, Stage(is_reader=True), {"event": _EVENT_FIELDS})

    def part_rules(self, writer: PartsSpec, translate: Translate) -> Rules:
        """The templates and the rules of a writer for one part."""
        return self._rules_of(writer, PART, Stage(WRITER, wrap=self.wrap(writer), translate=translate))

    def _rules_of(
        self, stream: PartsSpec, payload: Atom, stage: Stage, variables: Mapping[str, Variable] | None = None
    ) -> Rules:
        scope = self.scope.with_payload(payload).with_variables(variables or {})
        return Rules(self.context.templates, stream.rules, scope, state_names(stream), True, stage)

    def wrap(self, writer: PartsSpec) -> Node | None:
        """The envelope of a writer's events."""
        assert writer.to is not None
        _, options = framing_of(writer.to)
        return options.get("wrap") if options else None

    def start(self, writer: PartsSpec) -> Compiled | None:
        """The function that emits the events that a writer sends first."""
        if writer.start is None:
            return None
        rule = RuleSpec(
            node=writer.node, when=None, each=None, set=None, emit=writer.start, rules=(), stop=False
        )
        return self.rules(writer, "start", NULL, WRITER, rules=(rule,))


def compile_generated_stream(
    context: MappingContext, spec: StreamSpec, scope: Scope, label: str
) -> StreamPlan:
    """The plan of a stream whose events are the value of `emit`."""
    framing, options = framing_of(spec.to)
    name, identifier = (options.get("event"), options.get("id")) if options else (None, None)
    wrap = options.get("wrap") if options else None
    done = options.value.get("done") if options else None
    if wrap is not None:
        message = "'wrap' is only allowed in the writer of a pipeline"
        context.findings.error("misused-stream", message, wrap.key_span)
    return StreamPlan(
        translation=None,
        framing=framing,
        event=context.template(name, scope.with_payload(EVENT), f"{label}.to.event"),
        identifier=context.template(identifier, scope.with_payload(EVENT), f"{label}.to.id"),
        done=done.encode() if done else None,
        emit=context.template(spec.emit, scope, f"{label}.emit"),
        every=context.seconds(spec.every) or 0.0,
        keep_alive=context.seconds(spec.keep_alive),
    )


def framing_of(node: Node) -> tuple[str, Node | None]:
    """The name and options of a framing: `sse`, or `{sse: {…}}`."""
    if isinstance(node.value, str):
        return node.value, None
    name, options = next(iter(node.items()))
    return name, options if isinstance(options.value, dict) else None


def state_names(stream: PartsSpec) -> tuple[str, ...]:
    """The names of a stream's state."""
    return () if stream.state is None else tuple(stream.state.value)


def check_streams(context: MappingContext) -> None:
    """Report streams that cannot be used, and compile those that no pipeline uses, to report their errors."""
    own = context.spec.node.get("streams")
    for name, node in own.items() if own else ():
        stream = context.spec.streams.get(name)
        if stream is None:
            continue
        if name in context.templates.named:
            message = f"'{name}' is also the name of a template"
            context.findings.error("duplicate-name", message, node.key_span)
        check_parts(context, stream)
        if name not in context.templates.used:
            _compile_unused(context, name, stream)


def _compile_unused(context: MappingContext, name: str, stream: PartsSpec) -> None:
    """Compile a stream that no pipeline of this file uses, to report its errors."""
    compiler = StreamCompiler(context, context.unused_scope(), f"streams.{name}")
    if stream.to is None:
        compiler.read(stream)
        compiler.complete(stream)
        compile_merge(context, stream)
        return
    for part, payload in (("rules", PART), ("end", NULL), ("error", ERROR)):
        compiler.rules(stream, part, payload, WRITER)
    compiler.start(stream)


def check_parts(context: MappingContext, spec: PartsSpec) -> None:
    """Report keys of a stream that do not belong together."""
    wrong, what = (_READER_KEYS, "a writer") if spec.to is not None else (_WRITER_KEYS, "a reader")
    for key in wrong:
        node = spec.node.get(key)
        if node is not None:
            hint = "a stream with 'to' is a writer, any other one a reader"
            context.findings.error("misused-pipeline", f"{what} has no '{key}'", node.key_span, hint)
    if spec.to is not None and not spec.rules:
        context.findings.error("misused-pipeline", "a writer requires 'rules'", spec.node.key_span)
