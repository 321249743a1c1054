"""JSON Schema: validation of mapping files and of bodies.

Contract: all errors of a document are reported at once. For a valid document, the usual case, the JSON Schema
library is not imported. Must not know what a mapping means.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.diagnostics import Findings
from engine.language.schema.body_schema import BodySchema, body_schema
from engine.language.schema.body_schema_errors import BodySchemaError
from engine.language.schema.file_schemas import schema_named
from engine.language.schema.quick_check import Undecided, is_valid
from engine.locations import Document

__all__ = ["BodySchema", "BodySchemaError", "body_schema", "check", "schema_named"]


def check(document: Document, name: str, findings: Findings) -> Document | None:
    """Validate a document against the schema `name` ("mapping" or "suite").

    Returns:
        The document without its invalid parts, so that the rest can be checked too; None if nothing is left.
    """
    if _is_surely_valid(document.data, schema_named(name)):
        return replace(document, original=document.data)
    from engine.language.schema.validation_errors import report

    return report(document, name, findings)


def _is_surely_valid(data: Any, schema: Any) -> bool:
    try:
        return is_valid(data, schema, schema)
    except Undecided:
        return False
