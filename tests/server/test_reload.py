"""Mappings that change while they are served: which changes are noticed, applied, and without effect."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import linecache
import os
import re
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import Findings
from engine.server.app import Application
from engine.server.reload import PlanSource
from tests.support.server import Server, dragoman_server
from tests.support.times import PATIENCE, SOON, TORTURE
from tests.support.upstream import Upstream, drip, eventually, head

#: Seconds without a change after which files count as complete.
QUIET = 0.2
RELOADS, STREAMS, EVENTS = (100, 20, 150) if TORTURE else (10, 6, 30)

MAPPING = """
dragoman: 1
name: shop
env: { UP: {}, WORD: { default: none } }
upstreams: { up: { url: "${ $env.UP }" } }
templates: { big: [%s] }
routes:
  GET /version: { respond: { body: { version: "%s", word: "${ $env.WORD }" } } }
  GET /big: { respond: { body: { $use: big } } }
  GET /call: { call: GET up /json, respond: { body: { version: "%s" } } }
  GET /stream:
    call: GET up /reload/stream
    respond:
      headers: { x-version: "%s" }
      stream_when: true
      pipeline: [{ from: sse }, { to: { sse: { done: "[DONE]" } }, rules: [{ emit: { version: "%s" } }] }]
"""
SSE = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
CHUNK = b'e\r\ndata: {"n":1}\n\r\n1\r\n\n\r\n'
BROKEN = "dragoman: 1\nroutes: { GET /version: { respond: { body: '${ nothing( }' } } }\n"


def mapping(version: str) -> str:
    return MAPPING % (", ".join(f'"${{ a{n} }}"' for n in range(20)), version, version, version, version)


def replace(file: Path, text: str) -> None:
    """Replaces a file atomically."""
    other = file.with_name(f".{file.name}.new")
    other.write_text(text)
    other.replace(file)


def version(server: Server) -> str:
    return str(server.get("/version").json["version"])


def reloads(server: Server) -> list[str]:
    return [line["outcome"] for line in server.log() if line["event"] == "reload"]


def settled(server: Server, expected: list[str]) -> None:
    """Asserts exactly these reloads, and none later."""
    assert eventually(lambda: len(reloads(server)) >= len(expected)), server.text()
    time.sleep(1.5)
    assert reloads(server) == expected, server.text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "shop.yaml"
    file.write_text(mapping("1"))
    return file


@contextlib.contextmanager
def serving(path: Path, upstream: Upstream, *args: str) -> Iterator[Server]:
    with dragoman_server(path, {"UP": upstream.url}, args) as server:
        yield server


# --- Noticed changes -------------------------------------------------------------------------------------


def _in_place(file: Path) -> None:
    file.write_text(mapping("2"))


def _renamed(file: Path) -> None:
    replace(file, mapping("2"))


def _recreated(file: Path) -> None:
    file.unlink()
    file.write_text(mapping("2"))


def _in_pieces(file: Path) -> None:
    text = mapping("2")
    with file.open("w") as stream:
        for start in range(0, len(text), 200):
            stream.write(text[start : start + 200])
            stream.flush()
            time.sleep(0.01)


@pytest.mark.parametrize("change", [_in_place, _renamed, _recreated, _in_pieces])
@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_change_is_one_reload(
    file: Path, upstream: Upstream, change: Callable[[Path], None], what: str
) -> None:
    with serving(file if what == "file" else file.parent, upstream, "--watch") as server:
        time.sleep(0.3)
        started = time.monotonic()
        change(file)
        if time.monotonic() - started < QUIET:  # else half a file may have been there for long enough
            settled(server, ["done"])
        assert eventually(lambda: version(server) == "2")


def test_a_mounted_config_map(tmp_path: Path, upstream: Upstream) -> None:
    """Kubernetes writes a new directory and swaps the link `..data` to it."""
    for number in ("1", "2", "3"):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "shop.yaml").write_text(mapping(number))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "shop.yaml").symlink_to("..data/shop.yaml")
    with serving(tmp_path, upstream, "--watch") as server:
        for number in ("2", "3"):
            (tmp_path / "..data_tmp").symlink_to(f"..{number}")
            (tmp_path / "..data_tmp").rename(tmp_path / "..data")
            assert eventually(lambda number=number: version(server) == number)
        settled(server, ["done", "done"])


def test_a_link_above_the_directory_is_swapped(tmp_path: Path, upstream: Upstream) -> None:
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "shop.yaml").write_text(mapping(number))
    current = tmp_path / "current"
    current.symlink_to("1")
    with serving(current / "shop.yaml", upstream, "--watch") as server:
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(current)
        settled(server, ["done"])
        assert version(server) == "2"


def test_a_half_written_file_is_never_served(file: Path, upstream: Upstream) -> None:
    text = mapping("2")
    with serving(file, upstream, "--watch") as server:
        time.sleep(0.3)
        with file.open("w") as stream:
            stream.write(text[: text.index("pipeline: [") + 20])
            stream.flush()
            assert eventually(lambda: reloads(server) == ["failed"])
            assert version(server) == "1"
            stream.write(text[text.index("pipeline: [") + 20 :])
        settled(server, ["failed", "done"])
        assert version(server) == "2"


def test_unchanged_content_is_not_reloaded(file: Path, upstream: Upstream) -> None:
    with serving(file, upstream, "--watch") as server:
        for _ in range(3):
            time.sleep(0.3)
            replace(file, mapping("1"))
            os.utime(file)
        settled(server, [])


def test_added_and_removed_files(file: Path, upstream: Upstream) -> None:
    other = "dragoman: 1\nname: other\nroutes: { GET /other: { respond: { body: { x: 1 } } } }\n"
    with serving(file.parent, upstream, "--watch") as server:
        (file.parent / "deep").mkdir()
        time.sleep(0.5)
        added = file.parent / "deep" / "other.yaml"
        added.write_text(other)
        assert eventually(lambda: server.get("/other").status == 200)
        added.unlink()
        assert eventually(lambda: server.get("/other").status == 404)
        settled(server, ["done", "done"])


def test_files_that_a_mapping_reads(file: Path, tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "inc").mkdir()
    words, included, variables = tmp_path / "inc/words.json", tmp_path / "inc/part.yaml", tmp_path / "v.env"
    words.write_text('["a"]')
    included.write_text("dragoman: 1\ntemplates: { t: one }\n")
    variables.write_text("WORD=first\n")
    file.write_text(
        "dragoman: 1\nenv: { WORD: {} }\ninclude: [inc/part.yaml]\nvars: { w: { $file: inc/words.json } }\n"
        "routes: { GET /x: { respond: { body: "
        '{ w: "${ $vars.w }", t: { $use: t }, e: "${ $env.WORD }" } } } }\n'
    )

    def values() -> tuple[object, ...]:
        return tuple(server.get("/x").json.values())

    with serving(file, upstream, "--watch", "--env-file", str(variables)) as server:
        assert values() == (["a"], "one", "first")
        replace(words, '["b"]')
        assert eventually(lambda: values() == (["b"], "one", "first"))
        replace(included, "dragoman: 1\ntemplates: { t: two }\n")
        assert eventually(lambda: values() == (["b"], "two", "first"))
        replace(variables, "WORD=second\n")
        assert eventually(lambda: values() == (["b"], "two", "second"))
        settled(server, ["done"] * 3)


# --- Applied changes -------------------------------------------------------------------------------------


def test_hangup_reloads(file: Path, upstream: Upstream) -> None:
    with serving(file, upstream) as server:
        file.write_text(mapping("2"))
        time.sleep(1.5)
        assert version(server) == "1", "without --watch nothing is reloaded by itself"
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: version(server) == "2")
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: reloads(server) == ["done", "done"])
        line = [line for line in server.log() if line["event"] == "reload"][-1]
        assert (line["generation"], line["mappings"]) == (3, ["shop"])


def test_errors_leave_the_old_mappings_in_use(file: Path, upstream: Upstream) -> None:
    with serving(file, upstream) as server:
        file.write_text(BROKEN)
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: reloads(server) == ["failed"])
        assert version(server) == "1"
        found = [line for line in server.log() if line["event"] == "finding"]
        assert len(found) == 1
        assert (found[0]["file"], found[0]["line"], found[0]["level"]) == (str(file), 2, "error")
        assert {"column", "code", "message"} <= found[0].keys()
        hub = "dragoman: 1\npublic: false\nroutes: { GET /x: { respond: {} } }\n"
        for text in ("dragoman: 1\ntemplates: { t: x }\n", hub, None):
            file.unlink() if text is None else file.write_text(text)
            server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: len(reloads(server)) >= 2)
        assert version(server) == "1"


def test_a_non_loopback_address_still_requires_keys(file: Path, upstream: Upstream) -> None:
    text = mapping("1")
    file.write_text(text.replace("name: shop", "name: shop\nauth: none"))
    with serving(file, upstream, "--host", "0.0.0.0") as server:
        file.write_text(text)
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: reloads(server) == ["failed"])
        assert [line["code"] for line in server.log() if line["event"] == "finding"] == ["no-key"]
        assert version(server) == "1"


# --- Concurrent requests ---------------------------------------------------------------------------------


def memory(process: int) -> float:
    """Returns the resident memory of a process in MiB."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) / 1024


