"""Dragoman's engine: mappings in YAML, checked, compiled and served.

The names below are all that the command line, or any other program, needs of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from engine.compile import compile_set, load, source_files
from engine.errors import Diagnostic, DragomanError, ExchangeError, Findings, MappingError
from engine.functions import FUNCTIONS, Example
from engine.plan import MappingPlan, PlanSet, RoutePlan
from engine.resources import distribution_version, schema_text, shipped_mappings

if TYPE_CHECKING:
    from engine.suite import CaseResult, Mismatch, SuiteResult, SuiteRun, Unreached, run_suites

__all__ = [
    "FUNCTIONS",
    "CaseResult",
    "Diagnostic",
    "DragomanError",
    "Example",
    "ExchangeError",
    "Findings",
    "MappingError",
    "MappingPlan",
    "Mismatch",
    "PlanSet",
    "RoutePlan",
    "SuiteResult",
    "SuiteRun",
    "Unreached",
    "compile_set",
    "distribution_version",
    "load",
    "run_suites",
    "schema_text",
    "shipped_mappings",
    "source_files",
]

_OF_SUITES = frozenset(("CaseResult", "Mismatch", "SuiteResult", "SuiteRun", "Unreached", "run_suites"))


def __getattr__(name: str) -> Any:
    """The runner of suites is imported when it is asked for: serving does without it."""
    if name in _OF_SUITES:
        return getattr(importlib.import_module("engine.suite"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
