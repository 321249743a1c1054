"""The package layout: permitted imports between packages, the importer of each library, documentation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import tracked_files

ROOT = Path(__file__).parent.parent

#: The modules at the top of `engine` that every package may use; they import only one another.
BASE = ("locations", "diagnostics", "json_fallback", "values", "errors", "resources")

#: Each package with the packages that it may import; it may also import what those may import.
LAYERS = {
    "base": (),
    "process": (),
    "http": ("base",),
    "codecs": ("base",),
    "language": ("http", "codecs"),
    "plan": ("language",),
    "compiler": ("plan",),
    "exchange": ("plan",),
    "testing": ("compiler", "exchange"),
    "explain": ("testing",),
    "engine": ("explain",),
    "observability": ("exchange",),
    "stores": ("observability",),
    "client": ("process", "stores"),
    "server": ("compiler", "client"),
    "asgi": ("server",),
    "cli": ("engine", "server"),
}

#: Libraries that shape the project, and the only modules that import each.
LIBRARIES = {
    "yaml": ("engine.language.yaml.composer",),
    "jsonschema": ("engine.language.schema.validation_errors",),
    "jsonschema_rs": ("engine.language.schema.body_validator",),
    "referencing": ("engine.language.schema.validation_errors",),
    "jmespath": ("engine.language.expressions.parser",),
    "re2": ("engine.language.functions.regexes",),
    "httpx2": ("engine.client.http2",),
    "httpcore2": ("engine.client.http2",),
    "starlette": ("engine.server.app",),
    "uvicorn": ("engine.server.serve", "engine.server.http1.connection"),
    "httptools": ("engine.server.http1.connection", "engine.client.http1.response"),
    "limits": ("engine.stores.redis_windows",),
    "watchfiles": ("engine.server.reload",),
    "prometheus_client": ("engine.observability.metrics",),
    "opentelemetry": ("engine.observability.tracing",),
    "rich": ("cli.terminal",),
    "dotenv": ("cli.options",),
}

#: Packages that may use the event loop and sockets.
IMPURE = ("process", "observability", "stores", "client", "server", "asgi", "cli")

MODULES = sorted([*ROOT.glob("engine/**/*.py"), *ROOT.glob("cli/**/*.py")])


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[str]:
    """The modules that a file imports, by their full names."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are written out in full"
            yield from (_module(str(node.module), alias.name) for alias in node.names)


def _module(module: str, name: str) -> str:
    inner = ROOT / module.replace(".", "/") / name
    return f"{module}.{name}" if inner.is_dir() or inner.with_suffix(".py").exists() else module


def package_of(module: str) -> str | None:
    """The entry of `LAYERS` that a module belongs to; None for an external module."""
    tree, _, rest = module.partition(".")
    if tree == "engine" and rest:
        name = rest.partition(".")[0]
        return "base" if name in BASE else name
    return tree if tree in LAYERS else None


def allowed(package: str) -> set[str]:
    """The packages that a package may import, including itself."""
    return {package}.union(*(allowed(other) for other in LAYERS[package]))


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_modules_import_only_from_lower_packages(file: Path) -> None:
    own = package_of(name_of(file))
    assert own in LAYERS, "every module belongs to a package of LAYERS"
    for module in imports(file):
        package = package_of(module)
        assert package is None or package in allowed(own), f"{name_of(file)} must not import {module}"


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], index[other])
        if lowest[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


PACKAGES = sorted(name_of(file) for file in MODULES if file.name == "__init__.py")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_cycles_inside_a_package(package: str) -> None:
    """Checks a package's modules and subpackages; an import by any module of a subpackage counts."""

    def part(module: str) -> str | None:
        if module == package:
            return "__init__"
        return module[len(package) + 1 :].partition(".")[0] if module.startswith(package + ".") else None

    graph: dict[str, set[str]] = {}
    for file in MODULES:
        own = part(name_of(file))
        if own is not None:
            others = {part(module) for module in imports(file)} - {own, None}
            graph.setdefault(own, set()).update(other for other in others if other is not None)
    assert cycles(graph) == []


def test_cycles_are_found() -> None:
    graph: dict[str, set[str]] = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"a"}}
    assert cycles(graph) == [["a", "b", "c"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_each_library_is_imported_only_by_its_owner(file: Path) -> None:
    for module in imports(file):
        owners = LIBRARIES.get(module.partition(".")[0])
        assert owners is None or name_of(file) in owners, f"{module} belongs to {owners}"


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_pure_packages_do_not_use_the_event_loop(file: Path) -> None:
    if package_of(name_of(file)) not in IMPURE:
        assert not {"asyncio", "socket", "anyio", "uvloop"} & set(imports(file))


def test_upstream_requests_are_authenticated_by_one_function() -> None:
    """mypy accepts only an `OutgoingRequest` for sending; one function creates them."""
    makers = [
        name_of(file)
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("OutgoingRequest", "NewType")
    ]
    assert sorted(makers) == ["engine.exchange.outgoing", "engine.http.messages"]


def test_the_command_line_uses_only_public_names() -> None:
    for file in MODULES:
        if name_of(file).startswith("cli"):
            inner = [m for m in imports(file) if m.startswith("engine.")]
            allowed = ("engine.observability.logs", "engine.server.serve", "engine.server.workers")
            assert all(m in allowed for m in inner), f"{name_of(file)} imports {inner}"


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_every_module_has_a_docstring(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text())), (
        "a module needs a docstring that describes its purpose"
    )


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_public_names_are_documented(file: Path) -> None:
    tree = ast.parse(file.read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            documented = ast.get_docstring(node) or node.name.startswith("_") or len(node.body) <= 2
            assert documented, f"{node.name} has no docstring"


#: Modules that may read the wall clock: functions of mappings, logs, spans, counters shared between machines.
CLOCKS = {
    "engine.language.functions.times",
    "engine.observability.log_lines",
    "engine.stores.redis_windows",
    "engine.observability.tracing",
}


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_durations_are_measured_with_a_monotonic_clock(file: Path) -> None:
    names = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    wall = names & {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow"}
    assert not wall or name_of(file) in CLOCKS, f"{name_of(file)} uses {wall}"


def test_no_provider_is_named_in_the_code() -> None:
    names = re.compile(r"openai|ollama|anthropic|gemini|mistral|cohere|vllm|openrouter", re.IGNORECASE)
    for file in MODULES:
        code = ast.parse(file.read_text())
        words = [n.id for n in ast.walk(code) if isinstance(n, ast.Name)]
        words += [n.value for n in _literals(code)]
        assert not [word for word in words if names.search(word)], f"{name_of(file)} names a provider"


def _literals(tree: ast.Module) -> Iterator[ast.Constant]:
    """String literals other than docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def test_no_tracked_file_contains_a_local_path() -> None:
    paths = re.compile(r"(?<![\w.])/(root|home|Users)/[a-z]")
    for name in tracked_files():
        file = ROOT / name
        if file.is_file() and file != Path(__file__):
            text = file.read_text(errors="replace")
            assert not paths.search(text), f"{name} names a path of someone's machine"
