"""The emitter of expressions: one table of all forms.

Contract: every type of node that `parse` gives has its row; the code of a form lies in the file named here.
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
        """Write the code of `tree`; the atom returned holds its value."""
        return logic.misplaced_not(self, tree) or _FORMS[tree["type"]](self, tree)