def stream(server: Server, seen: list[tuple[str, str]]) -> None:
    """Reads a stream to its end; records its version and its last event."""
    response = server.get("/stream", timeout=2 * PATIENCE)
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    versions = {json.loads(line)["version"] for line in lines[:-1]}
    assert versions == {response.header("x-version")}
    assert len(lines) == EVENTS + 1
    seen.append((versions.pop(), lines[-1]))


def call_repeatedly(server: Server, stop: threading.Event, statuses: list[int]) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    while not stop.is_set():
        for path in ("/version", "/call"):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
    connection.close()


def test_reloads_under_load(file: Path, upstream: Upstream) -> None:
    """Every fifth of many reloads is invalid; no concurrent request notices any."""
    upstream.on("/reload/stream", drip_to_the_end)
    with serving(file, upstream) as server:
        stop, statuses, seen = threading.Event(), [], []
        clients = [threading.Thread(target=call_repeatedly, args=(server, stop, statuses)) for _ in range(8)]
        streams = [threading.Thread(target=stream, args=(server, seen)) for _ in range(STREAMS)]
        before = streamed(upstream)
        for thread in (*clients, *streams):
            thread.start()
        assert upstream.eventually(lambda up: streamed(up) == before + STREAMS)
        before = 0.0
        for number in range(RELOADS):
            file.write_text(BROKEN if number % 5 == 4 else mapping(f"n{number}"))
            server.process.send_signal(signal.SIGHUP)
            assert eventually(lambda number=number: len(reloads(server)) == number + 1), server.text()
            if number == RELOADS // 5:
                before = memory(server.process.pid)
        for thread in streams:
            thread.join()
        stop.set()
        for thread in clients:
            thread.join()
        assert reloads(server).count("failed") == RELOADS // 5
        assert set(statuses) == {200}
        assert seen == [("1", "[DONE]")] * STREAMS
        time.sleep(1)
        grown = memory(server.process.pid) - before
        print(f"{RELOADS} reloads, {len(statuses)} responses, {grown:.1f} MiB more")
        assert grown < 10


