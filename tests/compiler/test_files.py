"""Which files a path refers to, and where the files that mappings name are searched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import Findings, PlanSet, compile_set, load, shipped_mappings, source_files
from engine.language.budget import Limits
from engine.locations import Document, SourceFile, Span

MAPPING = "dragoman: 1\nroutes: { GET /x: { respond: { body: x } } }\n"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def plans_of(path: Path, **environ: str) -> tuple[PlanSet, Findings]:
    findings = Findings()
    return compile_set(load(source_files([str(path)], findings), findings), environ, findings), findings


def codes(findings: Findings) -> list[str]:
    return [finding.code for finding in findings]


def test_a_directory_means_its_mappings_and_no_other_yaml(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.yaml", "a.yml", "deep/c.yaml", ".hidden/d.yaml", ".e.yaml", "f.yaml~", "a.test.yaml"):
        (tmp_path / name).write_text(MAPPING)
    (tmp_path / "models.yaml").write_text("qwen3: { capabilities: [completion] }\n")
    (tmp_path / "deployment.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\n")
    findings = Findings()
    assert names(source_files([str(tmp_path)], findings)) == ["a.yml", "b.yaml", "c.yaml"]
    assert names(source_files([str(tmp_path)], findings, tests=True)) == ["a.test.yaml"]
    assert not len(findings)


def test_a_named_file_is_read_whatever_it_contains(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("qwen3: {}\n")
    _, findings = plans_of(tmp_path / "models.yaml")
    assert "missing-key" in codes(findings)


def test_a_pipe_does_not_block_loading(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    _, findings = plans_of(tmp_path)
    assert codes(findings) == ["file-unreadable"]


def test_a_file_given_several_times_is_loaded_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(MAPPING)
    (tmp_path / "link.yaml").symlink_to(file)
    paths = [str(file), str(tmp_path), str(tmp_path / "*.yaml"), str(tmp_path / "link.yaml")]
    assert names(source_files(paths, Findings())) == ["a.yaml"]


def test_shipped_mappings_are_found_by_name() -> None:
    for name, file in shipped_mappings().items():
        assert source_files([name], Findings()) == [file]


def test_a_file_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "words.txt").write_text("# words\none\n\ntwo\n")
    (tmp_path / "shared" / "words.yaml").write_text("dragoman: 1\nvars: { words: { $file: words.txt } }\n")
    main = tmp_path / "main.yaml"
    main.write_text(
        "dragoman: 1\ninclude: [shared/words.yaml]\n"
        "routes: { GET /words: { respond: { body: '${ $vars.words }' } } }\n"
    )
    plans, findings = plans_of(main)
    assert codes(findings) == []
    body = plans.mappings["main"].routes[0].cases[0].body
    assert body is not None
    assert body.function(None, None) == ["one", "two"]


def test_a_path_from_the_environment_is_relative_to_the_working_directory_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, word in ((here, "here"), (there, "there")):
        folder.mkdir()
        (folder / "words.txt").write_text(word)
    (there / "more.txt").write_text("more")
    main = there / "main.yaml"
    main.write_text(
        "dragoman: 1\nenv: { A: { default: words.txt }, B: { default: more.txt } }\n"
        "vars: { a: { $file: '${ $env.A }' }, b: { $file: '${ $env.B }' }, c: { $file: words.txt } }\n"
        "routes: { GET /words: { respond: { body: ['${ $vars.a }', '${ $vars.b }', '${ $vars.c }'] } } }\n"
    )
    monkeypatch.chdir(here)
    plans, findings = plans_of(main)
    assert codes(findings) == []
    body = plans.mappings["main"].routes[0].cases[0].body
    assert body is not None
    assert body.function(None, None) == [["here"], ["more"], ["there"]]


@pytest.mark.parametrize(
    ("url", "origin", "base"),
    [
        ("http://localhost:8000/v1/", "http://localhost:8000", "/v1"),
        ("https://Models.Example.com", "https://models.example.com", ""),
        ("http://[::1]:9000/x", "http://[::1]:9000", "/x"),
        ("http://\U0001f4a9.la", "http://xn--ls8h.la", ""),
        ("http://bücher.example/ü", "http://xn--bcher-kva.example", "/%C3%BC"),
        ("https://user:pass@host.example/v1", "https://host.example", "/v1"),
    ],
)
def test_a_url_is_split_into_origin_and_base_path(tmp_path: Path, url: str, origin: str, base: str) -> None:
    plans, findings = upstream_at(tmp_path, url)
    assert codes(findings) == []
    upstream = plans.mappings["m"].upstreams["u"]
    assert (upstream.origin, upstream.base_path) == (origin, base)


@pytest.mark.parametrize(
    "url", ["http://\u0640\u3002.x..y", "http://h/a/../b", "http://h/%2e%2e/b", "http://h:99999"]
)
def test_an_invalid_url_is_a_finding(tmp_path: Path, url: str) -> None:
    _, findings = upstream_at(tmp_path, url)
    assert codes(findings) == ["bad-url"]


def upstream_at(tmp_path: Path, url: str) -> tuple[PlanSet, Findings]:
    file = tmp_path / "m.yaml"
    routes = "dragoman: 1\nroutes: { GET /x: { forward: u /x } }\n"
    file.write_text(f'{routes}env: {{ URL: {{}} }}\nupstreams: {{ u: {{ url: "${{ $env.URL }}" }} }}\n')
    return plans_of(file, URL=url)


def test_a_key_that_is_invalid_in_a_header_is_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(f"{MAPPING}env: {{ KEYS: {{ secret: true }} }}\nauth: {{ bearer: '${{ $env.KEYS }}' }}\n")
    assert codes(plans_of(file, KEYS="good, schlüssel")[1]) == ["bad-value"]
    assert codes(plans_of(file, KEYS="good, better")[1]) == []


@pytest.mark.parametrize(
    ("respond", "reads"),
    [
        ("{ body: done }", False),
        ("{ status: '${ $upstream.status }', body: ok }", False),
        ("{ headers: { x-a: '${ $upstream.headers.etag }' } }", False),
        ("{ body: '${ id }' }", True),
        ("{ body: '${ $upstream.body.id }' }", True),
        ("[{ when: '${ ok }', body: a }, { body: b }]", True),
    ],
)
def test_an_upstream_body_is_parsed_only_if_it_is_read(tmp_path: Path, respond: str, reads: bool) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "dragoman: 1\nupstreams: { u: { url: 'http://h' } }\n"
        f"routes:\n  GET /x:\n    call: GET u /x\n    respond: {respond}\n"
    )
    plans, findings = plans_of(file)
    assert codes(findings) == []
    assert plans.mappings["m"].routes[0].attempts[0].reads_upstream_body is reads


def test_a_mapping_conflicts_with_one_it_includes_only_if_both_are_served(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "dragoman: 1\nvars: { word: base }\nroutes: { GET /word: { respond: { body: '${ $vars.word }' } } }\n"
    )
    (tmp_path / "more.yaml").write_text("dragoman: 1\ninclude: [base.yaml]\nvars: { word: more }\n")
    (tmp_path / "other.yaml").write_text("dragoman: 1\nroutes: { GET /word: { respond: { body: other } } }\n")
    family = [str(tmp_path / "base.yaml"), str(tmp_path / "more.yaml")]
    assert conflicts(family, served_together=False) == []
    assert conflicts(family, served_together=True) == ["error"]
    assert conflicts([*family, str(tmp_path / "other.yaml")], served_together=False) == ["note"]


def conflicts(paths: list[str], served_together: bool) -> list[str]:
    findings = Findings()
    compile_set(load(source_files(paths, findings), findings), {}, findings, served_together=served_together)
    return [finding.severity for finding in findings if finding.code == "route-conflict"]


def test_the_client_keys_of_an_included_mapping_apply_to_its_routes(tmp_path: Path) -> None:
    """A route must not lose its authentication when another file includes it."""
    (tmp_path / "base.yaml").write_text(
        "dragoman: 1\nauth: { bearer: one }\nroutes:\n  GET /x: { respond: { body: x } }\n"
    )
    (tmp_path / "more.yaml").write_text("dragoman: 1\ninclude: [base.yaml]\n")
    (tmp_path / "open.yaml").write_text("dragoman: 1\ninclude: [base.yaml]\nauth: none\n")
    for name, requires_key in (("more", True), ("open", False)):
        plans, findings = plans_of(tmp_path / f"{name}.yaml")
        assert codes(findings) == []
        assert plans.mappings[name].routes[0].requires_key is requires_key


def test_an_included_limit_applies_unless_the_mapping_sets_its_own(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("dragoman: 1\nlimits: { steps: 5, bytes: 7 }\n")
    for name, own, limits in (
        ("none", "", Limits(5, 7)),
        ("one", "limits: { steps: 9 }", Limits(9, 7)),
        ("both", "limits: { bytes: 3, steps: 9 }", Limits(9, 3)),
    ):
        routes = "routes: { GET /x: { respond: {} } }"
        (tmp_path / f"{name}.yaml").write_text(f"dragoman: 1\ninclude: [base.yaml]\n{own}\n{routes}\n")
        plans, findings = plans_of(tmp_path / f"{name}.yaml")
        assert codes(findings) == []
        assert plans.mappings[name].limits == limits


def test_limits_have_defaults(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("dragoman: 1\nroutes: { GET /x: { respond: {} } }\n")
    plans, _ = plans_of(tmp_path / "m.yaml")
    assert plans.mappings["m"].limits == Limits(10_000_000, 64 * 1024 * 1024)


def test_the_repr_of_a_location_omits_the_text_of_its_file() -> None:
    """Plans have thousands of locations: with the text in each, a failing test would print gigabytes."""
    file = SourceFile("a.yaml", "some: text")
    assert "some" not in repr((file, Span(file, 1, 1), Document(file, {"some": "text"})))
