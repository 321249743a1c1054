"""Generated expressions, over all of JMESPath's syntax and functions, and generated JSON data.

Fields and data share a few keys, so that paths match values; most arguments of a function match its
signature. Every text follows the grammar, but not every one is a valid expression: `a.b.[0]` is not.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jmespath.functions
from hypothesis import strategies as st

from engine.language.functions import FUNCTIONS, Parameter

#: JMESPath's own functions.
STANDARD = sorted(
    name.removeprefix("_func_") for name in dir(jmespath.functions.Functions) if name.startswith("_func_")
)

Text = st.SearchStrategy[str]

NAMES = ["a", "b", "c", "d", "_x1"]
ODD_NAMES = ["é", "a b", "", "$v0", "${", "}", 'q"', "日本", "a'b", "`", "\\", "\n"]
STRINGS = [
    "",
    "a",
    "b",
    "ab",
    "é",
    "日本語",
    "🙂",
    "1",
    "1.5",
    "-3",
    "true",
    "it's",
    "`",
    "\\",
    "a\nb",
    "$v1",
]

BIG = [2**53, 2**63 - 1, -(2**63), 2**64 - 1, 1e15, 4503599627370497.5]
NUMBERS = st.one_of(st.integers(-3, 5), st.sampled_from([0, 0.0, -0.0, 1.0, 0.5, -1.5, *BIG]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.sampled_from(STRINGS))
KEYS = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(ODD_NAMES))
OF_ONE_KIND = st.one_of(
    st.lists(NUMBERS, max_size=4),
    st.lists(st.sampled_from(STRINGS), max_size=4),
    st.lists(st.fixed_dictionaries({"a": NUMBERS, "b": st.sampled_from(STRINGS)}), max_size=4),
)
DATA = st.recursive(
    SCALARS | OF_ONE_KIND,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=14,
)
OBJECTS = st.dictionaries(KEYS, DATA, min_size=2, max_size=5)

OF_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(STRINGS),
    "number": NUMBERS,
    "boolean": st.booleans(),
    "null": st.none(),
    "object": OBJECTS,
    "array": DATA.filter(lambda value: isinstance(value, list)) | OF_ONE_KIND,
}


def literal(value: Any) -> str:
    """The value in backticks."""
    return "`" + json.dumps(value).replace("`", "\\`") + "`"


def raw_string(value: str) -> str:
    """The text in single quotes; only the quote is escaped."""
    return "'" + value.replace("'", "\\'") + "'"


def either(*choices: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One of the choices, all equally likely: `one_of` would flatten nested choices."""
    return st.one_of(*(st.tuples(choice).map(lambda drawn: drawn[0]) for choice in choices))


def joined(*parts: Text | str) -> Text:
    """The parts, concatenated."""
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map("".join)


LITERALS: Text = either(DATA.map(literal), SCALARS.map(literal), st.sampled_from(STRINGS).map(raw_string))
FIELDS: Text = either(
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES + ODD_NAMES).map(lambda name: json.dumps(name, ensure_ascii=False)),
)
VARIABLES: Text = st.sampled_from(["$v0", "$v1", "$v2"])
BOUNDS: Text = st.sampled_from(["", "", "0", "1", "2", "-1", "-2", "9", "99999999999999999999"])
STEPS: Text = st.sampled_from(["", ":", ":1", ":2", ":-1", ":-2"])
SPACE: Text = st.sampled_from(["", "", " ", "\n  "])
LOGIC: Text = st.sampled_from(["||", "&&", "|", "|"])
COMPARISONS: Text = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


@cache
def expressions(depth: int = 4, variables: bool = False) -> Text:
    """Expressions nested at most `depth` deep, with `variables` also `$v0`, `$v1` and `$v2`."""
    leaves = either(FIELDS, FIELDS, st.just("@"), LITERALS, *([VARIABLES] * 4 if variables else ()))
    if depth == 0:
        return leaves
    inner = expressions(depth - 1, variables)
    paths = joined(inner, st.lists(_steps(depth, variables), min_size=1, max_size=3).map("".join))
    return either(
        leaves,
        paths,
        paths,
        paths,
        joined(st.sampled_from(["(", "!", "!("]), inner, ")").map(_balanced),
        joined(inner, SPACE, LOGIC, SPACE, inner),
        joined(inner, SPACE, COMPARISONS, SPACE, inner),
        _multi_selects(inner),
        _calls(depth, variables),
        _calls(depth, variables),
    )


def _balanced(text: str) -> str:
    return text if text.startswith(("(", "!(")) else text[:-1]


@cache
def _steps(depth: int, variables: bool) -> Text:
    """What can follow an expression: a field, an index, a projection or a call."""
    inner = expressions(depth - 1, variables)
    return either(
        joined(".", FIELDS),
        joined(".", FIELDS),
        st.integers(-3, 3).map("[{}]".format),
        joined("[", BOUNDS, ":", BOUNDS, STEPS, "]"),
        st.sampled_from(["[*]", "[]", ".*"]),
        st.sampled_from(["[*]", "[]"]),
        joined("[?", inner, "]"),
        joined(".", _multi_selects(inner)),
        joined(".", _calls(depth, variables)),
    )


def _multi_selects(inner: Text) -> Text:
    items = st.lists(inner, min_size=1, max_size=3).map(", ".join)
    pairs = st.lists(joined(FIELDS, ": ", inner), min_size=1, max_size=3).map(", ".join)
    return either(joined("[", items, "]"), joined("{", pairs, "}"))


def _calls(depth: int, variables: bool) -> Text:
    return st.sampled_from(STANDARD).flatmap(lambda name: _call(name, depth - 1, variables))


@cache
def _call(name: str, depth: int, variables: bool) -> Text:
    parameters = FUNCTIONS[name].parameters
    arguments = [_argument(parameter, depth, variables) for parameter in parameters]
    more = [arguments[-1]] if parameters[-1].variadic else []
    return st.one_of(st.tuples(*arguments), st.tuples(*arguments, *more)).map(
        lambda drawn: f"{name}({', '.join(drawn)})"
    )


@cache
def _argument(parameter: Parameter, depth: int, variables: bool) -> Text:
    inner = expressions(max(depth - 1, 0), variables)
    if "expression" in parameter.types:
        return joined("&", either(FIELDS, inner))
    if not parameter.types:
        return inner
    matching = [_matching(parameter, name).map(literal) for name in sorted(parameter.types)]
    converted = [joined(_MAKERS[name], "(", inner, ")") for name in sorted(parameter.types & set(_MAKERS))]
    return either(inner, *matching, *converted)


#: Functions that convert any value to a type.
_MAKERS = {"string": "to_string", "array": "to_array"}


def _matching(parameter: Parameter, name: str) -> st.SearchStrategy[Any]:
    if name != "array" or not parameter.items:
        return OF_TYPE[name]
    return either(*(st.lists(OF_TYPE[item], max_size=4) for item in sorted(parameter.items)))
