"""The variables that generated code reads, collected while the code is written.

Contract: a variable is identified by its path, `("request", "body", "messages", ITEM, "name")`. An `Origin`
describes which variables a value in generated code contains; a value without one contains none that is not
recorded already. `Uses` is the only source for what a function reads; generated text is never searched.
Must not know Python source, JMESPath, or which variables there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

#: The last step of a path whose value is only tested for truth or presence; nothing inside it is read.
TESTED: Final = 0
#: The step to any item of a list, or to any pair of an object.
ITEM: Final = 1

#: The maximum number of alternatives of one value that are distinguished; above it, all count as read.
_MAX_ALTERNATIVES: Final = 32


@dataclass(frozen=True, slots=True)
class AllExcept:
    """The last step of a path of which all fields are read except those in `names`."""

    names: frozenset[str]


Step: TypeAlias = str | int | AllExcept
VariablePath: TypeAlias = tuple[Step, ...]


def path_text(path: VariablePath) -> str:
    """A path in a client's body as shown to people: `messages[].name`."""
    return "".join("[]" if step == ITEM else f".{step}" for step in path).removeprefix(".")


class Paths:
    """Collects paths from origins; each origin is visited once, however often it is shared."""

    def __init__(self) -> None:
        self.found: set[VariablePath] = set()
        self._visited: set[tuple[Origin, object]] = set()

    def add(self, path: VariablePath) -> None:
        self.found.add(path)

    def update(self, other: Paths) -> None:
        self.found |= other.found

    def add_read(self, origin: Origin, without: frozenset[str] = frozenset()) -> None:
        """Record that a value is read, except its fields in `without`."""
        if self._is_new(origin, without):
            origin.add_read(self, without)

    def add_test(self, origin: Origin) -> None:
        """Record that a value is tested for truth or presence."""
        if self._is_new(origin, TESTED):
            origin.add_test(self)

    def _is_new(self, origin: Origin, how: object) -> bool:
        before = len(self._visited)
        self._visited.add((origin, how))
        return len(self._visited) > before


class Origin(ABC):
    """The variables that a value contains."""

    @abstractmethod
    def child(self, step: str | int) -> Origin | None:
        """The origin of a field, or of an `ITEM` (an item of a list, or a pair of an object); None if it
        contains no variable."""

    def item(self) -> Origin | None:
        """The origin of an item, if the value is a list."""
        return self.child(ITEM)

    @abstractmethod
    def add_read(self, paths: Paths, without: frozenset[str]) -> None:
        """Record that the value is read, except its fields in `without`."""

    @abstractmethod
    def add_test(self, paths: Paths) -> None:
        """Record that the value is tested for truth or presence."""

    def flat(self) -> Origin:
        """The origin of the list after replacing items that are lists by their items."""
        return self


@dataclass(frozen=True, slots=True, eq=False)
class VariableOrigin(Origin):
    """A value that is a variable, or a field or an item inside one."""

    path: VariablePath

    def child(self, step: str | int) -> Origin:
        return VariableOrigin((*self.path, step))

    def add_read(self, paths: Paths, without: frozenset[str]) -> None:
        paths.add((*self.path, AllExcept(without)) if without else self.path)

    def add_test(self, paths: Paths) -> None:
        paths.add((*self.path, TESTED))


@dataclass(frozen=True, slots=True, eq=False)
class Constructed(Origin):
    """An object or a list created from other values.

    Attributes:
        fields: the values of an object's fields.
        items: the items of a list.
        spread: objects whose fields, or lists whose items, it contains.
        always: the names of fields that it has, whatever the values.
    """

    fields: dict[str, list[Origin]] = field(default_factory=dict)
    items: list[Origin] = field(default_factory=list)
    spread: list[Origin] = field(default_factory=list)
    always: set[str] = field(default_factory=set)

    def replace(self, names: Iterable[str]) -> None:
        """Record that it always has these fields, with later values than those recorded before."""
        replaced = frozenset(names)
        for name in replaced:
            self.fields.pop(name, None)
        if replaced:
            self.spread[:] = [without(origin, replaced) for origin in self.spread]
        self.always.update(replaced)

    def add_field(self, name: str, origin: Origin | None) -> None:
        if origin is not None:
            self.fields.setdefault(name, []).append(origin)

    def add_item(self, origin: Origin | None) -> None:
        if origin is not None:
            self.items.append(origin)

    def add_spread(self, origin: Origin | None) -> None:
        if origin is not None:
            self.spread.append(origin)

    def child(self, step: str | int) -> Origin | None:
        inside = (origin.child(step) for origin in self.spread)
        if isinstance(step, str):
            # Fields of items, because a list of objects can be spread into an object.
            among = (origin.child(step) for origin in self.items)
            return _one_of((*self.fields.get(step, ()), *among, *inside))
        return _one_of((*self.items, *inside, UnknownPart(self) if self.fields else None))

    def item(self) -> Origin | None:
        return _one_of((*self.items, *(origin.item() for origin in self.spread)))

    def add_read(self, paths: Paths, without: frozenset[str]) -> None:
        for name, origins in self.fields.items():
            for origin in origins if name not in without else ():
                paths.add_read(origin)
        for origin in self.items:
            paths.add_read(origin)
        for origin in self.spread:
            paths.add_read(origin, without)

    def add_test(self, paths: Paths) -> None:
        for origins in (*self.fields.values(), self.items, self.spread):
            for origin in origins:
                paths.add_test(origin)

    def flat(self) -> Origin:
        items = [part for item in self.items for part in (item, item.item()) if part is not None]
        return Constructed(self.fields, items, [origin.flat() for origin in self.spread])


