"""The benchmark of the request path runs, and reports its results and errors.

No result is judged here: only the benchmark itself checks speed.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import document, plot, report
from benchmarks.load import Expected, paced
from benchmarks.requests import Request, check_models
from benchmarks.results import GOALS, Results
from tests.support.serving import serving
from tests.support.times import PATIENCE

ROOT = Path(__file__).parent.parent
MEASURED = (
    "models-cpu",
    "chat-cpu",
    "chunk-cpu",
    "models",
    "chat",
    "chunks",
    "first",
    "latency",
    "idle",
    "start",
    "loaded",
)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it needs Linux")


def test_a_quick_run_measures_everything(tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    file = tmp_path / "results.json"
    chosen = [word for name in MEASURED for word in ("--measure", name)]
    arguments = ["--quick", "--rounds", "1", "--seconds", "0.1", "--only", "dragoman", "--only", "starlette"]
    done = python("benchmarks", *arguments, *chosen, "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    results = Results(**json.loads(file.read_text()))
    assert results.contenders == ["dragoman", "starlette"]
    assert set(results.values) == set(MEASURED)
    for measure, by_contender in results.values.items():
        assert all(value > 0 for rounds in by_contender.values() for value in rounds), measure
    assert "list of 10 models" in done.stdout


def sample() -> Results:
    results = Results(about={"extent": {"rounds": 2, "seconds": 1.0}, "versions": {"python": "3.11"}})
    for measure, contender, rounds in (
        ("models", "dragoman", (900.0, 800.0)),
        ("models", "nginx", (1000.0, 1600.0)),
        ("idle", "dragoman", (70.0,)),
    ):
        for value in rounds:
            results.add(measure, contender, value)
    return results


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )


def test_the_cost_of_a_hop_is_measured() -> None:
    done = python("benchmarks.hops", "--rounds", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(",")[0] for line in done.stdout.splitlines()[1:]] == [
        "complete request",
        "chunk of a stream",
    ]


def test_another_checkout_is_compared_by_cpu_time(tmp_path: Path) -> None:
    other = tmp_path / "other"
    for folder in ("engine", "cli", "mappings", "schema"):
        shutil.copytree(ROOT / folder, other / folder)
    file = tmp_path / "results.json"
    done = python(
        *("benchmarks", "--against", str(other), "--rounds", "2", "--seconds", "0.1", "--json", str(file))
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = Results(**json.loads(file.read_text()))
    assert set(found.values) == {"models-cpu", "chat-cpu", "chunk-cpu"}
    for by_contender in found.values.values():
        assert {name: len(rounds) for name, rounds in by_contender.items()} == {"dragoman": 2, "against": 2}
    assert "chat: CPU relative to the other checkout" in done.stdout
    assert "nginx" not in done.stdout


def test_a_folder_that_is_not_a_checkout_is_refused(tmp_path: Path) -> None:
    done = python("benchmarks", "--against", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"{tmp_path} is not a checkout of this project")


def test_the_longest_callback_is_found() -> None:
    done = python("benchmarks.callbacks", "--workload", "typical chat")
    assert done.returncode == 0, done.stdout + done.stderr
    row = done.stdout.splitlines()[-1].split("|")
    assert row[1].strip() == "typical chat"
    assert float(row[2]) > 0
    assert row[4].strip() == "200"


def test_twice_the_input_is_measured() -> None:
    done = python("benchmarks.doubling", "--route", "ollama-over-openai: POST /api/embeddings")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [row.split("|") for row in done.stdout.splitlines() if "POST /api/embeddings" in row]
    assert [int(row[2]) > 0 and float(row[3]) > 0 for row in rows] == [True]


def test_ratios_are_averaged_over_rounds() -> None:
    assert sample().ratio("models", "dragoman", "nginx") == pytest.approx((0.9 + 0.5) / 2)
    assert sample().ratio("models", "dragoman", "litellm") is None


def test_goals_are_reported_as_met_or_not() -> None:
    lines = report.text(sample()).splitlines()
    goals = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines if "at " in line}
    assert goals["models: requests/s relative to nginx with njs"] == "no"
    assert goals["memory when idle, MB"] == "no"
    assert goals["chat: requests/s relative to LiteLLM"] == "not measured"
    assert len(goals) == len(GOALS)


def test_an_unexpected_response_is_detected() -> None:
    expected = Expected(1000, 3)
    assert expected.matches(200, 1050, 3)
    assert not expected.matches(502, 1000, 3)
    assert not expected.matches(200, 1000, 2)
    assert not expected.matches(200, 800, 3)
    with pytest.raises(AssertionError):
        check_models(b'{"object": "list", "data": []}')


def test_a_slice_lasts_until_a_chunk_arrives() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
        await asyncio.sleep(1)
        writer.write(b'20\r\n{"content": "%017d"}\r\n' % time.monotonic_ns())
        await reader.read()

    with serving(late) as port:
        assert paced(port, Request("GET", "/"), seconds=0.01) > 0


def test_failures_are_reported() -> None:
    results = sample()
    results.broken.append("nginx: status 502")
    assert "- failed: nginx: status 502" in report.text(results)


def test_the_page_is_updated_with_later_results() -> None:
    page = document.PAGE.read_text()
    once = document.updated_page(page, sample())
    assert "900" not in page.partition(document.BEGIN)[0]
    assert "850 " in once
    assert document.updated_page(once, sample()) == once
    assert once.startswith(page.partition(document.BEGIN)[0])
    assert once.endswith(page.partition(document.END)[2])


def test_the_page_and_its_chart_match_their_results() -> None:
    results = Results(**json.loads(document.PAGE.with_suffix(".json").read_text()))
    assert document.updated_page(document.PAGE.read_text(), results) == document.PAGE.read_text()
    assert plot.svg(results) == document.PAGE.with_suffix(".svg").read_text()
