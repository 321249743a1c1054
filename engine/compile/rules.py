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
from engine.templates import TemplateCompiler, TemplateWriter


def state_variable(names: Iterable[str], source: str) -> Record:
    """`$state` as a variable: each name in the mapping that `source` gives."""
    return Record({name: Atom(f"{source}[{name!r}]") for name in names})


def compile_rules(
    templates: TemplateCompiler,
    rules: tuple[RuleSpec, ...],
    scope: Scope,
    state: Iterable[str],
    node: Node,
    label: str,
    is_repeated: bool = False,
) -> Compiled | None:
    """Rules → one function; None where there are none.

    Args:
        scope: what the rules see; `$state` and `$emitted` are added to it.
        state: the names of the state.
        node: where they stand, for what concerns all of them.
        is_repeated: they run for each event, as against once.
    """
    if not rules:
        return None
    names = tuple(state)
    variables: Mapping[str, Variable] = {
        "state": state_variable(names, "s"),
        "emitted": Atom("(x.sent + len(out))", "number"),
    }

    def write(writer: Writer) -> None:
        writer.line("s, out = x.state, x.out")
        seen = scope.with_variables(variables)
        if is_repeated:
            writer.repeat()
            seen = seen.with_payload(writer.item(seen.payload))
        _RulesWriter(templates, writer, seen, names).write(rules)

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
            self.loop(rule.each, lambda: self._act(rule))

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
        self.writer.forget("s")

    def _emit(self, node: Node) -> None:
        for event in node.elements() if isinstance(node.value, list) else (node,):
            self.emit(event, self._send)

    def _send(self, atom: Atom) -> None:
        self.writer.use(atom)
        if atom.kind == "object":
            self.writer.line(f"out.append({atom.source})")
        else:
            source = atom.source
            self.writer.line(f"concat(out, {source} if type({source}) is list else [{source}])")
