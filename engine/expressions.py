"""JMESPath, with the `$name` variables of JEP-18, compiled to Python source.

Contract: `parse` gives jmespath's syntax tree with the offset of each node; `Emitter` writes the code of a
tree to a `Writer` and returns the `Atom` that holds the result. Unknown functions and variables, wrong
arity and constant arguments of a wrong type are findings. Results equal those of `jmespath.search`.
The only importer of jmespath. Must not know HTTP or mappings.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from jmespath import exceptions, lexer, parser

from engine.codegen import NULL, Atom, Writer
from engine.errors import KINDS, EvaluationError, Findings, suggestion
from engine.functions import FUNCTIONS, Function, Parameter, compile_regex
from engine.source import Node, Path, Span
from engine.values import equal, less, less_equal, type_name

MAX_LENGTH: Final = 4096
MAX_DEPTH: Final = 64
_MAX_LOOPS: Final = 12

Tree = dict[str, Any]

#: Quoted text of JMESPath, in which `$`, `{` and `}` mean nothing, or a variable.
QUOTED: Final = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`"
_VARIABLE = re.compile(rf"{QUOTED}|\$([A-Za-z_][A-Za-z0-9_]*)", re.DOTALL)


class ExpressionSyntaxError(Exception):
    """Text that is no expression: `message`, and the `offset` of the character where it stops being one."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Record:
    """A variable whose fields are known at load: `$request`, `$upstream`, `$env`.

    `whole` is the variable used without a field; None where that is not allowed.
    """

    fields: Mapping[str, Variable]
    whole: Atom | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """A variable or field that exists but must not be used here; `code` and `message` say why."""

    code: str
    message: str


Variable: TypeAlias = Atom | Record | Withheld


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression can see: its payload and its variables."""

    payload: Atom
    variables: Mapping[str, Variable]

    def with_payload(self, payload: Atom) -> Scope:
        return Scope(payload, self.variables)

    def with_variables(self, variables: Mapping[str, Variable]) -> Scope:
        return Scope(self.payload, {**self.variables, **variables})


# --- Parsing ---------------------------------------------------------------------------------------------


def parse(text: str) -> Tree:
    """Parse an expression; every node of the tree has its offset under `start`.

    Raises:
        ExpressionSyntaxError: the text is no expression, or is too long or too deep.
    """
    if not text.strip():
        raise ExpressionSyntaxError("the expression is empty", 0)
    start = len(text) - len(text.lstrip())
    if len(text) > MAX_LENGTH:
        raise ExpressionSyntaxError(f"the expression is longer than {MAX_LENGTH} characters", start)
    try:
        tree = _Parser().read(text)
    except RecursionError:
        raise ExpressionSyntaxError("the expression is nested too deeply", start) from None
    except exceptions.LexerError as error:
        raise ExpressionSyntaxError(_sentence(error.message), error.lexer_position) from None
    except exceptions.ParseError as error:
        offset = min(error.lex_position, len(text.rstrip()))
        raise ExpressionSyntaxError(_unexpected(error), offset) from None
    if _depth(tree) > MAX_DEPTH:
        raise ExpressionSyntaxError(f"the expression is nested deeper than {MAX_DEPTH} levels", start)
    return tree


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]


def _unexpected(error: Any) -> str:
    if error.token_type == "EOF":
        return "the expression ends too early"
    if str(error.msg).startswith("Quoted identifier"):
        return "a function's name is not quoted"
    if str(error.msg).startswith("Invalid function name"):
        return "only a name can be called as a function"
    sigil = "$" if error.token_type == "variable" else ""
    return f"'{sigil}{error.token_value}' is not expected here"


def _depth(tree: Tree) -> int:
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [child for node in level for child in node["children"] if isinstance(child, dict)]
    return deepest


def _tokens(text: str) -> Iterator[dict[str, Any]]:
    """jmespath's tokens of the text between variables, and a token for each variable."""
    start = 0
    for match in _VARIABLE.finditer(text):
        if match.group(1) is None:
            continue
        yield from _plain_tokens(text[start : match.start()], start)
        yield {"type": "variable", "value": match.group(1), "start": match.start(), "end": match.end()}
        start = match.end()
    yield from _plain_tokens(text[start:], start)
    yield {"type": "eof", "value": "", "start": len(text), "end": len(text)}


