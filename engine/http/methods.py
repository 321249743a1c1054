"""HTTP methods, by their properties."""

from __future__ import annotations

from typing import Final

#: Methods whose requests have a body, even if it is empty (RFC 9110, 8.6).
BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))

#: The method in whose bodies a null is significant, as it removes a member (RFC 7396).
PATCH: Final = "PATCH"

#: Idempotent methods (RFC 9110, 9.2.2).
IDEMPOTENT_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
