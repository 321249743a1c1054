"""The checks of a route on its requests: `checks`, which refuse a request, and `drop`, which declares fields.

Contract: all checks are one function, which raises the error of the first one whose condition is true.
Must not know attempts and calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.compiler.context import MappingContext
from engine.diagnostics import suggestion
from engine.errors import KINDS
from engine.language.codegen import Compiled, Writer
from engine.language.expressions import truth
from engine.language.functions import FUNCTIONS
from engine.language.spec import CheckSpec, RequestSpec
from engine.language.templates import TemplateWriter
from engine.language.uses import ITEM, VariablePath
from engine.locations import Node

_DEFAULT_KIND: Final = "invalid_request"


def compile_checks(
    context: MappingContext, request: RequestSpec | None, params: Mapping[str, str], label: str
) -> Compiled | None:
    """The function `(body, exchange) → None` of all checks; None without checks."""
    if request is None or not request.checks:
        return None
    errors = [(check.when, *_error(context, check)) for check in request.checks]
    scope = context.call_scope(params)

    def write(writer: Writer) -> None:
        writer.names["fail"] = FUNCTIONS["fail"].implementation
        template = TemplateWriter(context.templates, writer, scope)
        for when, kind, message in errors:
            _write_check(template, when, kind, message)

    return context.templates.write(request.node["checks"], f"{label} request.checks", write)


def _write_check(template: TemplateWriter, when: Node, kind: str, message: Node) -> None:
    writer = template.writer
    condition = template.bind(when)
    writer.use_truth(condition)
    with writer.at(when.span), writer.block(f"if {truth(condition)}"):
        template.hit(when, "check")
        with template.within(template.scope.for_message()):
            text = template.bind(message)
        writer.use(text)
        writer.line(f"fail({kind!r}, text({text.source}))")


def _error(context: MappingContext, check: CheckSpec) -> tuple[str, Node]:
    """The kind and the message of a check."""
    if not isinstance(check.fail.value, list):
        return _DEFAULT_KIND, check.fail
    kind, message = check.fail.elements()
    if kind.value not in KINDS:
        hint = suggestion(kind.value, KINDS)
        context.findings.error("bad-value", f"unknown error kind '{kind.value}'", kind.span, hint)
    return kind.value, message


def dropped_fields(request: RequestSpec | None) -> tuple[VariablePath, ...]:
    """The paths of the fields that `drop` declares."""
    return tuple(map(_path, request.drop)) if request is not None else ()


def _path(text: str) -> VariablePath:
    """A path such as `messages[].name`."""
    steps: list[str | int] = []
    for part in text.split("."):
        name = part.rstrip("[]")
        steps += [name, *[ITEM] * ((len(part) - len(name)) // 2)]
    return tuple(steps)
