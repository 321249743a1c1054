"""Why a set of mappings cannot be served."""

from __future__ import annotations

from engine.plan import PlanSet


def describe_no_routes(plans: PlanSet | None) -> str:
    """Why no client can call any mapping of a set."""
    if plans is None or not plans.mappings:
        return "no routes to serve in these files"
    names = ", ".join(plans.mappings)
    return f"no routes to serve: none of the mappings is public ('public: false' in {names})"
