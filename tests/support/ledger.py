"""Generates mappings for the ledger of fields: each leaf of a body is sent, tested, or reported as dropped.

Contract: a generated template is valid for bodies of the shape that it was generated for. The shape of its
output is known, so a mapping for that output can be generated too. A field that depends on a condition is
carried over in one branch, and declared as dropped in the other one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from hypothesis import strategies as st

#: Names of fields; few, so that those of input and output are often the same.
NAMES = ("a", "b", "c", "d")
DIRECTIVES = ("$use", "$with", "$let", "$if", "$each", "$spread")
FUNCTIONS = ("pick", "omit", "merge", "drop", "reverse", "if")
_MAX_SOURCES = 60


@dataclass(frozen=True)
class Leaf:
    """A scalar that is, or contains, the fields of the body at `paths`, written as in a header."""

    paths: frozenset[str]
    path: str | None = None


@dataclass(frozen=True)
class Object:
    """An object. `path` is that of a field of the body which it is, or None."""

    fields: dict[str, Shape]
    path: str | None = None


@dataclass(frozen=True)
class List:
    """A list whose items have one shape."""

    item: Shape
    path: str | None = None


@dataclass(frozen=True)
class Opaque:
    """Any value; it can only be copied."""

    path: None = None


Shape: TypeAlias = Leaf | Object | List | Opaque


def located(shape: Shape, path: str = "") -> Shape:
    """A shape as that of a body, or of a part of it at a path."""
    if isinstance(shape, Object):
        inside = {
            name: located(item, f"{path}.{name}" if path else name) for name, item in shape.fields.items()
        }
        return Object(inside, path)
    if isinstance(shape, List):
        return List(located(shape.item, f"{path}[]"), path)
    return shape if isinstance(shape, Opaque) else Leaf(frozenset((path,)), path)


def constructed(shape: Shape) -> Shape:
    """A shape as that of a new value, of which no part is a field of the body."""
    if isinstance(shape, Object):
        return Object({name: constructed(item) for name, item in shape.fields.items()})
    if isinstance(shape, List):
        return List(constructed(shape.item))
    return replace(shape, path=None)


def signature(shape: Shape) -> str:
    """Equal for shapes for which the same templates are valid."""
    kind, known = type(shape).__name__, shape.path is not None
    if isinstance(shape, Object):
        return f"{kind}{known}{sorted((name, signature(item)) for name, item in shape.fields.items())}"
    return f"{kind}{known}{signature(shape.item)}" if isinstance(shape, List) else f"{kind}{known}"


# --- Bodies ----------------------------------------------------------------------------------------------


def shapes(depth: int = 3) -> st.SearchStrategy[Shape]:
    """Shapes of bodies: objects of fields."""
    return _objects(depth).map(located)


def _objects(depth: int) -> st.SearchStrategy[Shape]:
    leaf: st.SearchStrategy[Shape] = st.just(Leaf(frozenset()))
    inner = leaf
    if depth > 1:
        below = _objects(depth - 1)
        inner = st.one_of(leaf, leaf, below, st.builds(List, below), st.just(List(Leaf(frozenset()))))
    return st.builds(Object, st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=4))


@st.composite
def bodies(draw: st.DrawFn, shape: Shape, is_complete: bool) -> Any:
    """A body of a shape, with a unique text for each leaf. Unless `is_complete`, some fields are absent, and
    some lists are empty."""
    count = 0

    def value(part: Shape) -> Any:
        nonlocal count
        if isinstance(part, Object):
            present = {n: p for n, p in part.fields.items() if is_complete or draw(st.integers(0, 9))}
            return {name: value(item) for name, item in present.items()}
        if isinstance(part, List):
            return [value(part.item) for _ in range(draw(st.integers(int(is_complete), 2)))]
        count += 1
        return f"v{count}v"

    return value(shape)


def leaves(body: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each leaf of a body with its path, written as in a header."""
    if isinstance(body, dict):
        for name, item in body.items():
            yield from leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(body, list):
        for item in body:
            yield from leaves(item, f"{path}[]")
    else:
        yield path, body


# --- Templates -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scope:
    """What a template may read: its payload, the variables of `$let`, and the body of the request.

    `is_guarded`: it is evaluated only if a payload is present, or for each item of a list.
    """

    payload: Shape
    body: Shape
    variables: dict[str, Shape] = field(default_factory=dict)
    is_guarded: bool = False

    def sources(self) -> list[tuple[str, Shape]]:
        """Expressions with the shapes of their values."""
        found = list(_paths("", self.payload))
        for name, shape in self.variables.items():
            found += _paths(f"${name}", shape)
        found += _paths("$request.body", self.body)
        return found[:_MAX_SOURCES]


