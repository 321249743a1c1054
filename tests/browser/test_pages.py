"""Access of web pages in a real browser to a server on a loopback address that needs no key.

Each page sends its requests by `fetch` and writes the outcomes into itself; Chromium then prints the page.
"""

from __future__ import annotations

import html
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.times import START

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_OUTCOMES = re.compile(r'<pre id="outcomes">(.*?)</pre>', re.DOTALL)

#: Host names of a foreign site and of one that the mapping allows; both resolve to this machine.
EVIL, CHAT = "evil.example", "chat.example"

pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium is installed")

MAPPING = """
dragoman: 1
cors: { origins: ["http://chat.example:*"] }
routes:
  GET /models: { respond: { body: { models: [secret-model] } } }
  POST /chat: { respond: { body: { echo: "${ text }" } } }
"""

PAGE = """<!doctype html><pre id="outcomes"></pre><script>
const requests = %s;
Promise.all(requests.map(async ([url, options]) => {
  try {
    const response = await fetch(url, options);
    return [response.status, await response.text()];
  } catch (error) { return [null, error.name]; }
})).then(found => { document.getElementById("outcomes").textContent = JSON.stringify(found); });
</script>"""


class Site:
    """A web server whose one page makes requests of another server."""

    def __init__(self) -> None:
        self.page = ""
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = site.page.encode()
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_port

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with dragoman_server(MAPPING, {"DRAGOMAN_ALLOWED_HOSTS": ""}) as running:
        yield running


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    serving = Site()
    try:
        yield serving
    finally:
        serving.close()


def shown(url: str, profile: Path) -> str:
    """Returns the document of a page in Chromium after its requests."""
    assert _CHROMIUM is not None
    options = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={profile}", "--host-resolver-rules=MAP *.example 127.0.0.1"),
        *("--virtual-time-budget=60000", "--dump-dom"),
    )
    done = subprocess.run(
        [_CHROMIUM, *options, url], capture_output=True, text=True, timeout=START, check=True
    )
    return done.stdout


def outcomes(site: Site, host: str, requests: list[Any], profile: Path) -> list[list[Any]]:
    """Returns the outcomes of the requests of a page at `host`: status and text, or null and the error."""
    site.page = PAGE % json.dumps(requests)
    found = _OUTCOMES.search(shown(f"http://{host}:{site.port}/", profile))
    assert found is not None
    return json.loads(html.unescape(found[1]))


def requests_of(server: Server) -> list[Any]:
    text = {"method": "POST", "body": json.dumps({"text": "hello"})}
    return [
        [f"{server.url}/models", {}],
        [f"{server.url}/chat", text],
        [f"{server.url}/chat", {**text, "mode": "no-cors"}],
        [f"{server.url}/chat", {**text, "headers": {"content-type": "application/json"}}],
    ]


def kinds(server: Server, since: int) -> list[tuple[str, str | None]]:
    """Returns method and error of each logged request."""
    lines = [line for line in server.log()[since:] if line["event"] == "request"]
    return [(line["method"], line.get("error_kind")) for line in lines]


def test_a_page_of_another_site_can_read_and_do_nothing(server: Server, site: Site, tmp_path: Path) -> None:
    since = len(server.log())
    found = outcomes(site, EVIL, requests_of(server), tmp_path)
    # A no-cors request gives the page an opaque response, whatever its status.
    assert found == [[None, "TypeError"], [None, "TypeError"], [0, ""], [None, "TypeError"]]
    logged = kinds(server, since)
    assert {kind for method, kind in logged if method != "OPTIONS"} == {"forbidden"}
    assert [method for method, _ in logged].count("POST") == 2, "two need no preflight"


def test_a_name_that_resolves_to_this_machine_is_refused(server: Server, tmp_path: Path) -> None:
    """After DNS rebinding the browser treats the server as part of the page's own site."""
    page = shown(f"http://{EVIL}:{server.address[1]}/models", tmp_path)
    assert "secret-model" not in page
    assert '"type":"forbidden"' in page


def test_a_page_allowed_by_cors_can_read_responses(server: Server, site: Site, tmp_path: Path) -> None:
    found = outcomes(site, CHAT, requests_of(server), tmp_path)
    echo = '{"echo":"hello"}'
    assert found == [[200, '{"models":["secret-model"]}'], [200, echo], [0, ""], [200, echo]]


def test_a_page_of_this_machine_can_read_responses(server: Server, tmp_path: Path) -> None:
    page = shown(f"{server.url}/models", tmp_path)
    assert "secret-model" in page
