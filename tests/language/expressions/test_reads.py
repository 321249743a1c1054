"""Which fields of the client's body an expression or template reads, and which it does not."""

from __future__ import annotations

from typing import Any

import pytest

from engine.compiler.reads import client_fields, read_tree
from engine.diagnostics import Findings
from engine.exchange import unread
from engine.exchange.exchange import Exchange
from engine.http.messages import Inbound
from engine.language import yaml
from engine.language.codegen import Atom, Compiled
from engine.language.expressions import CLIENT_BODY, Record, Scope
from engine.language.templates import TemplateCompiler
from engine.language.uses import ITEM, TESTED, AllExcept, Step, VariableOrigin

VARIABLES = {
    "request": Record(
        {
            "body": Atom("x.body", origin=VariableOrigin(CLIENT_BODY)),
            "method": Atom("x.inbound.method", "string"),
        }
    ),
    "vars": Record({"table": Atom("vars_table", "object")}),
    "upstream": Record({"body": Atom("x.upstream_body")}),
}


TEMPLATES = """
first: { model: "${ model }", more: { extra: "${ extra }" } }
second: { name: "${ model }" }
tree: { name: "${ name }", b: "${ $request.body.b }", below: { $each: "${ below }", $use: tree } }
"""


def reads(template: str) -> set[str]:
    """The paths read, written as `a.*.b`; `a.?` if only the truth value is read; '@' is the entire body."""
    function, findings = compiled(template)
    assert not len(findings), list(findings)
    return {".".join(map(shown, path)) or "@" for path in client_fields(function.uses)}


def shown(step: Step) -> str:
    if isinstance(step, AllExcept):
        return f"but {' '.join(sorted(step.names))}"
    return {TESTED: "?", ITEM: "*"}[step] if isinstance(step, int) else step