def streamed(upstream: Upstream) -> int:
    """Returns the number of requested streams."""
    return sum(seen.path == "/reload/stream" for seen in list(upstream.requests))


async def drip_to_the_end(channel: object, seen: object) -> None:
    await drip(head(200, SSE), CHUNK, 0.1, EVENTS)(channel, seen)  # type: ignore[arg-type]
    await channel.send(b"0\r\n\r\n")  # type: ignore[attr-defined]


async def _replaced(source: PlanSource) -> tuple[weakref.ref[object], ...]:
    loaded = source.load(Findings())
    plans = loaded.take()
    function = plans.mappings["shop"].routes[0].cases[0].body.function
    refs = (weakref.ref(plans.tree), weakref.ref(function))
    application = Application(plans, 10)
    del plans, function
    application.replace(source.load(Findings()).take())
    await asyncio.to_thread(eventually, lambda: not any(ref() for ref in refs), SOON)
    return refs


def test_old_plans_are_freed(file: Path) -> None:
    source = PlanSource((str(file),), tuple, lambda: {"UP": "http://127.0.0.1:9"}, "127.0.0.1")
    gc.disable()
    try:
        assert [ref() for ref in asyncio.run(_replaced(source))] == [None, None]
    finally:
        gc.enable()


def test_lines_of_generated_code_are_freed_with_it(file: Path) -> None:
    source = PlanSource((str(file),), tuple, lambda: {"UP": "http://127.0.0.1:9"}, "127.0.0.1")

    def lines() -> set[str]:
        return {name for name in linecache.cache if str(file) in name}

    plans = source.load(Findings())
    replace(file, mapping("2").replace("/call", "/other"))
    newer = source.load(Findings())
    both = lines()
    del plans
    gc.collect()
    assert lines() < both
    assert lines()
    del newer
    gc.collect()
    assert not lines()


