"""HTTP/2 and proxies: upstreams for which a mapping configures them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from engine.client.adapters import open_upstream
from engine.client.http1 import Http1Upstream
from engine.client.http2 import Http2Upstream
from engine.errors import ExchangeError
from engine.http.messages import UpstreamResponse
from engine.plan import UpstreamPlan
from tests.client.test_upstream_tls import server_context
from tests.support.calls import call, plan, run
from tests.support.server import dragoman_server
from tests.support.serving import serving
from tests.support.upstream import Upstream, complete_response, raw


async def speak_h2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Returns each request in two pieces."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    received: dict[int, str] = {}
    with contextlib.suppress(OSError):
        while True:
            writer.write(connection.data_to_send())
            data = await reader.read(65_536)
            if not data:
                break
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    fields = dict(event.headers or ())
                    received[event.stream_id] = (
                        f"{fields[':method']} {fields[':path']} {fields[':authority']} "
                    )
                elif isinstance(event, DataReceived):
                    received[event.stream_id] += (event.data or b"").decode()
                    connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                elif isinstance(event, StreamEnded):
                    connection.send_headers(
                        event.stream_id, [(":status", "200"), ("content-type", "text/plain")]
                    )
                    connection.send_data(event.stream_id, received[event.stream_id].encode())
                    connection.send_data(event.stream_id, b"!", end_stream=True)
        writer.close()


class Pieces:
    """A body that is available piece by piece."""

    def __init__(self, length: int | None) -> None:
        self.length = length
        self._pieces = [b"ab", b"cd"]

    async def next(self) -> bytes | None:
        return self._pieces.pop(0) if self._pieces else None


@pytest.mark.parametrize("secured", [True, False])
def test_http2(secured: bool) -> None:
    authority = trustme.CA()
    tls = server_context(authority.issue_cert("localhost")) if secured else None
    if tls is not None:
        tls.set_alpn_protocols(["h2"])
    trust = ssl.create_default_context() if secured else None
    if trust is not None:
        authority.configure_trust(trust)

    async def work(origin: str) -> None:
        upstream = open_upstream(plan(origin, http2=True, tls=trust))
        assert isinstance(upstream, Http2Upstream)
        host = origin.partition("//")[2]
        responses = await asyncio.gather(*(upstream.send(call(f"/a%2Fb?{n}")) for n in range(20)))
        for number, response in enumerate(responses):
            assert response.content.data.decode() == f"GET /a%2Fb?{number} {host} !"
        assert (await upstream.send(call("/", "POST", b"abcd"))).content.data.endswith(b" abcd!")
        for length in (4, None):
            response = await upstream.send(call("/", "POST", Pieces(length)))
            assert response.content.data.endswith(b" abcd!")
        stream = await upstream.send(call("/"), streams=True)
        assert b"".join([piece async for piece in _pieces(stream)]).endswith(b"!")
        await stream.source.aclose()
        with pytest.raises(ExchangeError) as caught:
            await upstream.send(call("/", max_bytes=4))
        assert caught.value.message == "the upstream 'up' sent a response that is too large: over 4 bytes"
        await upstream.aclose()

    with serving(speak_h2, tls) as port:
        run(lambda: work(f"{'https' if secured else 'http'}://localhost:{port}"))


@contextlib.asynccontextmanager
async def closing(described: UpstreamPlan) -> AsyncIterator[Any]:
    """Yields the adapter of an upstream and closes it at the end."""
    upstream = open_upstream(described)
    try:
        yield upstream
    finally:
        await upstream.aclose()


async def _pieces(response: UpstreamResponse) -> Any:
    while (piece := await response.source.next()) is not None:
        yield piece


def test_an_upstream_that_does_not_speak_http2() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def work(port: int) -> None:
        async with closing(plan(f"http://localhost:{port}", http2=True)) as up:
            with pytest.raises(ExchangeError) as caught:
                await up.send(call("/json"))
            assert caught.value.kind == "upstream_error"

    with serving(refuse) as port:
        run(lambda: work(port))


# --- Proxies ---------------------------------------------------------------------------------------------


@dataclass
class Proxy:
    """A forwarding proxy; `seen` has the received request lines and credentials."""

    password: str | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        wanted = base64.b64encode(f"user:{self.password}".encode()).decode().lower()
        self.seen.append((lines[0], fields.get("proxy-authorization", "")))
        if self.password is not None and fields.get("proxy-authorization") != f"basic {wanted}":
            writer.write(b"HTTP/1.1 407 secret-reason\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            return
        method, target, _ = lines[0].split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            rest = target.removeprefix("http://")
            address, _, path = rest.partition("/")
            host, _, port = address.rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
            forwarded = [line for line in lines[1:] if not line.lower().startswith("proxy-")]
            back.write("\r\n".join([f"{method} /{path} HTTP/1.1", *forwarded]).encode("latin-1"))
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            back.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


def test_calls_through_a_proxy_with_and_without_tls() -> None:
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    tls = server_context(authority.issue_cert("localhost"))
    tls.set_alpn_protocols(["h2"])
    proxy = Proxy("pa/ss")

    async def work(upstream: Upstream, secured: int, port: int) -> None:
        url = f"http://user:pa%2Fss@localhost:{port}"
        plain = open_upstream(plan(upstream.url, proxy=url))
        assert isinstance(plain, Http2Upstream)
        assert (await plain.send(call("/echo?x=%2F"))).content.value["target"] == "/echo?x=%2F"
        tunnelled = open_upstream(plan(f"https://localhost:{secured}", proxy=url, tls=trust, http2=True))
        assert (await tunnelled.send(call("/b"))).content.data == f"GET /b localhost:{secured} !".encode()
        for each in (plain, tunnelled):
            await each.aclose()

    with Upstream() as upstream, serving(speak_h2, tls) as secured, serving(proxy.serve) as port:
        run(lambda: work(upstream, secured, port))
        assert [line for line, _ in proxy.seen] == [
            f"GET {upstream.url}/echo?x=%2F HTTP/1.1",
            f"CONNECT localhost:{secured} HTTP/1.1",
        ]
        assert upstream.requests[0].header("proxy-authorization") is None


@pytest.mark.parametrize(
    ("coding", "what"),
    [
        ("br", "sent a body with an unsupported content coding"),
        ("gzip", "sent a body that does not match its content coding"),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
def test_an_undecodable_body(coding: str, what: str, streams: bool) -> None:
    proxy = Proxy()

    async def read(up: Any) -> None:
        response = await up.send(call("/coded"), streams=streams)
        assert [piece async for piece in _pieces(response)] == []

    async def work(upstream: Upstream, port: int) -> None:
        async with closing(plan(upstream.url, proxy=f"http://localhost:{port}")) as up:
            with pytest.raises(ExchangeError, match=f"the upstream 'up' {what}"):
                await read(up)
            assert (await up.send(call("/coded", raw=True))).content.data == b"plain"

    with Upstream() as upstream, serving(proxy.serve) as port:
        upstream.on("/coded", complete_response(200, b"plain", headers=[("content-encoding", coding)]))
        run(lambda: work(upstream, port))


def test_no_bytes_of_another_call_through_a_proxy() -> None:
    forged = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON"

    async def work(upstream: Upstream, port: int) -> None:
        up = open_upstream(plan(upstream.url, proxy=f"http://localhost:{port}"))
        for number in range(20):
            await up.send(call("/bad"))
            assert (await up.send(call(f"/echo?{number}"))).content.value["target"] == f"/echo?{number}"
        await up.aclose()

    with Upstream() as upstream, serving(Proxy().serve) as port:
        upstream.on("/bad", raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" + forged))
        run(lambda: work(upstream, port))


def test_a_refusal_by_a_proxy_shows_no_secret() -> None:
    mapping = """
dragoman: 1
env: { UP: {}, PROXY: { secret: true } }
upstreams: { up: { url: "https://localhost:1", proxy: "${ $env.PROXY }" } }
routes:
  GET /x: { call: GET up /x, respond: {} }
"""
    proxy = Proxy("right")
    with serving(proxy.serve) as port:
        env = {"PROXY": f"http://user:wr0ng-canary@localhost:{port}"}
        with dragoman_server(mapping, env, ("--log-level", "debug")) as server:
            response = server.get("/x")
            assert response.status == 502
            assert server.logged(response.header("x-request-id") or "")["cause"] == "ProxyError"
            for text in (response.text, server.text()):
                assert "canary" not in text
                assert "secret-reason" not in text
    assert proxy.seen[0][1]


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(upstream: Upstream) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        up = open_upstream(plan(upstream.url))
        assert isinstance(up, Http1Upstream)
        assert (await up.send(call("/json"))).status == 200
        await up.aclose()

    with Upstream() as upstream:
        run(lambda: work(upstream))