def _plain_tokens(text: str, shift: int) -> Iterator[dict[str, Any]]:
    if not text.strip():
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokens = list(lexer.Lexer().tokenize(text))
    except exceptions.LexerError as error:
        error.lexer_position += shift
        raise
    for token in tokens[:-1]:
        yield {**token, "start": token["start"] + shift, "end": token["end"] + shift}


class _Parser(parser.Parser):  # type: ignore[misc]
    """jmespath's parser with variables and with an offset in each node."""

    BINDING_POWER: Final = {**parser.Parser.BINDING_POWER, "variable": 0}

    def read(self, text: str) -> Tree:
        self._tokens = list(_tokens(text))
        self._index = 0
        tree: Tree = self._expression()
        if self._current_token() != "eof":
            self._error_led_token(self._lookahead_token(0))
        return tree

    def _expression(self, binding_power: int = 0) -> Tree:
        start = self._lookahead_token(0)["start"]
        tree: Tree = super()._expression(binding_power)
        tree.setdefault("start", start)
        return tree

    def _token_nud_variable(self, token: dict[str, Any]) -> Tree:
        return {"type": "variable", "children": [], "value": token["value"], "start": token["start"]}

    def _token_nud_unquoted_identifier(self, token: dict[str, Any]) -> Tree:
        return {**super()._token_nud_unquoted_identifier(token), "start": token["start"]}

    def _token_nud_quoted_identifier(self, token: dict[str, Any]) -> Tree:
        if self._current_token() == "lparen":
            text = "Quoted identifier not allowed for function names."
            raise exceptions.ParseError(token["start"], token["value"], token["type"], text)
        tree: Tree = super()._token_nud_quoted_identifier(token)
        return tree

    def _parse_slice_expression(self) -> Tree:
        start = self._lookahead_token(0)["start"]
        return {**super()._parse_slice_expression(), "start": start}

    def _token_led_lparen(self, left: Tree) -> Tree:
        """A call; jmespath's own parser would do without commas between arguments."""
        if left["type"] != "field":
            self._raise_parse_error_for_token(self._lookahead_token(-1), "Invalid function name")
        arguments: list[Tree] = []
        while arguments or self._current_token() != "rparen":
            arguments.append(self._expression())
            if self._current_token() == "rparen":
                break
            self._match("comma")
        self._match("rparen")
        call = {"type": "function_expression", "value": left["value"], "children": arguments}
        return {**call, "start": left["start"]}


# --- Emitting --------------------------------------------------------------------------------------------


