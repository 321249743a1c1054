"""Mappings without client keys: which ones there are, and whether an address may serve them."""

from __future__ import annotations

import ipaddress

from engine.diagnostics import Findings
from engine.plan import MappingPlan, PlanSet


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_missing_keys(plans: PlanSet, host: str, findings: Findings) -> None:
    """Report mappings without keys, unless the address is loopback or the mapping has `auth: none`."""
    if is_loopback(host):
        return
    for mapping in plans.public:
        if not mapping.is_open and not mapping.keys and _has_guarded_routes(mapping):
            node = mapping.spec.auth or mapping.spec.node.get("name") or mapping.spec.node
            message = f"no key is set for '{mapping.name}', and {host} is reachable from other machines"
            hint = "set the keys in auth.bearer, or allow access without a key with 'auth: none'"
            findings.error("no-key", message, node.key_span, hint)


def mappings_without_keys(plans: PlanSet) -> list[str]:
    """The names of mappings that clients can call without a key."""
    return [mapping.name for mapping in plans.public if not mapping.keys]


def mappings_with_unset_keys(plans: PlanSet) -> list[str]:
    """The names of mappings whose `auth.bearer` contains no key."""
    return [name for name in mappings_without_keys(plans) if _requires_keys(plans.mappings[name])]


def _requires_keys(mapping: MappingPlan) -> bool:
    return mapping.spec.auth is not None and not mapping.is_open and _has_guarded_routes(mapping)


def _has_guarded_routes(mapping: MappingPlan) -> bool:
    return any(route.spec.auth != "none" for route in mapping.routes)
