"""The schemas of files, read once."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from engine.resources import schema_text


@cache
def schema_named(name: str) -> Any:
    """The schema "mapping" or "suite"."""
    return json.loads(schema_text(name))
