"""The rules of the house: who may import whom, which library lives where, that all of it is documented."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: The rooms from the ground up; a module imports only from rooms before its own, or from its own room.
ROOMS = (
    "engine.locations",
    "engine.errors",
    "engine.json_fallback",
    "engine.values",
    "engine.language.budget",
    "engine.http.fields",
    "engine.http.origins",
    "engine.resources",
    "engine.language.functions",
    "engine.language.stream_state",
    "engine.http.auth",
    "engine.codecs",
    "engine.language.uses",
    "engine.language.codegen",
    "engine.language.expressions",
    "engine.language.templates",
    "engine.language.yaml",
    "engine.language.schema",
    "engine.language.spec",
    "engine.http.messages",
    "engine.http.routing",
    "engine.plan",
    "engine.compiler",
    "engine.compiler.masking",
    "engine.exchange",
    "engine.testing.offline",
    "engine.testing",
    "engine.explain",
    "engine.explain",
    "engine",
    "engine.server",
    "cli",
)

#: Libraries that shape the project, and the one place that imports each.
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
    "structlog": ("engine.observability.console",),
    "rich": ("cli.terminal",),
    "dotenv": ("cli.options",),
}

#: Rooms that must stay free of the event loop and of sockets.
PURE = ROOMS[: ROOMS.index("engine.server")]

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


def room_of(module: str) -> int | None:
    """The room of a module: the longest name that it is, or lies below."""
    fitting = [
        room for room in ROOMS if module == room or (module.startswith(room + ".") and room != "engine")
    ]
    return ROOMS.index(max(fitting, key=len)) if fitting else None


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_modules_import_only_from_lower_rooms(file: Path) -> None:
    own = room_of(name_of(file))
    assert own is not None, "every module belongs to a room"
    for module in imports(file):
        room = room_of(module)
        assert room is None or room <= own, f"{name_of(file)} must not import {module}"


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_libraries_are_imported_in_one_place(file: Path) -> None:
    for module in imports(file):
        places = LIBRARIES.get(module.partition(".")[0])
        assert places is None or name_of(file) in places, f"{module} belongs to {places}"


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_pure_rooms_know_no_event_loop(file: Path) -> None:
    room = room_of(name_of(file))
    if room is not None and ROOMS[room] in PURE:
        assert not {"asyncio", "socket", "anyio", "uvloop"} & set(imports(file))


def test_the_command_line_uses_public_names_alone() -> None:
    for file in MODULES:
        if name_of(file).startswith("cli"):
            inner = [m for m in imports(file) if m.startswith("engine.")]
            allowed = ("engine.observability.logs", "engine.server.serve", "engine.server.workers")
            assert all(m in allowed for m in inner), f"{name_of(file)} imports {inner}"


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_every_file_says_what_it_is_for(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text())), "a file opens with its purpose"


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_public_names_are_documented(file: Path) -> None:
    tree = ast.parse(file.read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            documented = ast.get_docstring(node) or node.name.startswith("_") or len(node.body) <= 2
            assert documented, f"{node.name} has no docstring"


#: What may ask for the time of day: functions of mappings, logs, spans, counters that machines share.
CLOCKS = {
    "engine.language.functions.times",
    "engine.observability.json_lines",
    "engine.stores.redis_windows",
    "engine.observability.tracing",
}


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_durations_are_measured_by_a_clock_that_is_never_set(file: Path) -> None:
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
    """String literals that are no docstrings."""
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


def test_no_path_of_a_machine_is_tracked() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    paths = re.compile(r"(?<![\w.])/(root|home|Users)/[a-z]")
    for name in tracked:
        file = ROOT / name
        if file.is_file() and file != Path(__file__):
            text = file.read_text(errors="replace")
            assert not paths.search(text), f"{name} names a path of someone's machine"
