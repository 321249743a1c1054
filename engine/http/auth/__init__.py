"""Authentication schemes: how clients prove who they are, and how we prove it to upstreams.

Contract: one scheme a file, one row a scheme in a table here; its part of the schema names the same keys.
Must not know the HTTP client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.http.auth import basic, bearer, header, query
from engine.http.auth.bearer import BearerKeys, ClientKey
from engine.http.auth.credentials import Credentials

__all__ = ["OUTBOUND", "BearerKeys", "ClientKey", "Credentials"]

#: Scheme → what it sends, made from its options (evaluated values of the mapping's `auth`).
OUTBOUND: Final[Mapping[str, Callable[[Any], Credentials]]] = {
    "basic": basic.credentials,
    "bearer": bearer.credentials,
    "header": header.credentials,
    "query": query.credentials,
}
