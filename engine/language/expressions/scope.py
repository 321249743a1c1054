"""The payload and the variables of an expression.

Contract: frozen data. A variable is an atom, a record of fields that are known at load, or withheld with a
reason; all others do not exist.
Must not know how expressions are parsed or written as code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from engine.language.codegen import Atom
from engine.language.uses import VariablePath

#: The variable whose fields `drop()` accepts.
CLIENT_BODY: Final[VariablePath] = ("request", "body")


@dataclass(frozen=True, slots=True)
class Record:
    """A variable whose fields are known at load: `$request`, `$upstream`, `$env`.

    `whole` is the variable used without a field; None if that is not allowed. `hint` is where its
    fields are declared, for findings; it is empty if they are built in.
    """

    fields: Mapping[str, Variable]
    whole: Atom | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A variable or field that exists but must not be used here; the fields are those of the finding."""

    code: str
    message: str
    hint: str | None = None


Variable: TypeAlias = Atom | Record | Withheld


@dataclass(frozen=True, slots=True)
class Scope:
    """The payload and the variables of an expression.

    `message_variables` replace variables in texts for people: error messages and the log. If `notes_nulls`, a
    null in the client's body that has no effect is recorded at request time. Unless `steady_loops` is None,
    functions such as `now()` have one value per call site and exchange; it is the number of loops around the
    template, whose items therefore share the value.
    """

    payload: Atom
    variables: Mapping[str, Variable]
    message_variables: Mapping[str, Variable] = field(default_factory=dict)
    notes_nulls: bool = False
    steady_loops: int | None = None

    def with_payload(self, payload: Atom) -> Scope:
        return replace(self, payload=payload)

    def with_variables(self, variables: Mapping[str, Variable]) -> Scope:
        return replace(self, variables={**self.variables, **variables})

    def for_message(self) -> Scope:
        """The scope of an error message or a text for the log."""
        return self.with_variables(self.message_variables)
