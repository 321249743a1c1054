"""No secret is shown: six kinds of secrets, in all output of the process.

A mapping may pass on what an upstream returns. Keys that an upstream returns are therefore searched for in
logs, metrics and errors, but not in the bodies that a mapping passes on.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import trustme

from tests.support.receiver import Receiver
from tests.support.server import Response, Server, dragoman_server, read_all
from tests.support.serving import serving
from tests.support.times import PATIENCE
from tests.support.upstream import Upstream, eventually, head, json_response, raw, refusing

ROOT = Path(__file__).parents[2]

#: A secret of each kind. The tests search for their common part too.
SECRETS = {
    "inbound": "canary/inbound+key=1",
    "upstream": "canary-upstream-key-2",
    "url": "canary-url-word-3",
    "query": "canary query&key=3",
    "path": "canary-path-word-3",
    "proxy": "canary-proxy-word-3",
    "header": "canary-header-key-4",
    "file": "canary-file-key-5",
    "client file": "canary-clients-file-5",
    "dotenv": "canary-dotenv-key-6",
}

MAPPING = (ROOT / "tests/suites/secrets/server.yaml").read_text()
#: Error formats: the default, one that returns every variable, and one that fails itself.
ERROR_FORMATS = {
    "plain": "",
    "whole": 'errors: { status: 502, headers: { x-kind: "${ kind }" }, body: "${ @ }" }',
    "failing": 'errors: { body: { x: "${ abs(message) }" } }',
}
HTTP2 = {"plain": "false", "whole": "true", "failing": "false"}
CLIENTS = """
dragoman: 1
name: clients
prefix: /clients
auth: { bearer: { $file: clients.json } }
routes: { GET /local: { respond: { body: ok } } }
"""
ENV = {
    "INBOUND": SECRETS["inbound"],
    "UPSTREAM": SECRETS["upstream"],
    "URL_WORD": SECRETS["url"],
    "QUERY": SECRETS["query"],
    "PATH_WORD": SECRETS["path"],
    "PROXY_WORD": SECRETS["proxy"],
    "HEADER": SECRETS["header"],
}
WAYS = ("bearer", "file", "dotenv", "header", "query", "url", "path")
#: Upstreams that cannot be reached.
DEAD = ("gone", "tls", "proxied")
#: Faults of upstreams: paths of the loopback upstream.
FAULTS = (
    "unauthorized",
    "forbidden",
    "busy",
    "server-error",
    "half-json",
    "reset",
    "garbage",
    "echo-401",
    "text",
)


def forms(secret: str) -> set[str]:
    """Returns a secret as plain text, as encoded in URLs and as in basic authentication."""
    coded = {base64.b64encode(f"{user}{secret}".encode()).decode() for user in ("", "user:")}
    return {secret, quote(secret, safe=""), quote_plus(secret), *coded}


@dataclass
class Surfaces:
    """All output text, with its source."""

    texts: list[tuple[str, str]] = field(default_factory=list)

    def see(self, where: str, text: str, least: int = 1) -> None:
        assert len(text) >= least, f"{where} was not exercised"
        self.texts.append((where, text))

    def see_response(self, where: str, response: Response) -> Response:
        heads = "\n".join(f"{name}: {value}" for name, value in response.headers)
        self.see(where, f"{response.status}\n{heads}\n\n{response.body.decode('utf-8', 'replace')}")
        return response

    def leaks(self) -> list[str]:
        """Returns which kinds of secrets are shown, and where."""
        sought = [(kind, form) for kind, secret in SECRETS.items() for form in forms(secret)]
        sought.append(("any", "canary"))
        return sorted(
            {f"{kind} in {where}" for where, text in self.texts for kind, form in sought if form in text}
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for error_format, errors in ERROR_FORMATS.items():
        text = MAPPING.replace("ERROR_FORMAT", error_format).replace("# ERRORS", errors)
        (tmp_path / f"{error_format}.yaml").write_text(
            text.replace("http2: false", f"http2: {HTTP2[error_format]}")
        )
    (tmp_path / "clients.yaml").write_text(CLIENTS)
    (tmp_path / "clients.json").write_text(json.dumps([{"name": "app", "key": SECRETS["client file"]}]))
    (tmp_path / "upstream.key").write_text(SECRETS["file"] + "\n")
    (tmp_path / ".env").write_text(f"DOTENV={SECRETS['dotenv']}\n")
    return tmp_path


@pytest.fixture
def env(upstream: Upstream, upstream_tls: str) -> Iterator[dict[str, str]]:
    with refusing() as gone:
        yield {**ENV, "UP": upstream.url, "GONE": gone, "TLS": upstream_tls}


@pytest.fixture(scope="module")
def upstream_tls() -> Iterator[str]:
    """A server with an untrusted certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    async def serve(reader: Any, writer: Any) -> None:
        writer.close()

    with serving(serve, context) as port:
        yield f"https://localhost:{port}"


