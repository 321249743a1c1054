"""Defects of the engine return an error without details; so does invalid message framing."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine import Findings, PlanSet, compile_set, exchange, load
from engine.http.messages import Inbound
from tests.support.server import Server, dragoman_server
from tests.support.times import SOON

MAPPING = """
dragoman: 1
errors: { body: { kind: "${ kind }" } }
routes:
  GET /x: { respond: { body: "${ $request.id }" } }
  POST /checked:
    request: { schema: { required: [model] } }
    respond: { body: "${ model }" }
"""


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> PlanSet:
    file: Path = tmp_path_factory.mktemp("defects") / "mapping.yaml"
    file.write_text(MAPPING)
    findings = Findings()
    plans = compile_set(load([file], findings), {}, findings)
    assert not list(findings)
    return plans


def _run(plans: PlanSet) -> exchange.ExchangeResult:
    inbound = Inbound("GET", "/x", request_id="r")
    with pytest.raises(StopIteration) as end:
        next(exchange.run_exchange(plans.tree.find("/x", "GET"), inbound))
    result: exchange.ExchangeResult = end.value.value
    return result


@pytest.mark.parametrize("works_for", [0, 1])
def test_a_defect_returns_an_error(monkeypatch: pytest.MonkeyPatch, plans: PlanSet, works_for: int) -> None:
    """A defect in the template of the response, and another in that of the error format."""
    calls: list[int] = []
    real = exchange.evaluate

    def evaluate(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 1 or not works_for:
            raise ZeroDivisionError("secret")
        return real(*arguments)  # type: ignore[arg-type]

    for part in ("response", "errors"):
        monkeypatch.setattr(f"engine.exchange.{part}.evaluate", evaluate)
    result = _run(plans)
    body = json.loads(result.response.content.data)
    assert result.response.status == 500
    assert result.defect is not None
    assert result.defect.error == "ZeroDivisionError"
    assert result.defect.function == "evaluate"
    if works_for:
        assert body == {"kind": "internal"}
    else:
        assert (body["error"]["type"], body["error"]["message"]) == ("internal", "internal error")
    assert "secret" not in str(body)
    assert ("x-request-id", "r") in result.response.headers


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with dragoman_server(MAPPING) as running:
        yield running
        assert running.get("/x").seconds < SOON


SEEDS = [
    b'POST /checked HTTP/1.1\r\nhost: x\r\ncontent-type: a/json\r\ncontent-length: 13\r\n\r\n{"model":"m"}',
    b'POST /checked HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nd\r\n{"model":"m"}\r\n0\r\n\r\n',
    b"GET /x?a=b%20c&d HTTP/1.1\r\nhost: x\r\nx-request-id: abc\r\nexpect: 100-continue\r\n\r\n",
]


def _mutated(random_: random.Random) -> bytes:
    data = bytearray(random_.choice(SEEDS))
    for _ in range(random_.randint(1, 4)):
        at, what = random_.randrange(len(data)), random_.randrange(4)
        if what == 0:
            data[at] = random_.randrange(256)
        elif what == 1:
            data[at:at] = random_.randbytes(random_.randint(1, 5))
        elif what == 2:
            del data[at : at + random_.randint(1, 8)]
        else:
            data[at:at] = data[at : at + 20]
    return bytes(data)


def test_invalid_framing_never_returns_500(server: Server) -> None:
    """400 mutations of valid requests, the same in every run; a truncated request gets no response."""
    random_ = random.Random(11)
    requests = [_mutated(random_) for _ in range(400)]
    with ThreadPoolExecutor(40) as pool:
        for request, response in zip(
            requests, pool.map(lambda one: server.raw(one, 1), requests), strict=True
        ):
            assert response[9:12] not in (b"500", b"502"), request
    assert server.get("/x").status == 200
