"""Dragoman's engine: mappings in YAML, checked, compiled and served.

The names below are all that the command line, or any other program, needs of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from engine.compiler import compile_set, load, source_files
from engine.diagnostics import Diagnostic, Findings
from engine.errors import DragomanError, ExchangeError, MappingError
from engine.language.functions import FUNCTIONS, Example
from engine.locations import Span
from engine.plan import MappingPlan, PlanSet, RoutePlan
from engine.resources import distribution_version, schema_text, shipped_mappings

if TYPE_CHECKING:
    from engine.explain import Entry, Explainer, Request, StubResponse, Trace
    from engine.testing import CaseResult, Mismatch, SuiteResult, SuiteRun, Uncovered, run_suites

__all__ = [
    "FUNCTIONS",
    "CaseResult",
    "Diagnostic",
    "DragomanError",
    "Entry",
    "Example",
    "ExchangeError",
    "Explainer",
    "Findings",
    "MappingError",
    "MappingPlan",
    "Mismatch",
    "PlanSet",
    "Request",
    "RoutePlan",
    "Span",
    "StubResponse",
    "SuiteResult",
    "SuiteRun",
    "Trace",
    "Uncovered",
    "compile_set",
    "distribution_version",
    "load",
    "run_suites",
    "schema_text",
    "shipped_mappings",
    "source_files",
]

#: What serving does without, and where each lies.
_LATER = {
    **dict.fromkeys(
        ("CaseResult", "Mismatch", "SuiteResult", "SuiteRun", "Uncovered", "run_suites"), "engine.testing"
    ),
    **dict.fromkeys(("StubResponse", "Entry", "Explainer", "Request", "Trace"), "engine.explain"),
}


def __getattr__(name: str) -> Any:
    """The runner of suites and the explainer are imported when they are asked for: serving does without."""
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
