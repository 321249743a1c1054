"""Templates: YAML values with `${ … }` and directives, compiled to one Python function each.

Contract: a template has the shape of what comes out of it; what gives null is left out. A function is
`(payload, context) → value`, or `ABSENT` where the template gave nothing. Directives of one mapping apply
in a fixed order, as if nested: `$each`, `$let`, `$with`, `$if` or `$switch`, then the content.
A value may share containers with the YAML, the payload and the variables: who receives one never changes it.
Must not know HTTP, nor what a mapping is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any, Final

from engine.codegen import NULL, Atom, Compiled, TooLarge, Writer
from engine.errors import EvaluationError, Findings, suggestion
from engine.expressions import (
    QUOTED,
    SUPPORT,
    Emitter,
    ExpressionSyntaxError,
    Scope,
    Tree,
    Variable,
    parse,
    truth,
)
from engine.source import Node
from engine.values import ABSENT, JsonError, text, type_name

Sink = Callable[[Atom], None]

DIRECTIVES: Final = (
    "$each",
    "$with",
    "$let",
    "$if",
    "$then",
    "$else",
    "$switch",
    "$cases",
    "$default",
    "$use",
    "$spread",
    "$concat",
    "$value",
)
#: Directives that are the whole content of their mapping: no key of the output can stand beside them.
_WHOLE: Final = ("$use", "$concat", "$value")
#: Directives that apply to the content beside them.
_MODIFIERS: Final = ("$each", "$with", "$let", "$if")
_NEEDS: Final = {"$then": "$if", "$cases": "$switch", "$default": "$switch"}

_OPENING = re.compile(r"\$?\$\{")
_INSIDE = re.compile(rf"{QUOTED}|[{{}}'\"`]", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a string: literal text, or an expression and where it begins in the string."""

    text: str
    offset: int
    is_expression: bool


def split(value: str) -> list[Part]:
    """Cut a string into literal text and `${ … }` expressions; `$${` stands for a literal `${`.

    Raises:
        ExpressionSyntaxError: a `${` is not closed.
    """
    parts: list[Part] = []
    literal, position = "", 0
    while match := _OPENING.search(value, position):
        literal += value[position : match.start()]
        if match.group() == "$${":
            literal, position = literal + "${", match.end()
            continue
        end = _closing(value, match.end())
        if literal:
            parts.append(Part(literal, position, False))
        parts.append(Part(value[match.end() : end], match.end(), True))
        literal, position = "", end + 1
    literal += value[position:]
    if literal or not parts:
        parts.append(Part(literal, position, False))
    return parts


def _closing(value: str, start: int) -> int:
    """The place of the `}` that closes the `${` before `start`; braces and quotes inside must pair."""
    depth = 0
    for match in _INSIDE.finditer(value, start):
        if match.group() in ("'", '"', "`"):
            raise ExpressionSyntaxError(f"{match.group()} is not closed", match.start())
        if match.group() == "{":
            depth += 1
        elif match.group() == "}":
            if depth == 0:
                return match.start()
            depth -= 1
    raise ExpressionSyntaxError("'${' is not closed by '}'", start - 2)


def is_static(value: Any) -> bool:
    """Whether a template gives the same value always: no expression and no directive in it."""
    if isinstance(value, str):
        return "${" not in value
    if isinstance(value, dict):
        return all(not key.startswith("$") and is_static(item) for key, item in value.items())
    return not isinstance(value, list) or all(is_static(item) for item in value)


def single_expression(value: Any) -> str | None:
    """The expression of a string that is one `${ … }` and nothing else."""
    if not isinstance(value, str):
        return None
    try:
        parts = split(value)
    except ExpressionSyntaxError:
        return None
    return parts[0].text if len(parts) == 1 and parts[0].is_expression else None


