"""Identifiers and digests.

Contract: random identifiers come from the operating system's secure source; there is no state.
This module must not know which API uses which form.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import uuid

from engine.language.functions.bounds import bounded, utf8, whole
from engine.language.functions.registry import NO_COST, SHORT_RESULT, function

_CHARACTERS = string.ascii_letters + string.digits
#: The character for each random byte; the last eight are unused, as they would favour some characters.
_TABLE = (_CHARACTERS * 5)[:256].encode("ascii")
_UNUSED = bytes(range(256 - 256 % len(_CHARACTERS), 256))


@function("uuid() -> string", pure=False, cost=NO_COST, steady=True)
def uuid_() -> str:
    """A random UUID (RFC 9562, version 4).

    Examples:
        length(uuid()) => 36
        regex_match(uuid(), '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') => true
    """
    return str(uuid.uuid4())


@function("random_id(prefix?: string, length?: number) -> string", pure=False, steady=True)
def random_id(prefix: str = "", length: float = 24) -> str:
    """The prefix followed by random letters and digits: 24 of them, or `length`, from 1 to 256.

    Examples:
        regex_match(random_id('call_'), '^call_[A-Za-z0-9]{24}$') => true
        length(random_id('', `8`)) => 8
        random_id('x', `0`) => !
    """
    count = whole("random_id", "length", length, 1, 256)
    characters = b""
    while len(characters) < count:
        characters += secrets.token_bytes(count + 8).translate(_TABLE, _UNUSED)
    return bounded("random_id", prefix + characters[:count].decode("ascii"))


@function("sha256(text: string|null) -> string|null", cost=SHORT_RESULT)
def sha256(text: str | None) -> str | None:
    """The SHA-256 digest of the text's UTF-8 form, in hexadecimal; null for null.

    Examples:
        sha256('abc') => "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        sha256(`null`) => null
    """
    return None if text is None else hashlib.sha256(utf8("sha256", text)).hexdigest()
