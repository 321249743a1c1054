"""Compiles the rules of streams: one Python function each for `rules`, `end` and `error`.

A function is `(payload, exchange) → None`: it updates `exchange.state`, and appends what it emits to
`exchange.out`. The functions of a reader pass it to `exchange.take` instead, or contain the writer's code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from engine.compiler.append_rules import Growth, growing_names, growth_of
from engine.diagnostics import suggestion
from engine.language.codegen import Atom, Compiled, Fields, Writer
from engine.language.expressions import (
    Emitter,
    Record,
    Scope,
    Variable,
    Withheld,
    truth,
    write_arguments,
    write_call,
)
from engine.language.functions import FUNCTIONS
from engine.language.spec import RuleSpec
from engine.language.stream_state import NAMES
from engine.language.templates import ItemSink, Sink, TemplateCompiler, TemplateWriter, joined_text
from engine.language.uses import VariableOrigin
from engine.locations import Node


def _state_variable(names: Iterable[str], growing: Mapping[str, Growth], prefix: str) -> Record:
    """The variable `$state`: the dict `s`, in which the names in `growing` change in place.

    The keys of the dict begin with `prefix`, because the two streams of a pipeline have one dict.
    """

    def field(name: str) -> Atom:
        growth, key = growing.get(name), prefix + name
        atom = Atom(f"s[{key!r}]", origin=VariableOrigin(("state", name)))
        if growth is None:
            return atom
        return replace(atom, release=f"release(x, {key!r})", keeps_parts=growth.keeps_parts)

    return Record({name: field(name) for name in names}, hint="declare it under 'state' of this stream")


#: Writes the templates between two streams of a pipeline for a payload; returns the atom of its translation.
Translate: TypeAlias = Callable[[TemplateWriter, Atom], Atom]

_EMITTED: Final = Atom("(x.sent + len(out))", "number", VariableOrigin(("emitted",)))
_NO_PARTS_COUNT: Final = Withheld(
    "unknown-variable", "only a writer counts events: a reader gives partial responses"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """How the rules of a reader or a writer differ.

    Attributes:
        prefix: what the keys of its state begin with.
        is_reader: what it emits are partial responses, which are passed to `x.take`.
        wrap: the envelope of each event.
        translate: writes the templates before the rules.
        writer: the rules of the writer. Their code replaces calls of `x.take` in a reader, for parts whose
            fields are known at load.
        counted: a part with one of these fields may have counts for `usage`, so it is passed to `x.take`.
    """

    prefix: str = ""
    is_reader: bool = False
    wrap: Node | None = None
    translate: Translate | None = None
    writer: Rules | None = None
    counted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one part of a stream.

    Attributes:
        scope: the scope of the rules; `$state` and `$emitted` are added to it.
        state: the names of the state.
        is_repeated: the rules run for each event, not once.
    """

    templates: TemplateCompiler
    rules: tuple[RuleSpec, ...]
    scope: Scope
    state: tuple[str, ...]
    is_repeated: bool
    stage: Stage

    def compile(self, node: Node, label: str) -> Compiled | None:
        """One function for all rules, with findings about all of them at `node`; None without rules."""
        return self.templates.write(node, label, self.write) if self.rules else None

    def compile_with(self, writer: Rules, counted: frozenset[str], label: str) -> Compiled | None:
        """As `compile`, for a reader, with the code of the writer in place; None if that is not possible."""
        if not self.rules or _stops_in_loop(writer.rules):
            return None
        stage = replace(self.stage, writer=writer, counted=counted)
        return self.templates.write_if_possible(label, replace(self, stage=stage).write)

    def write_in_place(self, writer: Writer, part: Atom) -> None:
        """Write the code for a part whose fields are known at load."""
        assert part.fields is not None
        with writer.inlined():
            known = {name: atom and writer.item(atom) for name, atom in part.fields.known.items()}
            payload = writer.item(replace(part, fields=Fields(known)))
            has_stops = _has_stops(self.rules)
            block = writer.block("for _ in (None,)") if has_stops else nullcontext()
            with block:
                self._written(writer, payload, "break" if has_stops else "")

    def write(self, writer: Writer) -> None:
        """Write the code of a function."""
        writer.line("s, out = x.state, x.out")
        payload = self.scope.payload
        if self.is_repeated:
            writer.repeat()
            writer.names.update(NAMES)
            payload = writer.item(payload)
        self._written(writer, payload, "return")

    def _written(self, writer: Writer, payload: Atom, stop: str) -> None:
        growing = growing_names(self.rules) if self.is_repeated else {}
        variables: Mapping[str, Variable] = {
            "state": _state_variable(self.state, growing, self.stage.prefix),
            "emitted": _NO_PARTS_COUNT if self.stage.is_reader else _EMITTED,
        }
        scope = self.scope.with_variables(variables).with_payload(payload)
        written = _RulesWriter(self.templates, writer, scope, self.state, growing, self.stage, stop)
        if self.stage.translate is None:
            written.write(self.rules)
        else:
            written.write_translated(self.stage.translate, self.rules)


