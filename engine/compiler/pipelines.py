"""Compiles pipelines: a reader, templates and a writer, which describe a response once.

Contract: every stage is compiled in its own scope. A reader and a writer have their own `$state`, and
templates have none. What cannot work (two readers, a template after the writer) is a finding at the stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from engine.compiler.context import MappingContext
from engine.compiler.merge_rules import compile_merge
from engine.compiler.rules import Stage, compile_rules
from engine.compiler.streams import ERROR, EVENT, framing_of, initial_state
from engine.diagnostics import suggestion
from engine.language.codegen import Atom, Compiled, Writer
from engine.language.expressions import Scope, Variable, Withheld
from engine.language.spec import CaseSpec, PartsSpec, RuleSpec, read_parts
from engine.language.templates import TemplateWriter
from engine.language.uses import VariableOrigin
from engine.locations import Node
from engine.plan import PipelinePlan, StreamPlan, TranslationPlan

#: What the keys of a writer's state begin with; a name of a state has no such character.
_WRITER: Final = ">"
_READER_KEYS: Final = ("from", "complete", "eof")
_WRITER_KEYS: Final = ("to", "start", "error", "keep_alive")

_NULL: Final = Atom("None", "null", is_constant=True)
_PART: Final = Atom("p", origin=VariableOrigin(("part",)))
_PARTIAL: Final = Atom("x.is_partial", "boolean", VariableOrigin(("partial",)))
_DONE: Final = Atom("x.done", "boolean", VariableOrigin(("done",)))
_STATELESS: Final = (
    "a template of a pipeline has no '{}': let the reader or the writer add what depends on it"
)
_NOT_READ: Final = Withheld("misused-pipeline", "the response is read by the reader; use the payload")


@dataclass(frozen=True, slots=True)
class _Stages:
    """The stages of a pipeline, in order."""

    reader: PartsSpec | None
    templates: tuple[Node, ...]
    writer: PartsSpec | None
    named: tuple[tuple[str, PartsSpec | Node], ...]


def compile_pipeline(context: MappingContext, case: CaseSpec, scope: Scope, label: str) -> PipelinePlan:
    """The plan of a response with a `pipeline`."""
    return _PipelineCompiler(context, case, scope, label).compile()


def pipeline_templates(plan: PipelinePlan) -> Iterator[Compiled]:
    """All templates and rules of a pipeline."""
    parts: list[Compiled | None] = [plan.complete, plan.translate, plan.write, plan.stream_when, plan.start]
    for translation in (plan.read, plan.whole):
        parts += [template for _, template in translation.state]
        parts += [translation.rules, *translation.ends, translation.error]
    if plan.stream is not None:
        parts.append(plan.stream.event)
    return (part for part in parts if part is not None)


class _StreamCompiler:
    """Compiles the readers and writers of one response."""

    def __init__(self, context: MappingContext, scope: Scope, label: str) -> None:
        self.context = context
        self.scope = scope
        self.label = label

    def read(self, reader: PartsSpec | None) -> TranslationPlan:
        if reader is None:
            return TranslationPlan(None, None, (), None, (), None)
        name, options = framing_of(reader.from_) if reader.from_ is not None else (None, None)
        done = options.value.get("done") if options else None
        end = self.rules(reader, "end", _NULL, "", {"done": _DONE})
        return TranslationPlan(
            framing=name,
            done=done.encode() if done else None,
            state=self.state(reader, ""),
            rules=self.rules(reader, "rules", EVENT, ""),
            ends=() if end is None else (end,),
            error=None,
            needs_done=bool(done) and reader.eof != "ok",
        )

    def complete(self, reader: PartsSpec | None) -> Compiled | None:
        """The template that gives a complete response the shape of the partial ones."""
        node = None if reader is None else reader.complete
        return self.context.template(node, self.scope.with_payload(EVENT), f"{self.label}.complete")

    def state(self, stream: PartsSpec | None, prefix: str) -> tuple[tuple[str, Compiled], ...]:
        if stream is None or stream.state is None:
            return ()
        found = initial_state(self.context, stream.state, self.scope, self.label)
        return tuple((prefix + name, template) for name, template in found)

    def rules(
        self,
        stream: PartsSpec,
        what: str,
        payload: Atom,
        prefix: str,
        variables: Mapping[str, Variable] | None = None,
        rules: tuple[RuleSpec, ...] | None = None,
    ) -> Compiled | None:
        stage = Stage(
            prefix=prefix,
            is_reader=not prefix,
            wrap=self.wrap(stream) if prefix and what in ("rules", "end") else None,
        )
        return compile_rules(
            self.context.templates,
            getattr(stream, what) if rules is None else rules,
            self.scope.with_payload(payload).with_variables(variables or {}),
            _names(stream),
            stream.node,
            f"{self.label}.{what}",
            what == "rules",
            stage,
        )

    def wrap(self, writer: PartsSpec) -> Node | None:
        assert writer.to is not None
        _, options = framing_of(writer.to)
        return options.get("wrap") if options else None

    def start(self, writer: PartsSpec) -> Compiled | None:
        if writer.start is None:
            return None
        rule = RuleSpec(
            node=writer.node, when=None, each=None, set=None, emit=writer.start, rules=(), stop=False
        )
        return self.rules(writer, "start", _NULL, _WRITER, rules=(rule,))


class _PipelineCompiler:
    """Compiles one pipeline."""

    def __init__(self, context: MappingContext, case: CaseSpec, scope: Scope, label: str) -> None:
        self.context = context
        self.findings = context.findings
        self.case = case
        self.scope = scope
        self.label = label
        self.streams = _StreamCompiler(context, scope, label)

    def compile(self) -> PipelinePlan:
        stages = self._stages()
        reader, writer = stages.reader, stages.writer
        self._check_stream_when(writer)
        read = self.streams.read(reader)
        state, ends, error = self._writer_parts(writer)
        scope = self._template_scope()
        return PipelinePlan(
            read=read,
            whole=TranslationPlan(None, None, state, None, ends, error),
            complete=self.streams.complete(reader),
            merge=compile_merge(self.context, reader),
            translate=self._translate(stages, scope),
            stream=None if writer is None else self._stream(writer, read, (*read.state, *state), ends, error),
            write=None if writer is None else self._write(stages, writer, scope),
            stream_when=self.context.template(
                self.case.stream_when, self._request_scope(), f"{self.label}.stream_when"
            ),
            client_merge=None
            if writer is None or writer.merge is None
            else compile_merge(self.context, writer),
            span=self.case.node["pipeline"].key_span,
            stages=stages.named,
            start=None if writer is None else self.streams.start(writer),
        )

    # The stages, and their order

    def _stages(self) -> _Stages:
        reader: PartsSpec | None = None
        writer: PartsSpec | None = None
        templates: list[Node] = []
        named: list[tuple[str, PartsSpec | Node]] = []
        for node in self.case.pipeline:
            found = self._stage(node)
            if found is None:
                continue
            named.append(("" if isinstance(node.value, dict) else str(node.value), found))
            if writer is not None:
                self._misplaced(node, "a writer is the last stage of a pipeline")
            elif isinstance(found, Node):
                templates.append(found)
            elif found.to is not None:
                writer = found
            elif reader is not None or templates:
                what = "a pipeline has one reader" if reader else "a reader is the first stage of a pipeline"
                self._misplaced(node, what)
            else:
                reader = found
        return _Stages(reader, tuple(templates), writer, tuple(named))

    def _misplaced(self, node: Node, message: str) -> None:
        self.findings.error("misused-pipeline", message, node.span)

    def _stage(self, node: Node) -> Node | PartsSpec | None:
        """The stream or the template of one stage; None after a finding."""
        if isinstance(node.value, dict):
            spec = read_parts(node)
            self._check_keys(spec)
            return spec
        streams, templates = self.context.spec.streams, self.context.templates.named
        name = str(node.value)
        if name in streams:
            self.context.templates.used.add(name)
            return streams[name]
        if name in templates:
            self.context.templates.used.add(name)
            return templates[name]
        hint = suggestion(name, [*streams, *templates])
        self.findings.error("unknown-stage", f"no stream and no template is named '{name}'", node.span, hint)
        return None

    def _check_keys(self, spec: PartsSpec) -> None:
        check_parts(self.context, spec)

    def _check_stream_when(self, writer: PartsSpec | None) -> None:
        wanted = self.case.stream_when
        if wanted is None and writer is not None:
            message = "without 'stream_when' no client gets the events of the writer"
            self.findings.error("misused-pipeline", message, self.case.node["pipeline"].key_span)
        if wanted is not None and writer is None:
            message = "'stream_when' needs a writer, a stream with 'to', as the last stage"
            self.findings.error("misused-pipeline", message, wanted.key_span)

    # Scopes

    def _request_scope(self) -> Scope:
        """The scope of what is evaluated before the upstream's response is read."""
        return replace(self.scope.with_variables({"upstream": _NOT_READ}), payload=_NULL)

    def _template_scope(self) -> Scope:
        """The scope of the templates: no state, and functions that agree for all parts."""
        stateless: dict[str, Variable] = {
            name: Withheld("misused-pipeline", _STATELESS.format(f"${name}")) for name in ("state", "emitted")
        }
        return replace(self.scope.with_payload(_PART).with_variables(stateless), steady_loops=0)

    # Templates and the writer

    def _translate(self, stages: _Stages, scope: Scope) -> Compiled:
        """The function of the templates for a complete response."""
        complete = scope.with_variables({"partial": _PARTIAL})
        templates = self.context.templates

        def write(writer: Writer) -> None:
            template = TemplateWriter(templates, writer, complete)
            body = _chain(template, stages.templates, complete)
            writer.use(body)
            writer.line(f"return ABSENT if {body.source} is None else {body.source}")

        return templates.write(self.case.node, f"{self.label}.pipeline", write)

    def _writer_parts(
        self, writer: PartsSpec | None
    ) -> tuple[tuple[tuple[str, Compiled], ...], tuple[Compiled, ...], Compiled | None]:
        """The initial state of the writer, what it does at the end, and after an error."""
        if writer is None:
            return (), (), None
        end = self.streams.rules(writer, "end", _NULL, _WRITER)
        error = self.streams.rules(writer, "error", ERROR, _WRITER)
        return self.streams.state(writer, _WRITER), () if end is None else (end,), error

    def _stream(
        self,
        writer: PartsSpec,
        read: TranslationPlan,
        state: tuple[tuple[str, Compiled], ...],
        ends: tuple[Compiled, ...],
        error: Compiled | None,
    ) -> StreamPlan:
        assert writer.to is not None
        framing, options = framing_of(writer.to)
        name = options.get("event") if options else None
        done = options.value.get("done") if options else None
        translation = replace(read, state=state, ends=(*read.ends, *ends), error=error)
        return StreamPlan(
            translation=translation,
            framing=framing,
            event=self.context.template(name, self.scope.with_payload(EVENT), f"{self.label}.to.event"),
            done=done.encode() if done else None,
            emit=None,
            every=0.0,
            keep_alive=self.context.seconds(writer.keep_alive),
        )

    def _write(self, stages: _Stages, writer: PartsSpec, scope: Scope) -> Compiled | None:
        """The function of the templates and the writer's rules for one part, or for a complete response."""
        partial = scope.with_variables({"partial": _PARTIAL})
        nodes = stages.templates

        def translate(template: TemplateWriter) -> Atom:
            return _chain(template, nodes, partial)

        return compile_rules(
            self.context.templates,
            writer.rules,
            self.scope.with_payload(_PART),
            _names(writer),
            writer.node,
            f"{self.label}.rules",
            True,
            Stage(prefix=_WRITER, wrap=self.streams.wrap(writer), translate=translate),
        )


def _names(stream: PartsSpec) -> tuple[str, ...]:
    return () if stream.state is None else tuple(stream.state.value)


def _chain(template: TemplateWriter, nodes: tuple[Node, ...], scope: Scope) -> Atom:
    """Write templates, each with the value of the previous one as its payload; returns the last value."""
    payload = template.writer.item(scope.payload)
    for node in nodes:
        with template.within(scope.with_payload(payload)):
            payload = template.writer.bound(template.bind(node))
    return payload


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
    compiler = _StreamCompiler(context, context.respond_scope({}, has_call=True), f"streams.{name}")
    if stream.to is None:
        compiler.read(stream)
        compiler.complete(stream)
        compile_merge(context, stream)
        return
    for part, payload in (("rules", _PART), ("end", _NULL), ("error", ERROR)):
        compiler.rules(stream, part, payload, _WRITER)
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
