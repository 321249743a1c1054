"""Errors of bodies, and of JSON Schemas for bodies."""

from __future__ import annotations

from typing import Any, TypeAlias

from engine.locations import Path

#: `{path, rule, message}` of a validation error; it describes only the schema, because the value is payload.
ValidationError: TypeAlias = dict[str, Any]


class BodySchemaError(Exception):
    """An invalid schema, or one that refers outside itself; `path` is the path to the error in it."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path
