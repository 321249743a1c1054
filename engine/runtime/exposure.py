"""What may be served where: an address that others can reach wants keys, or that the mapping says so."""

from __future__ import annotations

import ipaddress

from engine.errors import Findings
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


def _has_guarded_routes(mapping: MappingPlan) -> bool:
    return any(route.spec.auth != "none" for route in mapping.routes)
