"""The pure middle: a request becomes a call, the call's reply an answer, a failure the client's dialect.

Contract: plain values in and out; no asyncio, no sockets. What goes wrong is an `ExchangeError`: the
client's fault where its body was being translated, the upstream's where its answer was.
Must not know any HTTP library, nor how anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from engine.codegen import Compiled, place
from engine.errors import EvaluationError, ExchangeError
from engine.messages import (
    EMPTY,
    FORM,
    JSON,
    TEXT,
    Content,
    Exchange,
    Headers,
    Inbound,
    Outbound,
    UpstreamReply,
    UpstreamRequest,
)
from engine.plan import (
    CallPlan,
    CasePlan,
    ErrorsPlan,
    Leaf,
    MappingPlan,
    Match,
    PathPart,
    ReadTree,
    RoutePlan,
    UpstreamPlan,
)
from engine.resources import distribution_version
from engine.values import ABSENT, JsonError, text, truth, type_name

DROPPED_HEADER: Final = "x-dragoman-dropped"
REQUEST_ID_HEADER: Final = "x-request-id"

_MAX_TARGET: Final = 8192
_MAX_HEADER: Final = 8192
_MAX_DROPPED: Final = 20
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,256}\Z")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_SLASH = re.compile(r"[/\\]")
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_.\-\[\]]")
_USER_AGENT: Final = f"dragoman/{distribution_version()}"
_NO_BODY: Final = (204, 205, 304)

#: Header fields of framing and routing: the engine's own, whatever a template spreads.
_FRAMING: Final = frozenset(
    (
        *("connection", "content-length", "host", "keep-alive", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)

#: An upstream's refusals that are the client's to hear of, and their kinds (all others are ours: 502).
_PASSED_ON: Final = {
    400: "invalid_request",
    404: "not_found",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limited",
    503: "upstream_unavailable",
}


# --- A whole exchange, step by step ----------------------------------------------------------------------


@dataclass(slots=True)
class ReadBody:
    """Asks for the client's body: a `Content` of at most `limit` bytes."""

    limit: int


@dataclass(slots=True)
class SendCall:
    """Asks for the reply to a call: an `UpstreamReply`."""

    mapping: MappingPlan
    upstream: UpstreamPlan
    request: UpstreamRequest


@dataclass(slots=True)
class Answered:
    """What an exchange came to: the answer, and what the log says of it.

    `defect` is an exception that the engine did not foresee; its client was told of an `internal` error.
    """

    exchange: Exchange
    outbound: Outbound
    mapping: MappingPlan | None = None
    route: RoutePlan | None = None
    error: ExchangeError | None = None
    defect: Exception | None = None


#: An exchange that is being carried out. It yields what it needs, is sent that, or is thrown the exception
#: that came instead, and returns what it came to.
Steps = Generator[ReadBody | SendCall, Any, Answered]


def answer(match: Match, inbound: Inbound) -> Steps:
    """Carry out one exchange. Whatever is thrown into it, there is an answer."""
    exchange = Exchange(inbound, {})
    answered = Answered(exchange, Outbound(500, (), EMPTY), match.owner)
    try:
        leaf = match.leaf(inbound.method)
        answered.mapping, answered.route = leaf.mapping, leaf.route
        authorize(leaf.mapping, leaf.route, inbound)
        exchange.params = match.params(leaf)
        answered.outbound = yield from _exchange(leaf, exchange)
    except ExchangeError as error:
        _fail(answered, error)
    except Exception as error:
        answered.defect = error
        _fail(answered, ExchangeError("internal", "something went wrong here"))
    extra = dict(extra_headers(exchange))
    own = (field for field in answered.outbound.headers if field[0] not in extra)
    answered.outbound.headers = (*own, *extra.items())
    return answered


def _exchange(leaf: Leaf, exchange: Exchange) -> Generator[ReadBody | SendCall, Any, Outbound]:
    mapping, route = leaf.mapping, leaf.route
    if route.reads_body:
        exchange.inbound.content = yield ReadBody(route.max_bytes)
    read_body(route, exchange)
    if route.call is not None:
        request = build_request(route, route.call, exchange)
        exchange.reply = yield SendCall(mapping, route.call.upstream, request)
    return build_reply(mapping, route, exchange)


def _fail(answered: Answered, error: ExchangeError) -> None:
    answered.error = error
    try:
        answered.outbound = build_error(answered.mapping, answered.exchange, error)
    except Exception as defect:
        answered.defect = defect
        answered.outbound = build_error(None, answered.exchange, error)


