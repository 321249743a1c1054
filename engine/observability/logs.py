"""Logs: a line for each request, each warning of a mapping and each event of the process.

Contract: lines hold no payload, no query, no header value and no secret. A line that belongs to a request has
its `request_id`.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final, TextIO

from engine.diagnostics import Diagnostic
from engine.errors import Defect
from engine.exchange import ExchangeResult
from engine.http.messages import Inbound
from engine.observability.log_lines import Format as Format
from engine.observability.log_lines import LineLogger
from engine.plan import MappingPlan, PlanMatch, RoutePlan

LEVELS: Final = ("debug", "info", "warning", "error")

#: Libraries whose lines of lower levels contain URLs or header fields.
_LIBRARIES: Final = ("httpx2", "httpcore2", "asyncio", "uvicorn.access")
#: Names or calls in one line at most.
_MAX_ITEMS: Final = 20


class _State:
    logger = LineLogger(logging.INFO)


_state: Final = _State()


def configure(level: str, log_format: Format, stream: TextIO | None = None) -> None:
    """Set up logging for the process, to a stream or standard error."""
    number = getattr(logging, level.upper())
    _state.logger = LineLogger(number, log_format, stream or sys.stderr)
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_LibraryHandler()], force=True)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


class _LibraryHandler(logging.Handler):
    """Writes records of libraries; of an exception only type and frames, as its message may be payload."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage().strip()}
        exception = record.exc_info[1] if record.exc_info else None
        if exception is not None:
            fields |= _defect_fields(Defect.of(exception))
        is_bug = isinstance(exception, Exception)
        _state.logger.log(record.levelno, "internal_error" if is_bug else "library", **fields)


# --- Events of the process -------------------------------------------------------------------------------


def info(event: str, **fields: Any) -> None:
    """Log an event of the process."""
    _state.logger.info(event, **fields)


def warning(event: str, **fields: Any) -> None:
    """Log something that works, but not as it should."""
    _state.logger.warning(event, **fields)


def error(event: str, **fields: Any) -> None:
    """Log something that the process failed to do."""
    _state.logger.error(event, **fields)


def internal_error(defect: Defect, **fields: Any) -> None:
    """Log a bug in Dragoman; `fields` are where it occurred."""
    _state.logger.error("internal_error", **fields, **_defect_fields(defect))


def finding(diagnostic: Diagnostic) -> None:
    """Log an error or warning in a mapping, as `validate` prints it."""
    span = diagnostic.span
    log = _state.logger.error if diagnostic.severity == "error" else _state.logger.warning
    log(
        "finding",
        file=span.file.name,
        line=span.line,
        column=span.column,
        code=diagnostic.code,
        message=diagnostic.message,
    )


# --- Requests --------------------------------------------------------------------------------------------


def record_exchange(result: ExchangeResult) -> None:
    """Log a finished exchange and its warnings."""
    _record_warnings(result)
    error = result.error
    is_failure = error is not None and result.response.status >= 500
    if not is_failure and _state.logger.level > logging.INFO:
        # The fields of a line that is not written cost as much as the line.
        return
    fields = _exchange_fields(result)
    if error is not None:
        fields["error_kind"] = error.kind
        if error.cause:
            fields["cause"] = error.cause
    log = _state.logger.error if is_failure else _state.logger.info
    log("request", **fields)


def record_inner_exchange(result: ExchangeResult) -> None:
    """Log an exchange with another mapping in this process: its warnings, and a line if it failed."""
    if result.error is not None:
        record_exchange(result)
    else:
        _record_warnings(result)


def record_client_disconnect(
    inbound: Inbound, match: PlanMatch, started_ns: int, result: ExchangeResult | None
) -> None:
    """Log an exchange whose client disconnected before the end of the response: status 499, as in nginx."""
    leaf = match.found(inbound.method)
    if result is not None:
        fields = _exchange_fields(result) | {"status_code": 499}
    else:
        route = None if leaf is None else leaf.route
        upstream = route.upstreams[0] if route is not None and route.upstreams else None
        fields = _request_fields(inbound, match.owner, route, upstream, 499, started_ns)
    _state.logger.info("request", **fields, error_kind="client_disconnected")


def record_preflight(inbound: Inbound, match: PlanMatch, status: int, started_ns: int) -> None:
    """Log the response to a CORS preflight request."""
    _state.logger.info("request", **_request_fields(inbound, match.owner, None, None, status, started_ns))


def _record_warnings(result: ExchangeResult) -> None:
    """Log the messages of `warn()`."""
    for message in result.exchange.warnings:
        _state.logger.warning(
            "mapping_warning",
            request_id=result.exchange.inbound.request_id,
            mapping=result.mapping.name if result.mapping else None,
            message=message,
        )


def _defect_fields(defect: Defect) -> dict[str, Any]:
    return {"exception": defect.error, "traceback": list(defect.trace)}


def _exchange_fields(result: ExchangeResult) -> dict[str, Any]:
    exchange = result.exchange
    started = exchange.started_ns
    fields = _request_fields(
        exchange.inbound, result.mapping, result.route, exchange.upstream, result.response.status, started
    )
    fields["attempts"] = len(exchange.tried)
    fields["bytes_sent"] = result.bytes_sent
    if result.events:
        fields["events"] = result.events
        fields["first_event_ms"] = round((result.first_event_ns - started) / 1e6, 3)
    if exchange.dropped:
        fields["dropped_fields"] = exchange.dropped[:_MAX_ITEMS]
    if len(exchange.tried) > 1:
        outcomes = exchange.tried[:_MAX_ITEMS]
        fields["attempt_outcomes"] = [f"{name}: {outcome}" for name, outcome in outcomes]
    return fields


def _request_fields(
    inbound: Inbound,
    mapping: MappingPlan | None,
    route: RoutePlan | None,
    upstream: str | None,
    status: int,
    started_ns: int,
) -> dict[str, Any]:
    key = {"key_name": inbound.key} if inbound.key is not None else {}
    return {
        "request_id": inbound.request_id,
        "mapping": mapping.name if mapping else None,
        **key,
        "route": f"{route.method} {route.pattern}" if route else None,
        "upstream": upstream,
        "upstream_url": _upstream_url(mapping, upstream),
        "method": inbound.method,
        "path": inbound.path,
        "status_code": status,
        "duration_ms": round((time.monotonic_ns() - started_ns) / 1e6, 3),
    }


def _upstream_url(mapping: MappingPlan | None, upstream: str | None) -> str | None:
    """The origin of an upstream, or `mapping:NAME` for another mapping."""
    plan = None if mapping is None or upstream is None else mapping.upstreams.get(upstream)
    if plan is None:
        return None
    return plan.origin if plan.mapping is None else f"mapping:{plan.mapping}"