@dataclass(slots=True)
class Coverage:
    """Which branches of the templates have run: for each branch its node, and a count.

    A compiler given one writes counting code; without it nothing is counted and nothing is paid.
    """

    branches: list[tuple[Node, str]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def branch(self, node: Node, label: str) -> int:
        """Register a branch; its number."""
        self.branches.append((node, label))
        self.counts.append(0)
        return len(self.counts) - 1


@dataclass(slots=True)
class TemplateCompiler:
    """Compiles the templates of one mapping.

    Attributes:
        findings: receives what is wrong with them.
        named: the mapping's `templates:`.
        file: the mapping's file, for the names of generated functions.
        coverage: given while testing.
        names: what generated code may refer to beside the support functions.
    """

    findings: Findings
    named: Mapping[str, Node] = field(default_factory=dict)
    file: str = ""
    coverage: Coverage | None = None
    names: dict[str, Any] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def compile(self, node: Node, scope: Scope, label: str) -> Compiled:
        """One template → one function. What is wrong becomes findings, and the function gives nothing."""

        def write(writer: Writer) -> None:
            TemplateWriter(self, writer, scope).emit(node, lambda atom: _return(writer, atom))
            writer.line("return ABSENT")

        return self.write(node, label, write)

    def write(self, node: Node, label: str, write: Callable[[Writer], None]) -> Compiled:
        """A function whose code `write` writes; `node` is where what concerns all of it is found."""
        writer = Writer({**_NAMES, **self.names})
        if self.coverage is not None:
            writer.names["hits"] = self.coverage.counts
        try:
            write(writer)
            return writer.finish(f"{self.file}: {label}")
        except TooLarge:
            self.findings.error("too-deep", "this is nested too deeply, or grows too large", node.span)
            return Compiled(lambda p, x: ABSENT, "", frozenset())


def _return(writer: Writer, atom: Atom) -> None:
    writer.use(atom)
    writer.line(f"return {atom.source}")


class TemplateWriter:
    """Writes the code of one template. A sink says what to do with a value; what gives nothing never
    reaches it."""

    def __init__(self, compiler: TemplateCompiler, writer: Writer, scope: Scope) -> None:
        self.compiler = compiler
        self.findings = compiler.findings
        self.writer = writer
        self.scope = scope
        self.context = scope.variables
        self.open_templates: list[str] = []

    def emit(self, node: Node, sink: Sink) -> None:
        """Write code that computes `node` and hands the value to `sink`, unless there is none."""
        with self.writer.at(node.span):
            if isinstance(node.value, str):
                self._string(node, sink)
            elif is_static(node.value):
                sink(self.writer.constant(node.value))
            elif isinstance(node.value, list):
                self._list(node, sink)
            else:
                self._mapping(node, sink)

    @contextmanager
    def _in(self, scope: Scope) -> Iterator[None]:
        outer, self.scope = self.scope, scope
        yield
        self.scope = outer

    # Strings

    def _string(self, node: Node, sink: Sink) -> None:
        try:
            parts = split(node.value)
        except ExpressionSyntaxError as error:
            self.findings.error("bad-expression", error.message, node.span_at(error.offset, 2))
            return
        if len(parts) == 1 and parts[0].is_expression:
            self._expression(node, parts[0], sink)
        elif any(part.is_expression for part in parts):
            pieces = [self._piece(node, part) for part in parts]
            sink(self.writer.let(f"''.join(({', '.join(pieces)},))", "string"))
        else:
            sink(self.writer.constant("".join(part.text for part in parts)))

    def _piece(self, node: Node, part: Part) -> str:
        """One part of longer text, as Python source of a string."""
        if not part.is_expression:
            return repr(part.text)
        tree = self._parse(node, part)
        if tree is None:
            return "''"
        atom = self._value(node, part, tree)
        self.writer.use(atom)
        if atom.kind == "string":
            return atom.source
        return f"{atom.source} if type({atom.source}) is str else text({atom.source})"

    def _expression(self, node: Node, part: Part, sink: Sink) -> None:
        """A string that is one expression: its value keeps its type, and null is nothing."""
        tree = self._parse(node, part)
        if tree is None:
            return
        keeps_null = tree["type"] == "function_expression" and tree["value"] == "nullable"
        if keeps_null and len(tree["children"]) == 1:
            sink(self._value(node, part, tree["children"][0]))
            return
        atom = self._value(node, part, tree)
        if atom.kind == "any":
            with self.writer.block(f"if {atom.source} is not None"):
                sink(atom)
        elif atom.kind != "null":
            sink(atom)

    def _parse(self, node: Node, part: Part) -> Tree | None:
        try:
            return parse(part.text)
        except ExpressionSyntaxError as error:
            self.findings.error("bad-expression", error.message, node.span_at(part.offset + error.offset))
            return None

    def _value(self, node: Node, part: Part, tree: Tree) -> Atom:
        return Emitter(self.scope, self.writer, self.findings, node, part.offset).emit(tree)

    # Lists and mappings

    def _list(self, node: Node, sink: Sink) -> None:
        result = self.writer.let("[]", "array")
        for element in node.elements():
            self.emit(element, self._append(result))
        sink(result)

    def _append(self, result: Atom) -> Sink:
        def append(atom: Atom) -> None:
            self.writer.use(atom)
            self.writer.line(f"{result.source}.append({atom.source})")

        return append

    def _mapping(self, node: Node, sink: Sink) -> None:
        self._check_directives(node)
        if "$each" in node.value:
            self._each(node, sink)
        else:
            self._one(node, sink)

    def _one(self, node: Node, sink: Sink) -> None:
        """A mapping without its `$each`: `$let`, then `$with`, then the choice, then the content."""
        bindings = node.get("$let")
        variables: dict[str, Variable] = {}
        for name, value in bindings.items() if bindings and isinstance(bindings.value, dict) else ():
            with self._in(self.scope.with_variables(variables)):
                variables[name] = self.bind(value)
        with self._in(self.scope.with_variables(variables)):
            if "$with" in node.value:
                self.emit(node["$with"], lambda payload: self._with(node, payload, sink))
            else:
                self._choice(node, sink)

    def _with(self, node: Node, payload: Atom, sink: Sink) -> None:
        with self._in(self.scope.with_payload(payload)):
            self._choice(node, sink)

    def bind(self, node: Node) -> Atom:
        """A template's value under a name, null where it gives nothing."""
        if _is_certain(node.value):
            found: list[Atom] = []
            self.emit(node, found.append)
            return found[0] if found else self.writer.let("None")
        if single_expression(node.value) is not None:
            part = split(node.value)[0]
            tree = self._parse(node, part)
            return NULL if tree is None else self._value(node, part, tree)
        name = self.writer.fresh("l")
        origins = []

        def assign(atom: Atom) -> None:
            origins.append(atom)
            self.writer.line(f"{name} = {atom.source}")

        self.writer.line(f"{name} = None")
        self.emit(node, assign)
        if len(origins) == 1:
            return Atom(name, origin=origins[0].origin)
        for atom in origins:
            self.writer.use(atom)
        return Atom(name)

    def _choice(self, node: Node, sink: Sink) -> None:
        if "$if" in node.value:
            self._if(node, sink)
        elif "$switch" in node.value:
            self._switch(node, sink)
        else:
            self._content(node, sink)

    # Directives

    def _each(self, node: Node, sink: Sink) -> None:
        source = self.bind(node["$each"])
        if source.kind == "any":
            with self.writer.block(f"if {source.source} is not None"):
                self._loop(node, source, sink)
        elif source.kind in ("array", "object"):
            self._loop(node, source, sink)
        elif source.kind != "null":
            self._misused(node["$each"], f"'$each' takes a list or an object, not a {source.kind}")

    def loop(self, node: Node, act: Callable[[], None]) -> None:
        """Do something for each item of a list or object, which is the payload then; for null nothing."""
        source = self.bind(node)
        with self.writer.block(f"if {source.source} is not None"):
            with self.writer.at(node.span):
                test = f"type({source.source}) is list"
                items = self.writer.let(f"{source.source} if {test} else each({source.source})").source
            index, item = self.writer.fresh("i"), source.child(self.writer.fresh("v"), "*")
            scope = self.scope.with_payload(item).with_variables({"index": Atom(index, "number")})
            with self.writer.counted_loop(index, item.source, items), self._in(scope):
                act()

    def _loop(self, node: Node, source: Atom, sink: Sink) -> None:
        writer, items = self.writer, source.source
        result = writer.let("[]", "array")
        if source.kind != "array":
            with writer.at(node["$each"].span):
                items = writer.let(f"{items} if type({items}) is list else each({items})").source
        index, item = writer.fresh("i"), source.child(writer.fresh("v"), "*")
        scope = self.scope.with_payload(item).with_variables({"index": Atom(index, "number")})
        with writer.counted_loop(index, item.source, items), self._in(scope):
            self._one(node, self._append(result))
        sink(result)

    def _if(self, node: Node, sink: Sink) -> None:
        condition = self.bind(node["$if"])
        self.writer.use(condition)
        with self.writer.block(f"if {truth(condition)}"):
            self.hit(node["$if"], "then")
            self.emit(node["$then"], sink) if "$then" in node.value else self._content(node, sink)
        if "$else" in node.value or self.compiler.coverage is not None:
            with self.writer.block("else"):
                self.hit(node["$if"], "else")
                if "$else" in node.value:
                    self.emit(node["$else"], sink)

    def _switch(self, node: Node, sink: Sink) -> None:
        value = self.bind(node["$switch"])
        self.writer.use(value)
        key = self.writer.let(f"text({value.source})", "string")
        cases = node.get("$cases")
        word = "if"
        for name, case in cases.items() if cases and isinstance(cases.value, dict) else ():
            with self.writer.block(f"{word} {key.source} == {name!r}"):
                self.hit(case, f"case {name}")
                self.emit(case, sink)
            word = "elif"
        if "$default" in node.value or self.compiler.coverage is not None:
            with self.writer.block("else" if word == "elif" else "if True"):
                self.hit(node.get("$default") or node["$switch"], "default")
                if "$default" in node.value:
                    self.emit(node["$default"], sink)

    def hit(self, node: Node, label: str) -> None:
        if self.compiler.coverage is not None:
            self.writer.line(f"hits[{self.compiler.coverage.branch(node, label)}] += 1")

    def _content(self, node: Node, sink: Sink) -> None:
        if "$use" in node.value:
            self._use(node["$use"], sink)
        elif "$concat" in node.value:
            self._concat(node["$concat"], sink)
        elif "$value" in node.value:
            self.emit(node["$value"], sink)
        else:
            self._object(node, sink)

    def _object(self, node: Node, sink: Sink) -> None:
        entries = [(key, child) for key, child in node.items() if key == "$spread" or _is_output(key)]
        first = list(takewhile(lambda entry: _is_output(entry[0]) and _is_certain(entry[1].value), entries))
        result = self._display(first)
        for key, child in entries[len(first) :]:
            if key == "$spread":
                self._spread(child, result)
            else:
                self.emit(child, self._set(result, _literal_key(key)))
        sink(result)

    def _display(self, entries: list[tuple[str, Node]]) -> Atom:
        """A new object with the entries, each of which gives a value."""
        atoms: dict[str, Atom] = {}
        for key, child in entries:
            self.emit(child, partial(atoms.__setitem__, _literal_key(key)))
        for atom in atoms.values():
            self.writer.use(atom)
        pairs = ", ".join(f"{key!r}: {atom.source}" for key, atom in atoms.items())
        return self.writer.let(f"{{{pairs}}}", "object")

    def _set(self, result: Atom, key: str) -> Sink:
        def assign(atom: Atom) -> None:
            self.writer.use(atom)
            self.writer.line(f"{result.source}[{key!r}] = {atom.source}")

        return assign

    def _spread(self, node: Node, result: Atom) -> None:
        def update(atom: Atom) -> None:
            self.writer.use(atom)
            self.writer.line(f"spread({result.source}, {atom.source})")

        self.emit(node, update)

    def _concat(self, node: Node, sink: Sink) -> None:
        result = self.writer.let("[]", "array")

        def extend(function: str, atom: Atom) -> None:
            self.writer.use(atom)
            self.writer.line(f"{function}({result.source}, {atom.source})")

        if isinstance(node.value, list):
            for child in node.elements():
                self.emit(child, partial(extend, "concat_one"))
        else:
            self.emit(node, partial(extend, "concat"))
        sink(result)

    def _use(self, node: Node, sink: Sink) -> None:
        """The named template's code, in place: it sees payload and `$index`, but no `$let` of this place."""
        name = node.value
        template = self.compiler.named.get(name) if isinstance(name, str) else None
        if template is None:
            hint = suggestion(str(name), self.compiler.named)
            self.findings.error("unknown-template", f"unknown template '{name}'", node.span, hint)
        elif name in self.open_templates:
            cycle = " → ".join([*self.open_templates, name])
            self.findings.error("template-cycle", f"a template uses itself: {cycle}", node.span)
        else:
            self.compiler.used.add(name)
            self.open_templates.append(name)
            with self._in(Scope(self.scope.payload, self._variables_of_templates())):
                self.emit(template, sink)
            self.open_templates.pop()

    def _variables_of_templates(self) -> Mapping[str, Variable]:
        index = self.scope.variables.get("index")
        return {**self.context, "index": index} if index else self.context

    # Checks

    def _check_directives(self, node: Node) -> None:
        keys = node.value
        for key in keys:
            self._check_key(node, key)
        for key, needed in _NEEDS.items():
            if key in keys and needed not in keys:
                self._misused(node[key], f"'{key}' stands only beside '{needed}'")
        if "$else" in keys and "$if" not in keys:
            self._misused(node["$else"], "'$else' stands only beside '$if'")
        if "$if" in keys and "$switch" in keys:
            self._misused(node["$switch"], "'$if' and '$switch' do not stand together")
        if "$switch" in keys and not isinstance(keys.get("$cases"), dict):
            self._misused(node["$switch"], "'$switch' needs '$cases', a mapping")
        if "$let" in keys:
            self._check_let(node["$let"])
        self._check_content(node)

    def _check_key(self, node: Node, key: str) -> None:
        if key.startswith("$$"):
            return
        if "${" in key:
            self._misused(node[key], "a key cannot hold an expression; use $spread with from_items()")
        elif key.startswith("$") and key not in DIRECTIVES:
            hint = suggestion(key, DIRECTIVES)
            message = f"unknown directive '{key}'; a literal key is written '$${key[1:]}'"
            self.findings.error("unknown-directive", message, node[key].key_span, hint)

    def _check_let(self, node: Node) -> None:
        if not isinstance(node.value, dict):
            self._misused(node, "'$let' takes a mapping of names to values")
            return
        for name, value in node.items():
            if not _NAME.match(name):
                self._misused(value, f"'{name}' is no name for a variable")
            elif name in self.context:
                self._misused(value, f"'${name}' is a variable of the language; take another name")

    def _check_content(self, node: Node) -> None:
        """Content is one of: `$then`, `$cases`, a directive of `_WHOLE`, or keys and `$spread`."""
        wholes = [key for key in ("$then", "$cases", *_WHOLE) if key in node.value]
        keys = [key for key in node.value if key == "$spread" or _is_output(key)]
        for key in [*wholes[1:], *(keys if wholes else ())]:
            self._misused(node[key], f"'{key}' cannot stand beside '{wholes[0]}'")
        first = next(iter(node.value), "")
        if first in _MODIFIERS and "$switch" not in node.value and not wholes and not keys:
            self._misused(node[first], f"'{first}' has nothing to apply to: put keys or '$value' beside it")

    def _misused(self, node: Node, message: str) -> None:
        self.findings.error("misused-directive", message, node.key_span)


def each(value: Any) -> list[Any]:
    """What `$each` goes through: a list's items, or an object's `{key, value}` pairs."""
    if type(value) is list:
        return value
    if type(value) is dict:
        return [{"key": key, "value": item} for key, item in value.items()]
    raise EvaluationError(f"$each takes a list or an object, got {type_name(value)}")


def spread(result: dict[str, Any], value: Any) -> None:
    """Put into `result` what `$spread` gave: an object's keys, or those of each object of a list."""
    for item in value if type(value) is list else (value,):
        if type(item) is dict:
            result.update(item)
        elif item is not None:
            raise EvaluationError(f"$spread takes an object or a list of objects, got {type_name(item)}")


def concat(result: list[Any], value: Any) -> None:
    """Append to `result` what the entries of a computed `$concat` have."""
    if type(value) is list:
        for entry in value:
            concat_one(result, entry)
    elif value is not None:
        raise EvaluationError(f"$concat takes a list, got {type_name(value)}")


def concat_one(result: list[Any], entry: Any) -> None:
    """Append to `result` what one entry of `$concat` has: a list's items, or the value itself."""
    if type(entry) is list:
        result.extend(entry)
    elif entry is not None:
        result.append(entry)


def interpolated(value: Any) -> str:
    """A value inside longer text."""
    try:
        return text(value)
    except JsonError as error:
        raise EvaluationError(f"a value inside text cannot be written as JSON: {error}") from None


def _is_output(key: str) -> bool:
    """Whether a key of a mapping is one of the output, no directive; `$$` stands for a `$`."""
    return not key.startswith("$") or key.startswith("$$")


def _literal_key(key: str) -> str:
    return key[1:] if key.startswith("$$") else key


def _is_certain(value: Any) -> bool:
    """Whether a template gives a value always, whatever the payload."""
    if isinstance(value, dict):
        return all(_is_output(key) or key in ("$let", "$spread", "$concat") for key in value)
    return is_static(value) or isinstance(value, list)


_NAMES: Final[dict[str, Any]] = {
    **SUPPORT,
    "ABSENT": ABSENT,
    "text": interpolated,
    "each": each,
    "spread": spread,
    "concat": concat,
    "concat_one": concat_one,
}
