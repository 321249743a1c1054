"""Web pages of other sites cannot use a server without keys on a loopback address."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import pytest

from tests.support.server import Response, Server, dragoman_server, failed_start
from tests.support.times import PATIENCE
from tests.support.upstream import Upstream

EVIL = "http://evil.example"
MAPPINGS = {
    "open.yaml": """
      dragoman: 1
      name: open
      env: { UP: {} }
      upstreams: { up: { url: "${ $env.UP }" } }
      errors: { body: { problem: "${ message }", kind: "${ kind }" } }
      routes:
        POST /chat: { call: POST up /guarded-chat, respond: { body: "${ @ }" } }
        GET /chat: { respond: { body: "chat" } }
    """,
    "pages.yaml": """
      dragoman: 1
      name: pages
      prefix: /pages
      auth: none
      cors: { origins: ["https://chat.example.com", "app://*"] }
      routes: { GET /x: { respond: { body: "x" } }, POST /x: { respond: { body: "x" } } }
    """,
    "shared.yaml": """
      dragoman: 1
      name: shared
      cors: { origins: "https://chat.example.com" }
      routes: { PUT /chat: { respond: { body: "put" } } }
    """,
    "any.yaml": """
      dragoman: 1
      name: any
      prefix: /any
      cors: { origins: "*" }
      routes: { POST /x: { respond: { body: "x" } } }
    """,
    "keyed.yaml": """
      dragoman: 1
      name: keyed
      prefix: /keyed
      auth: { bearer: key }
      routes: { GET /x: { respond: { body: "x" } }, GET /open: { auth: none, respond: { body: "x" } } }
    """,
}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    env = {"UP": upstream.url, "DRAGOMAN_ALLOWED_HOSTS": ""}
    with dragoman_server(MAPPINGS, env, ("--admin", "0")) as running:
        yield running


def send_request(
    url: str, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
) -> Response:
    """Sends a request with exactly these header fields."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 0, timeout=PATIENCE)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in {**headers, **({"content-length": str(len(body))} if body else {})}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    fields = [(name.lower(), value) for name, value in response.getheaders()]
    response = Response(response.status, fields, response.read(), 0)
    connection.close()
    return response


def calls(upstream: Upstream) -> int:
    return sum(seen.path == "/guarded-chat" for seen in list(upstream.requests))


def admin_of(server: Server) -> str:
    return str(next(line["url"] for line in server.log() if line["event"] == "admin_listening"))


OWN_HOSTS = [
    "localhost",
    "localhost:8080",
    "LOCALHOST:8080",
    "localhost.",
    "localhost.:8080",
    "localhost:",
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.0.0.1.",
    "127.9.8.7:1",
    "[::1]",
    "[::1]:8080",
    "[::ffff:127.0.0.1]:8080",
    "0.0.0.0:8080",
    "app.localhost",
    "App.Localhost:8080",
    "nas.local",
    "dragoman.corp.internal:8080",
]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:8080",
    "evil",
    "localhost.evil.example",
    "127.0.0.1.evil.example:8080",
    "evillocalhost",
    "localhost-evil.example",
    "local",
    "internal",
    "10.0.0.7",
    "192.168.1.5:8080",
    "[fe80::1]:8080",
    "[2001:db8::1]",
    "2130706433",
    "2130706433:8080",
    "127.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.01",
]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_hosts_of_this_machine_are_allowed(server: Server, host: str) -> None:
    assert send_request(server.url, "GET", "/chat", {"Host": host}).text == "chat"
    assert send_request(admin_of(server), "GET", "/livez", {"Host": host}).status == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused(server: Server, upstream: Upstream, host: str) -> None:
    for method, target in (("GET", "/chat"), ("POST", "/chat"), ("GET", "/nowhere"), ("PATCH", "/chat")):
        before = calls(upstream)
        response = send_request(
            server.url, method, target, {"Host": host, "Content-Type": "text/plain"}, b"{}"
        )
        assert response.status == 403, (method, target)
        assert response.json == {
            "problem": "the Host header does not name this server; "
            "add names with 'allowed_hosts' or --allowed-hosts",
            "kind": "forbidden",
        }
        assert calls(upstream) == before
    for path in ("/livez", "/metrics", "/nowhere"):
        response = send_request(admin_of(server), "GET", path, {"Host": host})
        assert (response.status, response.json["error"]["status"]) == (403, 403)


