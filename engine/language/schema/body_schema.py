"""Schemas of bodies as plans hold them.

Contract: the library that checks them is imported for the first of them.
Must not know what a mapping means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.language.schema.body_schema_errors import ValidationError


@dataclass(frozen=True, slots=True)
class BodySchema:
    """A JSON Schema for bodies; `check` gives the most telling misfit of one, None where it fits."""

    check: Callable[[Any], ValidationError | None]


def body_schema(schema: Any) -> BodySchema:
    """Compile a JSON Schema (2020-12).

    Raises:
        BodySchemaError: it is no schema, or a `$ref` in it cannot be resolved inside it.
    """
    from engine.language.schema.body_validator import Checked

    return BodySchema(Checked(schema).misfit)