def compiled(template: str) -> tuple[Compiled, Findings]:
    findings = Findings()
    document = yaml.parse("reads.yaml", template.encode(), findings)
    assert document is not None
    templates = yaml.parse("templates.yaml", TEMPLATES.encode(), findings)
    assert templates is not None
    compiler = TemplateCompiler(findings, dict(templates.root.items()), names={"vars_table": {}})
    scope = Scope(Atom("p", origin=VariableOrigin(CLIENT_BODY)), VARIABLES)
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
    ("${ text(a) }", {"a.*.text", "a.*.type"}),
    ("${ text(a[].b) }", {"a.*.b.text", "a.*.b.type"}),
    ("${ text(a || b) }", {"a.*.text", "a.*.type", "b.*.text", "b.*.type"}),
    ("${ text('a') }", set()),
    ("{ $each: '${ a }', b: '${ text(c) }' }", {"a.*.c.*.text", "a.*.c.*.type"}),
    ("${ !(a.b) && c }", {"a.b.?", "c"}),
    ("${ !@ }", {"?"}),
    ("${ a || fail('internal', b) }", {"a", "b"}),
    ("${ (a || fail('internal', 'no')).b }", {"a.b"}),
    ("${ default(a, fail('internal', 'no')).b }", {"a.b"}),
    ("${ not_null(a, c, fail('internal', 'no')).b }", {"a.b", "c.b"}),
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
    ("${ a[?b == 'x'] }", {"a"}),
    ("${ a[*] }", {"a"}),
    ("${ a[*] | length(@) }", {"a"}),
    ("${ a.* }", {"a"}),
    ("${ a.*.b }", {"a"}),
    ("${ a | b.c }", {"a.b.c"}),
    ("${ a | @ }", {"a"}),
    ("${ (a || b).c }", {"a.c", "b.c"}),
    ("${ (a && b).c }", {"a.?", "b.c"}),
    ("${ if(a, b, c).d }", {"a.?", "b.d", "c.d"}),
    ("${ warn(a, b).c }", {"a.c", "b"}),
    ("${ {x: a.b, y: c} }", {"a.b", "c"}),
    ("${ [a, b] | [0] }", {"a", "b"}),
    ("${ map(&b, a) }", {"a"}),
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
    ("{ $each: '${ a }', x: '${ $request.body.c }' }", {"a.*.?", "c"}),
    ("{ $each: '${ a }', x: '${ $index }' }", {"a.*.?"}),
    ("{ $each: '${ a }', $value: 1 }", {"a.*.?"}),
    ("{ $with: '${ a }', x: 1 }", {"a.?"}),
    ("${ a[*].[`1`] }", {"a.*.?"}),
    ("${ a[?`true`].[`1`] }", {"a.*.?"}),
    ("${ a[].[`1`] }", {"a.*.?"}),
    ("${ a[*].to_string(`1`) }", {"a.*.?"}),
    ("${ map(&`1`, a) }", {"a"}),
    ("${ map(&$request.body.c, a) }", {"a", "c"}),
    ("${ a.{x: `1`} }", {"a.?"}),
    ("${ {x: `1`} }", {"?"}),
    ("{ $let: { v: '${ b }' }, $each: '${ a }', x: 1 }", {"a.*.?"}),
    ("{ $each: '${ a }', y: { $each: '${ b }', x: '${ c }' } }", {"a.*.b.*.c"}),
    ("{ $with: '${ a }', x: '${ b }' }", {"a.b"}),
    ("{ $with: '${ a }', $value: '${ @ }' }", {"a"}),
    ("{ $let: { v: '${ a }' }, x: '${ $v.b }' }", {"a.b"}),
    ("{ $let: { v: '${ a }' }, x: '${ b }' }", {"b"}),
    ("{ $let: { v: '${ a.b }', w: '${ $v.c }' }, x: '${ $w.d }' }", {"a.b.c.d"}),
    ("{ $if: '${ a }', x: '${ b }', $else: '${ c }' }", {"a.?", "b", "c"}),
    ("{ $if: '${ a }', $then: { $each: '${ a }', x: '${ b }' } }", {"a.*.b"}),
    ("{ $switch: '${ a }', $cases: { x: '${ b }' }, $default: '${ c }' }", {"a", "b", "c"}),
    ("{ $spread: '${ a }', x: 1 }", {"a.but x"}),
    ("{ $concat: ['${ a }', '${ b.c }'] }", {"a", "b.c"}),
    # Only the named fields of an object, however their names are written
    ("${ pick(@, ['a', 'b']) }", {"a", "b"}),
    ('${ pick(@, `[\\"a\\"]`) }', {"a"}),
    ("${ pick(@, ['*']) }", {"*"}),
    ("${ pick(a, ['b']).b.c }", {"a.b.c"}),
    ("${ pick(a || b, ['c']) }", {"a.c", "b.c"}),
    ("${ pick(@, [a]) }", {"@"}),
    ("${ pick(pick(@, ['a', 'b']), ['b', 'c']) }", {"b"}),
    ("${ omit(@, ['a']) }", {"but a"}),
    ("${ omit(a, ['b', 'c']) }", {"a.but b c"}),
    ("${ omit(omit(a, ['b']), ['c']) }", {"a.but b c"}),
    ("${ omit(@, ['a']).b.c }", {"b.c"}),
    ("${ omit(@, ['a']).a }", {"?"}),
    ("${ omit(@, [a]) }", {"@"}),
    ("${ omit(pick(@, ['a', 'b']), ['b']) }", {"a"}),
    ("${ merge(pick(@, ['a']), {b: c}) }", {"a", "c"}),
    ("${ sort_by(a, &b)[*].c }", {"a.*.b", "a.*.c"}),
    ("${ sort_by(a, &b) }", {"a"}),
    ("${ reverse(a)[0].b }", {"a.*.b"}),
    ("${ reverse(a) }", {"a"}),
    ("${ group_adjacent(a, &b)[*][0].c }", {"a.*.b", "a.*.c"}),
    ("${ group_adjacent(a[?b], &(c == 'x'))[0][0].d }", {"a.*.b.?", "a.*.c", "a.*.d"}),
    ("${ group_adjacent(a, &b) }", {"a.*"}),
    ("${ length(group_adjacent(a, &b)) }", {"a.*"}),
    ("${ group_adjacent(pick(@, ['a']).a, &b)[0][0].c }", {"a.*.b", "a.*.c"}),
    ('{ $each: "${ group_adjacent(a, &b) }", $value: { $each: "${ @ }", c: "${ c }" } }', {"a.*.b", "a.*.c"}),
    ("${ merge(@, {b: c}).b }", {"c"}),
    ("${ rename(pick(a, ['b']), `{}`) }", {"a.b"}),
    # The parts of a new payload are read where that payload is read
    ("{ $with: { x: '${ a }', y: '${ b }' }, z: '${ x }' }", {"a"}),
    ("{ $with: { x: '${ a }', y: '${ b }' }, $value: '${ @ }' }", {"a", "b"}),
    ("{ $with: { x: '${ a }' }, z: '${ x.c }' }", {"a.c"}),
    ("{ $with: '${ {x: a, y: b} }', z: '${ y.c }' }", {"b.c"}),
    ("{ $with: { $spread: '${ a }', y: '${ b }' }, z: '${ c }' }", {"a.c"}),
    ("{ $with: { $spread: ['${ a }', '${ b }'] }, z: '${ c }' }", {"a.c", "b.c"}),
    ("{ $let: { v: { x: '${ a }', y: '${ b }' } }, z: '${ $v.x }' }", {"a"}),
    (
        "{ $let: { v: { $if: '${ a }', $then: '${ b }', $else: '${ c }' } }, z: '${ $v.x }' }",
        {"a.?", "b.x", "c.x"},
    ),
    ("{ $let: { v: ['${ a }', '${ b }'] }, z: '${ $v[0].x }' }", {"a.x", "b.x"}),
    (
        "{ $let: { v: { $concat: ['${ a }', '${ b }'] } }, $value: { $each: '${ $v }', z: '${ x }' } }",
        {"a.*.x", "a.x", "b.*.x", "b.x"},
    ),
    ("{ $each: { $each: '${ a }', x: '${ b }', y: '${ c }' }, z: '${ x }' }", {"a.*.b"}),
    ("{ $each: { x: '${ a }' }, $value: '${ value }' }", {"a"}),
    ("{ $with: { $each: '${ a }', x: '${ b }', y: '${ c }' }, z: '${ @[*].x }' }", {"a.*.b"}),
    ("{ $with: '${ a[].{x: b, y: c} }', z: '${ @[].x }' }", {"a.*.b"}),
    ("${ a[].b[] | [?c].d }", {"a.*.b.c.?", "a.*.b.*.c.?", "a.*.b.d", "a.*.b.*.d"}),
    ("{ $with: { $use: first }, $use: second }", {"model"}),
    ("{ $with: { $use: first }, $value: '${ @ }' }", {"model", "extra"}),
    ("{ $with: '${ a }', $use: tree }", {"a", "b"}),
    ("{ $with: '${ a.c }', x: { $each: '${ d }', $use: tree } }", {"a.c.d.*", "b"}),
    ("{ $use: tree }", {"@"}),
]


