"""Runs a complete exchange without a network: stub bytes of an upstream in, the client's bytes out."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine import Findings, PlanSet, compile_set, load, source_files
from engine.errors import ExchangeError
from engine.exchange import (
    Effect,
    EventWriter,
    ExchangeResult,
    ReadBatch,
    ReadBody,
    ReadContent,
    RunParallel,
    SendCall,
    run_exchange,
)
from engine.http.messages import JSON, CompleteResponse, Content, Inbound, UpstreamResponse


@dataclass(frozen=True)
class Outcome:
    """What the client and the upstream received."""

    status: int
    body: bytes
    request: Any
    failed: bool
    result: ExchangeResult


def shipped(name: str, environ: Mapping[str, str] | None = None) -> PlanSet:
    """The plans of a shipped mapping."""
    findings = Findings()
    plans = compile_set(load(source_files([name], findings), findings), environ or {}, findings)
    assert not findings.has_errors, [f"{f.span}: {f.message}" for f in findings]
    return plans


def run_offline(
    plans: PlanSet,
    path: str,
    body: Any,
    chunks: Iterable[bytes],
    media_type: str,
    status: int = 200,
    broken: ExchangeError | None = None,
) -> Outcome:
    """Runs a POST whose upstream sends `chunks` and then, if `broken` is set, fails with that error."""
    path, _, query = path.partition("?")
    inbound = Inbound("POST", path, query, headers=(("content-type", JSON),), request_id="test")
    steps = run_exchange(plans.tree.find(path, "POST"), inbound)
    upstream, request = iter(chunks), None
    source = object()

    def carry_out(steps: Generator[Effect, Any, Any]) -> Any:
        """Performs the effects of an exchange or of one branch; branches run one after another."""
        nonlocal request
        try:
            step = next(steps)
            while True:
                given: Any = None
                if isinstance(step, ReadBody):
                    given = Content(json.dumps(body).encode(), JSON)
                elif isinstance(step, SendCall):
                    request = step.request
                    headers = (("content-type", media_type),)
                    given = UpstreamResponse(status, headers, Content(b"", media_type), source)
                elif isinstance(step, ReadContent):
                    given = Content(b"".join(upstream), media_type)
                elif isinstance(step, RunParallel):
                    for branch in step.branches:
                        carry_out(branch.effects)
                elif isinstance(step, ReadBatch):
                    given = next(upstream, None)
                    if given is None and broken is not None:
                        step = steps.throw(broken)
                        continue
                else:
                    # Not `assert`: its message would contain the step with all plans, which takes gigabytes.
                    raise AssertionError(f"unknown step: {type(step).__name__}")
                step = steps.send(given)
        except StopIteration as end:
            return end.value

    result = carry_out(steps)
    assert result.defect is None, result.defect
    response = result.response
    sent = request.content.value if request is not None and not request.content.is_empty else None
    if isinstance(response, CompleteResponse):
        return Outcome(response.status, response.content.data, sent, result.error is not None, result)
    stream = response.stream
    writer = EventWriter(stream.plan, result.exchange)
    out = [writer.write(stream.first)]
    while not stream.is_over:
        batch = next(upstream, None)
        if batch is None and broken is not None:
            out.append(writer.write(stream.fail(broken)))
        else:
            out.append(writer.write(stream.feed(batch)))
    if stream.error is None:
        out.append(writer.close())
    return Outcome(response.status, b"".join(out), sent, stream.error is not None, result)
