"""Rules of streams: one Python function for the rules, one for those at the end, one for those of a failure.

A function is `(payload, exchange) → None`: it reads and sets `exchange.state` and appends what it emits to
`exchange.out`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.codegen import Atom, Compiled, Writer
from engine.errors import suggestion
from engine.expressions import Record, Scope, Variable, truth
from engine.source import Node
from engine.spec import RuleSpec
from engine.templates import ItemSink, Sink, TemplateCompiler, TemplateWriter
from engine.uses import VariableOrigin


def state_variable(names: Iterable[str], source: str) -> Record:
    """`$state` as a variable: each name in the mapping that `source` gives."""
    return Record(
        {name: Atom(f"{source}[{name!r}]", origin=VariableOrigin(("state", name))) for name in names}
    )


def compile_rules(
    templates: TemplateCompiler,
    rules: tuple[RuleSpec, ...],
    scope: Scope,
    state: Iterable[str],
    node: Node,
    label: str,
) -> Compiled | None:
    """Rules → one function; None where there are none.

    Args:
        scope: what the rules see; `$state` and `$emitted` are added to it.
        state: the names of the state.
        node: where they stand, for what concerns all of them.
    """
    if not rules:
        return None
    names = tuple(state)
    variables: Mapping[str, Variable] = {
        "state": state_variable(names, "s"),
        "emitted": Atom("(x.sent + len(out))", "number", VariableOrigin(("emitted",))),
    }

    def write(writer: Writer) -> None:
        writer.line("s, out = x.state, x.out")
        _RulesWriter(templates, writer, scope.with_variables(variables), names).write(rules)

    return templates.write(node, label, write)


class _RulesWriter(TemplateWriter):
    """Writes the code of rules."""

    def __init__(
        self, templates: TemplateCompiler, writer: Writer, scope: Scope, state: tuple[str, ...]
    ) -> None:
        super().__init__(templates, writer, scope)
        self.state = state

    def write(self, rules: tuple[RuleSpec, ...]) -> None:
        for rule in rules:
            with self.writer.at(rule.node.span):
                self._rule(rule)

    def _rule(self, rule: RuleSpec) -> None:
        if rule.when is None:
            self._fire(rule)
            return
        held = self.bind(rule.when)
        self.writer.ask(held)
        with self.writer.block(f"if {truth(held)}"):
            self._fire(rule)

    def _fire(self, rule: RuleSpec) -> None:
        self.hit(rule.node, "rule")
        if rule.each is None:
            self._act(rule)
        else:
            self.loop(rule.each, lambda: self._act_again(rule))

    def _act_again(self, rule: RuleSpec) -> None:
        """In a loop the state may have changed in the round before: what was read outside is read again."""
        self.writer.forget(("state",))
        self._act(rule)

    def _act(self, rule: RuleSpec) -> None:
        for name, node in rule.set.items() if rule.set is not None else ():
            self._remember(name, node)
        if rule.emit is not None:
            self._emit(rule.emit)
        self.write(rule.rules)
        if rule.stop:
            self.writer.line("return")

    def _remember(self, name: str, node: Node) -> None:
        if name not in self.state:
            hint = suggestion(name, self.state)
            self.findings.error("unknown-state", f"the state has no '{name}'", node.key_span, hint)
            return

        def assign(atom: Atom) -> None:
            self.writer.use(atom)
            self.writer.line(f"s[{name!r}] = {atom.source}")

        self.emit(node, assign)
        self.writer.forget(("state", name))

    def _emit(self, node: Node) -> None:
        for event in node.elements() if isinstance(node.value, list) else (node,):
            self.emit(event, _Events(self.writer))


class _Events(ItemSink):
    """Sends events as they are made, so that each knows by `$emitted` how many there were before it.

    A list stands for its items, and a list among these for its own: `depth` counts the lists around a value.
    """

    def __init__(self, writer: Writer, depth: int = 0) -> None:
        self.writer = writer
        self.depth = depth

    def __call__(self, atom: Atom) -> None:
        self.writer.use(atom)
        name = atom.source
        if atom.kind == "object" or self.depth > 1:
            self.writer.line(f"out.append({name})")
        elif self.depth:
            self.writer.line(f"concat_one(out, {name})")
        else:
            self.writer.line(f"concat(out, {name} if type({name}) is list else [{name}])")

    @property
    def items(self) -> Sink:
        """The events among the items of a list."""
        below = _Events(self.writer, self.depth + 1)
        return below if below.depth < 2 else below.__call__
