"""What a server writes: JSON from the first line to the last, or short lines for a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server, dragoman_server, failed_start, read_all
from tests.support.terminal import COMMAND, ROOT, Terminal, on_terminal, plain
from tests.support.times import PATIENCE, START
from tests.support.upstream import Upstream, eventually, json_response

MAPPING = """
dragoman: 1
name: shop
env: { UP: {}, KEY: { secret: true } }
upstreams:
  up: { url: "${ $env.UP }" }
  other: { url: "${ $env.UP }", auth: { bearer: "${ $env.KEY }" } }
routes:
  GET /hello/{name}: { respond: { body: "hello" } }
  POST /chat:
    call: POST up /log/usage
    usage: { input: "${ usage.in }", output: "${ usage.out }" }
    respond: { body: ok }
  GET /down: { call: GET up /reset, respond: { body: "${ @ }" } }
  GET /typed: { respond: { body: "${ starts_with($request.query.q, 'x') }" } }
  GET /refused: { respond: { body: "${ fail('invalid_request', concat('bad ', $request.query.q)) }" } }
  GET /either:
    try:
      - { call: GET up /status/503, respond: { body: "${ @ }" } }
      - { call: GET other /json, respond: { body: "${ @ }" } }
"""
BROKEN = "dragoman: 1\nname: shop\nroutes:\n  GET /x: { respond: { body: '${ lenght(@) }' } }\n"
WARNED = (
    "dragoman: 1\nname: shop\ndescription: sk-live-0123456789abcdef\nroutes: { GET /x: { respond: {} } }\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "shop.yaml"
    file.write_text(MAPPING)
    return file


def parsed(text: str) -> list[dict[str, Any]]:
    """Returns the lines of a text, all of which must be JSON objects without nulls."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines
    for line in lines:
        assert {"event", "level", "timestamp"} <= line.keys()
        assert None not in line.values(), line
    return lines


# --- JSON: failures at the start -------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use(file: Path, taken: int, workers: str) -> None:
    arguments = ("--port", str(taken), "--workers", workers)
    status, output = failed_start(file, {"UP": "http://127.0.0.1:9"}, arguments)
    line = parsed(output)[-1]
    assert status == 1
    assert line["message"] == f"port {taken} is already in use; choose another with --port"
    assert (line["event"], line["level"], line["port"]) == ("listen_failed", "error", taken)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "no-such-host.invalid"), "unknown host 'no-such-host.invalid'; set --host to an address"),
        (("--host", "127.0.0.1", "--admin", "192.0.2.1:0"), "192.0.2.1 is not an address of this machine; "),
    ],
)
def test_an_address_that_cannot_be_used(arguments: tuple[str, ...], message: str) -> None:
    status, output = failed_start(
        "dragoman: 1\nauth: none\nroutes: { GET /x: { respond: {} } }\n", {}, arguments
    )
    assert status == 1
    assert parsed(output)[-1]["message"].startswith(message)


def test_findings_have_their_location_and_hint(file: Path) -> None:
    file.write_text(BROKEN)
    status, output = failed_start(file)
    (line,) = parsed(output)
    assert status == 1
    assert (line["event"], line["level"], line["code"]) == ("finding", "error", "unknown-function")
    assert (line["file"], line["line"]) == (str(file), 4)
    assert line["column"] == BROKEN.splitlines()[3].index("lenght") + 1
    assert line["hint"] == "did you mean 'length'?"


