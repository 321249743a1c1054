"""The application without a server: in a test client, mounted, with middleware, and by messages of ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from engine.asgi import Application, MappingError, TruncatedResponse, create_app
from engine.http.messages import Inbound
from engine.observability import logs
from engine.observability.log_lines import LineLogger
from engine.server.asgi_cycle import AsgiCycle
from tests.server.test_asgi import MAPPING, PAGE
from tests.support.upstream import Channel, Events, Seen, Upstream, eventually, head


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """One for each test, which looks at its connections."""
    with Upstream() as running:
        yield running


@pytest.fixture
def app(upstream: Upstream, tmp_path: Path) -> Application:
    """An application without a server."""
    file = tmp_path / "shop.yaml"
    file.write_text(MAPPING)
    return create_app(file, environ={"UP": upstream.url})


def test_the_test_client(app: Application, upstream: Upstream) -> None:
    events = Events()
    upstream.on("/up/events", events)
    events.send()
    events.end()
    with TestClient(app) as client:
        assert client.post("/chat", json={"prompt": "hello"}).json() == {"text": "hello"}
        assert client.get("/events").text == '{"item":0}\n'
        assert client.get("/failing").status_code == 502
        assert client.get("/nowhere").status_code == 404
        assert client.put("/chat").status_code == 405
        assert client.head("/local").content == b""
        assert client.post("/small", content=b"x" * 101).status_code == 413
        assert client.get("/local", headers={"origin": PAGE}).headers["vary"] == "Origin"
        assert client.get("/items/a%2Fb").json() == {"target": "/up/items/a%2Fb"}
    assert upstream.eventually(lambda up: not up.open)


def test_the_test_client_without_a_lifespan(app: Application, upstream: Upstream) -> None:
    client = TestClient(app)
    for _ in range(3):
        # Each request has an event loop of its own.
        assert client.post("/chat", json={"prompt": "hello"}).json() == {"text": "hello"}
        assert upstream.eventually(lambda up: not up.open)


def test_a_lifespan_after_another(app: Application) -> None:
    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/chat", json={"prompt": "hello"}).status_code == 200


def test_a_truncated_response_raises(app: Application) -> None:
    with TestClient(app) as client:
        with pytest.raises(TruncatedResponse):
            client.get("/download/half-json-short")
        assert client.get("/local").text == "ok"


def test_a_websocket_is_closed_before_it_is_accepted(app: Application) -> None:
    with TestClient(app) as client, pytest.raises(WebSocketDisconnect), client.websocket_connect("/local"):
        pass


def test_mounted_at_several_paths(app: Application, upstream: Upstream) -> None:
    outer = Starlette(
        routes=[
            Mount("/one", app),
            Mount("/two words", Starlette(routes=[Mount("/{tenant}", app)])),
            Route("/own", lambda request: PlainTextResponse("own")),
        ]
    )
    client = TestClient(outer)
    assert client.get("/one/items/a%2Fb").json() == {"target": "/up/items/a%2Fb"}
    assert client.get("/two%20words/x/items/a").json() == {"target": "/up/items/a"}
    assert client.get("/own").text == "own"
    assert client.get("/one/").status_code == 404


def test_middleware_and_routes_of_its_own(app: Application, upstream: Upstream) -> None:
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_route("/extra", lambda request: PlainTextResponse("extra"))
    with TestClient(app) as client:
        response = client.get("/local")
        assert (response.text, response.headers["content-encoding"]) == ("ok", "gzip")
        assert client.get("/extra").text == "extra"
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/local"):
            pass


def test_aclose_closes_the_upstreams_until_the_next_request(app: Application, upstream: Upstream) -> None:
    async def work() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            for _ in range(2):
                assert (await client.post("/chat", json={"prompt": "a"})).status_code == 200
                assert len(upstream.open) == 1
                await app.aclose()
                assert await asyncio.to_thread(eventually, lambda: not upstream.open)
                await app.aclose()

    asyncio.run(work())


def test_a_task_that_the_server_cancels(app: Application, upstream: Upstream) -> None:
    async def work() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            task = asyncio.ensure_future(client.get("/hang"))
            await asyncio.to_thread(eventually, lambda: upstream.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert app.running == 0
            assert await asyncio.to_thread(eventually, lambda: not upstream.open)

    asyncio.run(work())


# --- Messages of ASGI ------------------------------------------------------------------------------------


def scope(path: str, method: str = "GET", headers: list[tuple[bytes, bytes]] | None = None) -> dict[str, Any]:
    """The scope of a server that gives what ASGI requires, and nothing else."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"x"), *(headers or [])],
    }


async def exchanged(
    app: Application, scope: dict[str, Any], *messages: dict[str, Any]
) -> list[dict[str, Any]]:
    """What an application sends where it receives these messages, and none after them."""
    left, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        return left.pop(0) if left else await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


