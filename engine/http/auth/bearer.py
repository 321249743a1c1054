"""Bearer tokens (RFC 6750): checked for clients, sent to upstreams."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from engine.http.auth.credentials import Credentials, checked
from engine.http.auth.protocol import AuthRequest, UpstreamAuth


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A key that clients may present: its name in logs and expressions, and its SHA-256."""

    name: str
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, text: str, name: str | None = None) -> ClientKey:
        """The key with this text."""
        return cls.hashed(digest_of(text), name)

    @classmethod
    def hashed(cls, digest: bytes, name: str | None = None) -> ClientKey:
        """The key with this digest; the default name contains the first eight hex digits of the digest."""
        return cls(name or f"key-{digest.hex()[:8]}", digest)


class BearerKeys:
    """The keys that clients may present, as `Authorization: Bearer KEY` or as the value of another header.

    Keys are stored and compared as digests, and each check compares all of them, so that the duration of a
    check reveals nothing about a key.

    Attributes:
        header: the name of the other header, in lower case; empty if there is none.
    """

    __slots__ = ("_keys", "header")

    def __init__(self, keys: Iterable[ClientKey], header: str = "") -> None:
        self._keys = tuple(keys)
        self.header = header

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, headers: Iterable[tuple[str, str]]) -> str | None:
        """The name of the key in header fields; None if they contain no known key, or more than one key."""
        presented = [_token(name, value) for name, value in headers if name in ("authorization", self.header)]
        digest = digest_of(presented[0] or "" if presented else "")
        matches = [hmac.compare_digest(digest, key.digest) for key in self._keys]
        if len(presented) != 1 or presented[0] is None or not any(matches):
            return None
        return self._keys[matches.index(True)].name


def _token(name: str, value: str) -> str | None:
    """The key in a header field; None if the field uses another scheme."""
    if name != "authorization":
        return value
    scheme, _, token = value.partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def digest_of(key: str) -> bytes:
    """The SHA-256 of a key, 32 bytes."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class BearerAuth(UpstreamAuth):
    """`Authorization: Bearer TOKEN`."""

    is_static: ClassVar[bool] = True

    token: str = field(repr=False)

    @property
    def is_configured(self) -> bool:
        return self.token != ""

    def describe(self) -> str:
        return "authorization: Bearer ***"

    def secrets(self) -> Iterable[str]:
        return (self.token, f"Bearer {self.token}")

    def apply(self, request: AuthRequest) -> Credentials:
        return Credentials(headers=(("authorization", f"Bearer {checked(self.token)}"),))