class Emitter:
    """Writes the code of one expression.

    Args:
        scope: what the expression sees.
        writer: receives the code.
        findings: receives what is wrong.
        node: the scalar the expression stands in.
        offset: where in the scalar's value the expression begins.
    """

    def __init__(self, scope: Scope, writer: Writer, findings: Findings, node: Node, offset: int) -> None:
        self.scope = scope
        self.writer = writer
        self.findings = findings
        self.node = node
        self.offset = offset

    def emit(self, tree: Tree) -> Atom:
        """Write the code of `tree`; the atom returned holds its value."""
        emit: Callable[[Tree], Atom] = getattr(self, "_" + tree["type"])
        return emit(tree)

    def _span(self, tree: Tree, length: int = 1) -> Span:
        return self.node.span_at(self.offset + tree.get("start", 0), length)

    def _error(self, code: str, message: str, tree: Tree, length: int = 1, hint: str | None = None) -> Atom:
        """Record a finding. The atom returned may be anything, so that no second finding comes of it."""
        self.findings.error(code, message, self._span(tree, length), hint)
        return self.writer.let("None")

    def _under(self, payload: Atom, tree: Tree) -> Atom:
        """The value of `tree` with another payload."""
        outer, self.scope = self.scope, self.scope.with_payload(payload)
        result = self.emit(tree)
        self.scope = outer
        return result

    def _used(self, tree: Tree) -> Atom:
        """The value of `tree`, used as a whole."""
        atom = self.emit(tree)
        self.writer.use(atom)
        return atom

    # Paths

    def _current(self, tree: Tree) -> Atom:
        return self.scope.payload

    _identity = _current

    def _field(self, tree: Tree) -> Atom:
        return self._get(self.scope.payload, tree["value"])

    def _get(self, base: Atom, name: str) -> Atom:
        if base.kind not in ("any", "object"):
            return NULL
        guard = "" if base.kind == "object" else f" if type({base.source}) is dict else None"
        return base.child(self.writer.once(f"{base.source}.get({name!r}){guard}").source, name)

    def _subexpression(self, tree: Tree) -> Atom:
        first, *rest = tree["children"]
        if first["type"] == "variable":
            atom, rest = self._variable_path(first, rest)
        else:
            atom = self.emit(first)
        for child in rest:
            atom = self._under(atom, child)
        return atom

    def _pipe(self, tree: Tree) -> Atom:
        left, right = tree["children"]
        return self._under(self.emit(left), right)

    def _index_expression(self, tree: Tree) -> Atom:
        first, *rest = tree["children"]
        atom = self.emit(first)
        for child in rest:
            atom = self._under(atom, child)
        return atom

    def _index(self, tree: Tree) -> Atom:
        base, index = self.scope.payload, tree["value"]
        if base.kind not in ("any", "array"):
            return NULL
        bound = f"len({base.source}) > {index}" if index >= 0 else f"len({base.source}) >= {-index}"
        source = f"{base.source}[{index}] if type({base.source}) is list and {bound} else None"
        return base.child(self.writer.once(source).source, "*")

    def _slice(self, tree: Tree) -> Atom:
        start, stop, step = tree["children"]
        if step == 0:
            return self._error("wrong-argument", "the step of a slice cannot be 0", tree)
        base = self.scope.payload
        if base.kind not in ("any", "array"):
            return NULL
        source = f"{base.source}[{start}:{stop}:{step}] if type({base.source}) is list else None"
        return Atom(self.writer.let(source).source, origin=base.origin)

    # Variables

    def _variable(self, tree: Tree) -> Atom:
        return self._variable_path(tree, [])[0]

    def _variable_path(self, tree: Tree, rest: list[Tree]) -> tuple[Atom, list[Tree]]:
        """`$name.field…`, resolved at load as far as fields are known; the atom, and what is left to do."""
        written = "$" + tree["value"]
        found = self.scope.variables.get(tree["value"])
        known: Iterable[str] = ("$" + name for name in self.scope.variables)
        while True:
            if found is None:
                hint = suggestion(written.rpartition(".")[2], known)
                message = f"unknown variable '{written}'"
                return self._error("unknown-variable", message, tree, len(written), hint), []
            if isinstance(found, Withheld):
                return self._error(found.code, found.message, tree, len(written)), []
            if isinstance(found, Atom):
                return found, rest
            if not rest or rest[0]["type"] != "field":
                return self._whole_record(found, written, tree), rest
            fields, known = found.fields, found.fields
            found = fields.get(rest[0]["value"])
            written, rest = f"{written}.{rest[0]['value']}", rest[1:]

    def _whole_record(self, record: Record, written: str, tree: Tree) -> Atom:
        if record.whole is not None:
            return record.whole
        fields = ", ".join(sorted(record.fields)) or "none here"
        message = f"'{written}' is used by its fields: {fields}"
        return self._error("unknown-variable", message, tree, len(written))

    # Projections

    def _projection(self, tree: Tree) -> Atom:
        base, right = tree["children"]
        return self._project(self.emit(base), "array", right)

    def _value_projection(self, tree: Tree) -> Atom:
        base, right = tree["children"]
        return self._project(self._used(base), "object", right)

    def _filter_projection(self, tree: Tree) -> Atom:
        base, right, condition = tree["children"]
        return self._project(self.emit(base), "array", right, condition)

    def _project(self, base: Atom, kind: str, right: Tree, condition: Tree | None = None) -> Atom:
        writer, result = self.writer, self.writer.fresh()
        writer.line(f"{result} = None")
        with writer.block(f"if {_kind_test(base, kind)}"):
            writer.line(f"{result} = []")
            item = base.child(writer.fresh("v"), "*") if kind == "array" else Atom(writer.fresh("v"))
            with writer.loop(f"for {item.source} in {_items(base, kind)}"):
                origin = self._collect(item, right, condition, result)
        return Atom(result, origin=origin)

    def _collect(self, item: Atom, right: Tree, condition: Tree | None, result: str) -> Path | None:
        """Append one item's value; the origin of the list where its items are those of a client's list."""
        if condition is not None:
            held = self._under(item, condition)
            self.writer.use(held)
            self.writer.line(f"if not ({truth(held)}): continue")
        value = self._project_item(item, right)
        test = f"if {value.source} is not None: " if value.kind == "any" else ""
        if value.kind != "null":
            self.writer.line(f"{test}{result}.append({value.source})")
        if value.origin is not None and value.origin[-1:] == ("*",):
            return value.origin[:-1]
        self.writer.use(value)
        return None

    def _project_item(self, item: Atom, right: Tree) -> Atom:
        """One item's value, in a function of its own where loops nest deeper than Python allows."""
        if self.writer.loops < _MAX_LOOPS:
            return self._under(item, right)
        self.writer.use(item)
        return self.writer.let(f"{self._nested(right)}({item.source})")

    def _nested(self, tree: Tree) -> str:
        """The name of a nested function of the payload."""
        name, parameter = self.writer.fresh("e"), self.writer.fresh("v")
        with self.writer.function(name, parameter):
            self.writer.line(f"return {self._under(Atom(parameter), tree).source}")
        return name

    def _flatten(self, tree: Tree) -> Atom:
        base = self.emit(tree["children"][0])
        writer, result, item = self.writer, self.writer.fresh(), self.writer.fresh("v")
        writer.line(f"{result} = None")
        with writer.block(f"if {_kind_test(base, 'array')}"):
            writer.line(f"{result} = []")
            with writer.loop(f"for {item} in {_items(base, 'array')}"):
                writer.line(f"if type({item}) is list: {result}.extend({item})")
                writer.line(f"else: {result}.append({item})")
        return Atom(result, origin=base.origin)

    # Values

    def _literal(self, tree: Tree) -> Atom:
        return self.writer.constant(tree["value"])

    def _multi_select_list(self, tree: Tree) -> Atom:
        def items() -> str:
            return "[" + ", ".join(self._used(child).source for child in tree["children"]) + "]"

        return self._unless_null(items, "array")

    def _multi_select_dict(self, tree: Tree) -> Atom:
        def pairs() -> str:
            children = [(child["value"], self._used(child["children"][0])) for child in tree["children"]]
            return "{" + ", ".join(f"{key!r}: {value.source}" for key, value in children) + "}"

        return self._unless_null(pairs, "object")

    def _unless_null(self, build: Callable[[], str], kind: str) -> Atom:
        """A container built from the payload; null where the payload is null."""
        payload, writer = self.scope.payload, self.writer
        if payload.kind not in ("any", "null"):
            return writer.let(build(), kind)
        result = writer.fresh()
        writer.line(f"{result} = None")
        with writer.block(f"if {payload.source} is not None"):
            writer.line(f"{result} = {build()}")
        return Atom(result)

    # Logic

    def _or_expression(self, tree: Tree) -> Atom:
        return self._either(tree, "if not ({})")

    def _and_expression(self, tree: Tree) -> Atom:
        return self._either(tree, "if {}")

    def _either(self, tree: Tree, header: str) -> Atom:
        left, right = tree["children"]
        first = self._used(left)
        result = self._own(first, left)
        with self.writer.block(header.format(truth(first))):
            second = self._used(right)
            self.writer.line(f"{result} = {second.source}")
        return Atom(result, first.kind if first.kind == second.kind else "any")

    def _own(self, atom: Atom, tree: Tree) -> str:
        """A name that holds the atom's value and can take another; its own, where nothing else has it."""
        is_fresh = tree["type"] in ("function_expression", "or_expression", "and_expression")
        return atom.source if is_fresh and not atom.is_constant else self.writer.let(atom.source).source

    def _not_expression(self, tree: Tree) -> Atom:
        value = self._used(tree["children"][0])
        return self.writer.let(f"not ({truth(value)})", "boolean")

    def _comparator(self, tree: Tree) -> Atom:
        left, right = (self._used(child) for child in tree["children"])
        operator = tree["value"]
        if operator in ("eq", "ne"):
            test = _equality(left, right)
            return self.writer.let(test if operator == "eq" else f"not ({test})", "boolean")
        if operator in ("gt", "gte"):
            left, right = right, left
        function = "less" if operator in ("lt", "gt") else "less_equal"
        return self.writer.let(f"{function}({left.source}, {right.source})")

    # Functions

    def _expref(self, tree: Tree) -> Atom:
        return self._error("wrong-argument", "'&' stands only where a function takes an expression", tree)

    def _function_expression(self, tree: Tree) -> Atom:
        name, arguments = tree["value"], tree["children"]
        function = FUNCTIONS.get(name)
        if function is None:
            hint = suggestion(name, FUNCTIONS)
            return self._error("unknown-function", f"unknown function '{name}'", tree, len(name), hint)
        if not _arity_fits(function, len(arguments)):
            message = f"{function.signature} got {len(arguments)} {_plural('argument', len(arguments))}"
            return self._error("wrong-arity", message, tree, len(name))
        if name == "nullable":
            return self._misplaced_nullable(tree)
        if function.lazy:
            emit: Callable[[list[Tree]], Atom] = getattr(self, "_lazy_" + name)
            return emit(arguments)
        with self.writer.at(self._span(tree, len(name))):
            return self._call(function, arguments)

    def _misplaced_nullable(self, tree: Tree) -> Atom:
        message = "nullable() can only be the outermost function of an expression"
        return self._error("misplaced-nullable", message, tree, len("nullable"))

    def _call(self, function: Function, arguments: list[Tree]) -> Atom:
        sources = ["x"] if function.context else []
        for position, tree in enumerate(arguments):
            parameter = function.parameters[min(position, len(function.parameters) - 1)]
            sources.append(self._argument(function, position, parameter, tree))
        name = "f_" + function.name
        self.writer.names[name] = function.implementation
        kind = function.returns if function.returns in _PYTHON_TYPES else "any"
        return self.writer.let(f"{name}({', '.join(sources)})", kind)

    def _argument(self, function: Function, position: int, parameter: Parameter, tree: Tree) -> str:
        if "expression" in parameter.types:
            return self._expression_argument(function, parameter, tree)
        if parameter.types & {"regex", "kind"}:
            return self._constant_argument(function, parameter, tree)
        atom = self._used(tree)
        self._check(function, position, parameter, atom, tree)
        return atom.source

    def _expression_argument(self, function: Function, parameter: Parameter, tree: Tree) -> str:
        if tree["type"] == "expref":
            return self._nested(tree["children"][0])
        message = f"{function.name}() takes an expression as '{parameter.name}': put '&' before it"
        return self._error("wrong-argument", message, tree).source

    def _constant_argument(self, function: Function, parameter: Parameter, tree: Tree) -> str:
        if tree["type"] != "literal" or not isinstance(tree["value"], str):
            message = f"{function.name}() takes a literal string as '{parameter.name}'"
            return self._error("wrong-argument", message, tree).source
        text = tree["value"]
        if "kind" in parameter.types:
            if text not in KINDS:
                hint = suggestion(text, KINDS)
                return self._error("wrong-argument", f"'{text}' is no kind of failure", tree, 1, hint).source
            return repr(text)
        try:
            return self.writer.bind(compile_regex(text), "r")
        except ValueError as error:
            return self._error("bad-regex", f"not a regular expression of RE2: {error}", tree).source

    def _check(self, function: Function, position: int, parameter: Parameter, atom: Atom, tree: Tree) -> None:
        """A finding where the argument's type is known and wrong, a test where it is not known."""
        if not parameter.types or (atom.kind in parameter.types and not parameter.items):
            return
        if atom.kind != "any" and atom.kind not in parameter.types:
            self._error("wrong-argument", wrong_type(function, position, atom.kind), tree)
        elif atom.is_constant and not items_fit(parameter, atom.constant):
            self._error("wrong-argument", wrong_type(function, position, "an array of others"), tree)
        elif not atom.is_constant:
            self._check_at_run_time(function, position, parameter, atom)

    def _check_at_run_time(self, function: Function, position: int, parameter: Parameter, atom: Atom) -> None:
        types = [python for name in sorted(parameter.types) for python in _PYTHON_TYPES[name]]
        test = _type_test(atom.source, types)
        if parameter.items:
            holder = self.writer.bind(parameter, "q")
            test = f"{test} or not items_fit({holder}, {atom.source})"
        self.writer.names["f_" + function.name + "_"] = function
        self.writer.line(f"if {test}: bad_argument(f_{function.name}_, {position}, {atom.source})")

    # Functions that evaluate only the arguments they need

    def _lazy_if(self, arguments: list[Tree]) -> Atom:
        result, condition = self.writer.fresh(), self._used(arguments[0])
        with self.writer.block(f"if {truth(condition)}"):
            self.writer.line(f"{result} = {self._used(arguments[1]).source}")
        with self.writer.block("else"):
            other = self._used(arguments[2]).source if len(arguments) > 2 else "None"
            self.writer.line(f"{result} = {other}")
        return Atom(result)

    def _lazy_not_null(self, arguments: list[Tree]) -> Atom:
        result = self._own(self._used(arguments[0]), arguments[0])
        for argument in arguments[1:]:
            with self.writer.block(f"if {result} is None"):
                self.writer.line(f"{result} = {self._used(argument).source}")
        return Atom(result)

    _lazy_default = _lazy_not_null