@pytest.mark.parametrize(("template", "paths"), READS)
def test_paths_that_a_template_reads(template: str, paths: set[str]) -> None:
    assert reads(template if template.startswith("{") else f'"{template}"') == paths


#: A template, a body, and the fields of the body that are not read.
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
    ("${ pick(@, ['a']) }", {"a": {"b": 1}, "c": 2, "*": 3}, {"c", "*"}),
    ("${ pick(@, ['*']) }", {"a": 1, "*": 3}, {"a"}),
    ("${ omit(@, ['a']) }", {"a": 1, "b": {"c": 2}}, {"a"}),
    ("${ omit(a, ['b']) }", {"a": {"b": 1, "c": {"d": 2}}, "e": 3}, {"a.b", "e"}),
    ("${ [omit(@, ['a', 'b']), omit(@, ['b', 'c'])] }", {"a": 1, "b": 2, "c": 3}, {"b"}),
    ("${ [omit(@, ['a']), a.b, c.d] }", {"a": {"b": 1, "c": 2}, "c": {"d": 1, "e": 2}}, {"a.c"}),
    ("{ $with: { x: '${ a }', y: '${ b }' }, z: '${ x }' }", {"a": 1, "b": 2}, {"b"}),
    ("{ $each: '${ a }', x: '${ $index }' }", {"a": [{"b": 1}, 2], "c": 3}, {"a[].b", "c"}),
    ("{ $each: '${ a }', x: '${ $index }' }", {"a": {"b": 1}}, set()),
    ("{ $let: { v: '${ a }' }, x: '${ b }' }", {"a": 1, "b": 2}, {"a"}),
    ("${ a.b || a.c.d }", {"a": {"b": 1, "c": {"d": 1, "e": 2}}}, {"a.c.e"}),
    ("${ a && b }", {"a": {"b": 1}, "b": 2}, {"a.b"}),
    ("${ !a }", {"a": 1}, set()),
    ("${ !a }", {"a": [{"b": 1}]}, {"a[].b"}),
    ("${ !a }", {"a": ["x", None, "y"]}, {"a[]"}),
    ("${ !a }", {"a": [[1], {}]}, {"a[][]"}),
    ("{ $if: '${ a }', x: 1 }", {"a": [{"b": 1, "c": [2]}]}, {"a[].b", "a[].c"}),
    ("{ $each: '${ a }', x: 1 }", {"a": ["x"]}, set()),
    ("{ $spread: '${ a }', b: 1 }", {"a": {"b": 1, "c": 2}}, {"a.b"}),
    ("{ $spread: '${ a }', b: 1 }", {"a": [{"b": 1, "c": 2}]}, set()),
    ("{ $spread: '${ a }', b: '${ d }' }", {"a": {"b": 1, "c": 2}, "d": 3}, set()),
    ("{ $spread: '${ a }', b: 'x${ d }', c: [] }", {"a": {"b": 1, "c": 2}, "d": 3}, {"a.b", "a.c"}),
    ("{ $spread: '${ a }', $let: { v: 1 }, b: { $if: '${ d }', $then: 1 } }", {"a": {"b": 1}, "d": 3}, set()),
    ("{ b: 1, $spread: '${ a }' }", {"a": {"b": 1}}, set()),
    ("{ $with: { a: { $concat: '${ b }' }, c: '${ d }' }, x: '${ c }' }", {"b": [1], "d": 1}, {"b[]"}),
    ("{ $with: { a: { $spread: '${ b }' }, c: '${ d }' }, x: '${ c }' }", {"b": {"e": 1}, "d": 1}, {"b.e"}),
    ("{ $spread: ['${ a }', { b: 1 }] }", {"a": {"b": 1, "c": 2}}, {"a.b"}),
    ("${ merge(a, {b: d}) }", {"a": {"b": 1, "c": 2}, "d": 3}, {"a.b"}),
    ('${ merge(a, `{\\"b\\": 1}`, {c: d}) }', {"a": {"b": 1, "c": 2}, "d": 3}, {"a.b", "a.c"}),
    ("${ merge({b: d}, a) }", {"a": {"b": 1}, "d": 3}, set()),
    ("${ merge(a, omit(e, ['b'])) }", {"a": {"b": 1}, "e": {"b": 2, "c": 3}}, {"e.b"}),
    ("{ $if: '${ a }', $then: { $each: '${ a }', x: '${ b }' } }", {"a": [{"b": 1, "c": 2}]}, {"a[].c"}),
    ("${ (a || fail('internal', 'no'))[].b }", {"a": [{"b": 1, "c": 2}]}, {"a[].c"}),
    ("${ if(!a, b, a) }", {"a": {"c": 1}}, set()),
    ("${ a.b || a }", {"a": {"b": 1, "c": {"d": 1}}}, set()),
]


