"""Schemas of bodies that are made of types, properties and items alone, as most are.

Contract: they are checked without the library of JSON Schema, and what is told of a body is what would be
told with it. What is told speaks of the schema, never of the value, which is payload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from engine.source import Path
from engine.values import type_name

#: The types of JSON as those of Python; a float without a fraction is an integer too.
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}

#: What is wrong: the way to it, the rule, the schema that holds the rule, and the value.
_Misfit = tuple[Path, str, Any, Any]


# --- Whether a schema is one of these --------------------------------------------------------------------


def is_simple(schema: Any) -> bool:
    """Whether a schema is sound, and made of the keywords below."""
    return isinstance(schema, dict) and all(_is_sound(keyword, schema[keyword]) for keyword in schema)


def _is_sound(keyword: Any, wanted: Any) -> bool:
    return keyword in _SOUND and _SOUND[keyword](wanted)


def _are_names(wanted: Any) -> bool:
    is_list_of_text = isinstance(wanted, list) and all(isinstance(name, str) for name in wanted)
    return is_list_of_text and len(set(wanted)) == len(wanted)


def _are_types(wanted: Any) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    return _are_names(names) and bool(names) and all(name in _TYPES for name in names)


_SOUND: Final[dict[str, Callable[[Any], bool]]] = {
    "type": _are_types,
    "required": _are_names,
    "properties": lambda wanted: isinstance(wanted, dict) and all(map(is_simple, wanted.values())),
    "items": is_simple,
}


# --- Whether a body fits ---------------------------------------------------------------------------------

_Predicate = Callable[[Any], bool]


def predicate(schema: Any) -> _Predicate:
    """What tells whether a body fits, and no more; made at load, so that a body that fits costs little."""
    parts = [_PREDICATES[keyword](wanted) for keyword, wanted in schema.items()]
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda value: first(value) and second(value)
    return lambda value: all(part(value) for part in parts)


def _has_type(wanted: Any) -> _Predicate:
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    accepted = frozenset(each for name in names for each in _TYPES[name])
    if "integer" in names and "number" not in names:
        return lambda value: type(value) in accepted or (type(value) is float and value.is_integer())
    return lambda value: type(value) in accepted


def _has_required(wanted: Any) -> _Predicate:
    names = frozenset(wanted)
    return lambda value: not isinstance(value, dict) or names <= value.keys()


def _has_properties(wanted: Any) -> _Predicate:
    part_of = {name: predicate(schema) for name, schema in wanted.items()}.get

    def fits(value: Any) -> bool:
        if type(value) is dict:
            for name, item in value.items():
                part = part_of(name)
                if part is not None and not part(item):
                    return False
        return True

    return fits


def _has_items(wanted: Any) -> _Predicate:
    part = predicate(wanted)

    def fits(value: Any) -> bool:
        if type(value) is list:
            for item in value:
                if not part(item):
                    return False
        return True

    return fits


_PREDICATES: Final[dict[str, Callable[[Any], _Predicate]]] = {
    "type": _has_type,
    "required": _has_required,
    "properties": _has_properties,
    "items": _has_items,
}


# --- What does not fit -----------------------------------------------------------------------------------


def misfit(schema: Any, body: Any) -> dict[str, Any] | None:
    """The most telling misfit of a body, as `{path, rule, message}`; None where it fits."""
    found = max(_misfits(schema, body, ()), key=_relevance, default=None)
    if found is None:
        return None
    path, rule, part, value = found
    return {"path": written(path), "rule": rule, "message": MESSAGES[rule](part[rule], value)}


def written(path: Path) -> str:
    """The way to a value, for people."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _relevance(found: _Misfit) -> Any:
    """The nearest to the top; of those that are equally near the last one, unless it is at the same place."""
    return -len(found[0]), found[0]


def _misfits(schema: Any, value: Any, path: Path) -> Iterator[_Misfit]:
    for keyword, wanted in schema.items():
        yield from _RULES[keyword](wanted, value, path, schema)


_Rule = Callable[[Any, Any, Path, Any], Iterator[_Misfit]]


def _of_type(wanted: Any, value: Any, path: Path, schema: Any) -> Iterator[_Misfit]:
    if not _has_type(wanted)(value):
        yield path, "type", schema, value


def _of_required(wanted: Any, value: Any, path: Path, schema: Any) -> Iterator[_Misfit]:
    if not _has_required(wanted)(value):
        yield path, "required", schema, value


def _of_properties(wanted: Any, value: Any, path: Path, schema: Any) -> Iterator[_Misfit]:
    for key in wanted if isinstance(value, dict) else ():
        if key in value:
            yield from _misfits(wanted[key], value[key], (*path, key))


def _of_items(wanted: Any, value: Any, path: Path, schema: Any) -> Iterator[_Misfit]:
    for number, item in enumerate(value if isinstance(value, list) else ()):
        yield from _misfits(wanted, item, (*path, number))


_RULES: Final[dict[str, _Rule]] = {
    "type": _of_type,
    "required": _of_required,
    "properties": _of_properties,
    "items": _of_items,
}


def _required(wanted: Any, value: Any) -> str:
    missing = [key for key in wanted if key not in value]
    return f"'{missing[0]}' is required"


def _type(wanted: Any, value: Any) -> str:
    names = [wanted] if isinstance(wanted, str) else wanted
    return f"must be {' or '.join(names)}, not {type_name(value)}"


#: What is said of a misfit, made from what stands in the schema, and of the value no more than its type.
MESSAGES: Final[dict[str, Callable[[Any, Any], str]]] = {"required": _required, "type": _type}