_PYTHON_TYPES: Final[dict[str, tuple[str, ...]]] = {
    "string": ("str",),
    "number": ("int", "float"),
    "boolean": ("bool",),
    "array": ("list",),
    "object": ("dict",),
    "null": ("type(None)",),
}


def _kind_test(atom: Atom, kind: str) -> str:
    """Python source of whether an atom is an array, or an object."""
    if atom.kind == "any":
        return f"type({atom.source}) is {_PYTHON_TYPES[kind][0]}"
    return str(atom.kind == kind)


def _items(atom: Atom, kind: str) -> str:
    """Python source of what a projection goes through; of nothing, where `_kind_test` never holds."""
    if atom.kind not in ("any", kind):
        return "()"
    return atom.source if kind == "array" else f"{atom.source}.values()"


def truth(atom: Atom) -> str:
    """Python source of JMESPath's truth of an atom."""
    name = atom.source
    if atom.kind in ("boolean", "string", "array", "object"):
        return name
    if atom.kind in ("number", "null"):
        return str(atom.kind == "number")
    return f"{name} or {name} == 0 and {name} is not False"


def _equality(left: Atom, right: Atom) -> str:
    if left.is_constant and not right.is_constant:
        left, right = right, left
    if right.kind in ("null", "boolean") and right.is_constant and not left.is_constant:
        return f"{left.source} is {right.source}"
    if "string" in (left.kind, right.kind):
        return f"{left.source} == {right.source}"
    return f"equal({left.source}, {right.source})"


