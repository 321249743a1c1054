"""Schemas of bodies as plans hold them.

Contract: the library that checks them is imported for the first of them.
Must not know what a mapping means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from engine.locations import Path

#: `{path, rule, message}` of what does not fit; of the schema alone, as the value is payload.
Misfit: TypeAlias = dict[str, Any]


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
    from engine.language.schema.body_validator import Checked

    return BodySchema(Checked(schema).misfit)
