"""Nulls in bodies of PATCH: each is a request to remove a value, so a null that is not sent is reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import Server, dragoman_server
from tests.support.upstream import Upstream

CALL = """
    call:
      upstream: up
      path: /echo
      method: POST
      query: { page: "${ page }" }
      body:
        name: ${ name }
        city: ${ home.address.city }
        trimmed: ${ trim(note) }
        chosen: ${ if(kind == 'a', kind) }
        default: ${ default(size, 'large') }
        stored: ${ nullable(mail) }
        copied: ${ options }
        picked: '${ pick(paint, `["color", "weight"]`) }'
        lost: ${ drop(secret) }
        people: { $each: "${ people }", name: "${ name }", mail: "${ nullable(mail) }" }
        first: ${ tags[0] }
        flag: { $if: "${ flag }", set: true }
        $let: { alias: "${ alias }" }
        alias: ${ $alias }
"""
MAPPING = f"""
dragoman: 1
env: {{ UP: {{}} }}
upstreams: {{ up: {{ url: "${{ $env.UP }}" }} }}
routes:
  PATCH /it:{CALL}
    respond: {{ body: "${{ from_json(body) }}" }}
  POST /it:{CALL}
    respond: {{ body: "${{ from_json(body) }}" }}
  PATCH /strict:
    dropped: reject{CALL}
    respond: {{ body: "${{ from_json(body) }}" }}
  PATCH /all:
    dropped: reject
    call: {{ upstream: up, path: /echo, method: POST, body: "${{ @ }}" }}
    respond: {{ body: "${{ from_json(body) }}" }}
  PATCH /several:
    calls:
      one: {{ upstream: up, path: /echo, method: POST, body: {{ a: "${{ a }}" }} }}
      two: {{ upstream: up, path: /echo, method: POST, body: {{ b: "${{ b }}", c: "${{ nullable(c) }}" }} }}
    respond: {{ body: "${{ from_json(body) }}" }}
  PATCH /cases:
    call:
      - when: ${{ name }}
        upstream: up
        path: /echo
        method: POST
        body: {{ name: "${{ name }}" }}
      - {{ upstream: up, path: /echo, method: POST, body: {{ remove: "${{ name == `null` }}" }} }}
    respond: {{ body: "${{ from_json(body) }}" }}
"""


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Server]:
    with dragoman_server(MAPPING, {"UP": upstream.url}) as running:
        yield running


#: A body, what is sent of it in addition to `ALWAYS`, and what is reported.
BODIES: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {}, None),
    ({"name": "x"}, {"name": "x"}, None),
    ({"name": None}, {}, "name"),
    ({"note": None}, {}, "note"),
    ({"home": None}, {}, "home"),
    ({"home": {"address": None}}, {}, "home.address"),
    ({"home": {"address": {"city": None}}}, {}, "home.address.city"),
    ({"home": {}}, {}, None),
    ({"kind": None}, {}, "kind"),
    ({"page": None}, {}, "page"),
    ({"size": None}, {}, None),
    ({"mail": None}, {}, None),
    ({"options": None}, {}, "options"),
    ({"options": {"a": None, "b": [None]}}, {"copied": {"a": None, "b": [None]}}, None),
    ({"paint": None}, {}, "paint"),
    ({"paint": {"color": None, "weight": 2}}, {"picked": {"color": None, "weight": 2}}, None),
    ({"paint": {"gloss": None}}, {"picked": {}}, "paint.gloss"),
    ({"secret": None}, {}, "secret"),
    ({"secret": 1}, {}, "secret"),
    ({"unknown": None}, {}, "unknown"),
    ({"people": None}, {}, "people"),
    (
        {"people": [{"name": "a", "mail": None}, {"name": None}, {"name": None}]},
        {"people": [{"name": "a", "mail": None}, {"mail": None}, {"mail": None}]},
        "people[].name",
    ),
    ({"people": [None]}, {"people": [{"mail": None}]}, "people[]"),
    ({"people": [{"name": "a", "age": None}]}, {"people": [{"name": "a", "mail": None}]}, "people[].age"),
    ({"tags": [None]}, {}, "tags[]"),
    ({"tags": ["a", None]}, {"first": "a"}, None),
    ({"flag": None}, {}, "flag"),
    ({"alias": None}, {}, "alias"),
]
ALWAYS = {"default": "large", "stored": None}


@pytest.mark.parametrize(("body", "sent", "reported"), BODIES, ids=[str(body) for body, *_ in BODIES])
def test_a_null_that_is_not_sent_is_reported(
    server: Server, body: dict[str, Any], sent: dict[str, Any], reported: str | None
) -> None:
    response = server.request("PATCH", "/it", body)
    assert (response.status, response.json) == (200, {**ALWAYS, **sent})
    assert response.header("x-dragoman-dropped") == reported
    assert server.logged(response.header("x-request-id") or "").get("dropped_fields") == (
        reported and [reported]
    )
    strict = server.request("PATCH", "/strict", body)
    assert strict.status == (200 if reported is None else 400)
    assert reported is None or reported in strict.json["error"]["message"]


def test_a_null_is_absence_in_other_methods(server: Server) -> None:
    body = {"name": None, "note": None, "unknown": None, "people": [{"name": None}], "secret": None}
    response = server.post("/it", body)
    assert (response.status, response.header("x-dragoman-dropped")) == (200, None)


def test_copied_values_retain_their_nulls(server: Server) -> None:
    body = {"a": None, "b": {"c": None, "d": [None, {"e": None}]}}
    assert server.request("PATCH", "/all", body).json == body


def test_several_calls_report_together(server: Server) -> None:
    response = server.request("PATCH", "/several", {"a": None, "b": None, "c": None})
    assert (response.json, response.header("x-dragoman-dropped")) == ({"c": None}, "a, b")


def test_a_null_that_selects_a_call_is_read(server: Server) -> None:
    response = server.request("PATCH", "/cases", {"name": None})
    assert (response.json, response.header("x-dragoman-dropped")) == ({"remove": True}, None)


def test_many_nulls_in_a_list_take_linear_time(server: Server) -> None:
    response = server.request("PATCH", "/it", {"people": [{"name": None}] * 50_000 + [{}] * 50_000})
    assert response.header("x-dragoman-dropped") == "people[].name"