@pytest.mark.parametrize(("template", "body", "left"), UNREAD)
def test_fields_that_a_template_does_not_read(template: str, body: Any, left: set[str]) -> None:
    text = template if template.startswith("{") else f'"{template}"'
    function, _ = compiled(text)
    assert set(unread(body, read_tree(client_fields(function.uses)))) == left


#: A template, a body, and the fields that the template drops.
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
def test_dropped_fields_are_recorded(template: str, body: Any, dropped: list[str]) -> None:
    function, findings = compiled(template if template.startswith("{") else f'"{template}"')
    assert not len(findings), list(findings)
    exchange = Exchange(Inbound("POST", "/"), {})
    exchange.body = body
    function.function(body, exchange)
    assert exchange.dropped == dropped


@pytest.mark.parametrize(
    "argument", ["@", "$request.body", "'a'", "a || b", "a || 'b'", "a && b", "$upstream.body.a", "length(a)"]
)
def test_only_a_field_of_the_clients_body_can_be_dropped(argument: str) -> None:
    _, findings = compiled(f'"${{ drop({argument}) }}"')
    assert [finding.code for finding in findings] == ["wrong-argument"]


def test_an_operand_after_fail_is_not_narrowed() -> None:
    """`default(a, fail(…)) || b` may evaluate to b; the other `a` keeps its value."""
    function, _ = compiled("\"${ [default(a, fail('internal', 'no')) || b, a] }\"")
    assert function.function({"a": False, "b": 1}, Exchange(Inbound("POST", "/"), {})) == [1, False]


@pytest.mark.parametrize("keys", ["`5`", "'a'", "`null`", "`[1]`", "`{}`"])
@pytest.mark.parametrize("function", ["pick", "omit"])
def test_invalid_keys_of_pick_and_omit_are_a_finding(function: str, keys: str) -> None:
    _, findings = compiled(f"'${{ {function}(@, {keys}) }}'".replace("'a'", "''a''"))
    assert [finding.code for finding in findings] == ["wrong-argument"]