def test_a_refusal_is_logged_without_the_host(server: Server) -> None:
    send_request(server.url, "GET", "/chat", {"Host": "rebound.example", "x-request-id": "rebound-1"})
    line = server.logged("rebound-1")
    assert (line["status_code"], line["error_kind"]) == (403, "forbidden")
    assert "rebound.example" not in server.text()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "https://localhost.evil.example"},
        {"Origin": "app://x"},
        {"Origin": "file://"},
        {"Origin": "http://localhost@evil.example"},
        {"Origin": "http://printer.local"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": f"{EVIL}, http://localhost"},
        {"Origin": "x"},
        {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_site_is_refused(
    server: Server, upstream: Upstream, headers: dict[str, str]
) -> None:
    before = calls(upstream)
    fields = {"Host": "localhost:8080", "Content-Type": "text/plain", **headers}
    response = send_request(server.url, "POST", "/chat", fields, b'{"delete": "all"}')
    assert (response.status, response.json["kind"]) == (403, "forbidden")
    assert send_request(server.url, "GET", "/chat", fields).status == 403
    assert response.header("access-control-allow-origin") is None
    assert calls(upstream) == before
    assert send_request(admin_of(server), "GET", "/metrics", {"Host": "localhost", **headers}).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ""},
        {"Origin": "http://localhost:8080"},
        {"Origin": "https://LOCALHOST"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://[::1]:3000"},
        {"Origin": "http://app.localhost"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
def test_this_machine_and_its_pages_are_allowed(server: Server, headers: dict[str, str]) -> None:
    assert send_request(server.url, "GET", "/chat", {"Host": "localhost:8080", **headers}).text == "chat"
    assert (
        send_request(admin_of(server), "GET", "/livez", {"Host": "localhost:8080", **headers}).status == 200
    )


def test_a_page_of_the_same_host_is_allowed(server: Server) -> None:
    fields = {"Host": "nas.local:8080", "Origin": "https://NAS.local."}
    assert send_request(server.url, "GET", "/chat", fields).text == "chat"
    assert (
        send_request(server.url, "GET", "/chat", {**fields, "Origin": "http://tv.local:8080"}).status == 403
    )


def test_an_http_1_0_request_without_a_host_is_allowed(server: Server) -> None:
    assert server.raw(b"GET /chat HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert server.raw(b"GET /chat HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n").startswith(
        b"HTTP/1.1 403 "
    )


def test_two_origins_must_both_be_allowed(server: Server) -> None:
    head = b"GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    origins = (b"http://localhost", b"http://evil.example")
    for first, second in (origins, origins[::-1]):
        data = head + b"Origin: %b\r\nOrigin: %b\r\n\r\n" % (first, second)
        assert server.raw(data).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("target", "origin", "status"),
    [
        ("/pages/x", "https://chat.example.com", 200),
        ("/pages/x", "app://obsidian.md", 200),
        ("/pages/x", EVIL, 403),
        ("/pages/x", "null", 403),
        ("/any/x", EVIL, 200),
        ("/any/x", "null", 200),
        ("/keyed/open", EVIL, 403),
    ],
)
def test_origins_allowed_by_cors_may_call(server: Server, target: str, origin: str, status: int) -> None:
    method = "GET" if target.startswith("/keyed") else "POST"
    response = send_request(server.url, method, target, {"Host": "localhost", "Origin": origin})
    assert response.status == status
    assert (response.header("access-control-allow-origin") is not None) == (status == 200)


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://chat.example.com", "localhost", 200),
        (EVIL, "localhost", 403),
        ("https://chat.example.com", "evil.example", 403),
    ],
)
def test_a_preflight_is_checked_too(server: Server, origin: str, host: str, status: int) -> None:
    fields = {"Host": host, "Origin": origin, "Access-Control-Request-Method": "POST"}
    response = send_request(server.url, "OPTIONS", "/pages/x", fields)
    assert response.status == status
    assert (response.header("access-control-allow-origin") is not None) == (status == 200)


def test_a_preflight_uses_the_mapping_of_its_method(server: Server) -> None:
    for method, status in (("PUT", 200), ("POST", 403)):
        fields = {"Host": "localhost", "Origin": "https://chat.example.com"}
        preflight = {**fields, "Access-Control-Request-Method": method}
        assert send_request(server.url, "OPTIONS", "/chat", preflight).status == status
        assert send_request(server.url, method, "/chat", fields).status == status


