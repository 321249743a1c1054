"""Which fields of the client's body an expression or a template reads, and what a body has beyond them."""

from __future__ import annotations

from typing import Any

import pytest

from engine import loader
from engine.codegen import SHELL, Atom, Compiled
from engine.compile.attempts import read_tree
from engine.errors import Findings
from engine.exchange import unread
from engine.expressions import Record, Scope
from engine.messages import Exchange, Inbound
from engine.templates import TemplateCompiler

VARIABLES = {
    "request": Record({"body": Atom("x.body", origin=()), "method": Atom("x.inbound.method", "string")}),
    "vars": Record({"table": Atom("vars_table", "object")}),
    "upstream": Record({"body": Atom("x.reply_body")}),
}


def reads(template: str) -> set[str]:
    """The paths read, in the way that `a.*.b` is written, `a.?` where only its truth is; the body is '@'."""
    function, findings = compiled(template)
    assert not len(findings), list(findings)
    return {".".join("?" if step == SHELL else str(step) for step in path) or "@" for path in function.reads}


def compiled(template: str) -> tuple[Compiled, Findings]:
    findings = Findings()
    document = loader.parse("reads.yaml", template.encode(), findings)
    assert document is not None
    compiler = TemplateCompiler(findings, {"line": document.root}, names={"vars_table": {}})
    scope = Scope(Atom("p", origin=()), VARIABLES)
    return compiler.compile(document.root, scope, "body"), findings


#: A template, and the paths it reads.
READS = [
    ("plain", set()),
    ("${ 'a' }", set()),
    ("${ @ }", {"@"}),
    ("${ $request.body }", {"@"}),
    ("${ $request.method }", set()),
    ("${ $upstream.body.a }", set()),
    ("${ a }", {"a"}),
    ("${ a.b.c }", {"a.b.c"}),
    ("${ $request.body.a.b }", {"a.b"}),
    ("in ${ a.b } text ${ c }", {"a.b", "c"}),
    ("${ a || b }", {"a", "b"}),
    ("${ a && b.c }", {"a.?", "b.c"}),
    ("${ !a }", {"a.?"}),
    ("${ !(a.b) && c }", {"a.b.?", "c"}),
    ("${ !@ }", set()),
    ("${ a || fail('internal', b) }", {"a", "b"}),
    ("${ (a || fail('internal', 'no')).b }", {"a.b"}),
    ("${ default(a, fail('internal', 'no')).b }", {"a.b"}),
    ("${ not_null(a, c, fail('internal', 'no')).b }", {"a", "c"}),
    ("${ drop(a.b) }", set()),
    ("${ if(a == 'x', drop(b)) }", {"a"}),
    ("${ a == b.c }", {"a", "b.c"}),
    ("${ length(a) }", {"a"}),
    ("${ if(a, b, c) }", {"a.?", "b", "c"}),
    ("${ if(a, b).c }", {"a.?", "b.c"}),
    ("${ if(a, b, drop(c)).d }", {"a.?", "b.d"}),
    ("${ default(a.b, c) }", {"a.b", "c"}),
    ("${ a[0].b }", {"a.*.b"}),
    ("${ a[-1] }", {"a.*"}),
    ("${ a[1:].b }", {"a.*.b"}),
    ("${ a[*].b.c }", {"a.*.b.c"}),
    ("${ a[*].b[*].c }", {"a.*.b.*.c"}),
    ("${ a[].b }", {"a.*.b"}),
    ("${ a[].[b, c.d] }", {"a.*.b", "a.*.c.d"}),
    ("${ a[*].{x: b} }", {"a.*.b"}),
    ("${ a[?b == 'x'].c }", {"a.*.b", "a.*.c"}),
    ("${ a[?b == 'x'] | [0].c }", {"a.*.b", "a.*.c"}),
    ("${ a[?b == 'x'] }", {"a.*.b", "a"}),
    ("${ a[*] }", {"a"}),
    ("${ a[*] | length(@) }", {"a"}),
    ("${ a.* }", {"a"}),
    ("${ a.*.b }", {"a"}),
    ("${ a | b.c }", {"a.b.c"}),
    ("${ a | @ }", {"a"}),
    ("${ (a || b).c }", {"a", "b"}),
    ("${ {x: a.b, y: c} }", {"a.b", "c"}),
    ("${ [a, b] | [0] }", {"a", "b"}),
    ("${ map(&b, a) }", {"a"}),
    ("${ sort_by(a, &b)[*].c }", {"a"}),
    ("${ lookup($vars.table, a.b) }", {"a.b"}),
    ("${ $vars.table | a }", set()),
    ("${ $request.body[*].a }", {"*.a"}),
    ("${ $request.body[?a == 'x'] | [0].b }", {"*.a", "*.b"}),
    ("${ $request.body[0].a }", {"*.a"}),
    ("${ $request.body[].a }", {"*.a"}),
    ("${ $request.body.*.a }", {"@"}),
    ("${ $request.body[0:2].a }", {"*.a"}),
    ("${ $request.body[*][0].a | [0] }", {"*.*.a"}),
    ("${ nullable(a.b) }", {"a.b"}),
    ("{ k: '${ a }', l: ['${ b.c }'] }", {"a", "b.c"}),
    ("{ $each: '${ a }', x: '${ b }' }", {"a.*.b"}),
    ("{ $each: '${ a[?b] }', x: '${ c }' }", {"a.*.b.?", "a.*.c"}),
    ("{ $each: '${ a }', $value: '${ @ }' }", {"a.*"}),
    ("{ $each: '${ a }', x: '${ $request.body.c }' }", {"c"}),
    ("{ $each: '${ a }', x: '${ $index }' }", set()),
    ("{ $each: '${ a }', y: { $each: '${ b }', x: '${ c }' } }", {"a.*.b.*.c"}),
    ("{ $with: '${ a }', x: '${ b }' }", {"a.b"}),
    ("{ $with: '${ a }', $value: '${ @ }' }", {"a"}),
    ("{ $let: { v: '${ a }' }, x: '${ $v.b }' }", {"a.b"}),
    ("{ $let: { v: '${ a }' }, x: '${ b }' }", {"b"}),
    ("{ $let: { v: '${ a.b }', w: '${ $v.c }' }, x: '${ $w.d }' }", {"a.b.c.d"}),
    ("{ $if: '${ a }', x: '${ b }', $else: '${ c }' }", {"a.?", "b", "c"}),
    ("{ $if: '${ a }', $then: { $each: '${ a }', x: '${ b }' } }", {"a.?", "a.*.b"}),
    ("{ $switch: '${ a }', $cases: { x: '${ b }' }, $default: '${ c }' }", {"a", "b", "c"}),
    ("{ $spread: '${ a }', x: 1 }", {"a"}),
    ("{ $concat: ['${ a }', '${ b.c }'] }", {"a", "b.c"}),
]


