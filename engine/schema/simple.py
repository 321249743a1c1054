"""Schemas of bodies that are made of types, properties and items alone, as most are.

Contract: they are checked without the library of JSON Schema, and what is told of a body is what would be
told with it. What is told speaks of the schema, never of the value, which is payload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from engine.source import Path
from engine.values import ABSENT, type_name

_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: type(value) is int or (isinstance(value, float) and value.is_integer()),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
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

#: The Python class of each JSON type, as parsing gives it.
_CLASSES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def predicate(schema: Any) -> _Predicate:
    """What tells whether a body fits, and no more; made at load, so that a body that fits costs little.

    One function for all keywords of a schema, as each call counts here.
    """
    classes, tests = _classes_of(schema), [_TYPES[name] for name in _names(schema)]
    required = frozenset(schema.get("required", ()))
    properties = schema.get("properties", {}).items()
    parts = {name: (_sufficient(part), predicate(part)) for name, part in properties}
    listed = tuple(parts.items())
    items = predicate(schema["items"]) if "items" in schema else None

    def fits(value: Any) -> bool:
        # The class alone decides for nearly all values; the tests decide for 1.0 as an integer.
        if type(value) not in classes and not any(test(value) for test in tests):
            return False
        if isinstance(value, dict):
            if required and not required <= value.keys():
                return False
            if len(parts) > len(value):  # the names of whichever has fewer
                return _fit_parts(value, parts)
            for name, (enough, part) in listed:
                item = value.get(name, ABSENT)
                if type(item) not in enough and not part(item):
                    return False
        elif items is not None and isinstance(value, list):
            for item in value:
                if not items(item):
                    return False
        return True

    return fits


def _fit_parts(value: dict[str, Any], parts: dict[str, tuple[frozenset[type], _Predicate]]) -> bool:
    for name, item in value.items():
        known = parts.get(name)
        if known is not None and type(item) not in known[0] and not known[1](item):
            return False
    return True


def _names(schema: Any) -> list[str]:
    wanted = schema.get("type", [*_TYPES])
    return [wanted] if isinstance(wanted, str) else wanted


def _classes_of(schema: Any) -> frozenset[type]:
    """Python's classes whose values surely have a type of the schema."""
    return frozenset(found for name in _names(schema) for found in _CLASSES[name])


def _sufficient(schema: Any) -> frozenset[type]:
    """The classes whose values fit a schema, whatever else there is in them; that of what is absent too."""
    return frozenset([type(ABSENT), *(_classes_of(schema) if not schema.keys() - {"type"} else ())])


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
    if not any(_TYPES[name](value) for name in _names(schema)):
        yield path, "type", schema, value


def _of_required(wanted: Any, value: Any, path: Path, schema: Any) -> Iterator[_Misfit]:
    if isinstance(value, dict) and not value.keys() >= {*wanted}:
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