@pytest.mark.parametrize(
    ("paths", "arguments", "status", "event", "message"),
    [
        ("mapings/", (), 1, "finding", "no such file: 'mapings/'"),
        ("olama-over-openai", (), 1, "finding", "unknown mapping 'olama-over-openai'"),
        ("empty", (), 1, "finding", "no mapping in the directory 'empty'"),
        ("includes", (), 1, "no_routes", "no routes to serve in these files"),
        ("hubs", (), 1, "no_routes", "'public: false' in hub"),
        ("demo", ("--prot", "1"), 2, "usage_error", "No such option"),
        ("demo", ("--port", "many"), 2, "usage_error", "'many' is not a valid integer"),
        ("demo", ("--env-file", "none.env"), 2, "usage_error", "'none.env' does not exist"),
        ("demo", ("--limits-storage", "ftp://x"), 2, "usage_error", "storage"),
    ],
)
@pytest.mark.parametrize("log_format", ["json", None])
def test_a_failed_start(
    tmp_path: Path,
    paths: str,
    arguments: tuple[str, ...],
    status: int,
    event: str,
    message: str,
    log_format: str | None,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "includes").mkdir()
    (tmp_path / "includes" / "m.yaml").write_text("dragoman: 1\nupstreams: { up: { url: 'http://h' } }\n")
    (tmp_path / "hubs").mkdir()
    hub = "dragoman: 1\npublic: false\nroutes: { GET /x: { respond: {} } }\n"
    (tmp_path / "hubs" / "hub.yaml").write_text(hub)
    chosen = () if log_format is None else ("--log-format", log_format)
    done = subprocess.run(
        [*COMMAND, "serve", paths, *arguments, *chosen],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    line = parsed(done.stdout + done.stderr)[-1]
    assert (done.returncode, line["event"]) == (status, event)
    assert message in line["message"]


def test_an_unexpected_exception_at_the_start(tmp_path: Path) -> None:
    code = (
        "from engine.server.serve import PlanSource\n"
        "def fail(*_): raise ValueError('sk-canary')\n"
        "PlanSource.load = fail\n"
        "from cli.main import main; main(['serve', 'demo'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=START, check=False
    )
    (line,) = parsed(done.stdout + done.stderr)
    assert (done.returncode, line["event"], line["exception"]) == (1, "internal_error", "ValueError")
    assert line["where"] == "start"
    assert line["traceback"][-1].endswith(" fail")
    assert "sk-canary" not in done.stderr


# --- JSON: a running server ------------------------------------------------------------------------------


#: Unhandled failures outside requests, which Python prints to standard error: of a thread, of a finalizer, a
#: warning, and of the event loop.
_FAILING = """
import asyncio, threading, warnings
import cli.serve
from engine.server.serve import Server
class Bad:
    def __del__(self): raise KeyError("sk-canary")
def fail(): raise ValueError("sk-canary")
started = Server.startup
async def startup(self, sockets=None):
    await started(self, sockets)
    thread = threading.Thread(target=fail); thread.start(); thread.join()
    Bad()
    warnings.warn("something is deprecated", UserWarning)
    asyncio.get_running_loop().call_soon(fail)
Server.startup = startup
from cli.main import main
main()
"""


def test_unhandled_exceptions_and_warnings(file: Path, upstream: Upstream) -> None:
    command = (sys.executable, "-c", _FAILING)
    with dragoman_server(file, {"UP": upstream.url}, command=command, expect_clean=False) as server:
        assert eventually(lambda: sum(line["event"] == "internal_error" for line in server.log()) == 3)
        server.get("/hello/x")
    lines = parsed(server.text())
    found = [line["exception"] for line in lines if line["event"] == "internal_error"]
    assert sorted(found) == ["KeyError", "ValueError", "ValueError"]
    assert any(line["event"] == "library" and "something is deprecated" in line["message"] for line in lines)
    assert "sk-canary" not in server.text()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_of_a_server(file: Path, upstream: Upstream, workers: int) -> None:
    upstream.on("/log/usage", json_response({"usage": {"in": 3, "out": 5}}))
    arguments = ("--workers", str(workers), "--admin", "0", "--log-level", "debug", "--grace", "3")
    with dragoman_server(file, {"UP": upstream.url}, arguments, expect_clean=False) as server:
        requests(server)
        server.raw(b"no HTTP at all\r\n\r\n")
        for text in (BROKEN, WARNED, MAPPING):
            file.write_text(text)
            before = count(server, "reload")
            server.process.send_signal(signal.SIGHUP)
            expected = 1 if text is BROKEN else 1 + (workers if workers > 1 else 0)
            assert eventually(lambda e=expected, b=before: count(server, "reload") == b + e), server.text()
        if workers > 1:
            (victim, *_) = {line["pid"] for line in server.log() if line["event"] == "worker_start"}
            os.kill(victim, signal.SIGKILL)
            assert eventually(lambda: count(server, "worker_start") == 3)
            assert eventually(lambda: server.get("/hello/x").status == 200)
        out = server.process.stdout
        server.stop()
        assert out is not None
        assert out.read() == ""
    lines = parsed(server.text())
    assert not [line for line in lines if line["event"] == "internal_error"]
    serving = next(line for line in lines if line["event"] == "serving")
    assert (serving["url"], serving["mappings"], serving["routes"]) == (server.url, ["shop"], 6)
    assert all(line["client"] == "127.0.0.1" for line in lines if line["event"] == "request")
    findings = [line for line in lines if line["event"] == "finding"]
    assert [line["code"] for line in findings] == ["unknown-function", "secret-literal"], (
        "once, by one process"
    )
    assert (findings[0]["line"], findings[0]["hint"]) == (4, "did you mean 'length'?")
    numbers = {line.get("worker") for line in lines if line["event"] == "request"}
    if workers == 1:
        assert numbers == {None}
    else:
        assert numbers <= {1, 2}
        exits = [line for line in lines if line["event"] == "worker_exit"]
        assert sorted(line["exit_status"] for line in exits) == [-9, 0, 0]
        assert {line["level"] for line in exits if line["exit_status"]} == {"error"}
        assert {line["worker"] for line in exits} == {1, 2}


def count(server: Server, event: str) -> int:
    return sum(line["event"] == event for line in server.log())


def requests(server: Server) -> None:
    """Sends one request of each kind."""
    for path in (
        "/hello/x?q=sk-canary",
        "/down",
        "/typed?q=1&q=2",
        "/refused?q=sk-canary",
        "/either",
        "/none",
    ):
        server.get(path)
    server.post("/chat", {"m": 1}, headers={"x-request-id": "chat-1"})


def test_a_request_has_its_client_and_tokens(file: Path, upstream: Upstream) -> None:
    upstream.on("/log/usage", json_response({"usage": {"in": 3, "out": 5}}))
    arguments = ("--trusted-proxies", "127.0.0.1")
    with dragoman_server(file, {"UP": upstream.url}, arguments) as server:
        requests(server)
        line = server.logged("chat-1")
        assert (line["input_tokens"], line["output_tokens"]) == (3, 5)
        assert line["client"] == "127.0.0.1"
        headers = {"x-forwarded-for": "192.0.2.9, 2001:db8::7", "x-request-id": "far-1"}
        server.get("/hello/x", headers=headers)
        assert server.logged("far-1")["client"] == "2001:db8::7", "the address, not its network"
        assert "input_tokens" not in server.logged("far-1")
        assert "sk-canary" not in server.text()


def test_a_secret_in_the_path_is_masked(file: Path, upstream: Upstream) -> None:
    secret = "se/cret+0123456789"
    for log_format in ("json", "console"):
        arguments = ("--log-format", log_format)
        with dragoman_server(file, {"UP": upstream.url, "KEY": secret}, arguments) as server:
            server.get("/hello/a-se%2Fcret%2B0123456789-b")
            assert server.get("/hello/plain").status == 200
            assert eventually(lambda server=server: "/hello/plain" in server.text())
        assert "0123456789" not in server.text()
        assert "/hello/a-***-b" in server.text()


# --- On a terminal ---------------------------------------------------------------------------------------


def ready(terminal: Terminal) -> str:
    """Returns the URL of a server on a terminal."""
    found: list[str] = []

    def look() -> bool:
        found[:] = re.findall(r"Dragoman serves .* at (http://[\w.:]+)", plain(terminal.text))
        return bool(found) or terminal.process.poll() is not None

    assert eventually(look, START)
    assert found, terminal.text
    return found[0]


def serve_on_terminal(file: Path, *arguments: str, env: dict[str, str]) -> Any:
    return on_terminal("serve", str(file), "--port", "0", *arguments, env=env)


@pytest.mark.parametrize(
    ("variables", "has_colors"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_requests_are_short_lines(
    file: Path, upstream: Upstream, variables: dict[str, str], has_colors: bool
) -> None:
    upstream.on("/log/usage", json_response({"usage": {"in": 3, "out": 5}}))
    with serve_on_terminal(file, env={"UP": upstream.url, **variables}) as terminal:
        url = ready(terminal)
        server = Server(terminal.process, url)
        requests(server)
        assert eventually(lambda: "/chat" in terminal.text)
        text = terminal.text
    assert ("\x1b[" in text) is has_colors
    if has_colors:
        assert re.search(r"/hello/x \x1b\[32m200\x1b\[0m ", text)
        assert re.search(r"/none \x1b\[33m404\x1b\[0m ", text)
        assert re.search(r"/down \x1b\[31m502\x1b\[0m .*\n {9}\x1b\[31mupstream_error: ", text)
    lines = re.sub(r"^\d\d:\d\d:\d\d (\S+ \S+ \d+) \d+(\.\d)? ms", r"\1", plain(text), flags=re.MULTILINE)
    for line in (
        "GET /hello/x 200 shop",
        "GET /typed 400 shop",
        "GET /refused 400 shop",
        "         invalid_request: bad sk-canary",
        "GET /either 200 shop (2 attempts: up: 503; other: 200)",
        "GET /none 404 shop",
        "         not_found: no route serves this path",
        "POST /chat 200 shop (tokens: 3 input + 5 output, dropped fields: m)",
    ):
        assert f"\n{line}\n" in lines, lines
    number, row = next((n, row) for n, row in enumerate(MAPPING.splitlines(), 1) if "/typed" in row)
    location = f"{file}:{number}:{row.index('starts_with') + 1}"
    cause = f"invalid_request: the request cannot be translated: {location}: starts_with() takes string"
    assert f"\n         {cause}" in lines
    assert re.search(
        r"\nGET /down 502 shop\n         upstream_error: the upstream 'up' .* \(request \w+\)\n", lines
    )


def test_a_client_cannot_forge_a_line(file: Path, upstream: Upstream) -> None:
    with serve_on_terminal(file, env={"UP": upstream.url}) as terminal:
        url = ready(terminal)
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        for target in (
            b"/refused?q=%0A%1B%5B2J13:43:37%20GET%20/forged%20200",
            b"/hello/\xc2\x9b2J",
            b"/hello/%1b[2J",
        ):
            with socket.create_connection(address, PATIENCE) as connection:
                connection.sendall(
                    b"GET %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % (target, url[7:].encode())
                )
                read_all(connection)
        assert eventually(lambda: plain(terminal.text).count("/hello/") >= 1)
        assert eventually(lambda: "/refused" in terminal.text)
        text = terminal.text
    assert "\x1b[2J" not in text
    assert "\x9b" not in text
    assert not [line for line in plain(text).splitlines() if line.startswith("13:43:37 GET /forged")]
    assert r"bad \n\u001b[2J13:43:37 GET /forged 200" in plain(text)


def test_findings_of_a_reload_are_printed_as_by_validate(file: Path, upstream: Upstream) -> None:
    with serve_on_terminal(file, env={"UP": upstream.url, "NO_COLOR": "1"}) as terminal:
        ready(terminal)
        file.write_text(BROKEN)
        terminal.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "reload failed" in terminal.text)
        file.write_text(WARNED)
        terminal.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "reloaded shop" in terminal.text)
        text = terminal.text
    file.write_text(BROKEN)
    validated = subprocess.run(
        [*COMMAND, "validate", str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    printed = validated.stdout.rpartition("1 error")[0]
    assert printed.count("\n") == 4, "location, source line, caret and hint"
    assert printed in text
    assert "reload failed: the mappings have errors; generation 1 stays in use" in text
    assert "warning[secret-literal]" in text
    assert "sk-live" not in text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_failed_start_is_one_sentence(file: Path, taken: int, workers: str) -> None:
    arguments = ("--port", str(taken), "--workers", workers)
    with on_terminal("serve", str(file), *arguments, env={"UP": "http://h", "NO_COLOR": "1"}) as terminal:
        assert terminal.process.wait(START) == 1
    (line,) = terminal.lines
    assert line == f"error: port {taken} is already in use; choose another with --port"
    with on_terminal("serve", "olama-over-openai", env={"NO_COLOR": "1"}) as terminal:
        assert terminal.process.wait(START) == 1
    assert terminal.lines == [
        "error[no-files]: unknown mapping 'olama-over-openai' (did you mean 'ollama-over-openai'?)"
    ]
    with on_terminal("serve", "demo", "--port", "many") as terminal:
        assert terminal.process.wait(START) == 2
    assert terminal.lines[0].startswith("Usage: ")


def test_a_privileged_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, as tests may run with all privileges."""
    import errno

    from engine.server import listening

    messages: list[str] = []
    monkeypatch.setattr(listening.logs, "error", lambda event, **fields: messages.append(fields["message"]))
    listening.log_listen_failure(("127.0.0.1", 80), PermissionError(errno.EACCES, "Permission denied"))
    assert messages == ["no permission to listen on port 80; choose a port from 1024 with --port"]


def test_localhost_is_served_on_all_its_addresses(file: Path, upstream: Upstream) -> None:
    with dragoman_server(file, {"UP": upstream.url}, ("--host", "localhost")) as server:
        assert server.get("/hello/x").status == 200