@pytest.mark.parametrize(("template", "paths"), READS)
def test_reads(template: str, paths: set[str]) -> None:
    assert reads(template if template.startswith("{") else f'"{template}"') == paths


#: A template, a body, and what of the body is not read.
UNREAD: list[tuple[str, Any, set[str]]] = [
    ("${ a }", {"a": {"b": 1}, "c": 2}, {"c"}),
    ("${ a.b }", {"a": {"b": 1, "c": 2}}, {"a.c"}),
    ("${ a.b }", {"a": {"b": 1, "c": None}}, set()),
    ("${ a.b }", {"a": 5}, set()),
    ("${ a.b }", {"a": [1]}, set()),
    ("${ @ }", {"a": 1}, set()),
    ("plain", {"a": 1, "b": None}, {"a"}),
    ("${ a[*].b }", {"a": [{"b": 1}, {"b": 2, "c": 3}]}, {"a[].c"}),
    ("${ a[].b }", {"a": [{"b": 1, "d": 2}], "c": 1}, {"a[].d", "c"}),
    ("${ a[].b }", {"a": [[{"b": 1}]]}, set()),
    ("${ a[?b].c }", {"a": [{"b": 1, "c": 2, "d": 3}]}, {"a[].d"}),
    ("${ a[?b] | [0].c }", {"a": [{"b": 1, "c": 2, "d": 3}]}, {"a[].d"}),
    ("${ a[?b] }", {"a": [{"b": 1, "c": 2}]}, set()),
    ("${ a.* }", {"a": {"x": 1, "y": {"z": 2}}}, set()),
    ("${ a.*.b }", {"a": {"x": {"b": 1, "c": 2}}}, set()),
    ("{ $each: '${ a }', x: '${ b }' }", {"a": [{"b": 1, "c": 2}]}, {"a[].c"}),
    ("{ $each: '${ a }', x: '${ b[*].t }' }", {"a": [{"b": [{"t": 1, "u": 2}]}, {"b": "s"}]}, {"a[].b[].u"}),
    ("{ $each: '${ a }', $spread: '${ from_items([[key, value]]) }' }", {"a": {"x": 1}, "b": 2}, {"b"}),
    ('${ pick(a, `[\\"b\\"]`) }', {"a": {"b": 1, "c": 2}}, {"a.c"}),
    ('${ pick(a, keys(`{\\"b\\": 1}`)) }', {"a": {"b": 1, "c": 2}}, {"a.c"}),
    ("${ pick(a, d) }", {"a": {"b": 1, "c": 2}, "d": ["b"]}, set()),
    ("{ $let: { v: '${ a }' }, x: '${ b }' }", {"a": 1, "b": 2}, {"a"}),
    ("${ a.b || a.c.d }", {"a": {"b": 1, "c": {"d": 1, "e": 2}}}, {"a.c.e"}),
    ("${ a && b }", {"a": {"b": 1}, "b": 2}, {"a.b"}),
    ("${ !a }", {"a": 1}, set()),
    ("${ !a }", {"a": [{"b": 1}]}, set()),
    ("{ $if: '${ a }', $then: { $each: '${ a }', x: '${ b }' } }", {"a": [{"b": 1, "c": 2}]}, {"a[].c"}),
    ("${ (a || fail('internal', 'no'))[].b }", {"a": [{"b": 1, "c": 2}]}, {"a[].c"}),
    ("${ if(!a, b, a) }", {"a": {"c": 1}}, set()),
    ("${ a.b || a }", {"a": {"b": 1, "c": {"d": 1}}}, set()),
]


