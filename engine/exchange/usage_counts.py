"""The template `usage` of a route → numbers of tokens.

Contract: for metrics only; values that cannot be determined are left out.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import ExchangeError
from engine.exchange.evaluation import EVALUATION_ERRORS
from engine.exchange.exchange import Exchange
from engine.language.codegen import Compiled

#: The exceptions of a template `usage`.
FAILURES: Final = (ExchangeError, *EVALUATION_ERRORS)
_MAX_COUNT: Final = 1 << 53


def usage_counts(usage: Compiled, payload: Any, exchange: Exchange) -> dict[str, int]:
    """Non-negative integers for `input` and `output`; unknown ones are left out."""
    try:
        return _counts(usage.function(payload, exchange))
    except FAILURES:
        return {}


def note_usage(found: dict[str, Any], exchange: Exchange) -> None:
    """Take what `usage` found in a partial or complete response of a pipeline, in place of earlier counts."""
    exchange.usage = {**(exchange.usage or {}), **_counts(found)}


def _counts(found: dict[str, Any]) -> dict[str, int]:
    return {key: value for key, value in found.items() if type(value) is int and 0 <= value < _MAX_COUNT}
