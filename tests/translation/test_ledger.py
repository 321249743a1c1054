"""The ledger of fields: through one and two hops, each leaf of a body is sent, tested, or reported.

A leaf is in the upstream's request, or a condition reads it, or `X-Dragoman-Dropped` names it or a field that
contains it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import event, given, note
from hypothesis import strategies as st

from engine import Findings, PlanSet, compile_set, load
from engine.exchange import SendCall, report_of, run_exchange
from engine.http.messages import EMPTY, JSON, Content, Inbound, UpstreamResponse
from engine.testing.offline import carry_out, received
from tests.support.ledger import Generator, Shape, bodies, leaves, located, shapes, shown
from tests.support.properties import property_settings


class Chain:
    """The upstreams of all mappings: another mapping, or a server whose requests are recorded.

    Attributes:
        sent: the requests to servers, as text.
        bodies: the bodies that each called mapping received.
    """

    def __init__(self, plans: PlanSet) -> None:
        self.plans = plans
        self.sent: list[str] = []
        self.bodies: list[tuple[str, Any]] = []

    def send(self, effect: SendCall) -> UpstreamResponse:
        name = effect.upstream.mapping
        if name is None:
            request = effect.request
            body = "" if request.content.is_empty else request.content.data.decode()
            self.sent.append(f"{request.target} {request.headers} {body}")
            return UpstreamResponse(200, (), Content(b"{}", JSON))
        self.bodies.append((name, effect.request.content.value))
        response, report = self.run(name, effect.request.content)
        inner = UpstreamResponse(response.status, response.headers, response.content)
        inner.report = report
        return inner

    def run(self, name: str, content: Content) -> Any:
        mapping = self.plans.mappings[name]
        inbound = Inbound("POST", "/", headers=(("content-type", JSON),), request_id="ledger")
        inbound.is_internal = not mapping.is_public
        result = carry_out(run_exchange(mapping.tree.find("/", "POST"), inbound), content, self)
        assert result.defect is None, result.defect
        return received(result), report_of(result.exchange)

    def next(self) -> Any:
        raise AssertionError("no response is a stream")

    def rest(self) -> Content:
        return EMPTY


def compiled(mappings: dict[str, Any]) -> PlanSet:
    findings = Findings()
    with tempfile.TemporaryDirectory() as directory:
        files = []
        for name, mapping in mappings.items():
            files.append(Path(directory, f"{name}.yaml"))
            files[-1].write_text(shown(mapping))
        plans = compile_set(load(files, findings), {}, findings)
    errors = [f"{found.span}: {found.message}" for found in findings if found.severity == "error"]
    assert not errors, errors
    return plans


def is_named(path: str, dropped: set[str]) -> bool:
    """Whether a field, or one that contains it, is reported."""
    return any(before in dropped for before in prefixes(path))


def prefixes(path: str) -> Iterator[str]:
    """A path, and those of the fields that contain it."""
    for end, character in enumerate(path):
        if character in ".[":
            yield path[:end]
        if path[:end].endswith("[]"):
            yield path[:end]
    yield path


def lost(path_and_value: tuple[str, str], mapping: str, chain: Chain, ledger: dict[str, Any]) -> bool:
    """Whether a leaf of the body that a mapping received is neither sent, nor tested, nor reported."""
    path, value = path_and_value
    if any(value in request for request in chain.sent):
        return False
    if path in ledger[mapping]["tested"] or is_named(path, ledger[mapping]["dropped"]):
        return False
    return all(
        lost((there, text), name, chain, ledger)
        for name, body in chain.bodies
        if mapping == "outer"
        for there, text in leaves(body)
        if value in str(text)
    )


def check(mappings: dict[str, Any], tested: dict[str, set[str]], body: Any) -> None:
    """Run the outer mapping on a body, and look for each leaf."""
    chain = Chain(compiled(mappings))
    response, _ = chain.run("outer", Content(json.dumps(body).encode(), JSON))
    event(f"status {response.status}")
    if response.status != 200:
        return
    header = dict(response.headers).get("x-dragoman-dropped", "")
    named = [name for name in header.split(", ") if name]
    note(f"dropped: {named}\nbodies: {chain.bodies}\nsent: {chain.sent}")
    ledger: dict[str, Any] = {
        "outer": {"tested": tested["outer"], "dropped": {name for name in named if ":" not in name}},
        "inner": {
            "tested": tested.get("inner", set()),
            "dropped": {name.removeprefix("inner:") for name in named if ":" in name},
        },
    }
    for leaf in leaves(body):
        assert not lost(leaf, "outer", chain, ledger), f"{leaf} is lost"


def mapping_of(generator: Generator, shape: Shape, upstream: str) -> tuple[dict[str, Any], Shape]:
    body, output = generator.body(shape)
    mapping = {
        "dragoman": 1,
        "upstreams": {"up": {"url": upstream}},
        "templates": generator.templates,
        "routes": {
            "POST /": {"call": {"upstream": "up", "path": "/", "body": body}, "respond": {"body": "x"}}
        },
    }
    return mapping, located(output)


@property_settings(400, 4000)
@given(st.data())
def test_each_leaf_is_in_the_ledger_of_one_hop(data: st.DataObject) -> None:
    shape = data.draw(shapes(), "shape")
    generator = Generator(data.draw)
    mapping, _ = mapping_of(generator, shape, "http://localhost:1")
    body = data.draw(bodies(shape, generator.needs_complete_body), "body")
    note(shown(mapping))
    check({"outer": mapping}, {"outer": generator.tested}, body)


@property_settings(400, 4000)
@given(st.data())
def test_each_leaf_is_in_the_ledger_of_two_hops(data: st.DataObject) -> None:
    shape = data.draw(shapes(), "shape")
    outer, inner = Generator(data.draw), Generator(data.draw)
    first, output = mapping_of(outer, shape, "mapping:inner")
    second, _ = mapping_of(inner, output, "http://localhost:1")
    needs_complete_body = outer.needs_complete_body or inner.needs_complete_body
    body = data.draw(bodies(shape, needs_complete_body), "body")
    note(f"{shown(first)}\n{shown(second)}")
    mappings = {"outer": first, "inner": {**second, "public": False}}
    check(mappings, {"outer": outer.tested, "inner": inner.tested}, body)