# --- .env ------------------------------------------------------------------------------------------------

WORDS = """
dragoman: 1
name: words
env: { WORD: { default: none }, MUST: { default: there } }
routes: { GET /word: { respond: { body: { word: "${ $env.WORD }", must: "${ $env.MUST }" } } } }
"""


@pytest.fixture
def apart(tmp_path: Path) -> tuple[Path, Path]:
    """Returns a mapping and a separate working directory."""
    (tmp_path / "mappings").mkdir()
    (tmp_path / "here").mkdir()
    file = tmp_path / "mappings" / "words.yaml"
    file.write_text(WORDS)
    return file, tmp_path / "here"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_dotenv_is_added_changed_and_removed(apart: tuple[Path, Path], workers: str) -> None:
    file, folder = apart
    dotenv = folder / ".env"

    def values() -> set[str]:
        return {server.get("/word").json["word"] for _ in range(10)}

    with dragoman_server(file, {}, ("--watch", "--workers", workers), folder=folder) as server:
        assert values() == {"none"}
        time.sleep(4)  # the first polls, which look at every file, are over
        for text in ("first", "second"):
            dotenv.write_text(f"WORD={text}\n")
            assert eventually(lambda text=text: values() == {text}), server.text()
        replace(dotenv, "# nothing\nWORD=third\n")
        assert eventually(lambda: values() == {"third"}), server.text()
        dotenv.unlink()
        assert eventually(lambda: values() == {"none"}), server.text()
        assert "failed" not in reloads(server)


def test_a_missing_dotenv_causes_no_reload(apart: tuple[Path, Path]) -> None:
    file, folder = apart
    with dragoman_server(file, {}, ("--watch",), folder=folder) as server:
        time.sleep(0.5)
        (folder / "other").write_text("x")
        settled(server, [])


def test_an_invalid_dotenv_leaves_the_old_mappings_in_use(apart: tuple[Path, Path]) -> None:
    file, folder = apart
    file.write_text(WORDS.replace("MUST: { default: there }", "MUST: { required: true }"))
    dotenv = folder / ".env"
    dotenv.write_text("WORD=first\nMUST=1\n")
    with dragoman_server(file, {}, ("--watch",), folder=folder) as server:
        assert server.get("/word").json == {"word": "first", "must": "1"}
        dotenv.unlink()
        assert eventually(lambda: reloads(server) == ["failed"]), server.text()
        assert [line["code"] for line in server.log() if line["event"] == "finding"] == ["missing-env"]
        dotenv.write_bytes(b"WORD=\xff\xfe\n")
        assert eventually(lambda: reloads(server) == ["failed"] * 2), server.text()
        assert server.get("/word").json == {"word": "first", "must": "1"}
        dotenv.write_text("WORD=last\nMUST=2\n")
        assert eventually(lambda: server.get("/word").json == {"word": "last", "must": "2"})


def test_hangup_reads_a_new_dotenv(apart: tuple[Path, Path]) -> None:
    file, folder = apart
    with dragoman_server(file, {}, folder=folder) as server:
        (folder / ".env").write_text("WORD=first\n")
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: server.get("/word").json["word"] == "first")
