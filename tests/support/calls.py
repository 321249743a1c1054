"""Upstream calls without a server in front: the adapter itself, on an event loop of the test's choice.

Contract: `run` leaves nothing behind: no task, no connection, no unretrieved exception.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import uvloop

from engine.client.http1 import Http1Upstream
from engine.http.messages import EMPTY, Content, UpstreamRequest
from engine.plan import DEFAULT_TIMEOUTS, UpstreamPlan
from tests.support.times import PATIENCE

T = TypeVar("T")

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
#: Runs a test on each event loop.
both_loops = pytest.mark.parametrize("loop", LOOPS)

HEADERS = (("accept", "application/json"), ("accept-encoding", "identity"))


def plan(url: str, connect: float = PATIENCE, read: float = PATIENCE, **fields: Any) -> UpstreamPlan:
    """Returns the plan of an upstream at this origin."""
    timeouts = replace(DEFAULT_TIMEOUTS, connect=connect, read=read)
    return UpstreamPlan("up", url, None, "", (), timeouts, **fields)


def call(
    target: str = "/",
    method: str = "GET",
    body: Any = None,
    timeout: float | None = 2 * PATIENCE,
    **fields: Any,
) -> UpstreamRequest:
    """A call; `body` is bytes, or a source of them."""
    content = Content(body, "application/octet-stream") if isinstance(body, bytes) else EMPTY
    source = None if isinstance(body, bytes) else body
    headers = fields.pop("headers", HEADERS)
    return UpstreamRequest("up", method, target, headers, content, timeout, body=source, **fields)


@contextlib.asynccontextmanager
async def opened(url: str, **fields: Any) -> AsyncIterator[Http1Upstream]:
    """Yields an adapter and closes it at the end."""
    upstream = Http1Upstream(plan(url, **fields))
    try:
        yield upstream
    finally:
        await upstream.aclose()


def run(work: Callable[[], Coroutine[Any, Any, T]], loop: str = "uvloop") -> T:
    """Run a coroutine on an event loop of this kind."""
    unseen: list[dict[str, Any]] = []

    async def watched() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        before = asyncio.all_tasks()
        result = await work()
        for _ in range(10):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == before, "tasks are left"
        return result

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        result = runner.run(watched())
    assert not unseen, unseen
    return result


def open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))
