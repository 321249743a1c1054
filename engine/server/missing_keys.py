"""Who can reach what is served: which mappings have no keys, and whether that is an error on an address."""

from __future__ import annotations

import ipaddress

from engine.diagnostics import Findings
from engine.plan import MappingPlan, PlanSet


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(plans: PlanSet, host: str, findings: Findings) -> None:
    """An address that others can reach is served only with keys, or where the mapping says `auth: none`."""
    if is_loopback(host):
        return
    for mapping in plans.mappings.values():
        if not mapping.is_open and not mapping.keys and _has_guarded_routes(mapping):
            place = mapping.spec.auth or mapping.spec.node.get("name") or mapping.spec.node
            message = f"no key is set for '{mapping.name}', and {host} can be reached from other machines"
            hint = "set the keys that auth.bearer names, or say 'auth: none'"
            findings.error("no-key", message, place.key_span, hint)


def without_keys(plans: PlanSet) -> list[str]:
    """The names of mappings that want no key."""
    return [mapping.name for mapping in plans.mappings.values() if not mapping.keys]


def unset_keys(plans: PlanSet) -> list[str]:
    """The names of mappings whose `auth.bearer` gives no key."""
    return [name for name in without_keys(plans) if _names_keys(plans.mappings[name])]


def _names_keys(mapping: MappingPlan) -> bool:
    return mapping.spec.auth is not None and not mapping.is_open and _has_guarded_routes(mapping)


def _has_guarded_routes(mapping: MappingPlan) -> bool:
    return any(route.spec.auth != "none" for route in mapping.routes)
