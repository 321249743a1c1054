"""What is wrong with a body, and with a JSON Schema for bodies."""

from __future__ import annotations

from typing import Any, TypeAlias

from engine.locations import Path

#: `{path, rule, message}` of what does not fit; of the schema alone, as the value is payload.
ValidationError: TypeAlias = dict[str, Any]


class BodySchemaError(Exception):
    """A schema that is none, or that refers outside itself; `path` leads to what is wrong in it."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path