def test_a_key_makes_host_and_origin_checks_unnecessary(server: Server) -> None:
    """A page cannot know the key, so a server with keys may have any host name."""
    foreign = {"Host": "api.example.com", "Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
    assert send_request(server.url, "GET", "/keyed/x", {**foreign, "Authorization": "Bearer key"}).text == "x"
    assert send_request(server.url, "GET", "/keyed/x", foreign).status == 401
    assert send_request(server.url, "GET", "/keyed/nowhere", foreign).status == 404
    assert send_request(server.url, "GET", "/keyed/open", foreign).status == 403


@pytest.mark.parametrize(
    ("setting", "served", "refused"),
    [
        (
            "api.example.com",
            ["api.example.com:8080", "API.EXAMPLE.COM.", "localhost"],
            ["x.api.example.com", "evil"],
        ),
        (
            " *.example.com , 10.0.0.7,[fd00::1]",
            ["a.example.com", "a.b.example.com", "10.0.0.7:1", "[FD00:0::1]"],
            ["example.com", "evilexample.com", "10.0.0.8"],
        ),
        ("*", ["evil.example", "10.0.0.7"], []),
    ],
)
@pytest.mark.parametrize("is_variable", [False, True])
def test_allowed_hosts(setting: str, served: list[str], refused: list[str], is_variable: bool) -> None:
    env = {"DRAGOMAN_ALLOWED_HOSTS": setting} if is_variable else {}
    args = ("--admin", "0", *(() if is_variable else ("--allowed-hosts", setting)))
    with dragoman_server({"pages.yaml": MAPPINGS["pages.yaml"]}, env, args) as server:
        for host in served:
            assert send_request(server.url, "GET", "/pages/x", {"Host": host}).text == "x"
            assert (
                send_request(server.url, "GET", "/pages/x", {"Host": host, "Origin": f"https://{host}"}).text
                == "x"
            )
            assert send_request(admin_of(server), "GET", "/livez", {"Host": host}).status == 200
        for host in refused:
            assert send_request(server.url, "GET", "/pages/x", {"Host": host}).status == 403
            assert send_request(admin_of(server), "GET", "/livez", {"Host": host}).status == 403
        assert (
            send_request(
                server.url, "GET", "/pages/x", {"Host": "localhost", "Origin": "http://e.test"}
            ).status
            == 403
        )


def test_an_origin_of_an_allowed_host_belongs_to_this_server() -> None:
    """A proxy on this machine may send its own Host."""
    args = ("--allowed-hosts", "chat.example.com")
    with dragoman_server({"pages.yaml": MAPPINGS["pages.yaml"]}, args=args) as server:
        fields = {"Host": "127.0.0.1:8080", "Origin": "https://chat.example.com"}
        assert send_request(server.url, "GET", "/pages/x", fields).text == "x"


@pytest.mark.parametrize(
    "name",
    ["example.com:8080", "https://example.com", "a*.example.com", "*.*.com", "exa mple", "*.", "a..b"],
)
def test_an_invalid_host_name_is_a_usage_error(name: str) -> None:
    status, output = failed_start(MAPPINGS["keyed.yaml"], args=("--allowed-hosts", f"ok.example,{name}"))
    assert status == 2
    assert f"invalid host name '{name}'" in output
    assert "Traceback" not in output


def test_a_non_loopback_address_may_have_any_host_name() -> None:
    text = MAPPINGS["pages.yaml"].replace("cors:", "description: x\n      cors:")
    args = ("--host", "0.0.0.0", "--admin", "0.0.0.0:0")
    with dragoman_server({"pages.yaml": text}, args=args) as server:
        assert send_request(server.url, "GET", "/pages/x", {"Host": "gateway.example.com"}).text == "x"
        assert send_request(admin_of(server), "GET", "/livez", {"Host": "10.1.2.3:9090"}).status == 200


def test_workers_are_guarded_too() -> None:
    args = ("--workers", "2", "--admin", "0")
    with dragoman_server({"pages.yaml": MAPPINGS["pages.yaml"]}, args=args) as server:
        assert send_request(server.url, "GET", "/pages/x", {"Host": "localhost"}).text == "x"
        assert send_request(server.url, "GET", "/pages/x", {"Host": "evil.example"}).status == 403
        assert send_request(admin_of(server), "GET", "/livez", {"Host": "evil.example"}).status == 403
