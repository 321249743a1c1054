"""Names of functions and variables that other languages have, with what this language has instead.

Contract: tables of hints, used where a name is unknown and none is similar to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.language.expressions.scope import Record, Variable

_FUNCTIONS: Final[Mapping[str, str]] = {
    "not": "write '!(…)'",
    **dict.fromkeys(("tolowercase", "to_lower", "lowercase", "downcase", "lcase"), "write 'lower(text)'"),
    **dict.fromkeys(("touppercase", "to_upper", "uppercase", "upcase", "ucase"), "write 'upper(text)'"),
    **dict.fromkeys(("len", "size", "count"), "write 'length(value)'"),
    **dict.fromkeys(("str", "string", "tostring"), "write 'to_string(value)'"),
    **dict.fromkeys(("number", "float", "tonumber", "parseint", "to_int"), "write 'to_number(value)'"),
    **dict.fromkeys(("coalesce", "ifnull", "or_else"), "write 'default(value, other)'"),
    **dict.fromkeys(("iif", "ternary", "cond"), "write 'if(condition, a, b)'"),
    **dict.fromkeys(("json", "tojson", "stringify", "json_encode", "dumps"), "write 'to_json(value)'"),
    **dict.fromkeys(("fromjson", "parse_json", "json_decode", "loads"), "write 'from_json(text)'"),
    **dict.fromkeys(("first", "head"), "write 'list[0]'"),
    **dict.fromkeys(("last", "tail"), "write 'list[-1]'"),
    **dict.fromkeys(("filter", "select", "where"), "write 'list[?condition]'"),
    **dict.fromkeys(("throw", "raise", "error", "abort"), "write \"fail('invalid_request', 'message')\""),
    **dict.fromkeys(("env", "getenv"), "write '$env.NAME', and declare NAME under 'env'"),
    **dict.fromkeys(("get", "dig"), "write 'lookup(object, key)'"),
    **dict.fromkeys(("substring", "substr", "slice"), "write 'capture(text, regex)'"),
}

_VARIABLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("response", "resp", "res"), "write '$upstream'"),
    **dict.fromkeys(("req", "inbound", "http"), "write '$request'"),
    **dict.fromkeys(("item", "it", "this", "self", "value", "payload", "root"), "'@' is the payload"),
    **dict.fromkeys(("i", "idx", "position"), "write '$index'"),
    **dict.fromkeys(("event", "chunk", "data"), "'@' is the payload; in a stream it is the event's data"),
    **dict.fromkeys(("var", "variables", "config", "const"), "write '$vars.name'"),
    **dict.fromkeys(("environment", "ENV", "environ"), "write '$env.NAME'"),
    **dict.fromkeys(("error", "err"), "in 'errors', '@' is the error"),
}


def function_hint(name: str) -> str | None:
    """What to write instead of a function that does not exist, or None."""
    return _FUNCTIONS.get(name.lower())


def variable_hint(name: str, variables: Mapping[str, Variable]) -> str | None:
    """What to write instead of a variable that does not exist, or None: `$params` is `$request.params`."""
    built_in = {owner: found for owner, found in variables.items() if not getattr(found, "hint", None)}
    return field_hint(name, built_in) or _VARIABLES.get(name)


def field_hint(name: str, variables: Mapping[str, Variable]) -> str | None:
    """The fields of variables that have a name, as a hint, or None."""
    declared: dict[str, str] = {}
    for owner, found in variables.items():
        if isinstance(found, Record) and name in found.fields:
            declared.setdefault(found.hint or owner, owner)  # `$is_set` has the names of `$env`
    owners = declared.values()
    return "did you mean " + " or ".join(f"'${owner}.{name}'" for owner in owners) + "?" if owners else None
