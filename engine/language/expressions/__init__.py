"""JMESPath, with the `$name` variables of JEP-18, compiled to Python source.

Contract: `parse` returns jmespath's syntax tree with the offset of each node; `Emitter` writes the code of a
tree to a `Writer` and returns the `Atom` of the result. Unknown functions and variables, wrong
arity and constant arguments of a wrong type are findings. Results equal those of `jmespath.search`.
Must not know HTTP or mappings.

    syntax_hints what to write instead of the operators of other languages
    parser       text → syntax tree; the only importer of jmespath
    results      the literal texts that can be the result of an expression
    scope        the payload and the variables of an expression
    familiar_names  what to write instead of names of other languages
    conditions   Python source of conditions on atoms
    support      functions that generated code calls at request time
    base         the base of the code of all forms
    mistakes     findings about expressions that cannot be meant as they are written
    choices      choices between paths, computed once
    paths        fields, indexes, slices, pipes, variables
    projections  loops over many values
    logic        literals, lists, objects, and, or, not, comparisons
    arguments    the arguments of a call, checked against their parameters
    costs        what a call takes from the budget of its exchange
    calls        function calls
    emitter      a table of all forms

A module imports only from modules above it in this list.
"""

from __future__ import annotations

from engine.language.expressions.calls import write_arguments, write_call
from engine.language.expressions.conditions import truth
from engine.language.expressions.costs import charge_text
from engine.language.expressions.emitter import Emitter
from engine.language.expressions.mistakes import report_mistakes
from engine.language.expressions.parser import (
    MAX_DEPTH,
    MAX_LENGTH,
    QUOTED,
    ExpressionSyntaxError,
    Tree,
    parse,
)
from engine.language.expressions.results import literal_results
from engine.language.expressions.scope import CLIENT_BODY, Record, Scope, Variable, Withheld
from engine.language.expressions.support import SUPPORT

__all__ = [
    "CLIENT_BODY",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "QUOTED",
    "SUPPORT",
    "Emitter",
    "ExpressionSyntaxError",
    "Record",
    "Scope",
    "Tree",
    "Variable",
    "Withheld",
    "charge_text",
    "literal_results",
    "parse",
    "report_mistakes",
    "truth",
    "write_arguments",
    "write_call",
]
