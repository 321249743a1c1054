"""Example values from JSON Schemas, for mappings that mock a server.

Contract: the result depends on the schema alone, and matches it as far as `schema_example` documents. Schemas
come from clients: keywords with values of a wrong type are ignored. Work and result are bounded, whatever
the schema repeats or refers to.
This module must not know any API.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeGuard
from urllib.parse import unquote

from engine.errors import EvaluationError
from engine.language.functions.bounds import in_range, too_deep
from engine.language.functions.json_text import compact
from engine.language.functions.registry import Cost, function

#: The most values and characters that one example contains, together with those of rejected alternatives.
_MAX_SIZE: Final = 100_000

#: The deepest nesting of schemas: properties, items, references and combinations.
_MAX_DEPTH: Final = 64

#: References to the whole schema, which is followed from the beginning.
_ROOT: Final = frozenset(("#", ""))

_TEXT: Final = "example"

#: The example of each `format` (JSON Schema Validation 2020-12, section 7.3).
_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "user@example.com",
    "idn-email": "user@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/example",
    "iri": "https://example.com/",
    "iri-reference": "/example",
    "uri-template": "/example/{id}",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/example",
    "relative-json-pointer": "0",
    "regex": "^example$",
}

#: Keywords that imply a type where `type` is absent.
_IMPLIED_TYPES: Final[Mapping[str, str]] = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "minProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "contains": "array",
    "minItems": "array",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}

Schema = dict[str, Any]


class _NoExampleError(Exception):
    """A schema has no example: it is false, or requires a reference that is being followed already."""


@function("schema_example(schema: object|boolean) -> any", cost=Cost(measured=(0,)))
def schema_example(schema: Schema | bool) -> Any:
    """A value that matches a JSON Schema (draft 2020-12), always the same for the same schema.

    For stubs of servers that return structured data. An object has all its properties, an array has
    `minItems` items, and a choice (`anyOf`, `oneOf`, `type`) is its first alternative that is not null. `$ref`
    can lead to `#` and to a JSON pointer within the schema; where a schema contains itself, optional parts end
    the recursion. `pattern`, `not`, `if`, `dependentRequired` and `dependentSchemas` are not considered.

    A schema that no value can match, or whose example has more than 100,000 values and characters, is an
    error.

    Examples:
        schema_example(`{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}}}`) => {"name": "example", "age": 18}
        schema_example(`{"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 2}`) => ["red", "red"]
        schema_example(`{"$ref": "#/$defs/day", "$defs": {"day": {"type": "string", "format": "date"}}}`) => "2025-01-01"
        schema_example(`{"properties": {"next": {"$ref": "#"}, "value": {"type": "number"}}}`) => {"value": 0}
        schema_example(`{"anyOf": [{"type": "null"}, {"type": "boolean"}]}`) => true
        schema_example(`{}`) => "example"
        schema_example(`false`) => !
    """  # noqa: E501 - an example is one line
    try:
        return _Builder(schema).build(schema, _ROOT, 0)
    except _NoExampleError:
        raise EvaluationError("schema_example() got a schema that no value matches") from None


class _Builder:
    """Builds the example of one schema within its bounds.

    `opened` are the references that are being followed, `depth` the nesting; both for the current part.
    `ordinal` numbers the items of an array with `uniqueItems`, so that they differ.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MAX_SIZE
        self._types: Mapping[str, Callable[[Schema, frozenset[str], int, int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._number,
            "number": self._number,
            "boolean": lambda schema, opened, depth, ordinal: ordinal % 2 == 0,
            "null": lambda schema, opened, depth, ordinal: None,
        }

    def build(self, schema: Any, opened: frozenset[str], depth: int, ordinal: int = 0) -> Any:
        """The example of a schema.

        Raises:
            _NoExampleError: there is none.
            EvaluationError: a bound is exceeded.
        """
        self._take(1)
        if schema is False:
            raise _NoExampleError
        if depth > _MAX_DEPTH:
            raise too_deep("schema_example")
        if not isinstance(schema, dict):
            return _TEXT
        if isinstance(schema.get("$ref"), str):
            return self._referred(schema, opened, depth, ordinal)
        for keyword in ("allOf", "anyOf", "oneOf"):
            if _list(schema, keyword):
                return self._combined(schema, keyword, opened, depth, ordinal)
        if "const" in schema:
            return self._given(schema["const"])
        if _list(schema, "enum"):
            return self._given(schema["enum"][ordinal % len(schema["enum"])])
        return self._types[_type(schema)](schema, opened, depth, ordinal)

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise EvaluationError(
                f"schema_example() would make more than {_MAX_SIZE} values and characters from this schema"
            )

    def _given(self, value: Any) -> Any:
        """A value of the schema itself, which counts like a created one."""
        self._take(len(compact("schema_example", value)))
        return value

    # --- References and combinations ---------------------------------------------------------------------

    def _referred(self, schema: Schema, opened: frozenset[str], depth: int, ordinal: int) -> Any:
        reference = schema["$ref"]
        if reference in opened:
            raise _NoExampleError
        target = _resolved(self._root, reference)
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        return self.build(self._merge(siblings, target), opened | {reference}, depth + 1, ordinal)

    def _combined(
        self, schema: Schema, keyword: str, opened: frozenset[str], depth: int, ordinal: int
    ) -> Any:
        base = {key: value for key, value in schema.items() if key != keyword}
        if keyword == "allOf":
            base, opened = self._all_of(base, schema[keyword], opened)
            return self.build(base, opened, depth + 1, ordinal)
        for part in sorted(schema[keyword], key=_is_null):
            merged, inside = part, opened
            if base.keys() & _CONSTRAINTS:
                merged, inside = self._target(part, opened)
            try:
                return self.build(self._merge(base, merged), inside, depth + 1, ordinal)
            except _NoExampleError:
                continue
        raise _NoExampleError

    def _all_of(
        self, base: Schema, parts: list[Any], opened: frozenset[str]
    ) -> tuple[Schema, frozenset[str]]:
        """A schema merged with all of `parts`, and the references that were followed."""
        for part in parts:
            part, opened = self._target(part, opened)
            merged = self._merge(base, part)
            if merged is False:
                raise _NoExampleError
            base = merged
        return base, opened

    def _target(self, schema: Any, opened: frozenset[str]) -> tuple[Any, frozenset[str]]:
        """A schema whose references are followed, so that it can be merged with another."""
        while isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
            reference = schema["$ref"]
            if reference in opened:
                raise _NoExampleError
            opened = opened | {reference}
            siblings = {key: value for key, value in schema.items() if key != "$ref"}
            schema = self._merge(siblings, _resolved(self._root, reference))
        return schema, opened

    def _merge(self, one: Schema, other: Any) -> Any:
        """What `_merged` returns; the size of both schemas counts, as merging copies them."""
        self._take(_breadth(one) + _breadth(other))
        return _merged(one, other)

    # --- Types -------------------------------------------------------------------------------------------

    def _object(self, schema: Schema, opened: frozenset[str], depth: int, ordinal: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = [name for name in _list(schema, "required") if isinstance(name, str)]
        other = schema.get("additionalProperties", True)
        needed = frozenset(required)
        result: dict[str, Any] = {}
        for name, part in properties.items():
            try:
                result[name] = self.build(part, opened, depth + 1, ordinal)
                self._take(len(name))
            except _NoExampleError:
                if name in needed:
                    raise
        for name in (*required, *_numbered(schema, required, result, other)):
            if name not in result:
                self._take(len(name))
                result[name] = self.build(other, opened, depth + 1, ordinal)
        return result

    def _array(self, schema: Schema, opened: frozenset[str], depth: int, ordinal: int) -> list[Any]:
        first, (least, rest) = _list(schema, "prefixItems"), self._further_items(schema)
        is_unique = schema.get("uniqueItems") is True
        count = max(least, min(len(first), _size(schema, "maxItems", len(first))))
        result: list[Any] = []
        # `count` may be huge; the size of the result is taken item by item.
        while len(result) < count:
            number = len(result)
            part = first[number] if number < len(first) else rest
            try:
                result.append(self.build(part, opened, depth + 1, number if is_unique else ordinal))
            except _NoExampleError:
                if number < least:
                    raise
                break
        return result

    def _further_items(self, schema: Schema) -> tuple[int, Any]:
        """The minimum number of items, and the schema of those without a schema of their own."""
        least, items = _size(schema, "minItems", 0), schema.get("items", True)
        if isinstance(schema.get("contains"), (dict, bool)):
            least = max(least, _size(schema, "minContains", 1))
            items = self._merge(items if isinstance(items, dict) else {}, schema["contains"])
        return least, items

    def _string(self, schema: Schema, opened: frozenset[str], depth: int, ordinal: int) -> str:
        least = _size(schema, "minLength", 0)
        most = max(least, _size(schema, "maxLength", max(least, len(_TEXT) + 12)))
        self._take(least)
        known = _FORMATS.get(schema["format"]) if isinstance(schema.get("format"), str) else None
        if known is not None and least <= len(known) and ("maxLength" not in schema or len(known) <= most):
            return known
        suffix = f" {ordinal + 1}" if ordinal else ""
        body = (_TEXT * (least // len(_TEXT) + 1))[: max(least, len(_TEXT)) - (len(suffix) if least else 0)]
        return body[: max(0, most - len(suffix))] + suffix[-most:] if most else ""

    def _number(self, schema: Schema, opened: frozenset[str], depth: int, ordinal: int) -> float:
        """The number nearest to zero that is within the bounds and a multiple of `multipleOf`."""
        try:
            return next(filter(_fits(schema), _candidates(schema, ordinal)), 0)
        except OverflowError:
            return 0


#: Keywords that constrain a value; others only annotate.
_CONSTRAINTS: Final = frozenset(
    (*_IMPLIED_TYPES, "type", "enum", "const", "minLength", "maxLength", "maxItems", "uniqueItems", "format")
)


def _resolved(root: Any, reference: str) -> Any:
    """The target of a reference within the schema; any value is allowed where there is no such target."""
    if reference in ("#", ""):
        return root
    if not reference.startswith("#/"):
        return True
    target = root
    for part in unquote(reference[2:]).split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, dict) and name in target:
            target = target[name]
        elif isinstance(target, list) and name.isdecimal() and name.isascii() and len(name) < 7:
            target = target[int(name)] if int(name) < len(target) else True
        else:
            return True
    return target


# --- Merged schemas --------------------------------------------------------------------------------------


def _merged(one: Schema, other: Any) -> Any:
    """A schema that is matched by what matches both, as far as that is one schema without combinations."""
    if other is False:
        return False
    if not isinstance(other, dict):
        return one
    result = dict(one)
    for key, value in other.items():
        result[key] = _MERGED.get(key, _latter)(result[key], value) if key in result else value
        if result[key] == [] and key in ("type", "enum"):
            return False
    return result


def _breadth(schema: Any) -> int:
    """The number of keywords and of their direct values; for `enum`, the length of its JSON text."""
    if not isinstance(schema, dict):
        return 1
    sizes = (len(value) if isinstance(value, (list, dict)) else 1 for value in schema.values())
    return 1 + sum(sizes) + (len(compact("schema_example", schema["enum"])) if "enum" in schema else 0)


def _latter(one: Any, other: Any) -> Any:
    return other


def _both(one: Any, other: Any) -> Any:
    return {"allOf": [one, other]}


def _united(one: Any, other: Any) -> Any:
    return [*one, *other] if isinstance(one, list) and isinstance(other, list) else other


def _common(one: Any, other: Any) -> list[Any]:
    """The values that are in both lists."""
    first, second = (part if isinstance(part, list) else [part] for part in (one, other))
    texts = {compact("schema_example", value) for value in first}
    return [value for value in second if compact("schema_example", value) in texts]


def _common_types(one: Any, other: Any) -> list[Any]:
    """The types that both allow; an integer is a number too."""
    first, second = (part if isinstance(part, list) else [part] for part in (one, other))
    common = _common(first, second)
    names = {name for name in (*first, *second) if isinstance(name, str)}
    return [*common, "integer"] if names >= {"integer", "number"} and "integer" not in common else common


def _all_properties(one: Any, other: Any) -> Any:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    return {**one, **{key: _both(one[key], value) if key in one else value for key, value in other.items()}}


def _higher(one: Any, other: Any) -> Any:
    return max(one, other) if _is_number(one) and _is_number(other) else other


def _lower(one: Any, other: Any) -> Any:
    return min(one, other) if _is_number(one) and _is_number(other) else other


_MERGED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "properties": _all_properties,
    "items": _both,
    "additionalProperties": _both,
    "required": _united,
    "allOf": _united,
    "type": _common_types,
    "enum": _common,
    **dict.fromkeys(
        ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"), _higher
    ),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems"), _lower),
}


# --- Keywords --------------------------------------------------------------------------------------------


def _list(schema: Schema, keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float)


def _size(schema: Schema, keyword: str, default: int) -> int:
    value = schema.get(keyword)
    return min(max(0, int(value)), _MAX_SIZE + 1) if _is_number(value) else default


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and (schema.get("type") == "null" or schema.get("const", 0) is None)


def _type(schema: Schema) -> str:
    """The first type that is not null; the type that another keyword implies, where `type` is absent."""
    given = schema.get("type")
    types = [name for name in (given if isinstance(given, list) else [given]) if isinstance(name, str)]
    known = [name for name in types if name in ("object", "array", "string", "integer", "number", "boolean")]
    if known or "null" in types:
        return known[0] if known else "null"
    return next((implied for keyword, implied in _IMPLIED_TYPES.items() if keyword in schema), "string")


def _numbered(schema: Schema, required: list[str], result: Schema, other: Any) -> Iterator[str]:
    """Names for `minProperties`, where the schema names too few."""
    count = len({*required, *result})
    least = 0 if other is False else _size(schema, "minProperties", 0)
    return (f"property{number}" for number in range(count + 1, least + 1))


def _bounds(schema: Schema) -> tuple[float, float]:
    """The range of a number; an exclusive bound is the bound itself."""
    lows = [schema.get(key) for key in ("minimum", "exclusiveMinimum")]
    highs = [schema.get(key) for key in ("maximum", "exclusiveMaximum")]
    low = max((value for value in lows if _is_number(value)), default=-math.inf)
    high = min((value for value in highs if _is_number(value)), default=math.inf)
    return low, high


def _step(schema: Schema) -> float | None:
    value = schema.get("multipleOf")
    return value if _is_number(value) and value > 0 else None


def _fits(schema: Schema) -> Callable[[float], bool]:
    """Whether a number matches the bounds, `multipleOf` and the type of a schema."""
    low, high = _bounds(schema)
    step, is_whole = _step(schema), _type(schema) == "integer"
    excluded = [schema.get(key) for key in ("exclusiveMinimum", "exclusiveMaximum")]

    def fits(number: float) -> bool:
        is_multiple = step is None or float(number / step).is_integer()
        has_type = not is_whole or float(number).is_integer()
        return low <= number <= high and number not in excluded and is_multiple and has_type

    return fits


def _candidates(schema: Schema, ordinal: int) -> Iterator[float]:
    """Numbers to try, nearest to zero first; those of later items of an array follow the first ones."""
    low, high = _bounds(schema)
    step = _step(schema) or 1
    start = 0 if low <= 0 <= high else low if low > 0 else high
    nearest = math.ceil(start / step) if low > 0 or start == 0 else math.floor(start / step)
    direction = -1 if high <= 0 else 1
    for offset in (ordinal, ordinal + 1, ordinal + 2):
        yield in_range((nearest + direction * offset) * step)
    if math.isfinite(low) and math.isfinite(high):
        yield low + (high - low) / (ordinal + 2)
    yield start
