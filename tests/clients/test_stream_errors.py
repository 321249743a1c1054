"""The JavaScript clients of Ollama and OpenAI show the message of an error inside a stream, in every run.

They use undici, which drops the queued events of an aborted body, so this holds only if failed streams end
regularly. `make test-clients` installs the packages; without them these tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.times import PATIENCE
from tests.support.upstream import Behaviour, Upstream, head, raw

FOLDER = Path(__file__).parent
RUNS = 20

if shutil.which("node") is None:
    pytest.skip("node is not installed", allow_module_level=True)
if not (FOLDER / "node_modules" / "openai").is_dir():
    pytest.skip("the npm packages are not installed: make test-clients", allow_module_level=True)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    environ = {"OLLAMA_HOST": upstream.url, "OPENAI_BASE_URL": f"{upstream.url}/v1"}
    with dragoman_server(("ollama-over-openai", "openai-over-ollama"), environ) as running:
        yield running


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def sse(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def streaming(media_type: str, *pieces: bytes, then: str) -> Behaviour:
    started = head(200, [("content-type", media_type), ("transfer-encoding", "chunked")])
    return raw(started + chunked(*pieces) + (b"0\r\n\r\n" if then == "keep" else b""), then)


#: Client → path, name and media type of the upstream, and two of its events.
CLIENTS: dict[str, tuple[str, str, str, list[bytes]]] = {
    "ollama": (
        "/v1/chat/completions",
        "openai",
        "text/event-stream",
        [sse({"choices": [{"index": 0, "delta": {"content": text}}]}) for text in ("one ", "two")],
    ),
    "openai": (
        "/api/chat",
        "ollama",
        "application/x-ndjson",
        [
            line({"model": "m", "message": {"role": "assistant", "content": text}, "done": False})
            for text in ("one ", "two")
        ],
    ),
}
MESSAGE = "model requires more system memory"
ERRORS = {"ollama": sse({"error": {"message": MESSAGE}}), "openai": line({"error": MESSAGE})}
GARBAGE = {"ollama": b"data: <html>\n\n", "openai": b"<html>\n"}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "failure", ["an error event", "a closed connection", "a reset connection", "garbage"]
)
def test_the_message_of_an_error_in_a_stream(
    server: Server, upstream: Upstream, client: str, failure: str
) -> None:
    path, name, media_type, events = CLIENTS[client]
    behaviour, message = {
        "an error event": (streaming(media_type, *events, ERRORS[client], then="keep"), MESSAGE),
        "a closed connection": (
            streaming(media_type, *events, then="close"),
            f"the upstream '{name}' disconnected or sent an invalid HTTP response",
        ),
        "a reset connection": (
            streaming(media_type, *events, then="reset"),
            f"the upstream '{name}' disconnected or sent an invalid HTTP response",
        ),
        "garbage": (
            streaming(media_type, *events, GARBAGE[client], then="hang"),
            f"the upstream '{name}' sent an event that is not JSON (event 3)",
        ),
    }[failure]
    upstream.on(path, behaviour)
    command = ["node", str(FOLDER / "javascript" / "stream_errors.mjs"), client, server.url, str(RUNS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    shown = [json.loads(text) for text in done.stdout.splitlines()]
    expected = {"text": "one two", "message": message}
    assert shown == [expected] * RUNS
