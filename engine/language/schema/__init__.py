"""JSON Schema: checks of mapping files and of bodies.

Contract: everything wrong with a document is found at once. One that fits, as most do, is not looked at any
further, and the library of JSON Schema is not imported for it. Must not know what a mapping means.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.diagnostics import Findings
from engine.language.schema.body_schema import BodySchema, body_schema
from engine.language.schema.body_schema_errors import BodySchemaError
from engine.language.schema.file_schemas import schema_named
from engine.language.schema.quick_check import Undecided, fits
from engine.locations import Document

__all__ = ["BodySchema", "BodySchemaError", "body_schema", "check"]


def check(document: Document, name: str, findings: Findings) -> Document | None:
    """Check a document against the schema `name` ("mapping" or "suite").

    Returns:
        The document without the parts that do not fit, so that the rest can be looked at too; None where
        nothing is left.
    """
    if _surely_fits(document.data, schema_named(name)):
        return replace(document, original=document.data)
    from engine.language.schema.validation_errors import report

    return report(document, name, findings)


def _surely_fits(data: Any, schema: Any) -> bool:
    try:
        return fits(data, schema, schema)
    except Undecided:
        return False
