"""JMESPath, with the `$name` variables of JEP-18, compiled to Python source.

Contract: `parse` gives jmespath's syntax tree with the offset of each node; `Emitter` writes the code of a
tree to a `Writer` and returns the `Atom` that holds the result. Unknown functions and variables, wrong
arity and constant arguments of a wrong type are findings. Results equal those of `jmespath.search`.
Must not know HTTP or mappings.

    parser       text → syntax tree; the only importer of jmespath
    results      the texts that an expression can give, whatever it reads
    scope        what an expression can see: payload and variables
    conditions   Python source of conditions on atoms
    support      what generated code calls while a request runs
    base         what the code of every form is written with
    choices      choices between paths, written once
    paths        fields, indexes, slices, pipes, variables
    projections  going through many values
    logic        making a value: literals, lists, objects, and, or, not, comparisons
    arguments    the arguments of a call, checked against their parameters
    costs        what a call takes of the budget of its exchange
    calls        calls of functions
    emitter      one table of all forms

A file imports only from files above its own.
"""

from __future__ import annotations

from engine.language.expressions.calls import write_arguments, write_call
from engine.language.expressions.conditions import truth
from engine.language.expressions.costs import charge_text
from engine.language.expressions.emitter import Emitter
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
    "truth",
    "write_arguments",
    "write_call",
]
