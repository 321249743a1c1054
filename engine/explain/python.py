"""The Python generated for a route, with locations in the YAML.

Contract: the code contains no secrets, because it reads them by name. Texts read from files are masked.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.compiler.attempts import templates_of
from engine.compiler.masking import Mask
from engine.explain.entries import Entry
from engine.language.codegen import Compiled, label_of, lines_of
from engine.locations import Span
from engine.plan import AttemptPlan, MappingPlan, RoutePlan, UpstreamChoice


def python_entries(mapping: MappingPlan, route: RoutePlan, mask: Mask) -> tuple[Entry, ...]:
    """The functions of all templates, conditions and rules of a route, and of its error format."""
    functions = {id(template): template for template in _templates(mapping, route) if template.source}
    file = mapping.spec.document.file.name
    return tuple(_entry(template, file, mask) for template in functions.values())


def _templates(mapping: MappingPlan, route: RoutePlan) -> Iterator[Compiled]:
    yield from (route.checks,) if route.checks is not None else ()
    for attempt in route.attempts:
        yield from _of_attempt(attempt)
    errors = mapping.errors
    parts = (route.usage, errors.status, errors.headers, errors.body)
    yield from (part for part in parts if isinstance(part, Compiled))


def _of_attempt(attempt: AttemptPlan) -> Iterator[Compiled]:
    if attempt.when is not None:
        yield attempt.when
    if attempt.forward is not None:
        forward = attempt.forward
        if isinstance(forward.upstream, UpstreamChoice):
            yield forward.upstream.template
        yield from (part.template for part in forward.path if part.template is not None)
        yield from (forward.headers,) if forward.headers is not None else ()
    yield from templates_of((*attempt.before, *attempt.calls), attempt.cases)


def _entry(template: Compiled, file: str, mask: Mask) -> Entry:
    lines = lines_of(template)
    label = label_of(template).removeprefix(f"{file}: ")
    span = next((span for _, span in lines if span is not None), None)
    code = "\n".join(_line(text, before, span, mask) for (text, span), before in _with_before(lines))
    return Entry("function", label, span, value=code)


def _with_before(lines: list[tuple[str, Span | None]]) -> Iterator[tuple[tuple[str, Span | None], int]]:
    """Each line with the YAML line number of the previous one."""
    before = 0
    for line in lines:
        yield line, before
        before = line[1].line if line[1] is not None else before


def _line(text: str, before: int, span: Span | None, mask: Mask) -> str:
    """A line of Python, with a comment if the YAML line differs from the previous one."""
    masked = mask.text(text)
    return f"{masked}  # line {span.line}" if span is not None and span.line != before else masked