def _has_stops(rules: tuple[RuleSpec, ...]) -> bool:
    return any(rule.stop or _has_stops(rule.rules) for rule in rules)


def _stops_in_loop(rules: tuple[RuleSpec, ...]) -> bool:
    """Whether a rule with `each`, or one below it, has a `stop`."""
    return any(_has_stops((rule,)) if rule.each else _stops_in_loop(rule.rules) for rule in rules)


class _RulesWriter(TemplateWriter):
    """Writes the code of rules. `stop` is the statement that ends them."""

    def __init__(
        self,
        templates: TemplateCompiler,
        writer: Writer,
        scope: Scope,
        state: tuple[str, ...],
        growing: Mapping[str, Growth],
        stage: Stage,
        stop: str,
    ) -> None:
        super().__init__(templates, writer, scope)
        self.state = state
        self.growing = growing
        self.stage = stage
        self.stop = stop

    def write(self, rules: tuple[RuleSpec, ...]) -> None:
        for rule in rules:
            with self.writer.at(rule.node.span):
                self._rule(rule)

    def write_translated(self, translate: Translate, rules: tuple[RuleSpec, ...]) -> None:
        """Write the rules for the translated payload, if it has a value."""
        payload = translate(self, self.scope.payload)
        is_certain = payload.kind == "object"
        block = nullcontext() if is_certain else self.writer.block(f"if {payload.source} is not None")
        with block, self.within(self.scope.with_payload(payload)):
            self.write(rules)

    def _rule(self, rule: RuleSpec) -> None:
        self.writer.is_loose = False
        if rule.when is None:
            self._fire(rule)
            return
        held = self.bind(rule.when)
        self.writer.use_truth(held)
        with self.writer.block(f"if {truth(held)}"):
            self._fire(rule)

    def _fire(self, rule: RuleSpec) -> None:
        self.hit(rule.node, "rule")
        if rule.each is None:
            self._act(rule)
        else:
            self.loop(rule.each, lambda: self._act_again(rule))

    def _act_again(self, rule: RuleSpec) -> None:
        """Run a rule in a loop: the previous iteration may have changed the state, so it is read again."""
        self.writer.forget(("state",))
        self._act(rule)

    def _act(self, rule: RuleSpec) -> None:
        for name, node in rule.set.items() if rule.set is not None else ():
            self._set_state(name, node)
        if rule.emit is not None:
            self._emit(rule.emit)
        self.write(rule.rules)
        if rule.stop:
            self.writer.line(self.stop)

    def _set_state(self, name: str, node: Node) -> None:
        if name not in self.state:
            hint = suggestion(name, self.state)
            self.findings.error("unknown-state", f"unknown state '{name}'", node.key_span, hint)
            return

        growth = growth_of(name, node) if name in self.growing else None
        if growth is not None:
            with self.writer.at(node.span):
                self._append(self.stage.prefix + name, node, growth)
        else:
            self._set(name, node)
        self.writer.forget(("state", name))

    def _set(self, name: str, node: Node) -> None:
        def assign(atom: Atom) -> None:
            writer = self.writer
            writer.use(atom)
            if (writer.is_loose or not writer.is_bounded(atom)) and atom.kind in ("any", "array", "object"):
                writer.line(f"if type({atom.source}) in CONTAINERS: check_value(x, {atom.source})")
            key = self.stage.prefix + name
            if name in self.growing:
                writer.line(f"x.owned.pop({key!r}, None)")
            writer.line(f"s[{key!r}] = {atom.source}")

        self.writer.is_loose = False
        self.emit(node, assign)

    # State that grows

    def _append(self, name: str, node: Node, growth: Growth) -> None:
        """Append to the state in place."""
        emitter = Emitter(self.scope, self.writer, self.findings, node, growth.offset)
        if growth.form == "flat":
            with self.writer.block(f"if {emitter.payload.source} is not None"):
                atoms = [emitter.used(tree) for tree in growth.trees]
                self._call("append_flat", name, atoms)
        elif growth.form == "entries":
            self._call("append_entries", name, [self.bind(entry) for entry in growth.nodes])
        elif growth.form == "text":
            self._append_text(name, joined_text(self, node, growth.parts))
        else:
            self._append_by(emitter, name, growth)

    def _append_by(self, emitter: Emitter, name: str, growth: Growth) -> None:
        """Append by a function that appends to its first argument."""
        function = FUNCTIONS[growth.form]
        _, *atoms = write_arguments(emitter, function, Atom(f"s[{name!r}]"), list(growth.trees))
        if growth.form == "concat":
            self._append_text(name, write_call(emitter, function, atoms))
        elif growth.form == "merge":
            self._call("merge_objects", name, atoms)
        else:
            self.writer.use(atoms[0])
            self.writer.line(f"fold_deltas(x, {name!r}, {atoms[0].source})")

    def _append_text(self, name: str, text: Atom) -> None:
        self.writer.line(f"append_text(x, {name!r}, {text.source})")

    def _call(self, function: str, name: str, atoms: list[Atom]) -> None:
        for atom in atoms:
            self.writer.use(atom)
        parts = "".join(f"{atom.source}, " for atom in atoms)
        self.writer.line(f"{function}(x, {name!r}, ({parts}))")

    def _emit(self, node: Node) -> None:
        self.writer.is_loose = False
        sink = self._sink()
        for event in node.elements() if isinstance(node.value, list) else (node,):
            self.emit(event, sink)

    def _sink(self) -> ItemSink:
        if self.stage.is_reader:
            return _Parts(self.writer, self.stage)
        return _Events(self.writer) if self.stage.wrap is None else _Wrapped(self, self.stage.wrap)

    def emit_wrapped(self, wrap: Node, atom: Atom) -> None:
        """Emit an event in its envelope, whose payload it is."""
        event = self.writer.bound(atom)
        with self.within(replace(self.scope, payload=event, steady_loops=self.writer.loops)):
            self.emit(wrap, _Events(self.writer))