@dataclass(frozen=True, slots=True, eq=False)
class Either(Origin):
    """One of several values, or another value without variables; which one is known only at run time."""

    alternatives: tuple[Origin, ...]

    def child(self, step: str | int) -> Origin | None:
        return either(None, *(origin.child(step) for origin in self.alternatives))

    def item(self) -> Origin | None:
        return either(None, *(origin.item() for origin in self.alternatives))

    def add_read(self, paths: Paths, without: frozenset[str]) -> None:
        for origin in self.alternatives:
            paths.add_read(origin, without)

    def add_test(self, paths: Paths) -> None:
        for origin in self.alternatives:
            paths.add_test(origin)

    def flat(self) -> Origin:
        return Either(tuple(origin.flat() for origin in self.alternatives))


@dataclass(frozen=True, slots=True, eq=False)
class Without(Origin):
    """An object without the fields in `names`."""

    object: Origin
    names: frozenset[str]

    def child(self, step: str | int) -> Origin | None:
        if isinstance(step, str):
            return None if step in self.names else self.object.child(step)
        return UnknownPart(self)

    def item(self) -> Origin | None:
        return None

    def add_read(self, paths: Paths, without: frozenset[str]) -> None:
        paths.add_read(self.object, without | self.names)

    def add_test(self, paths: Paths) -> None:
        paths.add_test(self.object)


def without(origin: Origin, names: frozenset[str]) -> Origin:
    """The origin of an object without the fields in `names`."""
    if isinstance(origin, Without):
        return Without(origin.object, origin.names | names)
    return Without(origin, names)


@dataclass(frozen=True, slots=True, eq=False)
class UnknownPart(Origin):
    """An unknown part of a value; any use of it reads the complete value."""

    of: Origin

    def child(self, step: str | int) -> Origin:
        return self

    def add_read(self, paths: Paths, without: frozenset[str]) -> None:
        paths.add_read(self.of)

    def add_test(self, paths: Paths) -> None:
        paths.add_read(self.of)


@dataclass(frozen=True, slots=True, eq=False)
class Derived(Origin):
    """A text that is written from other values; any use of it reads all of them."""

    parts: tuple[Origin, ...]

    def child(self, step: str | int) -> Origin:
        return self

    def add_read(self, paths: Paths, without: frozenset[str]) -> None:
        for origin in self.parts:
            paths.add_read(origin)

    def add_test(self, paths: Paths) -> None:
        self.add_read(paths, frozenset())


def either(*origins: Origin | None) -> Origin | None:
    """The origin of a value that is one of several, None for those without variables."""
    return _one_of(origins, None not in origins)


def _one_of(origins: Iterable[Origin | None], is_certain: bool = True) -> Origin | None:
    """The origin of a value that is one of several, or null; unless `is_certain`, it may also be another."""
    found: dict[Origin, None] = {}
    for origin in origins:
        if isinstance(origin, Either):
            is_certain = False
            found |= dict.fromkeys(origin.alternatives)
        elif origin is not None:
            found[origin] = None
    if not found or (len(found) == 1 and is_certain):
        return next(iter(found), None)
    origin = Either(tuple(found))
    return origin if len(found) <= _MAX_ALTERNATIVES else UnknownPart(origin)


@dataclass(frozen=True, slots=True)
class Uses:
    """What a function reads.

    Attributes:
        reads: what its result or effect depends on: paths of values that are used or compared, and of
            values that are only tested, which end in `TESTED`.
        references: everything that its code evaluates, including `reads` and unused `$let` variables.
        is_pure: whether it has no effect, and always the same result for the same values read.
    """

    reads: frozenset[VariablePath] = frozenset()
    references: frozenset[VariablePath] = frozenset()
    is_pure: bool = True

    @staticmethod
    def of_all(parts: Iterable[Uses]) -> Uses:
        """The combined uses of several functions."""
        every = tuple(parts)
        return Uses(
            frozenset().union(*(uses.reads for uses in every)),
            frozenset().union(*(uses.references for uses in every)),
            all(uses.is_pure for uses in every),
        )

    def refers_to(self, variable: VariablePath) -> bool:
        """Whether the code evaluates a variable, or a part of it."""
        return any(path[: len(variable)] == variable for path in self.references)

    def reads_below(self, variable: VariablePath) -> frozenset[VariablePath]:
        """The paths read inside a variable, without the path of the variable itself."""
        return frozenset(_below(self.reads, variable))

    def references_below(self, variable: VariablePath) -> frozenset[VariablePath]:
        """As `reads_below`, for everything that the code evaluates."""
        return frozenset(_below(self.references, variable))

    def is_constant(self, known: Container[Step]) -> bool:
        """Whether the result never changes, because everything evaluated is below variables in `known`."""
        return self.is_pure and all(path[0] in known for path in self.references)


NOTHING: Final = Uses()


def _below(paths: Iterable[VariablePath], variable: VariablePath) -> Iterator[VariablePath]:
    return (path[len(variable) :] for path in paths if path[: len(variable)] == variable)


def minimal(paths: Iterable[VariablePath]) -> frozenset[VariablePath]:
    """The reads without the paths that others imply: those inside a value that is read completely, and tests
    of values inside which something is read."""
    every = set(paths)
    passed = {path[:end] for path in every for end in range(len(path) - (path[-1:] == (TESTED,)))}
    return frozenset(path for path in every if not _is_implied(path, every, passed))


def _is_implied(path: VariablePath, every: set[VariablePath], passed: set[VariablePath]) -> bool:
    if path[-1:] == (TESTED,) and path[:-1] in passed:
        return True
    return any(path[:end] in every for end in range(len(path)))