def dragoman(folder: Path, env: Mapping[str, str], *arguments: str, given: str = "") -> str:
    """Returns the output of a command."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRAGOMAN_")}
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **env},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


KEY = {"authorization": f"Bearer {SECRETS['inbound']}"}


def exercise(server: Server, surfaces: Surfaces, error_format: str) -> set[int]:
    """Exercises successes and failures with one error format; returns the statuses."""

    def note(where: str, response: Response) -> int:
        return surfaces.see_response(f"{error_format} {where}", response).status

    path = f"/{error_format}"
    found = {note(f"{way} {what}", server.post(f"{path}/{way}/{what}", {"n": 1}, headers=KEY))
             for way in WAYS for what in FAULTS}  # fmt: skip
    for way in WAYS:
        assert note(f"{way} json", server.post(f"{path}/{way}/json", {"n": 1}, headers=KEY)) == 200
        found.add(note(f"stream {way}", server.post(f"{path}/stream/{way}/server-error", {}, headers=KEY)))
        found.add(note(f"through {way}", server.get(f"{path}/through/{way}/status/404", headers=KEY)))
    for way in DEAD:
        status = note(way, server.post(f"{path}/{way}/json", {}, headers=KEY))
        assert status in (502, 503, 500), way
        found.add(note(f"through {way}", server.get(f"{path}/through/{way}/json", headers=KEY)))
    truncated = server.post(f"{path}/stream/bearer/stream-truncated", {}, headers=KEY)
    found |= {
        note("a truncated stream", truncated),
        note("a slow upstream", server.post(f"{path}/bearer/hang", {}, headers=KEY)),
        note(
            "no upstream",
            server.post(f"{path}/{SECRETS['upstream'].replace('canary', 'other')}/x", {}, headers=KEY),
        ),
        note("no key", server.get(f"{path}/local")),
        note("half a key", server.get(f"{path}/local", headers={"authorization": KEY["authorization"][:-1]})),
        note("a key in the query", server.get(f"{path}/local?key={quote(SECRETS['inbound'])}")),
        note("a key twice", server.get(f"{path}/local", headers={**KEY, "x-client-key": SECRETS["inbound"]})),
        note("another header", server.get(f"{path}/local", headers={"x-client-key": SECRETS["inbound"]})),
        note("no route", server.get(f"{path}/none/at/all/here", headers=KEY)),
        note("no method", server.request("DELETE", f"{path}/local", headers=KEY)),
        note("no JSON", server.post(f"{path}/bearer/json", SECRETS["inbound"].encode(), headers=KEY)),
        note("too large", server.post(f"{path}/small", {"a": "b" * 50}, headers=KEY)),
        note("no schema", server.post(f"{path}/small", {}, headers=KEY)),
        note("not carried over", server.post(f"{path}/strict", {"a": 1, "b": 2}, headers=KEY)),
        note("a coding", server.post(f"{path}/small", b"x", headers={**KEY, "content-encoding": "gzip"})),
        note("a wrong value", server.get(f"{path}/broken", headers=KEY)),
        note("fail", server.get(f"{path}/failing", headers=KEY)),
        note("warn", server.get(f"{path}/warned", headers=KEY)),
        note("the first", server.get(f"{path}/limited", headers=KEY)),
        note("one too many", server.get(f"{path}/limited", headers=KEY)),
        note("health", server.get(f"{path}/health")),
        note("another mapping", server.get("/clients/local", headers=KEY)),
    }
    return found


def raw_nonsense(server: Server, surfaces: Surfaces) -> None:
    """Sends requests that are not HTTP, and disconnects a client."""
    secret = SECRETS["inbound"]
    for number, data in enumerate(
        (
            f"GET /plain/local HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\nbad header\r\n\r\n",
            f"GET /plain/local HTTP/9.9\r\nauthorization: Bearer {secret}\r\n\r\n",
            f"POST /plain/small HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\n"
            "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            f"GET /plain/local HTTP/1.1\r\nhost: x\r\nauthorization: {secret}{'x' * 100_000}\r\n\r\n",
        )
    ):
        surfaces.see(f"nonsense {number}", server.raw(data.encode()).decode("utf-8", "replace"))
    with server.connect() as connection:
        body = b'{"n": 1}'
        head = f"POST /plain/bearer/hang HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(0.3)


def drained(server: Server, admin: Server, surfaces: Surfaces) -> None:
    """Records the responses to waiting and to new clients while the server shuts down."""
    with server.connect() as waiting, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.post, "/whole/bearer/hang", {}, headers=KEY)
        waiting.sendall(b"GET /plain/lo")
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: admin.get("/readyz").status == 503)
        surfaces.see_response("readyz while draining", admin.get("/readyz"))
        surfaces.see_response("a response while draining", slow.result())
        read_all(waiting)
    assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_server_shows_no_secret(
    folder: Path, env: dict[str, str], upstream: Upstream, log_format: str
) -> None:
    surfaces, receiver = Surfaces(), Receiver()
    event = b'data: {"n":1}\n\n'
    chunk = b"%x\r\n%s\r\n" % (len(event), event)
    stream = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
    upstream.on("/stream-truncated", raw(head(200, stream) + chunk, "reset"))
    upstream.on("/echo-401", _returns_key)
    upstream.on(f"/{SECRETS['path']}/echo-401", _returns_key)
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    admin = ("127.0.0.1", free_port())
    arguments = ("--log-level", "debug", "--log-format", log_format, "--admin", f"{admin[0]}:{admin[1]}")
    seen = len(upstream.requests)
    with dragoman_server(folder, {**env, **traced}, (*arguments, "--grace", "3"), folder=folder) as server:
        statuses = {error_format: exercise(server, surfaces, error_format) for error_format in ERROR_FORMATS}
        raw_nonsense(server, surfaces)
        key = {"authorization": f"Bearer {SECRETS['client file']}"}
        assert surfaces.see_response("clients", server.get("/clients/local", headers=key)).status == 200
        watched = Server(server.process, f"http://{admin[0]}:{admin[1]}")
        for path in ("/metrics", "/livez", "/readyz", "/none"):
            surfaces.see_response(f"admin {path}", watched.get(path))
        assert "dragoman_" in watched.get("/metrics").text
        break_all(folder)
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "the mappings have errors" in server.text())
        drained(server, watched, surfaces)
        assert eventually(lambda: len(receiver.spans) > 50)
    receiver.close()
    surfaces.see(f"the log as {log_format}", server.text(), 20_000)
    surfaces.see("traces", str(receiver.spans), 10_000)
    # Everything was exercised, and every secret was in use.
    assert "internal_error" not in server.text()
    assert {200, 400, 401, 404, 405, 413, 415, 422, 429, 502, 504} <= statuses["plain"], statuses["plain"]
    assert {200, 401, 404, 502} <= statuses["whole"]
    assert {200, 401, 404} <= statuses["failing"]
    output = str([(r.target, r.headers, r.body) for r in upstream.requests[seen:]])
    for kind in ("upstream", "header", "file", "dotenv", "path"):
        assert SECRETS[kind] in output, kind
    assert base64.b64encode(f"user:{SECRETS['url']}".encode()).decode() in output
    assert quote_plus(SECRETS["query"]) in output
    assert surfaces.leaks() == []


async def _returns_key(channel: Any, seen: Any) -> None:
    """An upstream that rejects our key and returns it."""
    await json_response({"error": {"message": f"{seen.headers} {seen.target}"}}, 401)(channel, seen)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- Findings, tests, explanations -----------------------------------------------------------------------

#: Lines of a mapping, and replacements that cause an error where a secret is used.
MISTAKES = {
    'bearer: { url: "${ $env.UP }"': 'bearer: { url: "${ $env.UP }?${ $env.QUERY }"',
    'file: { url: "${ $env.UP }"': 'file: { url: "mapping:${ $env.UPSTREAM }"',
    'header: { url: "${ $env.UP }"': 'header: { url: "ftp://user:${ $env.URL_WORD }@host"',
    'path: { url: "${ $env.UP }': (
        'path: { timeout: { read: "${ $env.HEADER }" }, proxy: "${ to_array($env.HEADER) }", url: "http://x:'
    ),
    "breaker: 50": 'tls: { ca_file: "${ $env.HEADER }", certificate: "${ $env.HEADER }" }',
    'value: "${ $env.QUERY }"': "value: \"${ fail('internal', $env.QUERY) }\"",
    "prefix: /": "prefix: /${ $env.INBOUND }/",
    "{ body: ok } }\n  GET /limited": '{ body: "${ $env.UPSTREAM }" } }\n  GET /limited',
    "rate_limit: { limit: 1/1h": 'rate_limit: { limit: "${ $env.HEADER }"',
    'a: "${ a }"': "a: \"${ warn(a, concat('x', $env.UPSTREAM)) }\"",
    'upstream: "${ $request.params.way }", path: "/${ $request.params.what }" } }': (
        'upstream: "${ $env.UPSTREAM }", path: "/" } }'
    ),
    "/${ $request.params.what }": "/${ fail('invalid_request', $env.UPSTREAM) }",
}


def break_all(folder: Path) -> None:
    """Breaks the mappings of all error formats."""
    for error_format in ERROR_FORMATS:
        file = folder / f"{error_format}.yaml"
        text = file.read_text()
        for right, wrong in MISTAKES.items():
            text = text.replace(right, wrong)
        file.write_text(text)


def test_findings_show_no_secret(folder: Path, env: dict[str, str]) -> None:
    surfaces = Surfaces()
    for state in ("sound", "broken"):
        for output_format in ("text", "json", "github"):
            output = dragoman(folder, env, "validate", ".", "--format", output_format)
            surfaces.see(f"validate {state} {output_format}", output, 0 if state == "sound" else 2000)
        break_all(folder)
    codes = {finding["code"] for finding in json.loads(dict(surfaces.texts)["validate broken json"])}
    assert {"bad-url", "unknown-mapping", "secret-exposed", "bad-value", "unknown-upstream"} <= codes
    started = dragoman(folder, env, "serve", ".", "--port", "0")
    surfaces.see("serve of broken mappings", started, 500)
    surfaces.see("routes", dragoman(folder, env, "routes", "."), 100)
    assert surfaces.leaks() == []


SUITE = (ROOT / "tests/suites/secrets/failing.txt").read_text()


def test_failing_tests_show_no_secret(folder: Path, env: dict[str, str]) -> None:
    """Tests do not see secrets of the environment, only those of files."""
    surfaces = Surfaces()
    for way in WAYS:
        (folder / "plain.test.yaml").write_text(SUITE.replace("WAY", way))
        for output_format in ("text", "json", "github"):
            output = dragoman(folder, env, "test", "plain.yaml", "--format", output_format)
            assert "expected" in output, output
            surfaces.see(f"test {way} {output_format}", output)
    assert surfaces.leaks() == []


def test_explanations_show_no_secret(folder: Path, env: dict[str, str]) -> None:
    surfaces = Surfaces()
    for output_format in ("text", "json"):
        for arguments in (
            (),
            ("--python",),
            ("--route", "POST /plain/strict"),
            ("--route", "POST /plain/{way}/{what}", "--python"),
            *(
                ("--request", f"POST /plain/{way}/json", "--body", "-")
                for way in (*WAYS, "gone", "tls", "proxied")
            ),
            *(("--request", f"POST /plain/{way}/x", "--response", "401") for way in WAYS),
            *(("--request", f"GET /plain/through/{way}/x", "--response", "-") for way in WAYS),
            ("--request", "GET /plain/health", "--response", "connect"),
            ("--request", "GET /plain/none"),
        ):
            output = dragoman(
                folder, env, "explain", "plain.yaml", *arguments, "--format", output_format, given="{}"
            )
            surfaces.see(f"explain {' '.join(arguments)} {output_format}", output, 20)
    assert "authorization: Bearer ***" in str(surfaces.texts)
    assert "x-api-key: ***" in str(surfaces.texts)
    assert "key=***" in str(surfaces.texts)
    assert surfaces.leaks() == []
