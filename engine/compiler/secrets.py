"""What no one is shown: the values of secret variables, and the credentials that upstreams are sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

from engine.compiler.environment import Environment
from engine.http.auth.credentials import SHORTEST, field_secrets
from engine.http.fields import CREDENTIAL_NAME
from engine.plan import UpstreamPlan


def secrets_of(environment: Environment, upstreams: Iterable[UpstreamPlan]) -> tuple[bytes, ...]:
    """The secrets of a mapping, the longest first, as one may hold another."""
    found = {environment.env.get(name) or "" for name, spec in environment.specs.items() if spec.secret}
    for upstream in upstreams:
        found.update(credentials_of(upstream))
    secrets = (secret.encode() for secret in found if len(secret) >= SHORTEST)
    return tuple(sorted(secrets, key=len, reverse=True))


def credentials_of(upstream: UpstreamPlan) -> Iterator[str]:
    """The texts that an upstream is sent as credentials, and what they are made of; some may be empty."""
    yield from upstream.auth.secrets()
    for name, value in upstream.headers:
        if CREDENTIAL_NAME.search(name):
            yield from field_secrets(value)
    if upstream.proxy is not None:
        yield unquote(urlsplit(upstream.proxy).password or "")