def test_a_server_that_gives_no_more_than_it_must(app: Application) -> None:
    sent = asyncio.run(exchanged(app, scope("/local"), {"type": "http.request"}))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 200
    assert all(name == name.lower() for name, _ in sent[0]["headers"])
    assert sent[1]["body"] == b"ok"
    assert not sent[1]["more_body"]


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"abc")],
        [body(b"abc", more=True), body(b"")],
        [body(b"abcdef")],
        [body(b"abc", more=True), body(b"def")],
    ],
)
def test_a_body_of_another_length_than_announced_is_refused(
    app: Application, upstream: Upstream, messages: list[dict[str, Any]]
) -> None:
    for path in ("/small", "/upload"):
        announced = scope(path, "POST", [(b"content-length", b"4"), (b"x-request-id", b"lying")])
        sent = asyncio.run(exchanged(app, announced, *messages))
        assert sent[0]["status"] == 400
    assert not upstream.seen("lying")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"content-length", b"x")],
        [(b"content-length", b"-1")],
        [(b"Content-Length", b"1"), (b"content-length", b"2")],
        [(b"content-length", b"9" * 5000)],
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_fields_that_a_server_should_have_refused(
    app: Application, fields: list[tuple[bytes, bytes]]
) -> None:
    sent = asyncio.run(exchanged(app, scope("/upload", "POST", fields), body(b"a")))
    assert sent[0]["status"] == 400


@pytest.mark.parametrize("is_pipe", [False, True])
def test_a_disconnect_that_send_reports(app: Application, upstream: Upstream, is_pipe: bool) -> None:
    """ASGI's HTTP specification 2.4: `send` may raise OSError."""
    events, left, count = Events(), [body(b"")], 0
    events.send()
    upstream.on("/up/events", events)

    async def receive() -> dict[str, Any]:
        return left.pop() if left else await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        events.send()
        if count == 3:
            raise BrokenPipeError if is_pipe else ConnectionResetError

    asyncio.run(app(scope("/events"), receive, send))  # type: ignore[arg-type]
    assert count == 3
    assert upstream.eventually(lambda up: not up.open)


def test_a_slow_client_holds_up_the_stream(app: Application, upstream: Upstream) -> None:
    """Nothing more is read from the upstream while `send` waits."""
    data = b"x" * 65_536

    async def endless(channel: Channel, seen: Seen) -> None:
        await channel.send(head(200, [("transfer-encoding", "chunked")]))
        while not channel.gone.is_set():
            await channel.send(b"10000\r\n" + data + b"\r\n")
            written[0] += len(data)

    written = [0]
    upstream.on("/up/endless-here", endless)

    async def work() -> None:
        is_stuck, left = asyncio.Event(), [body(b"")]

        async def receive() -> dict[str, Any]:
            return left.pop() if left else await asyncio.get_running_loop().create_future()

        async def send(message: dict[str, Any]) -> None:
            if message.get("body"):
                is_stuck.set()
                await asyncio.get_running_loop().create_future()

        task = asyncio.ensure_future(app(scope("/download/endless-here"), receive, send))  # type: ignore[arg-type]
        await is_stuck.wait()
        before = -1
        while before != written[0]:
            before = written[0]
            await asyncio.sleep(0.3)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert written[0] < 64 * 1024 * 1024

    asyncio.run(work())


@pytest.mark.parametrize(
    ("path", "raw", "root", "expected"),
    [
        ("/items/a", None, "", "/up/items/a"),
        ("/items/a b", None, "", "/up/items/a%20b"),
        ("/items/é", None, "", "/up/items/%C3%A9"),
        ("/items/a/b", b"/items/a%2Fb", "", "/up/items/a%2Fb"),
        ("/in/items/a/b", b"/in/items/a%2Fb", "/in", "/up/items/a%2Fb"),
        ("/in/items/a/b", b"/%69n/items/a%2Fb", "/in/", "/up/items/a%2Fb"),
        ("/i n/items/a", b"/i%20n/items/a", "/i n", "/up/items/a"),
        ("/items/a", b"/items/a", "/in", "/up/items/a"),
        ("/items/a/b", b"/in/items/a%2Fb", "/in", "/up/items/a%2Fb"),
        ("/items/changed", b"/items/a", "", "/up/items/changed"),
        ("http://x/items/a", b"http://x/items/a", "", "/up/items/a"),
        ("/in/items/a", b"/in%2Fitems/a", "/in", None),
        ("/inside/items/a", b"/inside/items/a", "/in", None),
        ("*", b"*", "", None),
        ("", b"", "", None),
    ],
)
def test_paths(app: Application, path: str, raw: bytes | None, root: str, expected: str | None) -> None:
    given = scope(path) | {"raw_path": raw, "root_path": root}
    sent = asyncio.run(exchanged(app, given, body(b"")))
    assert sent[0]["status"] == (404 if expected is None else 200)
    if expected is not None:
        assert json.loads(sent[1]["body"]) == {"target": expected}


