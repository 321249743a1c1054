"""The real `dragoman serve` as a process, and a small client for it.

Contract: `dragoman_server` starts on a free port, waits for the ready line, and at its end checks
that the process ends cleanly on TERM and that no log line reports a defect of the engine.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine import shipped_mappings
from tests.support.times import PATIENCE, SOON, START
from tests.support.upstream import eventually

_ROOT = Path(__file__).parents[2]
_COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]
#: The Host of raw requests in tests; short, so that it adds few bytes.
RAW_HOST = "x"
_READY = re.compile(r"Dragoman serves .* at (http://[^\s\"]+)")
#: The start of the line with an upstream's error in the console format.
_UPSTREAM_ERROR = re.compile(r"\s+upstream_\w+: ")
#: Texts that only a defect of the engine writes.
DEFECTS = ("internal_error", "Traceback", "Exception in ASGI", "never awaited", "never retrieved")

Mappings = str | Path | Mapping[str, str] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Response:
    """A response; header names are in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def all(self, name: str) -> list[str]:
        """Returns every value of a header."""
        return [value for key, value in self.headers if key == name]


@dataclass(slots=True)
class Server:
    """A running `dragoman serve`.

    Attributes:
        url: its address, without a slash at the end.
        lines: lines it has written to standard error so far.
    """

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def request(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = PATIENCE,
        expect_truncated: bool = False,
    ) -> Response:
        """Sends one request on a new connection.

        `target` and a body of bytes are sent unchanged; None sends no body, all else is sent as JSON. With
        `expect_truncated` the response must end too early.
        """
        fields = {"connection": "close", **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            fields.setdefault("content-type", "application/json")
        started = time.monotonic()
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        with contextlib.closing(connection):
            connection.putrequest(method, target, skip_accept_encoding=True)
            if body is not None and "transfer-encoding" not in fields:
                fields.setdefault("content-length", str(len(body)))
            for name, value in fields.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            data = _read_truncated(response) if expect_truncated else response.read()
            pairs = [(name.lower(), value) for name, value in response.getheaders()]
            return Response(response.status, pairs, data, time.monotonic() - started)

    def get(self, target: str, **options: Any) -> Response:
        return self.request("GET", target, **options)

    def post(self, target: str, body: Any = None, **options: Any) -> Response:
        return self.request("POST", target, body, **options)

    def connect(self, timeout: float = PATIENCE) -> socket.socket:
        """Opens a raw connection."""
        return socket.create_connection(self.address, timeout)

    def raw(self, data: bytes, timeout: float = PATIENCE) -> bytes:
        """Sends bytes unchanged and reads until the server closes or `timeout` expires."""
        with self.connect(timeout) as connection:
            connection.sendall(data)
            return read_all(connection)

    def logged(self, request_id: str, event: str = "request") -> dict[str, Any]:
        """Returns the log line of a request; waits for it, because it is written after the response."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [
                line for line in self.log() if line.get("request_id") == request_id and line["event"] == event
            ]
            return bool(found)

        assert eventually(look), f"no line '{event}' of {request_id} in:\n{self.text()}"
        return found[0]

    def log(self) -> list[dict[str, Any]]:
        """Returns all lines that are JSON."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def text(self) -> str:
        return "\n".join(self.lines)

    def stop(self, number: int = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        """Sends a signal and waits; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


def with_long_deadlines(name: str, keep: Sequence[str] = ()) -> str:
    """Returns the text of a shipped mapping with deadlines that a slow machine meets too.

    Args:
        name: a shipped mapping.
        keep: the deadlines to leave unchanged, by their keys in the mapping, such as `timeout` of calls.
    """
    file = shipped_mappings()[name]
    text = file.read_text(encoding="utf-8")
    for key in {"connect", "timeout"} - {*keep}:
        text = re.sub(rf"\b{key}: \d+m?s\b", f"{key}: {PATIENCE:.0f}s", text)
    text = re.sub(r"\bhealth: GET (\S+)", rf"health: {{ path: \1, timeout: {PATIENCE:.0f}s }}", text)
    return re.sub(r"^(include: \[|  - )(?=\S+\.yaml)", rf"\1{file.parent}/", text, flags=re.MULTILINE)


@contextlib.contextmanager
def dragoman_server(
    mappings: Mappings,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    *,
    expect_clean: bool = True,
    command: Sequence[str] = _COMMAND,
    folder: Path | None = None,
) -> Iterator[Server]:
    """Serves mappings until the block ends.

    Args:
        mappings: the text of a mapping, the path of a file or directory, texts by file name, or a tuple of
            names of shipped mappings.
        env: variables in addition to those of the tests' environment.
        args: more arguments of `serve`, such as `("--log-level", "debug")`.
        command: what to run instead of the command line.
        folder: its working directory.
        expect_clean: whether to check for exit status 0 and a log without defects at the end.
    """
    with tempfile.TemporaryDirectory() as directory:
        process = _start(write_mappings(mappings, Path(directory)), env or {}, args, command, folder)
        with _serving(process, expect_clean) as server:
            yield server


@contextlib.contextmanager
def make_serve() -> Iterator[Server]:
    """Runs the command of `make serve`, on a free port, until the block ends."""
    prepared = [f"VENV={sys.prefix}", f"--old-file={sys.prefix}/.serve"]
    command = ["make", "--silent", "--dry-run", *prepared, "PORT=0", "serve"]
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("DRAGOMAN_", "MAKE"))
    }
    recipe = subprocess.run(
        command, cwd=_ROOT, env=environ, capture_output=True, text=True, check=True
    ).stdout
    process = subprocess.Popen(
        ["sh", "-c", recipe],
        env={**environ, "PYTHONPATH": _search_path(), "PYTHONUNBUFFERED": "1"},
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    with _serving(process, expect_clean=True) as server:
        yield server


@contextlib.contextmanager
def _serving(process: subprocess.Popen[str], expect_clean: bool) -> Iterator[Server]:
    """Waits until a process serves, and ends it with the block."""
    server = Server(process)
    reader = threading.Thread(target=_collect, args=(process, server.lines), daemon=True)
    reader.start()
    try:
        _await_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            status = process.wait(SOON)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        reader.join(PATIENCE)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
    if expect_clean:
        assert status == 0, f"ended with status {status}:\n{server.text()}"
        defects = [line for line in server.lines if any(defect in _own(line) for defect in DEFECTS)]
        assert not defects, "\n".join(defects)


def _own(line: str) -> str:
    """Returns a line without text that an upstream sent."""
    if not line.startswith("{"):
        return "" if _UPSTREAM_ERROR.match(line) else line
    return json.dumps({name: value for name, value in json.loads(line).items() if name != "cause"})


def failed_start(
    mappings: Mappings, env: Mapping[str, str] | None = None, args: Sequence[str] = ()
) -> tuple[int, str]:
    """Returns the exit status and the complete output of a `serve` that must fail to start."""
    with tempfile.TemporaryDirectory() as directory:
        process = _start(write_mappings(mappings, Path(directory)), env or {}, args)
        try:
            out, err = process.communicate(timeout=START)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"it serves:\n{out}{err}") from None
        return process.returncode, out + err


def _start(
    paths: list[str],
    env: Mapping[str, str],
    args: Sequence[str],
    command: Sequence[str] = _COMMAND,
    folder: Path | None = None,
) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
    port = [] if "--port" in args else ["--port", "0"]
    return subprocess.Popen(
        [*command, "serve", *port, *args, *paths],
        env={
            **inherited,
            "PYTHONPATH": _search_path(),
            "PYTHONUNBUFFERED": "1",
            "DRAGOMAN_ALLOWED_HOSTS": RAW_HOST,
            **env,
        },
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _search_path() -> str:
    """A PYTHONPATH with the checkout first."""
    return os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))


def write_mappings(mappings: Mappings, directory: Path) -> list[str]:
    """Write the texts of mappings into a directory; the paths to serve."""
    if isinstance(mappings, Path):
        return [str(mappings)]
    if isinstance(mappings, tuple):
        return list(mappings)
    texts = {"mapping.yaml": mappings} if isinstance(mappings, str) else mappings
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [str(directory / name) for name in texts]


def _collect(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - readers need each line at once


def _await_ready(server: Server) -> None:
    def look() -> bool:
        found = next(filter(None, map(_READY.search, list(server.lines))), None)
        server.url = found.group(1) if found else ""
        return found is not None or server.process.poll() is not None

    eventually(look, START)
    if not server.url:
        server.process.kill()
        out = server.process.stdout.read() if server.process.stdout else ""
        raise AssertionError(f"it does not serve:\n{out}{server.text()}")


def _read_truncated(response: http.client.HTTPResponse) -> bytes:
    """Returns the received part of a truncated response."""
    try:
        response.read()
    except http.client.IncompleteRead as error:
        return error.partial
    raise AssertionError("the response is complete")


def read_all(connection: socket.socket) -> bytes:
    """Reads until the peer closes or resets the connection, or the socket's timeout expires."""
    data = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while piece := connection.recv(65_536):
            data += piece
    return data


def reset(connection: socket.socket) -> None:
    """Closes with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
