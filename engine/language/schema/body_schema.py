"""Schemas of bodies, as used in plans.

Contract: the validation library is imported for the first schema.
Must not know what a mapping means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.language.schema.body_schema_errors import ValidationError


@dataclass(frozen=True, slots=True)
class BodySchema:
    """A JSON Schema for bodies; `check` returns the most specific error of a body, None if it is valid."""

    check: Callable[[Any], ValidationError | None]


def body_schema(schema: Any) -> BodySchema:
    """Compile a JSON Schema (2020-12).

    Raises:
        BodySchemaError: it is not a valid schema, or a `$ref` in it cannot be resolved inside it.
    """
    from engine.language.schema.body_validator import BodyValidator

    return BodySchema(BodyValidator(schema).find_error)
