"""The type of a function, and the decorator that makes one from a signature and a docstring.

    @function("starts_with(text: string, prefix: string) -> boolean")
    def starts_with(text: str, prefix: str) -> bool: ...

Contract: a signature is parsed once, at import, and documents the function; an invalid one is a ValueError.
The compiler checks arguments against `parameters` before each call, so implementations do not check types.
This module must not know any function, nor how expressions are compiled.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

#: Types of values, by their names in JMESPath.
VALUE_TYPES = frozenset({"string", "number", "boolean", "null", "object", "array"})

#: Types of parameters only: `&expr`, and constants that are checked when a mapping is loaded.
CONSTANT_TYPES = frozenset({"expression", "regex", "kind"})

_SIGNATURE = re.compile(r"(?P<name>[a-z][a-z0-9_]*)\((?P<parameters>.*)\) -> (?P<returns>\S+)")
_PARAMETER = re.compile(r"(?P<dots>\.\.\.)?(?P<name>[a-z][a-z0-9_]*)(?P<optional>\?)?: (?P<types>\S+)")
_TYPE = re.compile(r"(?P<word>[a-z]+)(?:\[(?P<items>[a-z|]+)\])?")


class Context(Protocol):
    """What a function with `context=True` receives of the exchange, as its first argument."""

    @property
    def started_ns(self) -> int:
        """`time.monotonic_ns()` when the exchange began."""

    def warn(self, message: str) -> None:
        """Write a warning to the log of this exchange."""

    def drop(self, field: str) -> None:
        """Report a field of the client's body as dropped."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; `types` and `items` (of `array[…]`) are empty if it accepts any type.

    Several `items` mean that all elements have the same one of these types, that of the first element.
    """

    name: str
    types: frozenset[str]
    items: frozenset[str] = frozenset()
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """An expression and its outcome: `value`, or an error.

    `failure` is None for a value, '' for an EvaluationError, else the kind of an ExchangeError.
    """

    expression: str
    value: Any = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call takes from the budget of its exchange, in addition to the step of the loop around it.

    By default a list or an object costs a step for each item, a long text one for every 64 characters (by
    the types in the signature), and a created text costs its bytes. An argument that is a part of the item of
    the loop around the call costs none of this, because it cannot be passed repeatedly.

    Attributes:
        arguments: whether they cost steps; False if the time does not depend on their size.
        result: whether a created text costs bytes; False if it is short.
        expands: whether a created text can be many times as long as all arguments together, so that it costs
            bytes whatever they are.
        measured: positions of arguments that are traversed at any depth, so that their full size counts.
        item_bytes: bytes for each item of a list or object, if the call creates something for each.
        text_bytes: whether a text costs bytes for each character, because values are created from it.
        compared: whether a list's items are compared with an argument, which may be a list or an object too.
    """

    arguments: bool = True
    result: bool = True
    measured: tuple[int, ...] = ()
    item_bytes: int = 0
    text_bytes: bool = False
    expands: bool = False
    compared: bool = False


