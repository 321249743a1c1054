"""Templates: YAML values with `${ … }` and directives, compiled to one Python function each.

Contract: a template has the shape of what comes out of it; what gives null is left out. A function is
`(payload, context) → value`, or `ABSENT` where the template gave nothing. Directives of one mapping apply
in a fixed order, as if nested: `$each`, `$let`, `$with`, `$if` or `$switch`, then the content.
A value may share containers with the YAML, the payload and the variables: who receives one never changes it.
Must not know HTTP, nor what a mapping is.

    strings     strings cut into text and expressions; what is static
    coverage    which branches have run
    directives  the directives, and where each may stand
    support     what generated code calls while a request runs
    base        what the code of every template is written with
    texts       the code of strings
    contents    the code of lists and objects, and of directives that are content
    control     the code of directives that choose, repeat and name
    writer      the code of any template
    compiler    one template → one function

A file imports only from files above its own.
"""

from __future__ import annotations

from engine.language.templates.base import ItemSink, Sink
from engine.language.templates.compiler import TemplateCompiler
from engine.language.templates.coverage import Coverage
from engine.language.templates.strings import Part, is_static, single_expression, split
from engine.language.templates.texts import joined_text
from engine.language.templates.writer import TemplateWriter

__all__ = [
    "Coverage",
    "ItemSink",
    "Part",
    "Sink",
    "TemplateCompiler",
    "TemplateWriter",
    "is_static",
    "joined_text",
    "single_expression",
    "split",
]
