"""What no one is shown: the values of secret variables, and the credentials that upstreams are sent."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from engine.compiler.environment import Environment
from engine.http.fields import CREDENTIAL_NAME
from engine.plan import UpstreamPlan

#: Below this a text is no secret, and masking it everywhere would leave nothing to read.
SHORTEST: Final = 4


def secrets_of(environment: Environment, upstreams: Iterable[UpstreamPlan]) -> tuple[bytes, ...]:
    """The secrets of a mapping, the longest first, as one may hold another."""
    found = {environment.env.get(name) or "" for name, spec in environment.specs.items() if spec.secret}
    for upstream in upstreams:
        found.update(credentials_of(upstream))
    secrets = (secret.encode() for secret in found if len(secret) >= SHORTEST)
    return tuple(sorted(secrets, key=len, reverse=True))


def credentials_of(upstream: UpstreamPlan) -> Iterator[str]:
    """The texts that an upstream is sent as credentials, and what they are made of; some may be empty."""
    for name, value in (*upstream.credentials.headers, *upstream.headers):
        if (name, value) in upstream.credentials.headers or CREDENTIAL_NAME.search(name):
            scheme, _, rest = value.partition(" ")
            yield from (value, rest or scheme)
            yield from _password(scheme, rest)
    yield from (value for _, value in upstream.credentials.query)
    if upstream.proxy is not None:
        yield unquote(urlsplit(upstream.proxy).password or "")


def _password(scheme: str, token: str) -> Iterator[str]:
    """The password of basic authentication (RFC 7617)."""
    if scheme.lower() == "basic":
        try:
            yield base64.b64decode(token, validate=True).decode("utf-8", "replace").partition(":")[2]
        except (binascii.Error, ValueError):
            return