def too_large(limit: int) -> ExchangeError:
    """The client's body exceeds what the route takes."""
    return ExchangeError("payload_too_large", f"the body is larger than {limit} bytes")


# --- The client's request --------------------------------------------------------------------------------


def authorize(mapping: MappingPlan, route: RoutePlan, inbound: Inbound) -> None:
    """Check the client's key, before its body is read.

    Raises:
        ExchangeError: `unauthorized` (RFC 6750, section 3).
    """
    if not route.wants_key:
        return
    presented = [value for name, value in inbound.headers if name == "authorization"]
    if len(presented) != 1 or not mapping.keys.accepts(presented[0]):
        challenge = (("www-authenticate", "Bearer"),)
        message = "a valid key is needed: Authorization: Bearer KEY"
        raise ExchangeError("unauthorized", message, headers=challenge)


def read_body(route: RoutePlan, exchange: Exchange) -> None:
    """Parse and check the client's body, and note which of its fields the route does not carry over.

    Raises:
        ExchangeError: `invalid_request` for what is no JSON, `unprocessable` for what the schema refuses.
    """
    content = exchange.inbound.content
    if not route.reads_body:
        return
    _check_encoding(exchange.inbound)
    if not content.is_empty:
        try:
            exchange.body = content.value
        except JsonError as error:
            raise ExchangeError("invalid_request", f"the request's body is no JSON: {error}") from None
    elif route.schema is not None:
        raise ExchangeError("invalid_request", "the request has no body; JSON is expected")
    if route.schema is not None:
        _check_schema(route, exchange.body)
    if route.call is not None:
        _check_dropped(route, exchange)


def _check_encoding(inbound: Inbound) -> None:
    encoding = inbound.header("content-encoding") or "identity"
    media_type = inbound.header("content-type") or ""
    if encoding.lower() != "identity":
        raise ExchangeError("invalid_request", "a compressed body is not accepted", status=415)
    if media_type.lower().startswith("multipart/"):
        raise ExchangeError("invalid_request", "a multipart body is not accepted; send JSON", status=415)


def _check_schema(route: RoutePlan, body: Any) -> None:
    assert route.schema is not None
    try:
        misfit = route.schema.check(body)
    except RecursionError:
        raise ExchangeError("invalid_request", "the request's body is nested too deeply") from None
    if misfit is not None:
        where = f"'{misfit['path']}'" if misfit["path"] else "the body"
        message = f"{where}: {misfit['message']}"
        raise ExchangeError("unprocessable", message, details=misfit)


def _check_dropped(route: RoutePlan, exchange: Exchange) -> None:
    dropped = sorted(set(unread(exchange.body, route.reads)))
    exchange.dropped = dropped
    if dropped and route.rejects_dropped:
        names = ", ".join(map(_token, dropped[:_MAX_DROPPED]))
        message = f"these fields are not supported here: {names}"
        raise ExchangeError("invalid_request", message, details={"unsupported": dropped[:_MAX_DROPPED]})


def unread(value: Any, tree: ReadTree, path: str = "") -> Iterator[str]:
    """The paths in a body that a route does not read, such as `logit_bias` or `messages[].name`."""
    if tree is True:
        return
    branches = tree if isinstance(tree, dict) else {}
    if type(value) is dict:
        if "*" in branches:
            return  # its pairs are gone through, keys and all
        for key, item in value.items():
            below = f"{path}.{key}" if path else key
            if key in branches:
                yield from unread(item, branches[key], below)
            elif item is not None:
                yield below
    elif type(value) is list and "*" in branches:
        for item in value:
            yield from unread(item, branches["*"], f"{path}[]")


# --- The call --------------------------------------------------------------------------------------------


def build_request(route: RoutePlan, call: CallPlan, exchange: Exchange) -> UpstreamRequest:
    """The call of a route.

    Raises:
        ExchangeError: `invalid_request`, where the client's values cannot be translated.
    """
    exchange.upstream = call.upstream.name
    headers = _call_headers(call, exchange)
    content = _call_content(call, exchange)
    if content.media_type:
        headers.setdefault("content-type", content.media_type)
    timeout = min(filter(None, (route.timeout, call.timeout, call.upstream.timeouts.total)))
    return UpstreamRequest(
        upstream=call.upstream.name,
        method=call.method,
        target=_target(call, exchange),
        headers=tuple(headers.items()),
        content=content,
        timeout=timeout,
    )


