"""Signatures and docstrings are parsed correctly, and every function is fully documented."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

import engine.language.functions
from engine.language.functions import FUNCTIONS, GROUPS, Example, Function, Parameter, compile_regex
from engine.language.functions.registry import function, parse_documentation, parse_signature

ANY: frozenset[str] = frozenset()

SIGNATURES = {
    "now() -> number": ("now", (), "number"),
    "f(a: any) -> any": ("f", (Parameter("a", ANY),), "any"),
    "f(a: string|null, b?: number) -> string|null": (
        "f",
        (Parameter("a", frozenset({"string", "null"})), Parameter("b", frozenset({"number"}), optional=True)),
        "string|null",
    ),
    "f(...a: any) -> boolean": ("f", (Parameter("a", ANY, variadic=True),), "boolean"),
    "f(a: array[number|string]) -> array": (
        "f",
        (Parameter("a", frozenset({"array"}), frozenset({"number", "string"})),),
        "array",
    ),
    "f(a: object|array[object]|null) -> object": (
        "f",
        (Parameter("a", frozenset({"object", "array", "null"}), frozenset({"object"})),),
        "object",
    ),
    "f(a: array[array], b: expression, c: regex, d: kind) -> null": (
        "f",
        (
            Parameter("a", frozenset({"array"}), frozenset({"array"})),
            Parameter("b", frozenset({"expression"})),
            Parameter("c", frozenset({"regex"})),
            Parameter("d", frozenset({"kind"})),
        ),
        "null",
    ),
}

BAD_SIGNATURES = [
    "",
    "f",
    "f()",
    "f() ->",
    "f() -> text",
    "f() -> any|null",
    "f() -> expression",
    "F() -> any",
    "f(a) -> any",
    "f(a:any) -> any",
    "f(a: any,b: any) -> any",
    "f(a: any, ) -> any",
    "f(a: integer) -> any",
    "f(a: string|) -> any",
    "f(a: string|string) -> any",
    "f(a: any|null) -> any",
    "f(a: string[number]) -> any",
    "f(a: array[]) -> any",
    "f(a: array[any]) -> any",
    "f(a: array[regex]) -> any",
    "f(a: array[number) -> any",
    "f(a: array[number]|array[string]) -> any",
    "f(a?: any, b: any) -> any",
    "f(...a: any, b: any) -> any",
    "f(a?: any, ...b: any) -> any",
    "f(...a?: any) -> any",
    "f(a: any, a: any) -> any",
]


@pytest.mark.parametrize(("signature", "expected"), SIGNATURES.items())
def test_signature(signature: str, expected: tuple[str, tuple[Parameter, ...], str]) -> None:
    assert parse_signature(signature) == expected


@pytest.mark.parametrize("signature", BAD_SIGNATURES)
def test_bad_signature(signature: str) -> None:
    with pytest.raises(ValueError, match=r"signature|parameter|type"):
        parse_signature(signature)


@pytest.mark.parametrize(
    ("signature", "minimum", "maximum"),
    [
        ("f() -> any", 0, 0),
        ("f(a: any, b?: any) -> any", 1, 2),
        ("f(...a: any) -> any", 1, None),
        ("f(a: any, ...b: any) -> any", 2, None),
    ],
)
def test_number_of_arguments(signature: str, minimum: int, maximum: int | None) -> None:
    made = function(signature)(lambda *arguments: arguments)
    assert (made.minimum, made.maximum) == (minimum, maximum)


def test_documentation() -> None:
    text = inspect.cleandoc(
        """What it does.

        More of it,
        and more.

        Examples:
            f('a => b') => "b"
            f(`1`) => !
            f(`2`) => !not_found
        """
    )
    examples = (
        Example("f('a => b')", "b"),
        Example("f(`1`)", failure=""),
        Example("f(`2`)", failure="not_found"),
    )
    assert parse_documentation(text) == ("What it does.", "More of it,\nand more.", examples)
    assert parse_documentation("") == ("", "", ())


@pytest.mark.parametrize("example", ["f()", "f() =>", "f() => nothing"])
def test_bad_example(example: str) -> None:
    with pytest.raises(ValueError, match=r"not an example|Expecting value"):
        parse_documentation(f"What it does.\n\nExamples:\n    {example}\n")


def test_decorator() -> None:
    def implementation(text: str) -> str:
        """What it does."""
        return text

    made = function("f(text: string) -> string", lazy=True, context=True)(implementation)
    assert made.implementation is implementation
    assert (made.name, made.group, made.summary) == ("f", "test_registry", "What it does.")
    assert made.lazy
    assert made.context
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "g"  # type: ignore[misc]


def test_table_is_sorted_and_read_only() -> None:
    assert list(FUNCTIONS) == sorted(FUNCTIONS)
    assert all(name == function.name for name, function in FUNCTIONS.items())
    with pytest.raises(TypeError):
        FUNCTIONS["x"] = FUNCTIONS["abs"]  # type: ignore[index]


def test_every_module_of_functions_is_in_the_table() -> None:
    assert {function.group for function in FUNCTIONS.values()} == set(GROUPS)
    folder = Path(engine.language.functions.__file__).parent
    using = {path.stem for path in folder.glob("*.py") if "\n@function(" in path.read_text(encoding="utf-8")}
    assert using == set(GROUPS)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_function_is_described(function: Function) -> None:
    assert function.summary.endswith(".")
    assert function.examples
    assert "Examples:" not in function.description
    assert any(function.name + "(" in example.expression for example in function.examples)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_implementation_has_the_parameters_of_the_signature(function: Function) -> None:
    taken = list(inspect.signature(function.implementation).parameters.values())[function.context :]
    assert len(taken) == len(function.parameters)
    for parameter, python in zip(function.parameters, taken, strict=True):
        assert parameter.optional == (python.default is not python.empty)
        assert parameter.variadic == (python.kind is python.VAR_POSITIONAL)


def test_modules_import_only_lower_packages() -> None:
    allowed = {"engine.errors", "engine.values", "orjson", "re2"}
    for path in Path(engine.language.functions.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name in allowed or name.startswith("engine.language.functions") or "engine" not in name
                assert name.partition(".")[0] not in {"jmespath", "starlette", "httpx2", "yaml"}


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a{5000}", "\ud800"])
def test_bad_pattern(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        compile_regex(pattern)
    assert type(caught.value) is ValueError
    assert capfd.readouterr().err == ""
