"""The ASGI application under servers other than our own, as processes on free ports.

Contract: `application_server` yields the same `Server` as `dragoman_server`, for tests of both.
At its end the process must exit on TERM, and must not have written a traceback or a line about a defect.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.server import DEFECTS, Mappings, Response, Server, dragoman_server, write_mappings
from tests.support.times import PATIENCE, SOON, START
from tests.support.upstream import eventually

_ROOT = Path(__file__).parents[2]
_URL = re.compile(r"[Rr]unning on (http://[\d.:]+)")

_APP = """
import os
from engine.asgi import create_app

app = create_app({paths!r}, **{settings!r})
"""

#: The same application below a path of another one, next to a route of that one, with middleware in front.
_MOUNTED = """
import contextlib
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from inner import app as dragoman

@contextlib.asynccontextmanager
async def lifespan(app):
    async with contextlib.aclosing(dragoman):
        yield

async def pass_on(request, call_next):
    return await call_next(request)

async def own(request):
    return PlainTextResponse("of the application around it")

app = Starlette(
    routes=[Route("/own", own), Mount("/put/here", dragoman)],
    middleware=[Middleware(BaseHTTPMiddleware, dispatch=pass_on)],
    lifespan=lifespan,
)
"""

_UVICORN: Final = ("uvicorn", "app:app", "--port", "0", "--no-access-log")


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an application is served: the arguments of `python -m`, and where it is mounted."""

    command: tuple[str, ...]
    prefix: str = ""


KINDS: Final = {
    "uvicorn-h11": _Kind((*_UVICORN, "--http", "h11")),
    "uvicorn-httptools": _Kind((*_UVICORN, "--http", "httptools")),
    "without-lifespan": _Kind((*_UVICORN, "--lifespan", "off", "--loop", "asyncio")),
    "hypercorn": _Kind(("hypercorn", "app:app", "--bind", "127.0.0.1:0", "--graceful-timeout", "1")),
    "mounted": _Kind(_UVICORN, "/put/here"),
}
#: The servers for tests of what does not depend on the server.
SERVERS: Final = ("serve", "uvicorn-h11", "hypercorn", "mounted")


@dataclass
class _MountedServer(Server):
    """A server whose application is below a path, which requests need not name."""

    prefix: str = ""

    def request(self, method: str, target: str, body: Any = None, **options: Any) -> Response:
        return super().request(method, self.prefix + target, body, **options)


@contextlib.contextmanager
def served_by(kind: str, mappings: Mappings, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve mappings by `serve`, or by one of `KINDS`."""
    served = dragoman_server(mappings, env) if kind == "serve" else application_server(kind, mappings, env)
    with served as server:
        yield server


@contextlib.contextmanager
def application_server(
    kind: str,
    mappings: Mappings,
    env: Mapping[str, str] | None = None,
    *,
    expect_clean: bool = True,
    **settings: Any,
) -> Iterator[Server]:
    """Serve mappings by `create_app` until the block ends.

    Args:
        kind: one of `KINDS`.
        settings: arguments of `create_app`.
        expect_clean: at the end require an exit on TERM and no defect in what was written.
    """
    how = KINDS[kind]
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        text = _APP.format(paths=write_mappings(mappings, folder), settings=settings)
        (folder / ("inner.py" if how.prefix else "app.py")).write_text(text)
        if how.prefix:
            (folder / "app.py").write_text(_MOUNTED)
        inherited = os.environ.get("PYTHONPATH", "")
        path = os.pathsep.join(filter(None, (str(folder), str(_ROOT), inherited)))
        process = subprocess.Popen(
            [sys.executable, "-m", *how.command],
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        server = _MountedServer(process, prefix=how.prefix)
        reader = threading.Thread(target=_collect, args=(process, server.lines), daemon=True)
        reader.start()
        try:
            _await_url(server)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(SOON)
                has_ended = True
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                has_ended = False
            reader.join(PATIENCE)
            assert process.stdout is not None
            process.stdout.close()
    assert has_ended, f"it does not end on TERM:\n{server.text()}"
    if expect_clean:
        found = [line for line in server.lines if any(defect in line for defect in DEFECTS)]
        assert not found, server.text()


def _collect(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - read one by one


def _await_url(server: Server) -> None:
    found: Callable[[], re.Match[str] | None] = lambda: _URL.search(server.text())  # noqa: E731
    eventually(lambda: found() or server.process.poll() is not None, START)
    match = found()
    assert match is not None, f"it does not serve:\n{server.text()}"
    server.url = match[1]