def _target(call: CallPlan, exchange: Exchange) -> str:
    path = call.upstream.base_path + "".join(_path_part(part, exchange) for part in call.path)
    if len(call.path) > 1 and _leads_elsewhere(path):
        raise ExchangeError("invalid_request", "a value in the path is '.', '..' or an empty segment")
    credentials = call.upstream.credentials.query
    names = {name for name, _ in credentials}
    query = urlencode([*(pair for pair in _query(call, exchange) if pair[0] not in names), *credentials])
    target = f"{path}?{query}" if query else path
    if len(target) > _MAX_TARGET:
        raise ExchangeError("invalid_request", "the values for the path are too long")
    return target


def _path_part(part: PathPart, exchange: Exchange) -> str:
    if part.template is None:
        return part.text
    value = evaluate(part.template, exchange.body, exchange, "invalid_request")
    if value is ABSENT or value == "" or isinstance(value, dict | list):
        kind = "nothing" if value is ABSENT or value == "" else type_name(value)
        raise ExchangeError("invalid_request", f"a value for the path is {kind}, where text is needed")
    try:
        return quote(text(value), safe="/" if part.keeps_slashes else "")
    except UnicodeEncodeError:
        raise ExchangeError("invalid_request", "a value for the path is no valid text") from None


def _leads_elsewhere(path: str) -> bool:
    """Whether an upstream could take a part of the path for '.' or '..', or its beginning for a host: after
    decoding it up to twice, with '\\' for a slash, or with the parameters that Java's servers cut off."""
    if "." not in path and "%" not in path and "//" not in path:
        return False
    for _ in range(3):
        segments = _SLASH.split(path)
        if segments[1:2] == [""] and len(segments) > 2:
            return True
        if any(segment.partition(";")[0] in (".", "..") for segment in segments):
            return True
        path = unquote(path)
    return False


def _query(call: CallPlan, exchange: Exchange) -> list[tuple[str, str]]:
    return list(_pairs(_object(call.query, exchange, "invalid_request")))


