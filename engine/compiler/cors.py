"""Compiles `cors`: the origins whose pages may call a mapping."""

from __future__ import annotations

from collections.abc import Iterator

from engine.compiler.context import MappingContext
from engine.http.origins import ANY, Origins, covers_the_web, origins_of
from engine.language.spec import CorsSpec
from engine.locations import Node, Span
from engine.plan import CorsPlan


def compile_cors(context: MappingContext, spec: CorsSpec | None) -> CorsPlan | None:
    """The plan of `cors`; None if the mapping has none."""
    if spec is None:
        return None
    origins = _origins(context, spec)
    max_age = int(context.seconds_under(spec, "max_age"))
    return CorsPlan(origins, spec.headers, spec.expose, spec.credentials, max_age)


def _origins(context: MappingContext, spec: CorsSpec) -> Origins:
    patterns = []
    for pattern, span in _patterns(context, spec.origins):
        try:
            origins_of([pattern])
        except ValueError as error:
            hint = "to allow any origin, write '*'" if pattern == "null" else None
            context.findings.error("bad-value", str(error), span, hint)
            continue
        if covers_the_web(pattern) and spec.credentials:
            what = "'*'" if pattern == ANY else "all origins of a scheme"
            message = f"'credentials' requires named origins: with {what}, any page could act for its visitor"
            context.findings.error("bad-value", message, span)
        patterns.append(pattern)
    return origins_of(patterns)


def _patterns(context: MappingContext, node: Node) -> Iterator[tuple[str, Span]]:
    """The patterns, evaluated at load, each with its location."""
    if isinstance(node.value, list):
        for item in node.elements():
            for text in context.texts(item, "cors.origins", secrets=False):
                yield text, item.span
    else:
        for text in context.texts(node, "cors.origins", secrets=False):
            yield text, node.span