DEFAULT_COST = Cost()
NO_COST = Cost(arguments=False, result=False)
#: For functions whose result is a short text for any arguments.
SHORT_RESULT = Cost(result=False)
EXPANDS = Cost(expands=True)


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function of the language: its signature, its implementation and its documentation.

    `lazy`: the compiler writes its code in place, so that an unused argument is never evaluated.
    `context`: the implementation takes the exchange (a `Context`) before the arguments.
    `pure`: it has no effect, and returns the same result for the same arguments.
    `steady`: in a template of a pipeline it returns one value per call site and exchange, for all parts.
    """

    name: str
    signature: str
    parameters: tuple[Parameter, ...]
    returns: str
    implementation: Callable[..., Any]
    group: str
    summary: str
    description: str
    examples: tuple[Example, ...]
    lazy: bool = False
    context: bool = False
    pure: bool = True
    cost: Cost = DEFAULT_COST
    steady: bool = False

    @property
    def minimum(self) -> int:
        """The minimum number of arguments; a variadic parameter takes one or more."""
        return sum(not parameter.optional for parameter in self.parameters)

    @property
    def maximum(self) -> int | None:
        """The maximum number of arguments; None if there is none."""
        variadic = any(parameter.variadic for parameter in self.parameters)
        return None if variadic else len(self.parameters)


def function(
    signature: str,
    *,
    lazy: bool = False,
    context: bool = False,
    pure: bool = True,
    cost: Cost = DEFAULT_COST,
    steady: bool = False,
) -> Callable[[Callable[..., Any]], Function]:
    """Make a `Function` from the decorated implementation; its group is the name of its module."""
    name, parameters, returns = parse_signature(signature)

    def decorate(implementation: Callable[..., Any]) -> Function:
        group = implementation.__module__.rpartition(".")[2]
        documentation = parse_documentation(inspect.getdoc(implementation) or "")
        return Function(
            name,
            signature,
            parameters,
            returns,
            implementation,
            group,
            *documentation,
            lazy,
            context,
            pure,
            cost,
            steady,
        )

    return decorate


def parse_signature(signature: str) -> tuple[str, tuple[Parameter, ...], str]:
    """Name, parameters and result type of `name(a: type, b?: type, ...c: type) -> type`.

    Raises:
        ValueError: it does not follow that grammar.
    """
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        raise ValueError(f"not a signature: {signature}")
    pieces = match["parameters"].split(", ") if match["parameters"] else []
    parameters = tuple(_parse_parameter(piece) for piece in pieces)
    _check_order(parameters, signature)
    returns, _ = _parse_types(match["returns"])
    if returns & CONSTANT_TYPES:
        raise ValueError(f"not a result type: {match['returns']}")
    return match["name"], parameters, match["returns"]


def _parse_parameter(text: str) -> Parameter:
    match = _PARAMETER.fullmatch(text)
    if match is None:
        raise ValueError(f"not a parameter: {text}")
    if match["dots"] and match["optional"]:
        raise ValueError(f"a parameter is optional or variadic, not both: {text}")
    types, items = _parse_types(match["types"])
    return Parameter(match["name"], types, items, bool(match["optional"]), bool(match["dots"]))


def _parse_types(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The types of `a|b|array[c|d]` and those of its elements; `any` is the empty set."""
    if text == "any":
        return frozenset(), frozenset()
    types: set[str] = set()
    items: set[str] = set()
    for alternative in re.split(r"\|(?![^\[]*\])", text):
        match = _TYPE.fullmatch(alternative)
        if match is None or match["word"] in types or (match["items"] and match["word"] != "array"):
            raise ValueError(f"not a type: {text}")
        types.add(match["word"])
        items.update((match["items"] or "").split("|") if match["items"] else ())
    if not types <= VALUE_TYPES | CONSTANT_TYPES or not items <= VALUE_TYPES:
        raise ValueError(f"not a type: {text}")
    return frozenset(types), frozenset(items)


def _check_order(parameters: tuple[Parameter, ...], signature: str) -> None:
    optional = [parameter.optional for parameter in parameters]
    if optional != sorted(optional):
        raise ValueError(f"a required parameter after an optional one: {signature}")
    if any(parameter.variadic for parameter in parameters[:-1]):
        raise ValueError(f"only the last parameter can be variadic: {signature}")
    if parameters and parameters[-1].variadic and any(optional):
        raise ValueError(f"optional parameters cannot be combined with a variadic one: {signature}")
    if len({parameter.name for parameter in parameters}) < len(parameters):
        raise ValueError(f"two parameters have the same name: {signature}")


def parse_documentation(text: str) -> tuple[str, str, tuple[Example, ...]]:
    """Summary, description and examples of a docstring without indentation."""
    prose, _, examples = text.partition("Examples:\n")
    summary, _, description = prose.partition("\n")
    return summary.strip(), description.strip(), tuple(_parse_examples(examples))


def _parse_examples(text: str) -> Iterator[Example]:
    """One example per line: `expression => JSON`, `=> !kind` for a failed exchange, `=> !` for an error."""
    for line in filter(None, map(str.strip, text.splitlines())):
        expression, arrow, outcome = line.rpartition(" => ")
        if not arrow:
            raise ValueError(f"not an example: {line}")
        if outcome.startswith("!"):
            yield Example(expression, failure=outcome[1:])
        else:
            yield Example(expression, json.loads(outcome))
