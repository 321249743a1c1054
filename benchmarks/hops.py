"""The cost of a hop: the time that another mapping adds to a request and to each chunk of a stream.

A request passes through a chain of mappings in one process, and the last one calls an upstream whose response
is in memory, so nothing but the engine is measured. Chains of 0 to 2 hops run in interleaved rounds; the cost
of a hop is the median of the differences of the rounds. Each hop translates: it names the fields that it
carries over, and writes each chunk by a template. `--check` fails above the goals.

    python -m benchmarks.hops [--check] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import orjson

from engine import Findings, PlanSet, compile_set, load
from engine.client.request_bodies import BufferedRequestBody
from engine.client.response_events import ResponseEvents
from engine.client.runner import ExchangeRunner
from engine.exchange import EventStreamResponse, EventWriter, ExchangeResult
from engine.exchange.response_source import PumpByNext
from engine.http.messages import JSON, Content, Inbound, OutgoingRequest, UpstreamResponse
from engine.plan import UpstreamPlan

#: The goals: milliseconds of a request, and microseconds of CPU time of a chunk.
MAX_REQUEST_MS = 0.1
MAX_CHUNK_US = 4.0

HOPS = (0, 1, 2)
CHUNKS = 400
REQUESTS = 100
PATH = "/v1/chat/completions"

MAPPING = """
dragoman: 1
name: {name}
public: {public}
upstreams: {{ next: {{ url: "{url}" }} }}
streams:
  chunks: {{ from: {{ sse: {{ done: "[DONE]" }} }}, eof: ok }}
  events: {{ to: {{ sse: {{ done: "[DONE]" }} }}, rules: [{{ emit: "${{ @ }}" }}] }}
templates:
  part: {{ id: "${{ id }}", model: "${{ model }}", choices: "${{ choices }}", usage: "${{ usage }}" }}
routes:
  POST {path}:
    call:
      upstream: next
      path: {path}
      body: {{ model: "${{ model }}", messages: "${{ messages }}", stream: "${{ stream }}" }}
    respond:
      stream_when: ${{ $request.body.stream }}
      pipeline: [chunks, part, events]
