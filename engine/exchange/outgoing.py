"""The request that is sent: the request of a call, forward or health check, with its upstream's credentials.

Contract: only `outgoing` makes an `OutgoingRequest`, and nothing else can be sent, so that no request goes
out without the credentials of its upstream. They replace whatever the mapping or its client has put under
their names. What is authenticated is what is sent, but for the trace context.
"""

from __future__ import annotations

from typing import Final

from engine.errors import AuthError, Defect, ExchangeError, release_frames
from engine.exchange.evaluation import write
from engine.http.auth import AuthRequest, Credentials
from engine.http.auth.credentials import SHORTEST
from engine.http.fields import hyphenated
from engine.http.messages import OutgoingRequest, UpstreamRequest
from engine.http.request_target import parameter_name
from engine.plan import UpstreamPlan

_KIND: Final = "invalid_request"


def outgoing(upstream: UpstreamPlan, request: UpstreamRequest) -> OutgoingRequest:
    """A request with the credentials of its upstream.

    Raises:
        ExchangeError: `internal`, where the credentials cannot be made; `invalid_request`, where they need a
            body that cannot be written.
    """
    added = upstream.credentials
    if added is None:
        added = _apply(upstream, request)
        bare = _without(request, added)
        if bare is not request:
            request, added = bare, _apply(upstream, bare)
    return OutgoingRequest(_with(request, added) if added else request)


def sent_secrets(upstream: UpstreamPlan, request: OutgoingRequest) -> tuple[bytes, ...]:
    """The credentials of a request that no other request has, such as a signature, the longest first."""
    if upstream.credentials is not None:
        return ()
    secrets = (value.encode() for value in request.credentials.values() if len(value) >= SHORTEST)
    return tuple(sorted(secrets, key=len, reverse=True))


def _apply(upstream: UpstreamPlan, request: UpstreamRequest) -> Credentials:
    auth, body = upstream.auth, b""
    if auth.needs_body:
        assert request.body is None, "a route reads a body that is authenticated"
        body = write(request.content, _KIND, "the request")
    try:
        return auth.apply(AuthRequest(request.method, request.target, request.headers, body))
    except Exception as error:
        failure = _failure(upstream, error)
        release_frames(error)
    raise failure


def _failure(upstream: UpstreamPlan, error: Exception) -> ExchangeError:
    """The failure to make credentials. The text of any exception but `AuthError` may contain secrets."""
    defect = Defect.of(error)
    reason = str(error) if isinstance(error, AuthError) else f"{defect.error} at {defect.trace[-1]}"
    cause = f"auth of the upstream '{upstream.name}': {reason}"
    return ExchangeError("internal", "the call cannot be authenticated", cause=cause)


# --- Header fields and query parameters ------------------------------------------------------------------


def _with(request: UpstreamRequest, added: Credentials) -> UpstreamRequest:
    """A copy of a request with credentials, in place of what it has under their names."""
    names, target, headers = added.header_names, request.target, request.headers
    if names:
        # As `hyphenated` does; this runs for every field of every call.
        headers = (*[field for field in headers if field[0].replace("_", "-") not in names], *added.headers)
    if added.query:
        path, _, query = _without_parameters(target, added.parameter_names).partition("?")
        target = f"{path}?{query}&{added.encoded_query}" if query else f"{path}?{added.encoded_query}"
    return request.authenticated(headers, target, added)


def _without(request: UpstreamRequest, added: Credentials) -> UpstreamRequest:
    """A request without what it has under the names of credentials; the same where it has nothing."""
    names = added.header_names
    headers = tuple(field for field in request.headers if hyphenated(field[0]) not in names)
    target = _without_parameters(request.target, added.parameter_names)
    if len(headers) == len(request.headers) and target == request.target:
        return request
    return request.authenticated(headers, target, request.credentials)


def _without_parameters(target: str, names: frozenset[str]) -> str:
    path, _, query = target.partition("?")
    if not names or not query:
        return target
    left = "&".join(filter(None, (_without_named(pair, names) for pair in query.split("&"))))
    return f"{path}?{left}" if left else path


def _without_named(pair: str, names: frozenset[str]) -> str:
    """A parameter, or several with ';' between them, as some servers read it, without those of `names`."""
    parts = pair.split(";")
    return ";".join(part for part in parts if parameter_name(part.partition("=")[0]) not in names)
