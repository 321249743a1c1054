"""Masks secrets in the output of `explain` and of tests.

Contract: `explain` compiles mappings with placeholders instead of the values of `secret` variables, so that
nothing derived from a secret can expose it. Other credentials, from a file or the mapping itself, are masked
where they are used, and wherever their text appears.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote

from engine.compiler.environment import has_file, value_of
from engine.compiler.files import KEY_LIKE
from engine.compiler.secrets import credentials_of
from engine.http.auth.credentials import SHORTEST
from engine.http.fields import CREDENTIAL_NAME
from engine.language.spec import MappingSpec
from engine.plan import MappingPlan

MASK: Final = "***"

_URL = re.compile(r"(https?://)")
#: Names of JSON fields with credentials; `key` and `token` alone are ordinary words there.
_FIELDS = re.compile(
    r"(api_?key|secret|passw(or)?d|(access|auth|refresh)_token|authorization)$", re.IGNORECASE
)
_SCHEME = re.compile(r"(Bearer|Basic) ", re.IGNORECASE)


def with_placeholders(
    specs: Iterable[MappingSpec], environ: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The environment with placeholders for secrets, and the placeholder of each secret value.

    The placeholder of a URL is a URL, so that mappings compile. A `mapping:` reference is not replaced.
    """
    result, found = dict(environ), dict[str, str]()
    for spec in specs:
        for name, declared in spec.env.items():
            value = value_of(name, declared, environ) or ""
            if declared.secret and value and not value.startswith("mapping:"):
                # Unique in any mapping, and unchanged by any encoding.
                placeholder = found.setdefault(value, f"secret-{len(found)}-{os.urandom(4).hex()}")
                scheme = _URL.match(value)
                result[name] = (scheme[1] if scheme else "") + placeholder
    return result, found


class Mask:
    """Masks secrets in texts and values."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._texts = set(secrets)
        self._pattern = _pattern(self._texts)

    def learn(self, secrets: Iterable[str]) -> None:
        """Also mask these secrets, in all their encodings."""
        forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret))}
        self._texts |= {form for form in forms if len(form) >= SHORTEST}
        self._pattern = _pattern(self._texts)

    def text(self, text: str) -> str:
        """The text with secrets, and anything that looks like a key, masked."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return KEY_LIKE.sub(MASK, text)

    def value(self, value: Any) -> Any:
        """The JSON value with secrets masked."""
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
        """The value of a header field, masked completely, except the scheme, in a credential field."""
        if name in credentials or CREDENTIAL_NAME.search(name):
            scheme = _SCHEME.match(value)
            return (scheme[0] if scheme else "") + MASK
        return self.text(value)

    def target(self, target: str, credentials: Iterable[str] = ()) -> str:
        """A request target with secrets and the values of credential parameters masked."""
        path, mark, query = target.partition("?")
        pairs = (self._pair(pair, frozenset(credentials)) for pair in query.split("&"))
        return self.text(path) + mark + ("&".join(pairs) if query else "")

    def _pair(self, pair: str, credentials: frozenset[str]) -> str:
        name, mark, value = pair.partition("=")
        is_secret = unquote(name) in credentials or CREDENTIAL_NAME.search(unquote(name))
        return self.text(name) + mark + (MASK if is_secret and value else self.text(value))


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern for secrets: longest first, as one may be a prefix of another, and in any case."""
    found = sorted(filter(None, secrets), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, found)), re.IGNORECASE) if found else None


def credentials_in(plans: Iterable[MappingPlan]) -> Iterator[str]:
    """The credentials that mappings send to their upstreams, and the texts that these are built from."""
    for mapping in plans:
        for upstream in mapping.upstreams.values():
            yield from credentials_of(upstream)


def file_texts(spec: MappingSpec, variables: Mapping[str, Any]) -> Iterator[str]:
    """The texts in evaluated `vars` of a mapping that come from files."""
    for name, node in spec.vars.items():
        if has_file(node.value):
            yield from (text for text in _texts_in(variables[name]) if len(text) >= SHORTEST)


def file_credentials(
    spec: MappingSpec, variables: Mapping[str, Any], plans: Iterable[MappingPlan]
) -> set[str]:
    """The texts from files that are part of credentials for upstreams."""
    sent = set(credentials_in(plans))
    return {text for text in file_texts(spec, variables) if any(text in value for value in sent)}


def _texts_in(value: Any) -> Iterator[str]:
    """Every string in a JSON value, except names of fields."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts_in(item)