def test_requests_leave_no_reference_cycles(app: Application) -> None:
    """Also those that fail, whose response is truncated, or whose client disconnects."""
    announced = [(b"content-length", b"4")]
    requests: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        (scope("/local"), [body(b"")]),
        (scope("/nowhere"), [body(b"")]),
        (scope("/small", "POST", announced), [body(b"abc")]),
        (scope("/upload", "POST", announced), [body(b"ab", more=True), {"type": "http.disconnect"}]),
        (scope("/download/half-json-short"), [body(b"")]),
        (scope("/hang"), [body(b""), {"type": "http.disconnect"}]),
        (scope("/events", headers=[(b"content-length", b"x")]), [body(b"")]),
    ]

    async def work() -> list[object]:
        for given, messages in requests:
            with contextlib.suppress(TruncatedResponse):
                await exchanged(app, given, *messages)
            await asyncio.sleep(0)
        return requests_alive()

    gc.collect()
    gc.disable()
    before = {id(found): found for found in requests_alive()}
    try:
        assert not [found for found in asyncio.run(work()) if id(found) not in before]
    finally:
        gc.enable()


def requests_alive() -> list[object]:
    """Requests that are in memory, those of other tests in this process included."""
    return [found for found in gc.get_objects() if isinstance(found, AsgiCycle | Inbound)]


def test_a_cancellation_and_a_disconnect_at_once(app: Application, upstream: Upstream) -> None:
    """The server's cancellation is not swallowed with that of the disconnect."""

    async def work() -> None:
        is_gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if left:
                return left.pop()
            await is_gone.wait()
            return {"type": "http.disconnect"}

        left = [body(b"")]
        task = asyncio.ensure_future(app(scope("/hang"), receive, send_nothing))  # type: ignore[arg-type]
        await asyncio.to_thread(eventually, lambda: upstream.requests)
        is_gone.set()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert app.running == 0

    async def send_nothing(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    asyncio.run(work())


def test_other_scopes_are_refused(app: Application) -> None:
    with pytest.raises(AssertionError):
        asyncio.run(exchanged(app, {"type": "email"}))


# --- create_app ------------------------------------------------------------------------------------------


def test_a_mapping_with_errors(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "dragoman: 1\nroutes:\n  GET /x: { call: GET nowhere /, respond: {} }\n  GET y: { respond: {} }\n"
    )
    with pytest.raises(MappingError, match=r"wrong\.yaml:3") as raised:
        create_app([str(file)])
    assert {finding.span.line for finding in raised.value.findings} == {3, 4}
    with pytest.raises(MappingError, match=r"\Ano such file: '.*nowhere.yaml'\Z"):
        create_app("nowhere.yaml")


def test_warnings_are_logged_or_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A test of `serve` in this process leaves its own level and stream.
    monkeypatch.setattr(logs._state, "logger", LineLogger(logging.INFO))
    file = tmp_path / "keyless.yaml"
    file.write_text(
        "dragoman: 1\nenv: { KEYS: {} }\nauth: { bearer: '${ $env.KEYS }' }\n"
        "routes: { GET /x: { respond: { body: x } } }\n"
    )
    create_app([file], environ={})
    assert json.loads(capsys.readouterr().err.splitlines()[0])["event"] == "finding"
    with pytest.raises(MappingError, match="keyless"):
        create_app([file], environ={}, strict=True)
    create_app([file], environ={"KEYS": "k"}, strict=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_hosts": "http://x"},
        {"allowed_hosts": ["a b"]},
        {"trusted_proxies": ["10.0.0.0/99"]},
        {"limits_storage": "file:///x"},
    ],
)
def test_an_argument_that_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of ours or of ipaddress
        create_app("demo", **wrong)


def test_files_without_a_route(tmp_path: Path) -> None:
    (tmp_path / "parts.yaml").write_text("dragoman: 1\ntemplates: { a: { b: 1 } }\n")
    with pytest.raises(ValueError, match="no route"):
        create_app(tmp_path)
    (tmp_path / "hub.yaml").write_text("dragoman: 1\npublic: false\nroutes: { GET /x: { respond: {} } }\n")
    with pytest.raises(ValueError, match="'public: false' in hub"):
        create_app(tmp_path)


def test_requests_above_the_limit_are_refused(upstream: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(MAPPING)
    app = create_app(file, environ={"UP": upstream.url}, max_in_flight=1)

    async def work() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            first = asyncio.ensure_future(client.get("/hang"))
            await asyncio.to_thread(eventually, lambda: upstream.requests)
            assert (await client.get("/local")).status_code == 503
            first.cancel()

    asyncio.run(work())


def test_shipped_mappings_and_proxies() -> None:
    app = create_app(["demo"], environ={}, trusted_proxies="10.0.0.0/8, ::1", allowed_hosts="*")
    with TestClient(app) as client:
        assert client.get("/nowhere").status_code == 404
