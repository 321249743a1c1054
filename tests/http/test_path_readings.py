"""No encoding of a path reaches a route with weaker authentication than the route that the path means."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Findings, compile_set, load
from engine.errors import ExchangeError
from engine.exchange.request import check_readings
from engine.http.request_target import readings, resolved
from engine.plan import PlanLeaf, PlanSet
from tests.support.properties import property_settings

MAPPING = """
dragoman: 1
auth: { bearer: [{ name: one, key: k1 }, { name: two, key: k2, routes: ["GET /files/{p:path}"] }] }
upstreams: { up: { url: "http://localhost:1" } }
routes:
  GET /{p:path}: { auth: none, forward: "up /${ $request.params.p }" }
  GET /files/{p:path}: { forward: "up /files/${ $request.params.p }" }
  GET /files/open/{p:path}: { auth: none, forward: "up /files/${ $request.params.p }" }
  GET /files/open/secret: { forward: "up /secret" }
  GET /files/open/secret/{id}: { forward: "up /secret/${ $request.params.id }" }
  GET /files/open/dir/: { forward: "up /dir" }
  GET /users/{id}: { auth: none, call: "GET up /users/${ $request.params.id }", respond: {} }
  GET /users/admin: { call: GET up /users/admin, respond: {} }
  GET /users/{id}/keys: { call: "GET up /users/${ $request.params.id }/keys", respond: {} }
  GET /users/{id}/blocked: { auth: none, respond: { status: 403 } }
  GET /a%2Fb: { auth: none, respond: { body: encoded } }
  GET /: { auth: none, respond: { body: root } }
"""


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> PlanSet:
    file: Path = tmp_path_factory.mktemp("paths") / "paths.yaml"
    file.write_text(MAPPING)
    findings = Findings()
    found = compile_set(load([file], findings), {}, findings)
    assert list(findings) == []
    return found


def reached(plans: PlanSet, path: str) -> PlanLeaf | None:
    """The route that serves a path; None if the path is refused."""
    match = plans.tree.find(path, "GET")
    try:
        leaf = match.leaf("GET")
        check_readings(leaf, match.others)
        match.params(leaf)
    except ExchangeError:
        return None
    return leaf


def canonical(path: str) -> str:
    """A path as a lenient server interprets it, in canonical form."""
    segments: list[str] = []
    for segment in unquote(path).replace("\\", "/").split("/"):
        text = segment.partition(";")[0]
        if text == "..":
            segments = segments[:-1]
        elif text not in ("", "."):
            segments.append(quote(text, safe=""))
    return "/" + "/".join(segments)


def encoded(text: str) -> st.SearchStrategy[str]:
    """A text with some of its characters percent-encoded."""
    ways = [st.sampled_from([c, f"%{ord(c):02x}", f"%{ord(c):02X}"]) for c in text]
    return st.tuples(*ways).map("".join)


SLASHES = st.sampled_from(
    ["/", "//", "/./", "%2f", "%2F", "\\", "%5c", "/x/../", "/%2e/", ";x=1/", "/x/%2e%2e/"]
)
SEGMENTS = st.sampled_from(
    ["files", "open", "secret", "users", "admin", "keys", "blocked", "dir", "a", "b", "x", "7"]
)


@st.composite
def paths(draw: st.DrawFn) -> str:
    segments = draw(st.lists(SEGMENTS.flatmap(encoded), min_size=1, max_size=5))
    path = "".join(draw(SLASHES) + segment for segment in segments)
    return "/" + path.lstrip("/") + draw(st.sampled_from(["", "", "/", "%2f", "/.", ";x", "%5C"]))


@given(path=paths())
@property_settings(quick=1000, heavy=50_000)
def test_a_path_is_served_by_the_route_it_means_or_refused(plans: PlanSet, path: str) -> None:
    leaf, meant = reached(plans, path), reached(plans, canonical(path))
    if leaf is None or meant is None or leaf.route is meant.route:
        return
    guards = [(found.route.requires_key, found.route.denied_keys) for found in (leaf, meant)]
    patterns = (path, leaf.route.pattern, meant.route.pattern)
    assert leaf.route.requires_key >= meant.route.requires_key, patterns
    if meant.route.requires_key:
        assert guards[0] == guards[1], patterns
    assert meant.route.pattern != "/users/{id}/blocked", (path, leaf.route.pattern)


@given(path=st.text("/.%25cef\\;ax \0\té．", max_size=12).map("/".__add__))
@property_settings(quick=500, heavy=50_000)
def test_any_path_has_a_bounded_number_of_readings(plans: PlanSet, path: str) -> None:
    raw = quote(path, safe="/%\\;")
    found = list(readings(raw))
    assert 1 <= len(found) <= 6
    assert [] not in found
    assert not {"", ".", ".."} & {segment for segments in found for segment in resolved(segments)}
    reached(plans, raw)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/files/open/a", "/files/open/{p:path}"),
        ("/files/open/a%2Fb", "/files/open/{p:path}"),
        ("/files/open//a", "/files/open/{p:path}"),
        ("/files/open/a/b/", "/files/open/{p:path}"),
        ("/files/open/secret", "/files/open/secret"),
        ("/files/open/%73ecret", "/files/open/secret"),
        ("/files/open/secrets", "/files/open/{p:path}"),
        ("/files/open/SECRET", "/files/open/{p:path}"),
        ("/users/a%2Fb", "/users/{id}"),
        ("/users/a;b=c", "/users/{id}"),
        ("/users/admin", "/users/admin"),
        ("/users/org%2Fname/keys", "/users/{id}/keys"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb", "/a%2Fb"),
        ("/a/b", "/{p:path}"),
        ("/", "/"),
    ],
)
def test_an_unambiguous_path_is_served(plans: PlanSet, path: str, pattern: str) -> None:
    leaf = reached(plans, path)
    assert leaf is not None
    assert leaf.route.pattern == pattern


@pytest.mark.parametrize(
    "path",
    [
        "/files/open/x%2F..%2Fsecret",
        "/files/open//secret",
        "/files/open/secret%2f",
        "/files/open/secret%2F7",
        "/files/open%2fsecret",
        "/files%2fopen%2fsecret",
        "//files/open/secret",
        "/files//open//secret",
        "/files/open/./secret",
        "/files/open/x/../secret",
        "/files/open/%2e/secret",
        "/files/open/secret;x",
        "/files/open/secret%3bx",
        "/files/open/secret%00",
        "/files/open/secret%00/x",
        "/files/open/secret%20",
        "/files/open/secret%09",
        "/files/open/%0dsecret",
        "/files/open\\secret",
        "/files/open%5csecret",
        "/files/open/%2573ecret",
        "/files/open%252fsecret",
        "/files/open/%EF%BD%93ecret",
        "/files/open//dir/",
        "/files/open/dir%2f",
        "/files/open/secret/",
        "/files%2Fx",
        "/x/..%2ffiles/x",
        "/%66iles%2Fx",
        "/users/admin%2f",
        "/users//admin",
        "/users/admin;x",
        "/users/7%2Fkeys",
        "/users/7%2fblocked",
    ],
)
def test_a_path_that_could_mean_a_guarded_route_is_refused(plans: PlanSet, path: str) -> None:
    assert reached(plans, path) is None
