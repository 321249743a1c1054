"""Dragoman's engine: validates, compiles and serves mappings.

`__all__` and `engine.asgi` are the public API, for the command line and other programs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from engine.compiler import compile_set, load, source_files
from engine.diagnostics import Diagnostic, Findings, suggestion
from engine.errors import DragomanError, ExchangeError, MappingError
from engine.language.functions import FUNCTIONS, GROUPS, Example
from engine.locations import Span
from engine.plan import MappingPlan, PlanSet, RoutePlan
from engine.resources import distribution_version, schema_text, shipped_mappings

if TYPE_CHECKING:
    from engine.explain import Entry, Explainer, Request, StubResponse, Trace
    from engine.testing import CaseResult, Mismatch, SuiteResult, SuiteRun, Uncovered, run_suites

__all__ = [
    "FUNCTIONS",
    "GROUPS",
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
    "suggestion",
]

#: Names that serving does not need, with the packages that define them.
_LAZY = {
    **dict.fromkeys(
        ("CaseResult", "Mismatch", "SuiteResult", "SuiteRun", "Uncovered", "run_suites"), "engine.testing"
    ),
    **dict.fromkeys(("StubResponse", "Entry", "Explainer", "Request", "Trace"), "engine.explain"),
}


def __getattr__(name: str) -> Any:
    """Import the test runner and the explainer on first use: serving does not need them."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
