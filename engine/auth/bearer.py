"""Bearer tokens (RFC 6750): checked for clients, sent to upstreams."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from engine.auth.credentials import Credentials, checked


class BearerKeys:
    """The keys clients may present.

    Keys are held and compared as digests, each of them at every check, so that the time taken tells nothing
    of how much of a key was right.
    """

    __slots__ = ("_digests",)

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accepts(self, authorization: str | None) -> bool:
        """Whether the value of an Authorization header carries one of the keys."""
        scheme, _, token = (authorization or "").partition(" ")
        presented = _digest(token.strip(" "))
        matches = [hmac.compare_digest(presented, digest) for digest in self._digests]
        return any(matches) and scheme.lower() == "bearer"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def credentials(token: str) -> Credentials:
    """`Authorization: Bearer TOKEN`."""
    return Credentials(headers=(("authorization", f"Bearer {checked(token)}"),))
