"""Secrets kept out of what authors are told.

Contract: to be explained, mappings are compiled with a stand-in in the place of each variable that is
declared `secret`, so that nothing that is made of it can tell it either. Credentials from elsewhere, from a
file or the mapping itself, are masked by their place, and wherever else their text comes up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote

from engine.compiler.environment import has_file, value_of
from engine.compiler.files import KEY_LIKE
from engine.compiler.secrets import SHORTEST, credentials_of
from engine.http.fields import CREDENTIAL_NAME
from engine.language.spec import MappingSpec
from engine.plan import MappingPlan

MASK: Final = "***"

_URL = re.compile(r"(https?://)")
#: Those of JSON fields, where `key` and `token` are words like others.
_FIELDS = re.compile(
    r"(api_?key|secret|passw(or)?d|(access|auth|refresh)_token|authorization)$", re.IGNORECASE
)
_SCHEME = re.compile(r"(Bearer|Basic) ", re.IGNORECASE)


def stand_ins(
    specs: Iterable[MappingSpec], environ: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The environment without secrets, and the stand-ins in it, each by the value that it stands for.

    A URL stays one, so that mappings can be compiled; what names another mapping is kept.
    """
    told, found = dict(environ), dict[str, str]()
    for spec in specs:
        for name, declared in spec.env.items():
            value = value_of(name, declared, environ) or ""
            if declared.secret and value and not value.startswith("mapping:"):
                # No text of a mapping has this, and no encoding alters its characters.
                stand_in = found.setdefault(value, f"secret-{len(found)}-{os.urandom(4).hex()}")
                scheme = _URL.match(value)
                told[name] = (scheme[1] if scheme else "") + stand_in
    return told, found


class Mask:
    """Masks texts and values; it knows what must not be told."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._texts = set(secrets)
        self._pattern = _pattern(self._texts)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these too, in every form in which they can come up."""
        forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret))}
        self._texts |= {form for form in forms if len(form) >= SHORTEST}
        self._pattern = _pattern(self._texts)

    def text(self, text: str) -> str:
        """A text without secrets, and without what looks like a key."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return KEY_LIKE.sub(MASK, text)

    def value(self, value: Any) -> Any:
        """A JSON value without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self._field(key, item) for key, item in value.items()}
        return value

    def _field(self, name: str, value: Any) -> Any:
        return MASK if isinstance(value, str) and value and _FIELDS.search(name) else self.value(value)

    def header(self, name: str, value: str, credentials: Iterable[str] = ()) -> str:
        """A header field's value; all of it is masked under the names of credentials, the scheme aside."""
        if name in credentials or CREDENTIAL_NAME.search(name):
            scheme = _SCHEME.match(value)
            return (scheme[0] if scheme else "") + MASK
        return self.text(value)

    def target(self, target: str, credentials: Iterable[str] = ()) -> str:
        """What stands on a request line, the values of parameters that are credentials masked."""
        path, mark, query = target.partition("?")
        pairs = (self._pair(pair, frozenset(credentials)) for pair in query.split("&"))
        return self.text(path) + mark + ("&".join(pairs) if query else "")

    def _pair(self, pair: str, credentials: frozenset[str]) -> str:
        name, mark, value = pair.partition("=")
        is_secret = unquote(name) in credentials or CREDENTIAL_NAME.search(unquote(name))
        return self.text(name) + mark + (MASK if is_secret and value else self.text(value))


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """The longest first, as one may begin another; templates write texts in capitals too."""
    found = sorted(filter(None, secrets), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, found)), re.IGNORECASE) if found else None


def credentials_in(plans: Iterable[MappingPlan]) -> Iterator[str]:
    """The texts that the upstreams of mappings are sent as credentials, and what they are made of."""
    for mapping in plans:
        for upstream in mapping.upstreams.values():
            yield from credentials_of(upstream)


def file_texts(spec: MappingSpec, variables: Mapping[str, Any]) -> Iterator[str]:
    """The texts that the `vars` of a mapping, evaluated, have from files."""
    for name, node in spec.vars.items():
        if has_file(node.value):
            yield from (text for text in _texts_in(variables[name]) if len(text) >= SHORTEST)


def keys_of_files(spec: MappingSpec, variables: Mapping[str, Any], plans: Iterable[MappingPlan]) -> set[str]:
    """Those of them that upstreams are shown as credentials."""
    shown = set(credentials_in(plans))
    return {text for text in file_texts(spec, variables) if any(text in value for value in shown)}


def _texts_in(value: Any) -> Iterator[str]:
    """Every text of a JSON value, names aside."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts_in(item)
