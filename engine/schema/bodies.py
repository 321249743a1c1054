"""Schemas of bodies as plans hold them.

Contract: what most mappings ask, an object and no more, is found out without the library of JSON Schema,
which takes long to import. Must not know what a mapping means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from engine.source import Path
from engine.values import type_name

#: `{path, rule, message}` of what does not fit; of the schema alone, as the value is payload.
Misfit: TypeAlias = dict[str, Any]

_AN_OBJECT: Final = {"type": "object"}


class BodySchemaError(Exception):
    """A schema that is none, or that refers outside itself; `path` leads to what is wrong in it."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class BodySchema:
    """A JSON Schema for bodies; `check` gives the most telling misfit of one, None where it fits."""

    check: Callable[[Any], Misfit | None]


def body_schema(schema: Any) -> BodySchema:
    """Compile a JSON Schema (2020-12).

    Raises:
        BodySchemaError: it is no schema, or a `$ref` in it cannot be resolved inside it.
    """
    if schema == _AN_OBJECT:
        return BodySchema(_no_object)
    from engine.schema.checked import Checked

    return BodySchema(Checked(schema).misfit)


def _no_object(body: Any) -> Misfit | None:
    if type(body) is dict:
        return None
    return {"path": "", "rule": "type", "message": f"must be object, not {type_name(body)}"}
