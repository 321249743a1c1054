"""Runs exchanges of a mapping that a test defines, without a network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import Findings, PlanSet, compile_set, load
from engine.exchange import ExchangeResult, SendCall, run_exchange
from engine.http.messages import JSON, Batch, Content, Inbound, UpstreamRequest, UpstreamResponse
from engine.testing.offline import carry_out

FILE = "limited.yaml"


def compiled(text: str, directory: Path) -> PlanSet:
    """The plans of a mapping; `text` is its file without the line with the version."""
    file = directory / FILE
    file.write_text("dragoman: 1\n" + text)
    findings = Findings()
    plans = compile_set(load([file], findings), {}, findings)
    assert not len(findings), [f"{finding.span}: {finding.message}" for finding in findings]
    return plans


@dataclass
class Upstream:
    """Returns the same response to every call; the pieces of its body are joined unless it is streamed."""

    pieces: Iterable[bytes] = (b"{}",)
    media_type: str = JSON
    requests: list[UpstreamRequest] = field(default_factory=list)

    def send(self, step: SendCall) -> UpstreamResponse:
        self.requests.append(step.request)
        self._left = list(self.pieces)
        headers = (("content-type", self.media_type),)
        if step.streams:
            return UpstreamResponse(200, headers, Content(b"", self.media_type), source=self)
        return UpstreamResponse(200, headers, self.rest())

    def next(self) -> Batch:
        return self._left.pop(0) if self._left else None

    def rest(self) -> Content:
        left, self._left = b"".join(self._left), []
        return Content(left, self.media_type)


def events(values: Iterable[Any]) -> list[bytes]:
    """The pieces of a stream of server-sent events, one piece per event."""
    return [b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n" for value in values]


def sse(values: Iterable[Any]) -> Upstream:
    return Upstream(events(values), "text/event-stream")


def posted(plans: PlanSet, path: str, body: Any = None, upstream: Upstream | None = None) -> ExchangeResult:
    """The result of a POST with a JSON body."""
    content = Content(json.dumps(body).encode(), JSON)
    inbound = Inbound("POST", path, headers=(("content-type", JSON),), request_id="test")
    return carry_out(run_exchange(plans.tree.find(path, "POST"), inbound), content, upstream or Upstream())


def location_of(result: ExchangeResult) -> str:
    """The line and column in the mapping's file that the log reports for an error."""
    assert result.error is not None
    cause = result.error.cause or ""
    name, line, column, _ = cause.split(":", 3)
    assert Path(name).name == FILE, cause
    return f"{line}:{column}"
