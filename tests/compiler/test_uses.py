"""What routes read is collected while code is generated, never parsed from generated code or YAML text."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine import FUNCTIONS, Findings, compile_set, load, shipped_mappings
from engine.compiler.context import MappingContext
from engine.compiler.environment import Environment
from engine.language import codegen
from engine.language.codegen import Atom, Compiled
from engine.language.expressions import Record, Scope
from engine.language.templates import TemplateCompiler
from engine.language.uses import (
    ITEM,
    TESTED,
    AllExcept,
    Constructed,
    Either,
    Paths,
    UnknownPart,
    Uses,
    VariableOrigin,
    either,
    minimal,
)
from engine.plan import PlanSet, RoutePlan, UpstreamChoice

ROOT = Path(__file__).parents[2]
GOOD = sorted(ROOT.glob("tests/suites/good/*.yaml"))
EXCHANGES = sorted(path for path in ROOT.glob("tests/suites/exchanges/*.yaml") if ".test." not in path.name)


def plans_of(*files: Path, **environ: str) -> tuple[PlanSet, list[str]]:
    findings = Findings()
    plans = compile_set(load(files, findings), environ, findings, served_together=False)
    return plans, [f"{d.span.line}:{d.span.column} {d.code}" for d in findings if d.severity == "error"]


def route_of(tmp_path: Path, route: str, key: str = "POST /x", **environ: str) -> RoutePlan:
    """The plan of a route, given as YAML in one line."""
    file = tmp_path / "m.yaml"
    upstreams = "upstreams: { u: { url: http://u.test }, v: { url: http://v.test } }"
    variables = "env: { SITE: { default: u } }\nvars: { name: u, table: { a: u } }\nauth: { bearer: secret }"
    file.write_text(f"dragoman: 1\n{variables}\n{upstreams}\nroutes:\n  {key}: {route}\n")
    plans, errors = plans_of(file, **environ)
    assert errors == []
    return plans.mappings["m"].routes[0]


# --- Plans -----------------------------------------------------------------------------------------------

#: An expression in a cached response, and the header fields in its cache key; None for all.
HEADERS: list[tuple[str, tuple[str, ...] | None]] = [
    ("plain", ()),
    ("x.headers", ()),
    ("x.headers.get('x-a') ${ $request.query.a }", ()),
    ("${ 'x.headers' }", ()),
    ("${ $request.headers.accept }", ("accept",)),
    ('${ $request.headers.\\"x-a\\" || $request.headers.\\"x-b\\" }', ("x-a", "x-b")),
    ('${ $request.\\"headers\\".accept }', ("accept",)),
    ("${ if($request.headers.accept, 'a', 'b') }", ("accept",)),
    ("${ $request.headers.accept || fail('invalid_request', 'no') }", ("accept",)),
    ("${ pick($request.headers, ['accept', 'x-a']) }", ("accept", "x-a")),
    ("${ omit($request.headers, ['accept']) }", None),
    ("${ $request.headers }", None),
    ("${ $request.headers.* }", None),
    ("${ keys($request.headers) }", None),
    ("${ lookup($request.headers, $request.query.a) }", None),
    ("${ map(&$request.headers.accept, items) }", ("accept",)),
    ("${ map(&$request.headers, items) }", None),
    ("${ !($request.headers) }", None),
    ("${ $request.headers || fail('invalid_request', 'no') }", None),
]


@pytest.mark.parametrize(("body", "names"), HEADERS)
def test_the_cache_key_has_the_header_fields_that_are_read(
    tmp_path: Path, body: str, names: tuple[str, ...] | None
) -> None:
    route = route_of(tmp_path, f'{{ cache: 30s, respond: {{ body: "{body}" }} }}')
    assert route.cache is not None
    assert route.cache.headers == names


@pytest.mark.parametrize(
    ("body", "by_key"),
    [
        ("${ $request.key }", True),
        ('${ $request.\\"key\\" }', True),
        ("${ if($request.key == 'a', 'b', 'c') }", True),
        ("x.inbound.key", False),
        ("${ '$request.key' }", False),
    ],
)
def test_the_cache_key_has_the_client_key_if_it_is_read(tmp_path: Path, body: str, by_key: bool) -> None:
    route = route_of(tmp_path, f'{{ cache: 30s, respond: {{ body: "{body}" }} }}')
    assert route.cache is not None
    assert route.cache.by_key is by_key


#: A body without a call, and whether it reads the request's body.
BODIES = [
    ('"p"', False),
    ('"x.body and p"', False),
    ("\"${ 'p' }\"", False),
    ('"${ $vars.table | a }"', False),
    ('"${ $request.id }"', False),
    ('"${ @ }"', True),
    ('"${ $request.body }"', True),
    ('"${ $request.\\"body\\".a }"', True),
    ('"${ !@ }"', True),
    ('"${ {a: `1`} }"', True),
    ('{ $each: "${ a }", b: "${ $index }" }', True),
    ('{ $each: "${ $vars.table }", b: "${ $index }" }', False),
    ('{ $with: "${ a }", b: 1 }', True),
    ("{ $let: { b: \"${ a || fail('invalid_request', 'no') }\" }, c: 1 }", True),
]


@pytest.mark.parametrize(("body", "reads"), BODIES)
def test_the_request_body_is_read_only_if_a_template_needs_it(tmp_path: Path, body: str, reads: bool) -> None:
    assert route_of(tmp_path, f"{{ respond: {{ body: {body} }} }}").reads_body is reads
    assert route_of(tmp_path, f"{{ try: [{{ respond: {{ body: {body} }} }}] }}").reads_body is reads
    events = f"{{ respond: {{ stream: {{ to: sse, emit: [{body}] }} }} }}"
    assert route_of(tmp_path, events).reads_body is reads
    forward = f"{{ forward: {{ upstream: u, path: /x, headers: {{ x-a: {body} }} }} }}"
    assert route_of(tmp_path, forward).reads_body is reads


#: The name of an upstream as an expression, and whether each request evaluates it.
CHOICES = [
    ("${ $env.SITE }", False),
    ("${ if($env.SITE == 'x', 'v', 'u') }", False),
    ("${ lookup($vars.table, 'a') }", False),
    ("${ $vars.name || 'u' }", False),
    ("${ if(is_set, 'u', 'v') }".replace("is_set", "$is_set.SITE"), False),
    ("${ if('p' == 'x', 'u', 'v') }", False),
    ("${ if($request.query.a, 'u', 'v') }", True),
    ("${ if(@, 'u', 'v') }", True),
    ("${ if(random_id('') < 'V', 'u', 'v') }", True),
    ("${ if(starts_with(uuid(), '0'), 'u', 'v') }", True),
    ("${ if(now() > `0`, 'u', 'v') }", True),
    ("${ if(now_iso() > '2', 'u', 'v') }", True),
    ("${ if(elapsed_ns() > `0`, 'u', 'v') }", True),
    ("${ warn('u', 'this one') }", True),
    ("${ if($env.SITE == 'x', fail('internal', 'no'), 'u') }", True),
    ("${ if(map(&uuid(), `[1]`), 'u', 'v') }", True),
]


@pytest.mark.parametrize(("upstream", "is_choice"), CHOICES)
def test_an_upstream_is_chosen_at_load_only_if_its_name_is_constant(
    tmp_path: Path, upstream: str, is_choice: bool
) -> None:
    call = route_of(tmp_path, f'{{ call: {{ upstream: "{upstream}", path: /x }}, respond: {{}} }}')
    assert isinstance(call.attempts[0].calls[0].upstream, UpstreamChoice) is is_choice
    forward = route_of(tmp_path, f'{{ forward: {{ upstream: "{upstream}", path: /x }} }}').attempts[0].forward
    assert forward is not None
    assert isinstance(forward.upstream, UpstreamChoice) is is_choice


@pytest.mark.parametrize("site", ["x", "y"])
def test_an_unknown_upstream_is_a_finding_in_any_environment(tmp_path: Path, site: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "dragoman: 1\nenv: { SITE: {} }\nupstreams: { u: { url: http://u.test } }\nroutes:\n  GET /x:\n"
        "    call: { upstream: \"${ if($env.SITE == 'x', 'nosuch', 'u') }\", path: /x }\n    respond: {}\n"
    )
    assert plans_of(file, SITE=site)[1] == ["6:48 unknown-upstream"]


#: A value in a call's path, and the multi-segment parameter that it is, or ''.
PARAMETERS = [
    ("${ $request.params.rest }", "rest"),
    ('${$request.\\"params\\".rest}', "rest"),
    ("${ $request.params.id }", ""),
    ("${ lower($request.params.rest) }", ""),
    ("${ $request.params.rest || 'x' }", ""),
    ("${ '$request.params.rest' }", ""),
]


@pytest.mark.parametrize(("value", "parameter"), PARAMETERS)
def test_a_multi_segment_parameter_is_recognized_by_its_origin(
    tmp_path: Path, value: str, parameter: str
) -> None:
    call = f'{{ call: {{ upstream: u, path: "/a/{value}" }}, respond: {{}} }}'
    route = route_of(tmp_path, call, "GET /{id}/{rest:path}")
    assert route.attempts[0].calls[0].path[-1].parameter == parameter


# --- Collected uses --------------------------------------------------------------------------------------


def atoms(variables: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Atom]]:
    for key, variable in variables.items():
        if isinstance(variable, Atom):
            yield f"{name}${key}", variable
        elif isinstance(variable, Record):
            yield from atoms({**variable.fields, **({"": variable.whole} if variable.whole else {})}, key)


def test_every_variable_that_is_not_constant_has_a_name(tmp_path: Path) -> None:
    """Otherwise a template that reads it would be treated as constant."""
    file = tmp_path / "m.yaml"
    file.write_text("dragoman: 1\nenv: { A: {} }\nroutes: { GET /x: { respond: {} } }\n")
    findings = Findings()
    (spec,) = load([file], findings)
    templates = TemplateCompiler(findings)
    environment = Environment(templates, findings, spec.env, env={"A": "a"}, vars={"b": 1})
    context = MappingContext(spec, environment, templates, findings)
    scopes: list[Scope] = [
        context.call_scope({"id": "one"}),
        context.respond_scope({"id": "one"}, has_call=True),
        context.respond_scope({"id": "one"}, has_call=False),
        context.errors_scope(),
    ]
    for scope in scopes:
        assert scope.payload.variable
        found = dict(atoms(scope.variables))
        assert len(found) > 10
        assert [name for name, atom in found.items() if not (atom.is_constant or atom.variable)] == []


def test_pure_functions_use_nothing_that_changes() -> None:
    """Pure functions use no clock, no randomness and no exchange."""
    changing = {"time", "uuid", "secrets", "random", "os", "context", "datetime.now"}
    for function in FUNCTIONS.values():
        code = inspect.unwrap(function.implementation).__code__
        names = {*code.co_names, *code.co_varnames}
        assert not (function.pure and names & changing), f"{function.name} is not pure"
    impure = {function.name for function in FUNCTIONS.values() if not function.pure}
    assert impure == {"uuid", "random_id", "now", "now_iso", "elapsed_ns", "warn", "drop", "fail"}
    assert all(not FUNCTIONS[name].pure for name in FUNCTIONS if FUNCTIONS[name].context)


def test_a_shared_origin_is_visited_once() -> None:
    """Nested objects that contain the same object twice do not take exponential time."""
    origin: Any = VariableOrigin(("request", "body"))
    for _ in range(200):
        made = Constructed()
        made.add_field("a", origin)
        made.add_field("b", origin)
        origin = made
    paths = Paths()
    paths.add_read(origin)
    paths.add_test(origin)
    assert paths.found == {("request", "body"), ("request", "body", TESTED)}


def test_the_number_of_alternatives_is_bounded() -> None:
    origin: Any = VariableOrigin(("request", "body"))
    for _ in range(40):
        origin = either(origin.child("a"), origin.child("b"))
    assert isinstance(origin, UnknownPart)
    assert isinstance(origin.of, Either)
    paths = Paths()
    paths.add_read(origin)
    assert len(paths.found) == 64


def test_paths_implied_by_others_are_omitted() -> None:
    rest = AllExcept(frozenset("f"))
    paths = {("a",), ("a", "b"), ("a", TESTED), ("c", TESTED), ("c", "d", TESTED), ("e", rest)}
    assert minimal(paths) == {("a",), ("c", "d", TESTED), ("e", rest)}
    assert minimal({(), ("a",), (TESTED,)}) == {()}
    assert minimal({(TESTED,), ("a", ITEM, TESTED)}) == {("a", ITEM, TESTED)}


def test_uses_are_merged() -> None:
    uses = Uses.of_all([Uses(frozenset({("a", "b")}), frozenset({("a", "b")})), Uses(is_pure=False)])
    assert uses == Uses(frozenset({("a", "b")}), frozenset({("a", "b")}), False)
    assert uses.refers_to(("a",))
    assert not uses.refers_to(("b",))
    assert not uses.is_constant({"a"})
    assert Uses.of_all([]) == Uses()


# --- Generated code and the text of expressions are never parsed -------------------------------------------


class Unreadable(str):
    """Generated code that raises an error when read."""

    __slots__ = ()

    def _refuse(self, *arguments: Any, **named: Any) -> Any:
        raise AssertionError("generated code was read")

    __contains__ = __getitem__ = __iter__ = __len__ = __eq__ = __hash__ = _refuse
    find = index = count = split = splitlines = partition = rpartition = startswith = endswith = _refuse
    encode = replace = strip = lower = upper = _refuse


def test_compiling_never_reads_generated_code(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = codegen.Writer.finish
    hidden: list[Compiled] = []

    def finished(writer: codegen.Writer, label: str) -> Compiled:
        compiled = finish(writer, label)
        hidden.append(Compiled(compiled.function, Unreadable(), compiled.uses))
        return hidden[-1]

    files = [*GOOD, *EXCHANGES, *shipped_mappings().values()]
    expected = [results_of(plans_of(file)[0]) for file in files]
    monkeypatch.setattr(codegen.Writer, "finish", finished)
    assert [results_of(plans_of(file)[0]) for file in files] == expected
    assert len(hidden) > 400


def results_of(plans: PlanSet) -> list[object]:
    """The parts of plans that depend on what templates read."""
    found: list[object] = []
    for mapping in plans.mappings.values():
        for route in mapping.routes:
            found.append((route.pattern, route.reads_body, route.cache and route.cache.headers))
            for attempt in route.attempts:
                found += (
                    attempt.reads,
                    attempt.reads_upstream_body,
                    [case.handles_errors for case in attempt.cases],
                )
                found += [(call.needs, call.reads, call.reads_upstream_body) for call in attempt.calls]
    return found


#: The regular expressions of the packages that compile mappings; each one is the grammar of a notation.
#: None parses expressions or generated code: these are analyzed as syntax trees and `Uses`.
GRAMMARS = {
    "engine.language.expressions.parser": {"_VARIABLE"},  # the variables in the text of an expression
    # operators of other languages around an error in the text of an expression
    "engine.language.expressions.syntax_hints": {
        "_WORD_BEFORE",
        "_UNEXPECTED",
        "_HYPHENATED",
        "_REST_OF_NAME",
    },
    "engine.language.templates.strings": {"_OPENING", "_INSIDE"},  # the ends of `${ … }`
    "engine.language.templates.directives": {"_NAME"},
    "engine.language.durations": {"_DURATION"},
    "engine.compiler.client_keys": {"_KEY", "_NAME", "_DIGEST", "_ROUTES", ""},
    "engine.compiler.route_paths": {"PLAIN_PATH", "_PARAMETER", "_NAME", "_FOREIGN"},
    "engine.compiler.rate_limits": {"_RATE"},
    "engine.compiler.files": {"_OWN_KEYS", "KEY_LIKE"},
    "engine.compiler.upstreams": {"_SEPARATOR", "_FIELD_VALUE", ""},
    "engine.compiler.mapping": {"_PREFIX"},
    "engine.compiler.merge_rules": {"_STEP"},  # a step of a path of `merge`
    "engine.language.codegen": {"_OBJECT"},  # names of objects that nothing uses
    # placeholders of other languages, and variables without `${ }`, in the literal text of one scalar
    "engine.compiler.literal_texts": {"_BRACES", "_VARIABLE", "_WITHOUT_SIGN", "_DECLARED", "_FIELD"},
    "engine.compiler.masking": {"_FIELDS", "_SCHEME", "_URL", ""},  # credentials in output
}
COMPILING = [
    ROOT / "engine/language/codegen.py",
    ROOT / "engine/language/durations.py",
    ROOT / "engine/language/uses.py",
    *sorted(ROOT.glob("engine/compiler/*.py")),
    *sorted(ROOT.glob("engine/language/expressions/*.py")),
    *sorted(ROOT.glob("engine/language/templates/*.py")),
]


def regexes(tree: ast.Module) -> set[str]:
    """The names of a module's regular expressions; '' for one without a name."""
    uses = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "re"]
    named: dict[ast.expr, str] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Call):
            named[value.func] = target.id
    flags = {"DOTALL", "MULTILINE", "IGNORECASE", "ASCII"}
    return {named.get(use, "") for use in uses if use.attr not in flags}


def test_only_the_listed_regular_expressions_exist() -> None:
    found: dict[str, set[str]] = {}
    for file in COMPILING:
        tree = ast.parse(file.read_text("utf-8"))
        imported = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {"re", "re2", "regex"} & froms, file
        if imported & {"re", "re2", "regex"}:
            found[".".join(file.relative_to(ROOT).with_suffix("").parts)] = regexes(tree)
    assert found == GRAMMARS


def test_an_additional_regular_expression_is_found() -> None:
    added = 'import re\n_A = re.compile("a", re.DOTALL)\ndef f(s): return re.search("b", s)'
    assert regexes(ast.parse(added)) == {"_A", ""}