def _type_test(name: str, types: list[str]) -> str:
    tests = [f"{name} is not None" if t == "type(None)" else f"type({name}) is not {t}" for t in types]
    return " and ".join(tests)


def _arity_fits(function: Function, count: int) -> bool:
    return function.minimum <= count and (function.maximum is None or count <= function.maximum)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"


def wrong_type(function: Function, position: int, got: str) -> str:
    """The sentence that says which argument is of a wrong type."""
    parameter = function.parameters[min(position, len(function.parameters) - 1)]
    wanted = " or ".join(sorted(parameter.types))
    if parameter.items:
        wanted += f" of {' or '.join(sorted(parameter.items))}"
    return f"{function.name}() takes {wanted} as argument {position + 1} ('{parameter.name}'), got {got}"


def bad_argument(function: Function, position: int, value: Any) -> None:
    """Called by generated code where an argument's type is wrong."""
    raise EvaluationError(wrong_type(function, position, type_name(value)))


def items_fit(parameter: Parameter, value: Any) -> bool:
    """Whether all items of an array are of one of the parameter's item types, all of the same."""
    if type(value) is not list or not value or not parameter.items:
        return True
    kinds = {type_name(item) for item in value}
    return len(kinds) == 1 and kinds <= parameter.items


#: What generated code of expressions calls.
SUPPORT: Final[dict[str, Any]] = {
    "equal": equal,
    "less": less,
    "less_equal": less_equal,
    "bad_argument": bad_argument,
    "items_fit": items_fit,
}
