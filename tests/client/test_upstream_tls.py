"""TLS to upstreams: which certificates are trusted and presented, and what is reported."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from engine import Findings, compile_set, load
from engine.client.http1 import Http1Upstream
from engine.errors import ExchangeError
from engine.plan import UpstreamPlan
from tests.support.calls import both_loops, call, run
from tests.support.server import dragoman_server
from tests.support.serving import serving
from tests.support.times import PATIENCE
from tests.support.upstream import head

RESPONSE = head(200, [("content-type", "application/json"), ("content-length", "2")]) + b"{}"


class TlsServer:
    """A server that returns the same response to every request, or a body until it closes.

    Attributes:
        names: the names that SNI requested.
        clients: the certificate that each connection presented, or None.
    """

    def __init__(self, until_close: bool) -> None:
        self.names: list[str | None] = []
        self.clients: list[object] = []
        self.port = 0
        self._until_close = until_close

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer.get_extra_info("peercert"))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                if self._until_close:
                    writer.write(head(200) + b"x" * 500_002)
                    await writer.drain()
                    break
                writer.write(RESPONSE)
        writer.close()


@contextlib.contextmanager
def tls_server(context: ssl.SSLContext, until_close: bool = False) -> Iterator[TlsServer]:
    server = TlsServer(until_close)
    context.sni_callback = lambda _, name, __: server.names.append(name)
    with serving(server.serve, context) as server.port:
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(*certificates: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for certificate in certificates:
        certificate.configure_cert(context)
    return context


def compiled(directory: Path, url: str, tls: str = "{}") -> tuple[UpstreamPlan, list[str]]:
    """Returns the plan of an upstream and the codes of its findings."""
    file = directory / "mapping.yaml"
    file.write_text(
        f"dragoman: 1\nupstreams:\n  up: {{ url: '{url}', timeout: {{ connect: 5s }}, tls: {tls} }}\n"
        "routes: { GET /: { call: GET up /, respond: {} } }\n",
        "utf-8",
    )
    findings = Findings()
    plans = compile_set(load([file], findings), {}, findings)
    found = [f"{d.span.line}:{d.span.column} {d.severity} {d.code}" for d in findings]
    return plans.mappings["mapping"].upstreams["up"], found


def outcome(plan: UpstreamPlan, loop: str = "uvloop", times: int = 1) -> str:
    """Returns "fine", or the kind and cause of the error."""

    async def work() -> str:
        upstream = Http1Upstream(plan)
        try:
            for _ in range(times):
                await upstream.send(call())
        except ExchangeError as error:
            return f"{error.kind}: {error.cause}"
        finally:
            await upstream.aclose()
            await asyncio.sleep(0.01)
        return "fine"

    return run(work, loop)


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return "ca.pem"


@both_loops
def test_the_configured_authority_is_trusted(
    authority: trustme.CA, ca_file: str, tmp_path: Path, loop: str
) -> None:
    with tls_server(server_context(authority.issue_cert("localhost"))) as server:
        plan, found = compiled(tmp_path, server.url, f"{{ ca_file: {ca_file} }}")
        assert found == []
        assert outcome(plan, loop, times=20) == "fine"
        assert server.names == ["localhost"], "one connection, and SNI"
        without, _ = compiled(tmp_path, server.url)
        assert "certificate: unable to get local issuer certificate" in outcome(without, loop)


#: Server → cause in the log. A server that rejects a handshake may send a TLS alert, or just close.
WHY = {
    "other name": ["Hostname mismatch"],
    "other authority": ["certificate: self-signed certificate", "certificate: unable to get"],
    "expired": ["certificate has expired"],
    "old": ["TLS: ", "ConnectionResetError"],
    "no certificate": ["TLS: ", "ConnectionResetError"],
}


@both_loops
@pytest.mark.parametrize("kind", WHY)
def test_untrusted_servers(authority: trustme.CA, ca_file: str, tmp_path: Path, loop: str, kind: str) -> None:
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    context = {
        "other name": lambda: server_context(authority.issue_cert("other.example")),
        "other authority": lambda: server_context(trustme.CA().issue_cert("localhost")),
        "expired": lambda: server_context(authority.issue_cert("localhost", not_after=yesterday)),
        "old": lambda: old(server_context(authority.issue_cert("localhost"))),
        "no certificate": lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    }[kind]()
    with tls_server(context) as server:
        plan, _ = compiled(tmp_path, server.url, f"{{ ca_file: {ca_file} }}")
        cause = outcome(plan, loop)
        assert cause.startswith("upstream_error: ")
        assert any(word in cause for word in WHY[kind]), cause
        assert server.clients == []


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """A server that speaks TLS 1.1 at most."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@both_loops
def test_a_certificate_is_presented(authority: trustme.CA, ca_file: str, tmp_path: Path, loop: str) -> None:
    context = server_context(authority.issue_cert("localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = authority.issue_cert("client@example.org")
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    with tls_server(context) as server:
        for files in ("certificate: both.pem", "certificate: client.pem, key: key.pem"):
            plan, found = compiled(tmp_path, server.url, f"{{ ca_file: {ca_file}, {files} }}")
            assert found == []
            assert outcome(plan, loop) == "fine"
        assert len([client for client in server.clients if client]) == 2
        plan, _ = compiled(tmp_path, server.url, f"{{ ca_file: {ca_file} }}")
        assert outcome(plan, loop) != "fine"


@both_loops
def test_disabled_verification_is_a_warning(tmp_path: Path, loop: str) -> None:
    with tls_server(server_context(trustme.CA().issue_cert("other.example"))) as server:
        plan, found = compiled(tmp_path, server.url, "{ verify: false }")
        assert [line.partition(" ")[2] for line in found] == ["warning tls-unverified"]
        assert outcome(plan, loop) == "fine"
        mapping = (tmp_path / "mapping.yaml").read_text("utf-8")
    with dragoman_server(mapping) as served:
        (line,) = [line for line in served.log() if line["event"] == "tls_unverified"]
        assert (line["level"], line["upstream"]) == ("warning", "up")


@both_loops
def test_a_body_until_the_connection_closes(
    authority: trustme.CA, ca_file: str, tmp_path: Path, loop: str
) -> None:
    with tls_server(server_context(authority.issue_cert("localhost")), until_close=True) as server:
        plan, _ = compiled(tmp_path, server.url, f"{{ ca_file: {ca_file} }}")

        async def work() -> None:
            upstream = Http1Upstream(plan)
            for _ in range(3):
                assert len((await upstream.send(call())).content.data) == 500_002
            await upstream.aclose()

        run(work, loop)


@both_loops
def test_a_handshake_that_never_ends(tmp_path: Path, loop: str) -> None:
    async def work() -> None:
        silent = asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.read(1) in (b"\x16", b"")
            while await reader.read(65_536):
                pass
            silent.set()
            writer.close()

        server = await asyncio.start_server(wait, "127.0.0.1", 0)
        async with server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            plan, _ = compiled(tmp_path, url)
            upstream = Http1Upstream(plan)
            with pytest.raises(ExchangeError) as caught:
                await upstream.send(call(timeout=0.3))
            assert caught.value.kind == "upstream_timeout"
            await asyncio.wait_for(silent.wait(), PATIENCE)
            await upstream.aclose()

    run(work, loop)


def test_unusable_files_are_findings(authority: trustme.CA, tmp_path: Path) -> None:
    leaf, other = authority.issue_cert("a.example"), authority.issue_cert("b.example")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "other.pem"))
    (tmp_path / "text.pem").write_text("no certificate")
    for tls, code in (
        ("{ ca_file: nowhere.pem }", "error file-unreadable"),
        ("{ ca_file: text.pem }", "error bad-value"),
        ("{ certificate: cert.pem }", "error bad-value"),
        ("{ certificate: cert.pem, key: other.pem }", "error bad-value"),
        ("{ certificate: cert.pem, key: nowhere.pem }", "error file-unreadable"),
        ("{ key: other.pem }", "error missing-key"),
        ("{ ca_file: '', certificate: '' }", None),
    ):
        _, found = compiled(tmp_path, "https://localhost", tls)
        assert [line.partition(" ")[2] for line in found] == ([code] if code else []), tls
