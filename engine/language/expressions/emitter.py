"""The emitter of expressions: a table of all forms.

Contract: every type of node that `parse` returns has a row; the code of a form is in the module named there.
Must not know what any form means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.language.codegen import Atom
from engine.language.expressions import calls, logic, paths, projections
from engine.language.expressions.base import BaseEmitter, Form
from engine.language.expressions.parser import Tree

_FORMS: Final[Mapping[str, Form]] = {**paths.FORMS, **projections.FORMS, **logic.FORMS, **calls.FORMS}


class Emitter(BaseEmitter):
    """Writes the code of one expression, whatever its form."""

    def emit(self, tree: Tree) -> Atom:
        """Write the code of `tree`; return the atom of its value."""
        return logic.misplaced_not(self, tree) or _FORMS[tree["type"]](self, tree)
