"""Entries of a mapping itself: its environment variables, CORS and limits.

Contract: values come from the spec and the plan; a default that may be a credential is not shown.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.explain.entries import Entry, duration, shown, size
from engine.http.fields import CREDENTIAL_NAME
from engine.language.spec import CorsSpec, EnvSpec
from engine.plan import CorsPlan, MappingPlan


def mapping_entries(plan: MappingPlan) -> Iterator[Entry]:
    """The entries of a mapping other than its upstreams and routes."""
    spec = plan.spec
    public = spec.node.get("public")
    if public is not None:
        callers = "clients and other mappings" if plan.is_public else "only other mappings"
        yield Entry("public", f"{callers} can call its routes", public.key_span)
    for name, variable in spec.env.items():
        yield Entry("env", _variable(name, variable), variable.node.key_span)
    if spec.cors is not None and plan.cors is not None:
        yield Entry("cors", _cors(spec.cors, plan.cors), spec.cors.node.key_span)
    if spec.limits is not None:
        text = f"at most {plan.limits.steps} loop steps and {size(plan.limits.bytes)} in an exchange"
        yield Entry("limits", text, spec.limits.node.key_span)


def _variable(name: str, spec: EnvSpec) -> str:
    """The options of a variable; not the default of one that is secret, or named like a credential."""
    facts = [word for word, holds in (("required", spec.required), ("secret", spec.secret)) if holds]
    if spec.default is not None:
        is_hidden = spec.secret or CREDENTIAL_NAME.search(name.upper().removesuffix("S"))
        facts.append("has a default" if is_hidden else f"default {spec.default}")
    options = f" ({', '.join(facts)})" if facts else ""
    return name + options + (f": {spec.description}" if spec.description else "")


def _cors(spec: CorsSpec, plan: CorsPlan) -> str:
    """Which pages may call, what they may send and read, and for how long that is cached."""
    facts = [f"pages of {shown(spec.origins)}"]
    facts += [f"may send {', '.join(plan.headers)}"] if plan.headers else []
    facts += [f"may read {', '.join(plan.expose)}"] if plan.expose else []
    facts += ["with credentials"] if plan.credentials else []
    return "; ".join([*facts, f"preflight responses are cached for {duration(plan.max_age)}"])
