"""Compiles and evaluates expressions for tests: text and payload in, value or findings out.

A shortened form of what templates do: parse, emit one function, run it. Variables are values, bound as the
compiler binds `$vars`.
"""

from __future__ import annotations

from typing import Any

from engine.diagnostics import Diagnostic, Findings
from engine.language.budget import Budget
from engine.language.codegen import Atom, Compiled, TooLarge, Writer
from engine.language.expressions import CLIENT_BODY, SUPPORT, Emitter, ExpressionSyntaxError, Scope, parse
from engine.language.uses import VariableOrigin
from engine.locations import Document, Node, ScalarText, SourceFile
from engine.values import type_name


class Refused(Exception):
    """The findings that the loader would report for an invalid expression."""

    def __init__(self, *findings: Diagnostic) -> None:
        super().__init__("; ".join(f"{d.span.column}: {d.code}: {d.message}" for d in findings))
        self.findings = findings


class Warnings(Budget):
    """The part of the exchange that functions use; records the warnings."""

    started_ns = 0

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def scalar(text: str) -> Node:
    """A node for `text` as the first line of a file: each character is at its own column."""
    offsets = ScalarText(tuple(range(len(text) + 1)))
    return Document(SourceFile("test.yaml", text), text, scalars={(): offsets}).root


def compiled(text: str, **variables: Any) -> Compiled:
    """The function compiled from an expression.

    Raises:
        Refused: the loader has findings.
    """
    node, findings = scalar(text), Findings()
    writer = Writer({**SUPPORT, **{f"vars_{name}": value for name, value in variables.items()}})
    atoms = {name: Atom(f"vars_{name}", type_name(value)) for name, value in variables.items()}
    try:
        atom = Emitter(
            Scope(Atom("p", origin=VariableOrigin(CLIENT_BODY)), atoms), writer, findings, node, 0
        ).emit(parse(text))
        writer.use(atom)
        writer.line(f"return {atom.source}")
        result = writer.finish("expression")
    except ExpressionSyntaxError as error:
        raise Refused(Diagnostic("bad-expression", error.message, node.span_at(error.offset))) from None
    except TooLarge:
        raise Refused(Diagnostic("too-deep", "nested too deeply", node.span)) from None
    if len(findings):
        raise Refused(*findings)
    return result


def search(text: str, payload: Any = None, /, **variables: Any) -> Any:
    """The value of an expression, with the signature of `jmespath.search`."""
    return compiled(text, **variables).function(payload, Warnings())


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: `true` is not `1` at any depth; 1 and 1.0 are one number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type_name(one) == type_name(other) and bool(one == other)
