"""Growing state of a stream: appending takes time linear in what is appended, not in the existing value.

Contract: a rule that sets a name of the state to its own value with something appended changes that value
in place, as long as nothing else can refer to it. Code that reads the name in any other way first calls
`release`: the value is then complete and is never changed again, and the next rule that appends begins with a
copy. So values are immutable for authors. Everything appended is charged to the budget of the exchange.
Must not know rules, events or how generated code is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from engine.language.budget import take_bytes, take_steps, take_value
from engine.language.functions.bounds import check_length
from engine.language.functions.deltas import Merger
from engine.language.functions.json_text import text_of


class Holder(Protocol):
    """The parts of an exchange used here: its budget, its state, and the values of the state that it owns."""

    bytes: int
    steps: int
    state: dict[str, Any]
    owned: dict[str, Any]


class _Text:
    """A text as a list of pieces. Meanwhile the state has another text, which is empty if this one is."""

    __slots__ = ("length", "pieces")

    def __init__(self, text: str) -> None:
        self.pieces = [text]
        self.length = len(text)

    def settle(self) -> str:
        return "".join(self.pieces)


class _Container:
    """A list or an object in the state that is changed in place."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def settle(self) -> Any:
        return self.value


# --- Reading ---------------------------------------------------------------------------------------------


def release(holder: Holder, name: str) -> None:
    """Complete the value of a name of the state, which is not changed any more."""
    owned = holder.owned.pop(name, None)
    if owned is not None:
        holder.state[name] = owned.settle()


def release_all(holder: Holder) -> None:
    """As `release`, for all names."""
    while holder.owned:
        name, owned = holder.owned.popitem()
        holder.state[name] = owned.settle()


# --- Appending -------------------------------------------------------------------------------------------


def append_flat(holder: Any, name: str, parts: Iterable[Any]) -> None:
    """`[$state.name, part, …][]`: lists add their items, other values themselves, null nothing."""
    items = _items(holder, name, lambda value: [item for item in value if item is not None])
    for part in parts:
        if type(part) is list:
            take_steps(holder, len(part))
            take_value(holder, part)
            items.extend([item for item in part if item is not None])
        elif part is not None:
            _take_one(holder, part)
            items.append(part)


def append_entries(holder: Any, name: str, parts: Iterable[Any]) -> None:
    """`$concat: [$state.name, part, …]`: as `append_flat`, but without removing nulls from lists."""
    items = _items(holder, name, list)
    for part in parts:
        if type(part) is list:
            take_steps(holder, len(part))
            take_value(holder, part)
            items.extend(part)
        elif part is not None:
            _take_one(holder, part)
            items.append(part)


def _items(holder: Any, name: str, copied: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """The list of a name, which may be changed in place."""
    owned = holder.owned.get(name)
    if owned is None:
        value = holder.state[name]
        if type(value) is list:
            take_steps(holder, len(value))
            items = copied(value)
        else:
            items = [] if value is None else [value]
        owned = holder.owned[name] = _Container(items)
        holder.state[name] = items
    found: list[Any] = owned.value
    return found


def _take_one(holder: Any, value: Any) -> None:
    take_bytes(holder, 8)
    take_value(holder, value)


def append_text(holder: Any, name: str, text: str) -> None:
    """`concat($state.name, text)`."""
    owned = holder.owned.get(name)
    if owned is None:
        value = text_of("concat", holder.state[name])
        take_bytes(holder, len(value))
        owned = holder.owned[name] = _Text(value)
        holder.state[name] = value
    take_bytes(holder, len(text))
    owned.length += len(text)
    check_length("concat", owned.length)
    owned.pieces.append(text)
    if text and not holder.state[name]:
        holder.state[name] = text


def merge_objects(holder: Any, name: str, parts: Iterable[dict[str, Any]]) -> None:
    """`merge($state.name, part, …)`, if the value of the name is an object."""
    owned = holder.owned.get(name)
    if owned is None:
        value = holder.state[name]
        take_steps(holder, len(value))
        owned = holder.owned[name] = _Container(dict(value))
        holder.state[name] = owned.value
    for part in parts:
        take_steps(holder, len(part))
        take_value(holder, part)
        owned.value.update(part)


class _Merged:
    """An object that deltas are merged into. Meanwhile the state has another object."""

    __slots__ = ("merger",)

    def __init__(self, merger: Merger) -> None:
        self.merger = merger

    def settle(self) -> dict[str, Any]:
        return self.merger.settle()


def fold_deltas(holder: Any, name: str, deltas: Any) -> None:
    """`merge_deltas($state.name, deltas)`, if the value of the name is an object or null."""
    owned = holder.owned.get(name)
    if owned is None:
        value = holder.state[name] or {}
        take_value(holder, value)
        owned = holder.owned[name] = _Merged(Merger(value))
        holder.state[name] = value
    take_value(holder, deltas)
    for delta in [deltas] if type(deltas) is dict else deltas or ():
        owned.merger.fold(delta)
        if delta and not holder.state[name]:
            holder.state[name] = delta


#: Everything that generated code calls, by name.
NAMES: Final[dict[str, Callable[..., None]]] = {
    "release": release,
    "append_flat": append_flat,
    "append_entries": append_entries,
    "append_text": append_text,
    "merge_objects": merge_objects,
    "fold_deltas": fold_deltas,
}
