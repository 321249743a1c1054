"""Logs: one line for each exchange, one for each warning; no payload, no secret, no query.

Contract: everything that belongs to a request carries its `request_id`.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final, Literal, TextIO

from engine.diagnostics import Diagnostic
from engine.errors import Defect
from engine.exchange import ExchangeResult
from engine.exchange.exchange import Exchange
from engine.http.messages import Inbound
from engine.observability.json_lines import JsonLines
from engine.plan import MappingPlan, PlanMatch, RoutePlan

Format = Literal["json", "console"]

LEVELS: Final = ("debug", "info", "warning", "error")

#: Libraries whose own lines could show URLs or headers.
_QUIET: Final = ("httpx2", "httpcore2", "asyncio", "uvicorn.access")


class _Out:
    """Where lines go. What no line will tell need not be gathered: `level` is the least that is written."""

    level: int = logging.INFO
    log: Any = JsonLines(logging.INFO)


_out: Final = _Out()


def configure(level: str, log_format: Format, stream: TextIO | None = None) -> None:
    """Set up logging for the process, to a stream or standard error."""
    number = getattr(logging, level.upper())
    _out.log, _out.level = _lines(log_format, number, stream or sys.stderr), number
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_Library()], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _lines(log_format: Format, least: int, stream: TextIO) -> Any:
    if log_format == "json":
        return JsonLines(least, stream)
    from engine.observability import console

    return console.lines(least, stream)


class _Library(logging.Handler):
    """Lines of libraries, in our format; of an exception they tell its type and frames alone."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage().strip()}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields |= _defect(Defect.of(error))
        name = "unforeseen" if isinstance(error, Exception) else "library"
        _out.log.log(record.levelno, name, **fields)


def event(name: str, **fields: Any) -> None:
    """A line about the process itself."""
    _out.log.info(name, **fields)


def failure(name: str, **fields: Any) -> None:
    """A line about something that the process could not do."""
    _out.log.error(name, **fields)


def finding(diagnostic: Diagnostic) -> None:
    """A finding in mappings, as `validate` has it."""
    span = diagnostic.span
    (_out.log.error if diagnostic.severity == "error" else _out.log.warning)(
        "finding",
        file=span.file.name,
        line=span.line,
        column=span.column,
        code=diagnostic.code,
        message=diagnostic.message,
    )


def defect(name: str, error: BaseException) -> None:
    """A defect of the engine's own, outside of any exchange."""
    _out.log.error("unforeseen", where=name, **_defect(Defect.of(error)))


def caution(name: str, **fields: Any) -> None:
    """A line about what is served less safely than it could be."""
    _out.log.warning(name, **fields)


def exchange(result: ExchangeResult) -> None:
    """The line of an exchange, and those of its warnings."""
    warnings(result)
    error = result.error
    is_failure = error is not None and result.response.status >= 500
    if not is_failure and _out.level > logging.INFO:
        return
    fields = _fields(result)
    if error is not None:
        fields["kind"] = error.kind
        if error.cause:
            fields["cause"] = error.cause
    (_out.log.error if is_failure else _out.log.info)("exchange", **fields)


def inside(result: ExchangeResult) -> None:
    """An exchange with another mapping in the process: its warnings, and its line where it failed."""
    if result.error is not None:
        exchange(result)
    else:
        warnings(result)


def warnings(result: ExchangeResult) -> None:
    """What `warn()` said in an exchange."""
    for message in result.exchange.warnings:
        _out.log.warning(
            "warning",
            request_id=result.exchange.inbound.request_id,
            mapping=result.mapping.name if result.mapping else None,
            message=message,
        )


def abandoned(inbound: Inbound, match: PlanMatch, started_ns: int, result: ExchangeResult | None) -> None:
    """The client left before its answer's end (status 499, as nginx has it, in the log alone)."""
    leaf = match.found(inbound.method)
    if result is not None:
        fields = _fields(result) | {"status_code": 499}
    else:
        route = None if leaf is None else leaf.route
        upstreams = route.upstreams if route is not None else ()
        fields = _line(inbound, match.owner, route, upstreams[0] if upstreams else None, 499, started_ns)
    _out.log.info("exchange", **fields, kind="client_left")


def preflight(inbound: Inbound, match: PlanMatch, status: int, started_ns: int) -> None:
    """A browser's question about another origin's page was answered."""
    _out.log.info("exchange", **_line(inbound, match.owner, None, None, status, started_ns))


def unforeseen(exchange: Exchange, defect: Defect) -> None:
    """A defect of the engine's own in an exchange."""
    _out.log.error("unforeseen", request_id=exchange.inbound.request_id, **_defect(defect))


def _defect(defect: Defect) -> dict[str, Any]:
    return {"error": defect.error, "trace": list(defect.trace)}


def _fields(result: ExchangeResult) -> dict[str, Any]:
    exchange = result.exchange
    status = result.response.status
    inbound, started = exchange.inbound, exchange.started_ns
    fields = _line(inbound, result.mapping, result.route, exchange.upstream, status, started)
    fields["attempt"] = len(exchange.tried)
    fields["bytes"] = result.bytes_sent
    if result.events:
        fields["events"] = result.events
        fields["first_event_ms"] = round((result.first_event_ns - started) / 1e6, 3)
    if exchange.dropped:
        fields["dropped"] = exchange.dropped[:20]
    if len(exchange.tried) > 1:
        fields["tried"] = [f"{name}: {outcome}" for name, outcome in exchange.tried[:20]]
    return fields


def _line(
    inbound: Inbound,
    mapping: MappingPlan | None,
    route: RoutePlan | None,
    provider: str | None,
    status: int,
    started_ns: int,
) -> dict[str, Any]:
    key = {"key": inbound.key} if inbound.key is not None else {}
    return {
        "request_id": inbound.request_id,
        "mapping": mapping.name if mapping else None,
        **key,
        "route": f"{route.method} {route.pattern}" if route else None,
        "provider": provider,
        "upstream": _address(mapping, provider),
        "method": inbound.method,
        "path": inbound.path,
        "status_code": status,
        "duration_ms": round((time.monotonic_ns() - started_ns) / 1e6, 3),
    }


def _address(mapping: MappingPlan | None, provider: str | None) -> str | None:
    """Where a call went: an origin, or another mapping."""
    plan = None if mapping is None or provider is None else mapping.upstreams.get(provider)
    if plan is None:
        return None
    return plan.origin if plan.mapping is None else f"mapping:{plan.mapping}"
