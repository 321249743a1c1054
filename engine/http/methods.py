"""Methods of HTTP requests, by what holds for them."""

from __future__ import annotations

from typing import Final

#: Methods whose requests have a body, be it an empty one (RFC 9110, 8.6).
BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))


#: The method in whose bodies a null is a value, as it removes what is there (RFC 7396).
NULLS_MATTER: Final = "PATCH"


#: Methods that do the same when they are sent twice (RFC 9110, 9.2.2).
IDEMPOTENT_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