def _paths(text: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield text or "@", shape
    if isinstance(shape, Object):
        for name, item in shape.fields.items():
            yield from _paths(f"{text}.{name}" if text else name, item)
    elif isinstance(shape, List) and isinstance(shape.item, Object):
        for name, item in shape.item.fields.items():
            yield f"{text or '@'}[*].{name}", List(item)


class Generator:
    """Generates the templates of one mapping.

    Attributes:
        templates: the named templates.
        tested: the paths of the leaves that conditions read.
        needs_complete_body: whether a field is carried over only if another one is present, or has items.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.templates: dict[str, Any] = {}
        self.tested: set[str] = set()
        self.needs_complete_body = False
        self._named: dict[str, str] = {}

    def choose(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def body(self, shape: Shape, depth: int = 4) -> tuple[Any, Object]:
        """A template for an object, and its shape."""
        return self.content(Scope(shape, shape), depth)

    def content(self, scope: Scope, depth: int) -> tuple[dict[str, Any], Object]:
        """The keys of a mapping, maybe with `$spread`."""
        content: dict[str, Any] = {}
        fields: dict[str, Shape] = {}
        if depth > 1 and not self.draw(st.integers(0, 2)):
            spread = self.object_of(scope, depth - 1)
            if spread is not None:
                content["$spread"], shape = spread
                fields |= shape.fields
        wanted = self.draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
        for name in wanted or ([] if fields else [NAMES[0]]):
            # Only a value that is always there replaces a field for all bodies.
            form = self.constant if name in fields else self.template
            content[name], fields[name] = form(scope, depth - 1)
        return content, Object(fields)

    def template(self, scope: Scope, depth: int) -> tuple[Any, Shape]:
        """Any template."""
        leaf_forms = (self.copy, self.text, self.conditional, self.function)
        forms = (*leaf_forms, self.function, *(self.copy,) * 2)
        if depth > 1:
            forms = (*forms, self.content, self.listing, self.with_, self.let, self.each, self.use)
        return self.choose(forms)(scope, depth) or self.copy(scope, depth)

    def constant(self, scope: Scope, depth: int) -> tuple[Any, Shape]:
        """A template that has a value whatever the body is."""
        text = self.text(scope, depth) if self.draw(st.booleans()) else None
        return text or (self.choose(("fixed", 1, False, [])), Leaf(frozenset()))

    # The forms; each gives None if no source has the shape that it needs.

    def copy(self, scope: Scope, depth: int) -> tuple[str, Shape]:
        text, shape = self.source(scope)
        return f"${{ {text} }}", shape

    def text(self, scope: Scope, depth: int) -> tuple[str, Shape] | None:
        found = self.source(scope, Leaf)
        return None if found is None else (f"- ${{ {found[0]} }}", Leaf(found[1].paths))

    def listing(self, scope: Scope, depth: int) -> tuple[Any, Shape]:
        items = [self.template(scope, depth - 1) for _ in range(self.draw(st.integers(1, 2)))]
        shape = List(items[0][1]) if len(items) == 1 else Opaque()
        return [template for template, _ in items], shape

    def with_(self, scope: Scope, depth: int) -> tuple[Any, Shape] | None:
        payload = self.object_of(scope, depth - 1)
        if payload is None:
            return None
        content, shape = self.content(replace(scope, payload=payload[1], is_guarded=True), depth - 1)
        return {"$with": payload[0], **content}, shape

    def let(self, scope: Scope, depth: int) -> tuple[Any, Shape]:
        value, shape = self.template(scope, depth - 1)
        name = f"v{len(scope.variables)}"
        inside = replace(scope, variables={**scope.variables, name: shape})
        content, result = self.content(inside, depth - 1)
        return {"$let": {name: value}, **content}, result

    def each(self, scope: Scope, depth: int) -> tuple[Any, Shape] | None:
        found = self.source(scope, List)
        if found is None:
            return None
        inside = replace(scope, payload=found[1].item, is_guarded=True)
        if isinstance(inside.payload, Leaf):
            self.tested |= inside.payload.paths  # an absent item is skipped
        if isinstance(inside.payload, Object):
            content, shape = self.content(inside, depth - 1)
            return {"$each": f"${{ {found[0]} }}", **content}, List(shape)
        template, item = self.template(inside, depth - 1)
        return {"$each": f"${{ {found[0]} }}", "$value": template}, List(item)

    def use(self, scope: Scope, depth: int) -> tuple[Any, Shape] | None:
        """A named template, on an object; the template may have been used for another one."""
        found = self.object_of(scope, depth - 1)
        if found is None:
            return None
        key = signature(found[1])
        if key in self._named and self.draw(st.booleans()):
            return {"$with": found[0], "$use": self._named[key]}, Opaque()
        template, shape = self.content(Scope(found[1], Opaque(), is_guarded=True), depth - 1)
        name = f"t{len(self.templates)}"
        self.templates[name] = template
        self._named[key] = name
        return {"$with": found[0], "$use": name}, shape

    def conditional(self, scope: Scope, depth: int) -> tuple[Any, Shape] | None:
        """A field that is carried over if a condition holds, else declared as dropped."""
        found, tested = (self.source(scope, is_field=True) for _ in range(2))
        if not (found and tested and found[1].path):
            return None
        condition = self.condition(*tested)
        text, _ = found
        if self.draw(st.booleans()):
            return f"${{ if({condition}, {text}, drop({text})) }}", Opaque()
        branches = [f"${{ {text} }}", f"${{ drop({text}) }}"]
        if self.draw(st.booleans()):
            branches.reverse()
        return {"$if": f"${{ {condition} }}", "$then": branches[0], "$else": branches[1]}, Opaque()

    def condition(self, text: str, shape: Shape) -> str:
        """A test of a field, or a comparison. Notes the leaves that it reads."""
        if not isinstance(shape, Leaf):
            return f"{self.choose(('', '!'))}({text})"
        self.tested |= shape.paths
        return str(self.choose((text, f"!({text})", f"{text} == 'v1v'", f"{text} != 'v2v'")))

    def function(self, scope: Scope, depth: int) -> tuple[str, Shape] | None:
        found = self.expression(scope)
        return None if found is None else (f"${{ {found[0]} }}", found[1])

    def expression(self, scope: Scope) -> tuple[str, Shape] | None:
        """A function call, or a new object or list."""
        form = self.choose((self.pick, self.pick, self.merge, self.new_object, self.reverse))
        return form(scope)  # type: ignore[no-any-return]

    def pick(self, scope: Scope) -> tuple[str, Shape] | None:
        found = self.source(scope, Object)
        if found is None or not found[1].fields:
            return None
        text, shape = found
        names = self.draw(st.lists(st.sampled_from(sorted(shape.fields)), unique=True, max_size=2))
        literal = ", ".join(f"'{name}'" for name in names)
        if self.draw(st.booleans()):
            return f"pick({text}, [{literal}])", Object({name: shape.fields[name] for name in names})
        rest = {name: item for name, item in shape.fields.items() if name not in names}
        return f"omit({text}, [{literal}])", Object(rest)

    def merge(self, scope: Scope) -> tuple[str, Shape] | None:
        first = self.source(scope, Object)
        if first is None:
            return None
        text, shape = self.source(scope)
        name = self.choose(NAMES)
        merged = Object({**first[1].fields, name: shape})
        return f"merge({first[0]}, {{{name}: {text}}})", merged

    def new_object(self, scope: Scope) -> tuple[str, Shape]:
        fields = {name: self.source(scope) for name in NAMES[: self.draw(st.integers(1, 2))]}
        text = ", ".join(f"{name}: {source}" for name, (source, _) in fields.items())
        return f"{{{text}}}", Object({name: shape for name, (_, shape) in fields.items()})

    def reverse(self, scope: Scope) -> tuple[str, Shape] | None:
        found = self.source(scope, List)
        return None if found is None else (f"reverse({found[0]})", List(found[1].item))

    def object_of(self, scope: Scope, depth: int) -> tuple[Any, Object] | None:
        """A template whose value is an object: a field, a function call, or a new object."""
        form = self.choose(("field", "function", "new"))
        if form == "new" and depth > 1:
            return self.content(scope, depth - 1)
        if form == "function":
            found = self.expression(scope)
            if found is not None and isinstance(found[1], Object):
                return f"${{ {found[0]} }}", found[1]
        source = self.source(scope, Object)
        return None if source is None else (f"${{ {source[0]} }}", source[1])

    def source(self, scope: Scope, kind: Any = object, is_field: bool = False) -> Any:
        """An expression whose value has a kind of shape and, if `is_field`, is a field of the body; None if
        there is none."""
        found = [pair for pair in scope.sources() if isinstance(pair[1], kind)]
        found = [pair for pair in found if pair[1].path is not None] if is_field else found
        if not found:
            return None
        chosen = self.choose(found)
        if scope.is_guarded and "$" in chosen[0]:
            self.needs_complete_body = True
        return chosen


def shown(mapping: Any) -> str:
    """A mapping as text; JSON is YAML."""
    return json.dumps(mapping, indent=1)
