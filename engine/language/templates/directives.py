"""The directives: which there are, what each must stand beside, and what is a key of the output.

Contract: `check_directives` finds every misuse in one mapping, placed at the directive. Code is written of a
mapping whether or not something was found.
Must not know how directives are written as code.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, Final

from engine.diagnostics import Findings, suggestion
from engine.language.templates.strings import is_static
from engine.locations import Node

DIRECTIVES: Final = (
    "$each",
    "$with",
    "$let",
    "$if",
    "$then",
    "$else",
    "$switch",
    "$cases",
    "$default",
    "$use",
    "$spread",
    "$concat",
    "$value",
)
#: Directives that are the whole content of their mapping: no key of the output can stand beside them.
_WHOLE: Final = ("$use", "$concat", "$value")
#: Directives that apply to the content beside them.
_MODIFIERS: Final = ("$each", "$with", "$let", "$if")
#: Directives that mean something only beside another.
_NEEDS: Final = {"$then": "$if", "$cases": "$switch", "$default": "$switch", "$else": "$if"}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def is_output(key: str) -> bool:
    """Whether a key of a mapping is one of the output, no directive; `$$` stands for a `$`."""
    return not key.startswith("$") or key.startswith("$$")


def literal_key(key: str) -> str:
    """A key of the output as it comes out."""
    return key[1:] if key.startswith("$$") else key


def is_certain(value: Any) -> bool:
    """Whether a template gives a value always, whatever the payload."""
    if isinstance(value, dict):
        return all(is_output(key) or key in ("$let", "$spread", "$concat") for key in value)
    return is_static(value) or isinstance(value, list)


# --- Checks ----------------------------------------------------------------------------------------------


def check_directives(node: Node, taken: Container[str], findings: Findings) -> None:
    """Find what is wrong with the directives of one mapping.

    Args:
        node: the mapping.
        taken: names of variables that `$let` cannot give.
        findings: receives what is wrong.
    """
    for key in node.value:
        _check_key(node, key, findings)
    _check_company(node, findings)
    if "$let" in node.value:
        _check_let(node["$let"], taken, findings)
    _check_content(node, findings)


def _check_key(node: Node, key: str, findings: Findings) -> None:
    if key.startswith("$$"):
        return
    if "${" in key:
        misused(node[key], "a key cannot hold an expression; use $spread with from_items()", findings)
    elif key.startswith("$") and key not in DIRECTIVES:
        hint = suggestion(key, DIRECTIVES)
        message = f"unknown directive '{key}'; a literal key is written '$${key[1:]}'"
        findings.error("unknown-directive", message, node[key].key_span, hint)


def _check_company(node: Node, findings: Findings) -> None:
    """What each directive must, and must not, stand beside."""
    keys = node.value
    for key, needed in _NEEDS.items():
        if key in keys and needed not in keys:
            misused(node[key], f"'{key}' stands only beside '{needed}'", findings)
    if "$if" in keys and "$switch" in keys:
        misused(node["$switch"], "'$if' and '$switch' do not stand together", findings)
    if "$switch" in keys and not isinstance(keys.get("$cases"), dict):
        misused(node["$switch"], "'$switch' needs '$cases', a mapping", findings)


def _check_let(node: Node, taken: Container[str], findings: Findings) -> None:
    if not isinstance(node.value, dict):
        misused(node, "'$let' takes a mapping of names to values", findings)
        return
    for name, value in node.items():
        if not _NAME.match(name):
            misused(value, f"'{name}' is no name for a variable", findings)
        elif name in taken:
            misused(value, f"'${name}' is a variable of the language; take another name", findings)


def _check_content(node: Node, findings: Findings) -> None:
    """Content is one of: `$then`, `$cases`, a directive of `_WHOLE`, or keys and `$spread`."""
    wholes = [key for key in ("$then", "$cases", *_WHOLE) if key in node.value]
    keys = [key for key in node.value if key == "$spread" or is_output(key)]
    for key in [*wholes[1:], *(keys if wholes else ())]:
        misused(node[key], f"'{key}' cannot stand beside '{wholes[0]}'", findings)
    first = next(iter(node.value), "")
    if first in _MODIFIERS and "$switch" not in node.value and not wholes and not keys:
        message = f"'{first}' has nothing to apply to: put keys or '$value' beside it"
        misused(node[first], message, findings)


def misused(node: Node, message: str, findings: Findings) -> None:
    """A finding at a directive."""
    findings.error("misused-directive", message, node.key_span)
