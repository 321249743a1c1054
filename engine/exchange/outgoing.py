"""Outgoing requests: the request of a call, a `forward` or a health check, with its upstream's credentials.

Contract: only `outgoing` returns an `OutgoingRequest`, and nothing else can be sent, so no request is sent
without the credentials of its upstream. Credentials replace fields and parameters of the same names, whether
from the mapping or the client. The authenticated request is the one that is sent, except for the trace
context.
"""

from __future__ import annotations

from typing import Final

from engine.errors import AuthError, Defect, ExchangeError, release_frames
from engine.exchange.evaluation import write
from engine.http.auth import NO_CREDENTIALS, AuthRequest, Credentials
from engine.http.auth.credentials import SHORTEST
from engine.http.fields import hyphenated
from engine.http.messages import OutgoingRequest, UpstreamRequest
from engine.http.request_target import parameter_name
from engine.plan import UpstreamPlan

_KIND: Final = "invalid_request"


def outgoing(upstream: UpstreamPlan, request: UpstreamRequest) -> OutgoingRequest:
    """A request with the credentials of its upstream.

    Raises:
        ExchangeError: `internal` if the credentials cannot be created; `invalid_request` if they need a body
            that cannot be serialized.
    """
    added = upstream.credentials
    if added is None:
        added = _apply(upstream, request)
        bare = _without(request, added)
        if bare is not request:
            request, added = bare, _apply(upstream, bare)
    return OutgoingRequest(request if added is NO_CREDENTIALS else _with(request, added))


def sent_secrets(upstream: UpstreamPlan, request: OutgoingRequest) -> tuple[bytes, ...]:
    """The credentials that are specific to this request, such as a signature, longest first."""
    if upstream.credentials is not None:
        return ()
    secrets = (value.encode() for value in request.credentials.values() if len(value) >= SHORTEST)
    return tuple(sorted(secrets, key=len, reverse=True))


def _apply(upstream: UpstreamPlan, request: UpstreamRequest) -> Credentials:
    auth, body = upstream.auth, b""
    if auth.needs_body:
        assert request.body is None, "an authenticated body must be read before the call"
        body = write(request.content, _KIND, "the request")
    try:
        return auth.apply(AuthRequest(request.method, request.target, request.headers, body))
    except Exception as error:
        failure = _failure(upstream, error)
        release_frames(error)
    raise failure


def _failure(upstream: UpstreamPlan, error: Exception) -> ExchangeError:
    """The error of failed authentication. The text of any exception but `AuthError` may contain secrets."""
    defect = Defect.of(error)
    reason = str(error) if isinstance(error, AuthError) else f"{defect.error} at {defect.trace[-1]}"
    cause = f"auth of the upstream '{upstream.name}': {reason}"
    return ExchangeError("internal", "the call cannot be authenticated", cause=cause)


# --- Header fields and query parameters ------------------------------------------------------------------


def _with(request: UpstreamRequest, added: Credentials) -> UpstreamRequest:
    """A copy of a request with credentials, which replace fields and parameters of the same names."""
    names, target, headers = added.header_names, request.target, request.headers
    if names:
        # As `hyphenated` does; this runs for every field of every call.
        headers = (*[field for field in headers if field[0].replace("_", "-") not in names], *added.headers)
    if added.query:
        path, _, query = _without_parameters(target, added.parameter_names).partition("?")
        target = f"{path}?{query}&{added.encoded_query}" if query else f"{path}?{added.encoded_query}"
    return request.authenticated(headers, target, added)


def _without(request: UpstreamRequest, added: Credentials) -> UpstreamRequest:
    """A request without fields and parameters of the names of credentials; the same object if it has none."""
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
    """A parameter, or several separated by ';', as some servers read it, without those of `names`."""
    parts = pair.split(";")
    return ";".join(part for part in parts if parameter_name(part.partition("=")[0]) not in names)
