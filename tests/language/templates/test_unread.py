"""Fields reported as not read do not affect the value, so no field that matters is reported as dropped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.compiler.reads import client_fields, read_tree
from engine.errors import EvaluationError, ExchangeError
from engine.exchange import unread
from engine.exchange.exchange import Exchange
from engine.http.messages import Inbound
from engine.language.codegen import Compiled
from engine.language.expressions import CLIENT_BODY
from engine.language.uses import ITEM
from engine.locations import Node
from engine.plan import ReadTree
from tests.language.expressions.compiled import Refused
from tests.language.expressions.compiled import compiled as expression
from tests.language.expressions.generated import OBJECTS, expressions
from tests.support.properties import property_settings

from .rendered import compiled, shown
from .test_properties import NAMES, PAYLOADS, node
from .test_suites import cases, from_case

#: Paths, projections, and expressions that build new values.
PATHS = st.sampled_from(
    [
        "@",
        "a",
        "b.c",
        "list[0]",
        "list[*].a",
        "a||b",
        "list[?a].b|[0]",
        "a&&b",
        "!a",
        "c.a.b",
        "a.*.b",
        "list[].a",
        "list[1:].b",
        "(a||b).c",
        "if(a,b,c).a",
        "if(a,b)",
        "not_null(a,b).c",
        "default(a,list)",
        "warn(a,'x').b",
        "text(list)",
        "text(a)",
        "text(list[*].a)",
        "{a:a,b:b}.a",
        "{a:b,list:list}",
        "[a,b][0].c",
        "pick(@,['a','b'])",
        "pick(@,['a','b']).a",
        "omit(@,['a'])",
        "omit(@,['a']).b",
        "merge(@,{a:b})",
        "merge(@,{a:b}).a",
        'rename(pick(@,[\'a\']),`{"a":"b"}`)',
        "list[*].{a:a,b:b}",
        "list[*].{a:b}[].a",
        "map(&a,to_array(list))",
        "length(to_array(a))",
        "to_array(a)[0].b",
        "$request.body.a",
        "list[*].[`1`]",
        "list[].[`1`]",
        "a.{x:`1`}",
        "{x:`1`}",
        "list[*].a[].b",
        "a.b[].c",
    ]
).map("${{ {} }}".format)
SIMPLE = st.sampled_from(["${ a }", "${ list }", "${ @ }"])


def _mappings(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    return st.one_of(
        keys,
        st.lists(inner, max_size=3),
        st.builds(lambda payload, content: {"$with": payload, **content}, inner, keys),
        st.builds(lambda payload, value: {"$with": payload, "$value": value}, inner, inner),
        st.builds(lambda items, content: {"$each": items, **content}, inner, keys),
        st.builds(lambda items: {"$each": items, "$value": "${ $index }"}, inner),
        st.builds(lambda value, content: {"$let": {"v": value}, **content, "b": "${ $v.a }"}, inner, keys),
        st.builds(lambda value, content: {"$let": {"v": value}, **content, "c": "${ $v[0] }"}, inner, keys),
        st.builds(lambda test, a, b: {"$if": test, "$then": a, "$else": b}, inner, inner, inner),
        st.builds(lambda spread, content: {"$spread": spread, **content}, inner, keys),
        st.builds(lambda one, two: {"$spread": [one, two]}, inner, inner),
        st.builds(lambda lists: {"$concat": lists}, st.lists(inner, max_size=3)),
        st.builds(lambda lists: {"$concat": lists}, inner),
        st.builds(lambda a, b: {"$switch": a, "$cases": {"x": b}, "$default": a}, PATHS, inner),
    )


TEMPLATES = st.recursive(st.one_of(PATHS, SIMPLE, st.just("text")), _mappings, max_leaves=6)


@property_settings(500, 5000)
@given(TEMPLATES, PAYLOADS)
def test_unread_fields_do_not_affect_a_template(template: Any, body: Any) -> None:
    found = compiled(node(template))
    assume(not len(found.findings))
    check(found.function, body)


#: The cases with a valid template of their own.
VALID = [case for case in cases() if not {"files", "findings"} & case.values[0].value.keys()]


@pytest.mark.parametrize("case", VALID)
def test_unread_fields_do_not_affect_a_case(case: Node) -> None:
    check(from_case(case).function, case.value.get("given"))


@property_settings(500, 5000)
@given(expressions(3), OBJECTS)
def test_unread_fields_do_not_affect_an_expression(text: str, body: Any) -> None:
    try:
        function = expression(text)
    except Refused:
        assume(False)
        raise
    check(function, body)


def check(function: Compiled, body: Any) -> None:
    tree = read_tree(client_fields(function.uses))
    other = changed(body, tree)
    shown_code = f"{function.source}\n{tree}\n{other}"
    assert outcome(function, other) == outcome(function, body), shown_code
    if not function.uses.refers_to(CLIENT_BODY):
        assert outcome(function, None) == outcome(function, body), shown_code


def outcome(function: Compiled, body: Any) -> str:
    """The value of a function, or the name of its error."""
    exchange = Exchange(Inbound("POST", "/"), {})
    exchange.body = body
    try:
        return shown(function.function(body, exchange))
    except (EvaluationError, ExchangeError) as error:
        return type(error).__name__


def changed(value: Any, tree: ReadTree) -> Any:
    """The body with another value in each field that is not read."""
    if isinstance(value, list) and isinstance(tree, dict):
        return [changed(item, tree.get(ITEM, True)) for item in value]
    if not isinstance(value, dict) or not isinstance(tree, dict):
        return value
    return {key: _changed(key, item, tree) for key, item in value.items()}


def _changed(key: str, item: Any, tree: dict[Any, Any]) -> Any:
    dropped = unread({key: item}, tree)
    if key in dropped:
        return {"other": item}
    return changed(item, tree[key]) if dropped else item
