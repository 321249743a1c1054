"""Compiles pipelines: a reader, templates and a writer, which describe a response once.

Contract: every stage is compiled in its own scope, and templates have no `$state`. What cannot work (two
readers, a template after the writer) is a finding at the stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from engine.compiler.context import MappingContext
from engine.compiler.merge_rules import compile_merge
from engine.compiler.rules import Rules, Translate
from engine.compiler.streams import (
    ERROR,
    EVENT,
    NULL,
    PART,
    WRITER,
    StreamCompiler,
    check_parts,
    framing_of,
)
from engine.diagnostics import suggestion
from engine.language.codegen import Atom, Compiled, Writer
from engine.language.expressions import Scope, Variable, Withheld
from engine.language.spec import CaseSpec, PartsSpec, read_parts
from engine.language.templates import TemplateWriter
from engine.language.uses import VariableOrigin
from engine.locations import Node
from engine.plan import PipelinePlan, StreamPlan, TranslationPlan

_PARTIAL: Final = Atom("x.is_partial", "boolean", VariableOrigin(("partial",)))
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


def compile_pipeline(
    context: MappingContext, case: CaseSpec, scope: Scope, label: str, counted: frozenset[str] | None
) -> PipelinePlan:
    """The plan of a response with a `pipeline`.

    `counted` are the fields that the counts of `usage` depend on; None if these are not known.
    """
    return _PipelineCompiler(context, case, scope, label, counted).compile()


def pipeline_templates(plan: PipelinePlan) -> Iterator[Compiled]:
    """All templates and rules of a pipeline."""
    parts: list[Compiled | None] = [plan.complete, plan.translate, plan.stream_when, plan.start]
    for translation in (plan.read, plan.whole):
        parts += [template for _, template in translation.state]
        parts += [translation.rules, *translation.ends, translation.error]
    if plan.stream is not None:
        parts += (plan.stream.event, plan.stream.identifier, plan.stream.emit)
    return (part for part in parts if part is not None)


def _order_problem(
    found: PartsSpec | Node, reader: PartsSpec | None, templates: list[Node], writer: PartsSpec | None
) -> str | None:
    """Why a stage cannot follow the ones before it."""
    if writer is not None:
        return "a writer is the last stage of a pipeline"
    if isinstance(found, Node) or found.to is not None:
        return None
    if reader is not None:
        return "a pipeline has one reader"
    return "a reader is the first stage of a pipeline" if templates else None


class _PipelineCompiler:
    """Compiles one pipeline."""

    def __init__(
        self,
        context: MappingContext,
        case: CaseSpec,
        scope: Scope,
        label: str,
        counted: frozenset[str] | None,
    ) -> None:
        self.context = context
        self.counted = counted
        self.findings = context.findings
        self.case = case
        self.scope = scope
        self.label = label
        self.streams = StreamCompiler(context, scope, label)

    def compile(self) -> PipelinePlan:
        """The plan of the pipeline."""
        stages = self._stages()
        reader, writer = stages.reader, stages.writer
        self._check_stream_when(writer)
        read = self.streams.read(reader)
        whole = self._whole(writer)
        scope = self._template_scope()
        return PipelinePlan(
            read=read,
            whole=whole,
            complete=self.streams.complete(reader),
            merge=compile_merge(self.context, reader),
            translate=self._translate(stages, scope),
            stream=None if writer is None else self._stream(stages, writer, scope, read, whole),
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
            problem = _order_problem(found, reader, templates, writer)
            if problem is not None:
                self.findings.error("misused-pipeline", problem, node.span)
            elif isinstance(found, Node):
                templates.append(found)
            elif found.to is not None:
                writer = found
            else:
                reader = found
        return _Stages(reader, tuple(templates), writer, tuple(named))

    def _stage(self, node: Node) -> Node | PartsSpec | None:
        """The stream or the template of one stage; None after a finding."""
        if isinstance(node.value, dict):
            spec = read_parts(node)
            check_parts(self.context, spec)
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
        return replace(self.scope.with_variables({"upstream": _NOT_READ}), payload=NULL)

    def _template_scope(self) -> Scope:
        """The scope of the templates: no state, and functions that agree for all parts."""
        stateless: dict[str, Variable] = {
            name: Withheld("misused-pipeline", _STATELESS.format(f"${name}"))
            for name in ("state", "emitted", "done")
        }
        return replace(self.scope.with_payload(PART).with_variables(stateless), steady_loops=0)

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

    def _whole(self, writer: PartsSpec | None) -> TranslationPlan:
        """How a complete response is written: its only part, and what the writer does at the end."""
        if writer is None:
            return TranslationPlan(None, None, (), None, (), None)
        end = self.streams.rules(writer, "end", NULL, WRITER)
        error = self.streams.rules(writer, "error", ERROR, WRITER)
        state = self.streams.state(writer, WRITER)
        return TranslationPlan(None, None, state, None, () if end is None else (end,), error)

    def _stream(
        self, stages: _Stages, writer: PartsSpec, scope: Scope, read: TranslationPlan, whole: TranslationPlan
    ) -> StreamPlan:
        """The client's stream: what the reader does, and the writer."""
        assert writer.to is not None
        framing, options = framing_of(writer.to)
        name, identifier = (options.get("event"), options.get("id")) if options else (None, None)
        done = options.value.get("done") if options else None
        state, ends = (*read.state, *whole.state), (*read.ends, *whole.ends)
        event_scope = self.scope.with_payload(EVENT)
        written = self.streams.part_rules(writer, self._translation_of_parts(stages, scope))
        rules = self._fused(stages.reader, written) or read.rules
        return StreamPlan(
            translation=replace(read, state=state, rules=rules, ends=ends, error=whole.error),
            framing=framing,
            event=self.context.template(name, event_scope, f"{self.label}.to.event"),
            identifier=self.context.template(identifier, event_scope, f"{self.label}.to.id"),
            done=done.encode() if done else None,
            emit=written.compile(writer.node, f"{self.label}.rules"),
            every=0.0,
            keep_alive=self.context.seconds(writer.keep_alive),
        )

    def _translation_of_parts(self, stages: _Stages, scope: Scope) -> Translate:
        """Writes the templates for one part, or for a complete response."""
        partial = scope.with_variables({"partial": _PARTIAL})

        def translate(template: TemplateWriter, part: Atom) -> Atom:
            loops = template.writer.loops
            return _chain(template, stages.templates, replace(partial, payload=part, steady_loops=loops))

        return translate

    def _fused(self, reader: PartsSpec | None, written: Rules) -> Compiled | None:
        """The reader's function with the code of the writer in place of calls; None if there is none."""
        if reader is None or self.counted is None:
            return None
        read = self.streams.event_rules(reader)
        return read.compile_with(written, self.counted, f"{self.label}.events")


def _chain(template: TemplateWriter, nodes: tuple[Node, ...], scope: Scope) -> Atom:
    """Write templates, each with the value of the previous one as its payload; returns the last value."""
    payload = template.writer.item(scope.payload)
    for node in nodes:
        with template.within(scope.with_payload(payload)):
            payload = template.writer.bound(template.bind(node))
    return payload