"""

CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "model": "small",
    "choices": [{"index": 0, "delta": {"content": " a few words"}, "finish_reason": None}],
}
COMPLETE = {
    "id": "chatcmpl-1",
    "model": "small",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "words " * 100}}],
}
MESSAGES = [{"role": "user", "content": f"message {number} of a conversation"} for number in range(10)]
_EVENT = b"data: " + orjson.dumps(CHUNK) + b"\n\n"


class MemorySource(PumpByNext):
    """A stream whose chunks arrive one by one."""

    def __init__(self) -> None:
        self._left = CHUNKS

    async def next(self) -> bytes | None:  # type: ignore[override]
        self._left -= 1
        return None if self._left < 0 else _EVENT

    async def content(self, limit: int) -> Content:
        return Content(_EVENT * CHUNKS, "text/event-stream")

    async def aclose(self) -> None:
        """There is nothing to close."""


class MemoryUpstream:
    """An upstream with its response in memory."""

    def __init__(self, plan: UpstreamPlan) -> None:
        self._complete = orjson.dumps(COMPLETE)

    async def send(self, request: OutgoingRequest, streams: bool = False) -> UpstreamResponse:
        if request.content.value.get("stream"):
            headers = (("content-type", "text/event-stream"),)
            return UpstreamResponse(200, headers, Content(b"", "text/event-stream"), MemorySource())
        return UpstreamResponse(200, (("content-type", JSON),), Content(self._complete, JSON))

    async def aclose(self) -> None:
        """There are no connections."""


def chain(hops: int) -> PlanSet:
    """The plans of a chain of mappings; only the first one is public."""
    findings = Findings()
    with tempfile.TemporaryDirectory() as directory:
        files = []
        for number in range(hops + 1):
            url = "http://localhost:9" if number == hops else f"mapping:m{number + 1}"
            public = "true" if number == 0 else "false"
            file = Path(directory, f"m{number}.yaml")
            file.write_text(MAPPING.format(name=f"m{number}", url=url, public=public, path=PATH))
            files.append(file)
        plans = compile_set(load(files, findings), {}, findings)
    assert not findings.has_errors, list(findings)
    return plans


class Chain:
    """A chain of mappings that handles requests."""

    def __init__(self, hops: int) -> None:
        self._plans = chain(hops)
        with patch("engine.client.runner.open_upstream", MemoryUpstream):
            self._runner = ExchangeRunner(self._plans)

    async def request(self, stream: bool) -> int:
        """Handle a request to its end; returns the size of the response in bytes."""
        body = {"model": "small", "messages": MESSAGES, "stream": stream}
        content = Content(orjson.dumps(body), JSON)
        inbound = Inbound("POST", PATH, headers=(("content-type", JSON),), content=content, request_id="hops")
        match = self._plans.tree.find(PATH, "POST")
        result = await self._runner.run(match, inbound, BufferedRequestBody(content))
        assert result.response.status == 200, result.error
        if isinstance(result.response, EventStreamResponse):
            return await self._read(result, result.response)
        assert not stream
        return len(result.response.content.data)  # type: ignore[union-attr]

    async def _read(self, result: ExchangeResult, response: EventStreamResponse) -> int:
        size, events = 0, ResponseEvents(result, response.stream)
        writer = EventWriter(response.stream.plan, result.exchange)
        while (batch := await events.next()) is not None:
            size += len(writer.write(batch, response.stream))
        assert response.stream.error is None, response.stream.error
        await self._runner.release(result)
        return size + len(writer.close())

    async def seconds(self, stream: bool, times: int) -> float:
        """The CPU seconds of a request; the process waits for nothing, so they are its duration too."""
        start = time.process_time()
        for _ in range(times):
            await self.request(stream)
        return (time.process_time() - start) / times


#: The seconds of each round, by the number of hops.
Rounds = Sequence[dict[int, float]]


async def measured(chains: dict[int, Chain], stream: bool, rounds: int) -> Rounds:
    times = 1 if stream else REQUESTS
    sizes = {hops: await each.request(stream) for hops, each in chains.items()}
    assert len(set(sizes.values())) == 1, f"the chains return different responses: {sizes}"
    found = []
    for _ in range(rounds):
        gc.collect()
        found.append({hops: await each.seconds(stream, times) for hops, each in chains.items()})
    return found


def median(rounds: Rounds, hops: int) -> float:
    return statistics.median(each[hops] for each in rounds)


def cost_of_hop(rounds: Rounds) -> float:
    """The seconds that one hop adds."""
    return statistics.median((each[HOPS[-1]] - each[0]) / HOPS[-1] for each in rounds)


async def measure(rounds: int) -> tuple[Rounds, Rounds]:
    chains = {hops: Chain(hops) for hops in HOPS}
    return await measured(chains, False, rounds), await measured(chains, True, rounds)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure hops from mapping to mapping.")
    parser.add_argument("--check", action="store_true", help="fail above the goals")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    gc.disable()
    complete, streams = asyncio.run(measure(arguments.rounds))
    request_ms, chunk_us = cost_of_hop(complete) * 1e3, cost_of_hop(streams) * 1e6 / CHUNKS
    print(f"{'':30} {'no hop':>10} {'1 hop':>10} {'2 hops':>10} {'a hop adds':>12} {'goal':>8}")
    cells = " ".join(f"{median(complete, hops) * 1e3:10.3f}" for hops in HOPS)
    print(f"{'complete request, ms':30} {cells} {request_ms:12.3f} {MAX_REQUEST_MS:8}")
    cells = " ".join(f"{median(streams, hops) * 1e6 / CHUNKS:10.2f}" for hops in HOPS)
    print(f"{'chunk of a stream, CPU µs':30} {cells} {chunk_us:12.2f} {MAX_CHUNK_US:8}")
    if arguments.check and (request_ms > MAX_REQUEST_MS or chunk_us > MAX_CHUNK_US):
        print("a hop takes longer than the goal", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
