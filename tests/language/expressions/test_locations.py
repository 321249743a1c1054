"""Findings at load and errors at run time have the exact location in an expression."""

from __future__ import annotations

from typing import Any

import pytest

from engine.diagnostics import Findings
from engine.errors import EvaluationError
from engine.language import yaml
from engine.language.codegen import Atom, span_of_traceback
from engine.language.expressions import Scope
from engine.language.templates import TemplateCompiler

from .compiled import Refused, Warnings, compiled

#: An expression with `«` before the character that is wrong, and the finding's code.
WRONG = [
    ("«", "bad-expression"),
    ("a.«", "bad-expression"),
    ("a «b", "bad-expression"),
    ("a.«.b", "bad-expression"),
    ("a«#", "bad-expression"),
    ("«$ v", "bad-expression"),
    ("«é.a", "bad-expression"),
    ("a «= b", "bad-expression"),
    ("a «& b", "bad-expression"),
    ("a.«1", "bad-expression"),
    ("a.«'b'", "bad-expression"),
    ("a.«$v", "bad-expression"),
    ("a[«", "bad-expression"),
    ("a[1«", "bad-expression"),
    ("a[«b]", "bad-expression"),
    ("a[1«.5]", "bad-expression"),
    ("a[?b == «'x", "bad-expression"),
    ('«"a', "bad-expression"),
    ("(a«", "bad-expression"),
    ("{a«}", "bad-expression"),
    ("{«'a': b}", "bad-expression"),
    ("length(a«", "bad-expression"),
    ("length(a «b)", "bad-expression"),
    ("a ||« ", "bad-expression"),
    ('«"a"(b)', "bad-expression"),
    ("«lenght(a)", "unknown-function"),
    ("  «nope(a)", "unknown-function"),
    ("a.b.«nope(@)", "unknown-function"),
    ("[a, «nope(b)]", "unknown-function"),
    ("{x: a, y: «nope(b)}", "unknown-function"),
    ("a[?«nope(b)]", "unknown-function"),
    ("a.*.[«nope(@)]", "unknown-function"),
    ("a | «nope(@)", "unknown-function"),
    ("sort_by(a, &«nope(b))", "unknown-function"),
    ('"é".«nope(@)', "unknown-function"),
    ("a || «$nope", "unknown-variable"),
    ("a[?b == «$nope.c]", "unknown-variable"),
    ("a && «length(a, b)", "wrong-arity"),
    ("«if(a)", "wrong-arity"),
    ("length(«`5`)", "wrong-argument"),
    ("starts_with('a', «`1`)", "wrong-argument"),
    ("sort_by(a, «b)", "wrong-argument"),
    ("a || «&b", "wrong-argument"),
    ("fail(«'nope', 'x')", "wrong-argument"),
    ("regex_match(a, «b)", "wrong-argument"),
    ("a.b[«::0]", "wrong-argument"),
    ("regex_match(a, «'(')", "bad-regex"),
    ("concat(a, «nullable(b))", "misplaced-nullable"),
]


@pytest.mark.parametrize(("marked", "code"), WRONG)
def test_a_finding_has_the_location_of_the_mistake(marked: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        compiled(marked.replace("«", ""), v=1)
    found = [(finding.code, finding.span.column - 1) for finding in refused.value.findings]
    assert found == [(code, marked.index("«"))], refused.value


#: YAML with `«` before the function call that fails on the payload below.
PAYLOAD = {"text": "a", "number": 5, "list": [1, "a"], "objects": [{"k": "x"}, {"k": 1}]}
FAILING = [
    "${ «length(number) }",
    "- ${ text }\n- ${ concat(text, «abs(text)) }",
    "a:\n  b: >-\n    ${ text ||\n       text } and\n    ${ not_null(missing,\n       «sum(list)) }",
    "a: |\n  first ${ text }\n  second ${ text && «keys(text) }\n  third",
    "a: 'it''s ${ «floor(text) }'",
    'a: "\\t\\u0041 ${ «ceil(text) }"',
    "a: ${ objects[*].«length(@.k) }",
    "a: ${ «sort_by(objects, &k) }",
    "a: ${ map(&«lower(k), objects) }",
    "a: ${ objects[?«starts_with(k, 'x')] }",
    "a: ${ if(text, «join(',', list), 'b') }",
    "a:\n  $if: ${ «avg(list) }\n  b: 1",
    "a:\n  $let: { x: '${ «max(list) }' }\n  b: ${ $x }",
    "a:\n  $each: «${ number }\n  b: ${ k }",
    "a:\n  $each: ${ objects }\n  b: ${ «upper(k) }",
    "a:\n  c: 1\n  $spread: «${ text }",
    "a:\n  $concat: «${ text }",
    "a:\n  $concat:\n  - ${ list }\n  - ${ «divide(number, `0`) }",
    "a: ${ «from_json(text) }",
    "a: ${ to_number('1') && (text | «contains(@, `1`)) }",
]


@pytest.mark.parametrize("marked", FAILING)
def test_a_runtime_error_has_the_location_of_the_call(marked: str) -> None:
    before, _, after = marked.partition("«")
    findings = Findings()
    document = yaml.parse("failing.yaml", (before + after).encode(), findings)
    assert document is not None
    function = TemplateCompiler(findings).compile(document.root, Scope(Atom("p"), {}), "body")
    assert not len(findings), list(findings)
    span = span_of_traceback(failure(function.function).__traceback__)
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    assert span is not None
    assert (span.line, span.column) == (line, column), function.source


def failure(function: Any) -> EvaluationError:
    with pytest.raises(EvaluationError) as failed:
        function(PAYLOAD, Warnings())
    return failed.value
