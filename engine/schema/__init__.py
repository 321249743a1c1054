"""JSON Schema: checks of mapping files and of bodies.

Contract: everything wrong with a document is found at once. One that fits, as most do, is not looked at any
further, and the library of JSON Schema is not imported for it. Must not know what a mapping means.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

from engine.errors import Findings
from engine.resources import schema_text
from engine.schema.bodies import BodySchema, BodySchemaError, body_schema
from engine.schema.fitting import Unsure, fits
from engine.source import Document

__all__ = ["BodySchema", "BodySchemaError", "body_schema", "check"]


@cache
def _schema(name: str) -> Any:
    return json.loads(schema_text(name))


def check(document: Document, name: str, findings: Findings) -> Document | None:
    """Check a document against the schema `name` ("mapping" or "suite").

    Returns:
        The document without the parts that do not fit, so that the rest can be looked at too; None where
        nothing is left.
    """
    schema = _schema(name)
    if _surely_fits(document.data, schema):
        return replace(document, original=document.data)
    from engine.schema.misfits import report

    return report(document, schema, findings)


def _surely_fits(data: Any, schema: Any) -> bool:
    try:
        return fits(data, schema, schema)
    except Unsure:
        return False