def _pairs(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields of a query or form; a list repeats one, null leaves it out."""
    for name, value in fields.items():
        for item in value if type(value) is list else (value,):
            if item is not None:
                yield name, _text(item, "invalid_request")


def _call_headers(call: CallPlan, exchange: Exchange) -> dict[str, str]:
    headers = {"user-agent": _USER_AGENT, "accept": JSON, "accept-encoding": "identity"}
    headers[REQUEST_ID_HEADER] = exchange.inbound.request_id
    headers.update(call.upstream.headers)
    headers.update(_headers(call.headers, exchange.body, exchange, "invalid_request"))
    headers.update(call.upstream.credentials.headers)
    return headers


def _call_content(call: CallPlan, exchange: Exchange) -> Content:
    if call.form is not None:
        fields = _object(call.form, exchange, "invalid_request")
        return Content(urlencode(list(_pairs(fields))).encode(), FORM)
    if call.body is None:
        return EMPTY
    body = evaluate(call.body, exchange.body, exchange, "invalid_request")
    if body is ABSENT:
        return EMPTY
    content = Content.json(body)
    if call.upstream.mapping is None:
        _write(content, "invalid_request", "the request")
    return content


def _write(content: Content, kind: str, what: str) -> None:
    """Write a body as bytes, where a failure still has an answer."""
    try:
        content.data  # noqa: B018 - it is kept
    except JsonError as error:
        raise ExchangeError(kind, f"{what} cannot be written as JSON", cause=str(error)) from None


def _object(template: Compiled | None, exchange: Exchange, kind: str) -> dict[str, Any]:
    if template is None:
        return {}
    value = evaluate(template, exchange.body, exchange, kind)
    return value if isinstance(value, dict) else {}


# --- The answer ------------------------------------------------------------------------------------------


def build_reply(mapping: MappingPlan, route: RoutePlan, exchange: Exchange) -> Outbound:
    """The answer of a route; with a call, from `exchange.reply`.

    Raises:
        ExchangeError: the upstream failed and no case is for that, or its answer cannot be translated.
    """
    reply = exchange.reply
    if reply is None:
        return _answer(route, exchange, exchange.body, "invalid_request", failed=False)
    failed = not 200 <= reply.status < 300
    if failed and not any(case.for_failures for case in route.cases):
        raise failure_of(exchange)
    if not failed:
        _read_reply(route, exchange)
    else:
        exchange.reply_body = _shown_body(reply)
    return _answer(route, exchange, exchange.reply_body, "upstream_error", failed)


def _answer(route: RoutePlan, exchange: Exchange, payload: Any, kind: str, failed: bool) -> Outbound:
    for number, case in enumerate(route.cases):
        if failed and not case.for_failures:
            continue
        if case.when is None or truth(evaluate(case.when, payload, exchange, kind)):
            exchange.case = number
            return _case(case, exchange, payload, kind)
    if failed:
        raise failure_of(exchange)
    kind = "upstream_error" if exchange.reply else "internal"
    raise ExchangeError(kind, "no answer is given for this case")


def _case(case: CasePlan, exchange: Exchange, payload: Any, kind: str) -> Outbound:
    status = case.status
    if isinstance(status, Compiled):
        status = _status(evaluate(status, payload, exchange, kind), kind)
    headers = _headers(case.headers, payload, exchange, kind)
    body = ABSENT if case.body is None else evaluate(case.body, payload, exchange, kind)
    return outbound(status, headers, body, kind)


def _status(value: Any, kind: str) -> int:
    if type(value) is int and 200 <= value <= 599:
        return value
    raise ExchangeError(kind, "the answer has no valid status")


def outbound(status: int, headers: dict[str, str], body: Any, kind: str) -> Outbound:
    """An answer from a template's values: text goes out as it is, all else as JSON."""
    media_type = headers.pop("content-type", None)
    if body is ABSENT or status in _NO_BODY:
        return Outbound(status, tuple(headers.items()), EMPTY)
    if type(body) is str and (media_type is None or "json" not in media_type):
        content = Content(body.encode("utf-8", "replace"), media_type or TEXT)
    else:
        content = Content.json(body)
        content.media_type = media_type or JSON
    _write(content, kind, "the answer")
    return Outbound(status, tuple(headers.items()), content)


def _read_reply(route: RoutePlan, exchange: Exchange) -> None:
    """Parse and check the body of a 2xx answer."""
    reply, call = exchange.reply, route.call
    assert reply is not None
    assert call is not None
    has_body = reply.status not in _NO_BODY and call.method != "HEAD"
    if call.response_schema is None and not (route.reads_reply and has_body):
        return
    try:
        exchange.reply_body = reply.content.value
    except JsonError as error:
        raise _upstream_failed(exchange, "the upstream's answer is no JSON", str(error)) from None
    if call.response_schema is not None:
        try:
            misfit = call.response_schema.check(exchange.reply_body)
        except RecursionError:
            cause = "it is nested too deeply"
            raise _upstream_failed(exchange, "the upstream's answer has an unexpected shape", cause) from None
        if misfit is not None:
            cause = f"{misfit['path'] or 'the body'}: {misfit['message']}"
            raise _upstream_failed(exchange, "the upstream's answer has an unexpected shape", cause)


# --- Failures --------------------------------------------------------------------------------------------


def failure_of(exchange: Exchange) -> ExchangeError:
    """The failure that an upstream's status outside 2xx is.

    401 and 403 are about our credentials, not the client's: they and whatever has no kind of its own are
    `upstream_error`.
    """
    reply = exchange.reply
    assert reply is not None
    kind = _PASSED_ON.get(reply.status, "upstream_error")
    retry_after = reply.header("retry-after") if reply.status in (429, 503) else None
    headers = (("retry-after", retry_after),) if retry_after and _FIELD_VALUE.match(retry_after) else ()
    return ExchangeError(
        kind,
        f"the upstream answered with status {reply.status}",
        headers=headers,
        upstream={"name": exchange.upstream, "status": reply.status, "body": _shown_body(reply)},
    )


def _upstream_failed(exchange: Exchange, message: str, cause: str) -> ExchangeError:
    status = exchange.reply.status if exchange.reply else None
    upstream = {"name": exchange.upstream, "status": status, "body": None}
    return ExchangeError("upstream_error", message, upstream=upstream, cause=cause)


def _shown_body(reply: UpstreamReply) -> Any:
    """What mappings may see of a failed upstream's body: nothing where it speaks of our credentials."""
    if reply.status in (401, 403) or reply.content.is_empty:
        return None
    try:
        return reply.content.value
    except JsonError:
        return reply.content.data[:_MAX_HEADER].decode("utf-8", "replace")


def build_error(mapping: MappingPlan | None, exchange: Exchange, error: ExchangeError) -> Outbound:
    """A failure as its client is told of it, in the mapping's dialect or, without one, in a plain form."""
    errors = mapping.errors if mapping is not None else ErrorsPlan()
    payload = {
        "kind": error.kind,
        "status": error.status,
        "message": error.message,
        "details": error.details,
        "upstream": error.upstream or {"name": exchange.upstream, "status": exchange.status, "body": None},
        "request_id": exchange.inbound.request_id,
    }
    try:
        return _told(errors, payload, exchange, error)
    except ExchangeError as second:
        exchange.warn(f"the errors of the mapping failed: {second.cause or second.message}")
        return _told(ErrorsPlan(), payload, exchange, error)


def _told(errors: ErrorsPlan, payload: dict[str, Any], exchange: Exchange, error: ExchangeError) -> Outbound:
    status = _error_status(errors, payload, exchange, error)
    headers = dict(error.headers)
    headers.update(_headers(errors.headers, payload, exchange, "internal"))
    if errors.body is None:
        body: Any = {"error": {"message": error.message, "type": error.kind, "param": None, "code": None}}
    else:
        body = evaluate(errors.body, payload, exchange, "internal")
    return outbound(status, headers, body, "internal")


def _error_status(
    errors: ErrorsPlan, payload: dict[str, Any], exchange: Exchange, error: ExchangeError
) -> int:
    if isinstance(errors.status, Compiled):
        status = evaluate(errors.status, payload, exchange, "internal")
        return error.status if status is ABSENT else _status(status, "internal")
    is_upstreams = error.kind.startswith("upstream_")
    return errors.status if errors.status is not None and is_upstreams else error.status


# --- Common ----------------------------------------------------------------------------------------------


def evaluate(template: Compiled, payload: Any, exchange: Exchange, kind: str) -> Any:
    """A template's value.

    Raises:
        ExchangeError: of `kind`, with the place of the expression as its cause, where a value does not fit;
            whatever `fail()` says.
    """
    try:
        return template.function(payload, exchange)
    except EvaluationError as error:
        cause = f"{place(error.__traceback__)}: {error.message}"
        raise ExchangeError(kind, f"{_subject(kind)}: {error.message}", cause=cause) from None
    except (RecursionError, JsonError) as error:
        cause = f"{place(error.__traceback__)}: {type(error).__name__}"
        raise ExchangeError(kind, f"{_subject(kind)}: it is nested too deeply", cause=cause) from None


def _subject(kind: str) -> str:
    whose = {"invalid_request": "the request", "upstream_error": "the upstream's answer"}
    return f"{whose.get(kind, 'the failure')} cannot be translated"


def _headers(template: Compiled | None, payload: Any, exchange: Exchange, kind: str) -> dict[str, str]:
    """Header fields from a template; a value that no header can carry is a failure of `kind`."""
    if template is None:
        return {}
    value = evaluate(template, payload, exchange, kind)
    fields = ((_field_name(name, kind), item) for name, item in _present(value))
    return {name: _field_value(name, item, kind) for name, item in fields if name not in _FRAMING}


def _present(value: Any) -> Iterable[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else ()
    return ((name, item) for name, item in items if item is not None)


def _field_name(name: str, kind: str) -> str:
    name = name.lower()
    if not _FIELD_NAME.match(name):
        raise ExchangeError(kind, "the name of a header cannot stand in a header")
    return name


def _field_value(name: str, value: Any, kind: str) -> str:
    written = _text(value, kind)
    if len(written) > _MAX_HEADER or not _FIELD_VALUE.match(written):
        raise ExchangeError(kind, f"the value for the header '{name}' cannot stand in a header")
    return written.strip()


def _text(value: Any, kind: str) -> str:
    try:
        return text(value)
    except JsonError as error:
        raise ExchangeError(kind, f"{_subject(kind)}: a value has no text", cause=str(error)) from None


def extra_headers(exchange: Exchange) -> Headers:
    """What every answer carries beside its own headers: the request's id, and what was not carried over."""
    headers = [(REQUEST_ID_HEADER, exchange.inbound.request_id)]
    if exchange.dropped:
        names = [_token(name) for name in exchange.dropped[:_MAX_DROPPED]]
        more = len(exchange.dropped) - len(names)
        headers.append((DROPPED_HEADER, ", ".join([*names, *([f"and {more} more"] if more else [])])))
    return tuple(headers)


def _token(name: str) -> str:
    """A client's field name, fit for a header; names are payload too, and cut short."""
    return _NOT_TOKEN.sub("?", name[:64])