class _Parts(ItemSink):
    """Passes partial responses on, one by one."""

    def __init__(self, writer: Writer, stage: Stage) -> None:
        self.writer = writer
        self.stage = stage

    def __call__(self, atom: Atom) -> None:
        if self.stage.writer is not None and self._is_uncounted(atom.fields):
            self.stage.writer.write_in_place(self.writer, atom)
            return
        self.writer.use(atom)
        name = atom.source
        if atom.kind == "object":
            self.writer.line(f"x.take({name}, x)")
            return
        with self.writer.block(f"for part in {name} if type({name}) is list else ({name},)"):
            self.writer.line("if part is not None: x.take(part, x)")

    def _is_uncounted(self, fields: Fields | None) -> bool:
        """Whether all fields are known at load, and none has counts."""
        return fields is not None and fields.is_complete and self.stage.counted.isdisjoint(fields.known)

    @property
    def items(self) -> Sink:
        return self


class _Wrapped(ItemSink):
    """Emits events one by one, each in an envelope."""

    def __init__(self, rules: _RulesWriter, wrap: Node) -> None:
        self.rules = rules
        self.wrap = wrap

    def __call__(self, atom: Atom) -> None:
        writer = self.rules.writer
        if atom.kind == "object":
            self.rules.emit_wrapped(self.wrap, atom)
            return
        event = writer.fresh("v")
        name = atom.source
        items = writer.block(f"for {event} in {name} if type({name}) is list else ({name},)")
        with items, writer.block(f"if {event} is not None"):
            self.rules.emit_wrapped(self.wrap, Atom(event, origin=atom.origin, loop=atom.loop))

    @property
    def items(self) -> Sink:
        return self


class _Events(ItemSink):
    """Emits events one by one, so that `$emitted` is correct for each.

    The items of a list are events, also those of a nested list: `depth` is the number of enclosing lists.
    """

    def __init__(self, writer: Writer, depth: int = 0) -> None:
        self.writer = writer
        self.depth = depth

    def __call__(self, atom: Atom) -> None:
        self.writer.use(atom)
        self.writer.embed(atom)
        name = atom.source
        if atom.kind == "object" or self.depth > 1:
            self.writer.line(f"out.append({name})")
        elif self.depth:
            self.writer.line(f"concat_one(out, {name})")
        else:
            self.writer.line(f"concat(out, {name} if type({name}) is list else [{name}])")

    @property
    def items(self) -> Sink:
        """The sink for the items of a list."""
        below = _Events(self.writer, self.depth + 1)
        return below if below.depth < 2 else below.__call__
