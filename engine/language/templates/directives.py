"""The directives, their allowed combinations, and keys of the output.

Contract: `check_directives` reports every misuse in one mapping at the directive. The code of a mapping is
written even after findings.
Must not know how directives are written as code.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.diagnostics import Findings, suggestion
from engine.language.templates.strings import is_static
from engine.locations import Node


@dataclass(frozen=True, slots=True)
class Directive:
    """The role of a directive in its mapping.

    Attributes:
        is_content: it is the complete content of its mapping, which then has no keys of the output.
        is_modifier: it applies to the other content of its mapping.
        needs: the directive that it requires in the same mapping.
        is_certain: a mapping with it and keys of the output has a value for any payload.
    """

    is_content: bool = False
    is_modifier: bool = False
    needs: str | None = None
    is_certain: bool = False


#: Each directive by its name. `contents` and `control` have their code.
DIRECTIVES: Final[Mapping[str, Directive]] = {
    "$each": Directive(is_modifier=True),
    "$with": Directive(is_modifier=True),
    "$let": Directive(is_modifier=True, is_certain=True),
    "$if": Directive(is_modifier=True),
    "$then": Directive(is_content=True, needs="$if"),
    "$else": Directive(needs="$if"),
    "$switch": Directive(),
    "$cases": Directive(is_content=True, needs="$switch"),
    "$default": Directive(needs="$switch"),
    "$use": Directive(is_content=True),
    "$spread": Directive(is_certain=True),
    "$concat": Directive(is_content=True, is_certain=True),
    "$value": Directive(is_content=True),
}

#: Directives of other languages, with the one that does the same.
_FAMILIAR: Final[Mapping[str, str]] = {
    **dict.fromkeys(("$for", "$foreach", "$map", "$loop", "$repeat", "$items"), "$each"),
    **dict.fromkeys(("$when", "$unless", "$elif", "$elseif"), "$if"),
    **dict.fromkeys(("$match", "$case", "$choose"), "$switch"),
    **dict.fromkeys(("$set", "$var", "$vars", "$define"), "$let"),
    **dict.fromkeys(("$template", "$ref", "$include", "$call"), "$use"),
    **dict.fromkeys(("$merge", "$extend", "$assign"), "$spread"),
}
#: How other keys are added to content that is complete.
_COMBINING: Final[Mapping[str, str]] = {
    "$use": "write '$spread: { $use: … }' to add the keys of a template to others",
    "$value": "write '$spread' instead of '$value' to add the keys of an object to others",
    "$then": "put the keys below '$then'",
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def is_output(key: str) -> bool:
    """Whether a key of a mapping belongs to the output and is not a directive; `$$` is an escaped `$`."""
    return not key.startswith("$") or key.startswith("$$")


def is_optional(key: str) -> bool:
    """Whether a key of the output is left out where its value is empty; `??` is an escaped `?`."""
    return key.endswith("?") and not key.endswith("??")


def literal_key(key: str) -> str:
    """A key of the output without escapes, and without the mark of an optional one."""
    return key.removeprefix("$" if key.startswith("$$") else "").removesuffix("?")


def output_keys(node: Node) -> Iterator[tuple[str, Node]]:
    """The keys of the output that a mapping has, as they are written to it, with their values."""
    for key, child in node.items() if isinstance(node.value, dict) else ():
        if is_output(key):
            yield literal_key(key), child


def is_certain(value: Any) -> bool:
    """Whether a template has a value for any payload."""
    if isinstance(value, dict):
        return all(is_output(key) or (key in DIRECTIVES and DIRECTIVES[key].is_certain) for key in value)
    return is_static(value) or isinstance(value, list)


# --- Checks ----------------------------------------------------------------------------------------------


def check_directives(node: Node, taken: Container[str], findings: Findings) -> None:
    """Report what is wrong with the directives of one mapping.

    Args:
        node: the mapping.
        taken: names of variables that `$let` cannot define.
        findings: receives errors.
    """
    for key in node.value:
        _check_key(node, key, findings)
    _check_duplicates(node, findings)
    _check_combinations(node, findings)
    if "$let" in node.value:
        _check_let(node["$let"], taken, findings)
    _check_content(node, findings)


def _check_key(node: Node, key: str, findings: Findings) -> None:
    if key.startswith("$$"):
        return
    if "${" in key:
        misused(node[key], "a key cannot contain an expression; use $spread with from_items()", findings)
    elif key.startswith("$") and key not in DIRECTIVES:
        familiar = _FAMILIAR.get(key.lower())
        hint = f"write '{familiar}'" if familiar else suggestion(key, DIRECTIVES)
        message = f"unknown directive '{key}'; a literal key is written '$${key[1:]}'"
        findings.error("unknown-directive", message, node[key].key_span, hint)


def _check_duplicates(node: Node, findings: Findings) -> None:
    """Report `a` next to `a?`, which are the same key of the output."""
    seen: dict[str, Node] = {}
    for name, child in output_keys(node):
        first = seen.setdefault(name, child)
        if first is not child:
            message = f"duplicate key '{name}'; first defined at line {first.key_span.line}"
            findings.error("duplicate-key", message, child.key_span)


def _used(node: Node) -> list[tuple[str, Directive]]:
    """The directives of a mapping, in the order of the table."""
    return [(key, directive) for key, directive in DIRECTIVES.items() if key in node.value]


def _check_combinations(node: Node, findings: Findings) -> None:
    """Check which directives require or exclude each other."""
    keys = node.value
    for key, directive in _used(node):
        if directive.needs is not None and directive.needs not in keys:
            misused(node[key], f"'{key}' requires '{directive.needs}' in the same mapping", findings)
    if "$if" in keys and "$switch" in keys:
        misused(node["$switch"], "'$if' and '$switch' cannot be combined", findings)
    if "$switch" in keys and not isinstance(keys.get("$cases"), dict):
        misused(node["$switch"], "'$switch' requires '$cases', a mapping", findings)


def _check_let(node: Node, taken: Container[str], findings: Findings) -> None:
    if not isinstance(node.value, dict):
        misused(node, "'$let' takes a mapping of names to values", findings)
        return
    for name, value in node.items():
        if not _NAME.match(name):
            misused(value, f"'{name}' is not a valid variable name", findings)
        elif name in taken:
            misused(value, f"'${name}' is a built-in variable; choose another name", findings)


def _check_content(node: Node, findings: Findings) -> None:
    """Check that the content is one directive that is content, or keys and `$spread`."""
    contents = [key for key, directive in _used(node) if directive.is_content]
    keys = [key for key in node.value if key == "$spread" or is_output(key)]
    for key in [*contents[1:], *(keys if contents else ())]:
        message = f"'{key}' cannot be combined with '{contents[0]}'"
        misused(node[key], message, findings, _COMBINING.get(contents[0]))
    first = next(iter(node.value), "")
    is_modifier = first in DIRECTIVES and DIRECTIVES[first].is_modifier
    if is_modifier and "$switch" not in node.value and not contents and not keys:
        message = f"'{first}' has nothing to apply to: add keys or '$value' to the same mapping"
        misused(node[first], message, findings)


def misused(node: Node, message: str, findings: Findings, hint: str | None = None) -> None:
    """Report the misuse of a directive."""
    findings.error("misused-directive", message, node.key_span, hint)
