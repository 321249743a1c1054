"""Reads the objects of a file into dataclasses whose fields are the keys of the object.

The type of a field determines how its key is read:

    Node, Duration, Number the value with its location, because it can contain an expression
    a `Spec` class         an object
    tuple[X, ...]          a list of X, or a single X where the schema allows both
    Mapping[str, X]        X by name
    str                    text; a number or boolean as an environment variable would have it
    int, bool, Literal …   the value

The default of a field is the default of the key; a field without a default is a required key. A name that is
reserved in Python ends with an underscore: `from_` is the key `from`.

Contract: the object is valid by its schema. Must not know which keys there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from engine.locations import Node

#: A duration: its node, which may be an expression, or a default such as `5s`.
Duration: TypeAlias = Node | str
#: A whole number: its node, which may be an expression, or a default.
Number: TypeAlias = Node | int

_Read: TypeAlias = Callable[[Node], Any]
S = TypeVar("S", bound="Spec")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Spec:
    """An object of a file. A class with a short form overrides `from_short`."""

    node: Node

    @classmethod
    def from_short(cls: type[S], node: Node) -> S:
        """The object of a short form, such as `GET /health` for a health check."""
        raise TypeError(f"{cls.__name__} has no short form")


def read_spec(cls: type[S], node: Node) -> S:
    """The object of a node; null is an object without keys."""
    if not isinstance(node.value, dict | None):
        return cls.from_short(node)
    found = {name: read(child) for name, key, read in _keys(cls) if (child := node.get(key)) is not None}
    return cls(node=node, **found)


def merged(base: S | None, own: S | None) -> S | None:
    """The object with the keys of both; those of `own` take precedence."""
    if base is None or own is None:
        return own or base
    sources = {name: own if own.node.get(key) else base for name, key, _ in _keys(type(own))}
    return type(own)(node=own.node, **{name: getattr(source, name) for name, source in sources.items()})


def defaults(cls: type[Spec]) -> dict[str, Any]:
    """The default of each key of an object that has no required keys."""
    return {field.name.rstrip("_"): field.default for field in fields(cls) if field.name != "node"}


def _keys(cls: type) -> tuple[tuple[str, str, _Read], ...]:
    """Each field of a class, its key, and the function that reads it."""
    return _derived_keys(cls)


@functools.cache
def _derived_keys(cls: type[Spec]) -> tuple[tuple[str, str, _Read], ...]:
    types = get_type_hints(cls)
    names = (field.name for field in fields(cls) if field.name != "node")
    return tuple((name, name.rstrip("_"), _reader(types[name])) for name in names)


def _reader(kind: Any) -> _Read:
    """The function that reads a value of a type."""
    is_union = get_origin(kind) in (Union, UnionType)
    kinds = set(get_args(kind) if is_union else (kind,)) - {NoneType}
    if Node in kinds:
        return _node
    if len(kinds) > 1:
        return _value
    (kind,) = kinds
    if get_origin(kind) is tuple:
        return functools.partial(_list, _reader(get_args(kind)[0]))
    if get_origin(kind) is Mapping:
        return functools.partial(_by_name, _reader(get_args(kind)[1]))
    if isinstance(kind, type) and issubclass(kind, Spec):
        return functools.partial(read_spec, kind)
    return _text if kind is str else _value


def _node(node: Node) -> Node:
    return node


def _value(node: Node) -> Any:
    return node.value


def _text(node: Node) -> str | None:
    value = node.value
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _list(read: _Read, node: Node) -> tuple[Any, ...]:
    return tuple(map(read, node.elements() if isinstance(node.value, list) else (node,)))


def _by_name(read: _Read, node: Node) -> dict[str, Any]:
    return {name: read(child) for name, child in node.items()}
