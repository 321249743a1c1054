"""Authentication schemes for tests, registered like those of the engine: in the table and in the schema.

Contract: `signed` is a signature of the method, the target and the body, with a number that is unique
to each request; `failing` raises when it creates credentials after load, and its exception contains its key.
"""

from __future__ import annotations

import hmac
import itertools
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from engine.http.auth import BLANK_REQUEST, SCHEMES, AuthRequest, Credentials, UpstreamAuth
from engine.language.schema.file_schemas import schema_named
from tests.support.upstream import Seen

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class SignedAuth(UpstreamAuth):
    """`X-Signature`, `X-Number` and `?signer=`."""

    needs_body: ClassVar[bool] = True

    signer: str
    key: str = field(repr=False)

    @property
    def is_configured(self) -> bool:
        return self.key != ""

    def describe(self) -> str:
        return f"x-signature: HMAC of method, target and body by {self.signer}"

    def secrets(self) -> Iterable[str]:
        return (self.key,)

    def apply(self, request: AuthRequest) -> Credentials:
        number = str(next(_NUMBERS))
        signature = signature_of(self.key, request.method, request.target, number, request.body)
        return Credentials(
            headers=(("X-Signature", signature), ("X-Number", number)), query=(("signer", self.signer),)
        )


@dataclass(frozen=True, slots=True)
class FailingAuth(UpstreamAuth):
    """Raises an exception instead of creating credentials."""

    key: str = field(repr=False)

    @property
    def is_configured(self) -> bool:
        return self.key != ""

    def describe(self) -> str:
        return "a failure"

    def secrets(self) -> Iterable[str]:
        return (self.key,)

    def apply(self, request: AuthRequest) -> Credentials:
        if request == BLANK_REQUEST:
            return Credentials()
        raise ZeroDivisionError(f"with the key {self.key}")


TEST_SCHEMES: dict[str, type[UpstreamAuth]] = {"signed": SignedAuth, "failing": FailingAuth}
_TEXT = {"type": "string"}
_SIGNED = {"type": "object", "required": ["signer", "key"], "properties": {"signer": _TEXT, "key": _TEXT}}
TEST_SCHEMA: dict[str, Any] = {"signed": _SIGNED, "failing": _TEXT}

#: The command `dragoman` with these schemes.
COMMAND = [
    sys.executable,
    "-c",
    "from tests.support.signing import register; register(); from cli.main import main; main()",
]


def register() -> None:
    """Registers the schemes in this process."""
    SCHEMES.update(TEST_SCHEMES)
    schema_named("mapping")["definitions"]["upstream_auth"]["properties"].update(TEST_SCHEMA)


def signature_of(key: str, method: str, target: str, number: str, body: bytes) -> str:
    """Returns the signature of a request without the parameter `signer`."""
    return hmac.digest(key.encode(), f"{method} {target} {number}\n".encode() + body, "sha256").hex()


def is_signed(seen: Seen, key: str, signer: str) -> bool:
    """Whether an upstream received the request exactly once and with the right signature."""
    names = [name.replace("_", "-") for name, _ in seen.headers]
    if names.count("x-signature") != 1 or [v for n, v in seen.query if n == "signer"] != [signer]:
        return False
    target = seen.target.removesuffix(f"signer={signer}")[:-1]
    assert "signer" not in dict(parse_qsl(target.partition("?")[2]))
    wanted = signature_of(key, seen.method, target, seen.header("x-number") or "", seen.body)
    return seen.header("x-signature") == wanted
