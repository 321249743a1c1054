"""Templates: YAML values with `${ … }` and directives, compiled to one Python function each.

Contract: a template has the shape of its result; nulls are omitted. A function is
`(payload, context) → value`, or `ABSENT` if the template has no value. Directives of one mapping apply
in a fixed order, as if nested: `$each`, `$let`, `$with`, `$if` or `$switch`, then the content.
A value may share containers with the YAML, the payload and the variables, so callers must not change it.
Must not know HTTP, nor what a mapping is.

    strings     strings split into text and expressions; static values
    coverage    counts of executed branches
    directives  the directives and their allowed combinations
    mistakes    findings about templates that cannot be meant as they are written
    recursion   which templates use themselves
    support     functions that generated code calls at request time
    base        the base of the code of all templates
    texts       the code of strings
    contents    the code of lists and objects, and of directives that are content
    control     the code of directives that choose, repeat and name
    writer      the code of any template
    compiler    one template → one function

A module imports only from modules above it in this list.
"""

from __future__ import annotations

from engine.language.templates.base import ItemSink, Sink
from engine.language.templates.compiler import TemplateCompiler
from engine.language.templates.coverage import Coverage
from engine.language.templates.directives import literal_key, output_keys
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
    "literal_key",
    "output_keys",
    "single_expression",
    "split",
]
