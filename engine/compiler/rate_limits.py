"""Compiles rate limits such as `60/1m`."""

from __future__ import annotations

import re
from typing import Any, Final

from engine.compiler.context import MappingContext
from engine.diagnostics import Findings
from engine.language.spec import RateKey, RateLimitSpec
from engine.locations import Span
from engine.plan import RatePlan
from engine.values import ABSENT

_RATE = re.compile(r"([0-9]{1,9})/([0-9]{1,5})(s|m|h)\Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_LONGEST: Final = 24 * 3600


def compile_rate(context: MappingContext, spec: RateLimitSpec | None, scope: str) -> RatePlan | None:
    """A rate limit that is counted under `scope`; None if it has no value, or after a finding."""
    if spec is None:
        return None
    value, names = context.environment.evaluate_with_names(spec.limit, "rate_limit", secrets=False)
    if value is ABSENT:
        return None
    return rate_of(context.findings, value, spec.node.span, scope, spec.by, names)


def rate_of(
    findings: Findings, value: Any, span: Span, scope: str, by: RateKey = "key", names: str = ""
) -> RatePlan | None:
    """The rate limit of `60/1m`; None for an empty string, or after a finding, which begins with `names`."""
    if not value:
        return None
    match = _RATE.match(value) if isinstance(value, str) else None
    count, seconds = (int(match[1]), int(match[2]) * _SECONDS[match[3]]) if match else (0, 0)
    if not count or not 0 < seconds <= _LONGEST:
        findings.error("bad-value", f"{names}expected a rate such as 10/1s, 60/1m or 1000/24h", span)
        return None
    return RatePlan(count, seconds, by, scope)