@pytest.mark.parametrize(("template", "body", "left"), UNREAD)
def test_unread(template: str, body: Any, left: set[str]) -> None:
    text = template if template.startswith("{") else f'"{template}"'
    function, _ = compiled(text)
    assert set(unread(body, read_tree(function.reads))) == left


#: A template, a body, and which of its fields the template gives up.
DROPPED: list[tuple[str, Any, list[str]]] = [
    ("${ drop(a) }", {"a": 1}, ["a"]),
    ("${ drop(a) }", {"a": False}, ["a"]),
    ("${ drop(a) }", {"a": None}, []),
    ("${ drop(a) }", {}, []),
    ("${ drop($request.body.a.b) }", {"a": {"b": {}}}, ["a.b"]),
    ("${ drop(a[0]) }", {"a": [1]}, ["a[]"]),
    ("${ if(a == 'x', drop(a)) }", {"a": "x"}, ["a"]),
    ("${ if(a == 'x', drop(a)) }", {"a": "y"}, []),
    ("${ [drop(a), b && drop(b), c && drop(c)] }", {"a": 1, "b": "", "c": "x"}, ["a", "c"]),
    ("{ $each: '${ a }', x: '${ drop(b) }' }", {"a": [{"b": 1}, {}, {"b": 2}]}, ["a[].b", "a[].b"]),
    ("{ $let: { v: '${ a.b }' }, x: '${ drop($v) }' }", {"a": {"b": 1}}, ["a.b"]),
]


@pytest.mark.parametrize(("template", "body", "dropped"), DROPPED)
def test_fields_given_up(template: str, body: Any, dropped: list[str]) -> None:
    function, findings = compiled(template if template.startswith("{") else f'"{template}"')
    assert not len(findings), list(findings)
    exchange = Exchange(Inbound("POST", "/"), {})
    exchange.body = body
    function.function(body, exchange)
    assert exchange.dropped == dropped


@pytest.mark.parametrize("argument", ["@", "$request.body", "'a'", "a || b", "$upstream.body.a", "length(a)"])
def test_only_a_field_of_the_client_can_be_given_up(argument: str) -> None:
    _, findings = compiled(f'"${{ drop({argument}) }}"')
    assert [finding.code for finding in findings] == ["wrong-argument"]


def test_what_stands_behind_a_failure_is_left_as_it_is() -> None:
    """`default(a, fail(…)) || b` may go on with b; the `a` beside it is still a."""
    function, _ = compiled("\"${ [default(a, fail('internal', 'no')) || b, a] }\"")
    assert function.function({"a": False, "b": 1}, Exchange(Inbound("POST", "/"), {})) == [1, False]
