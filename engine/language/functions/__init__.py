"""The function library: every function that an expression can call, as one table.

Contract: `FUNCTIONS` is a value, sorted by name, made at import from the modules of this package; nothing can
be added to it afterwards. Each entry includes its documentation and its examples.
This package must not know requests, mappings or jmespath.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType, ModuleType

from engine.language.functions import (
    deltas,
    effects,
    encodings,
    fragments,
    ids,
    json_text,
    lists,
    numbers,
    objects,
    ordering,
    regexes,
    schemas,
    text,
    times,
    values,
)
from engine.language.functions.regexes import compile_regex
from engine.language.functions.registry import Context, Example, Function, Parameter

__all__ = ["FUNCTIONS", "GROUPS", "Context", "Example", "Function", "Parameter", "compile_regex"]

#: Each module of functions, in the order of the reference, with its title there.
_MODULES: Mapping[ModuleType, str] = {
    text: "Text",
    regexes: "Regular expressions",
    numbers: "Numbers",
    lists: "Lists",
    ordering: "Order",
    objects: "Objects",
    values: "Values and types",
    json_text: "JSON as text",
    schemas: "JSON Schema",
    encodings: "Encodings",
    times: "Times",
    ids: "Identifiers",
    deltas: "Streams",
    fragments: "Fragments",
    effects: "Errors and warnings",
}


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _collect(modules: Iterable[ModuleType]) -> Mapping[str, Function]:
    """The functions that are defined in the modules, sorted by name."""
    found: dict[str, Function] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Function) and value.group == _name(module):
                if value.name in found:
                    raise ValueError(f"two functions have the name {value.name}")
                found[value.name] = value
    return MappingProxyType(dict(sorted(found.items())))


#: Each group of functions (the name of its module) with its title, in the order of the reference.
GROUPS: Mapping[str, str] = MappingProxyType({_name(module): title for module, title in _MODULES.items()})

#: Every function by its name, sorted.
FUNCTIONS: Mapping[str, Function] = _collect(_MODULES)
