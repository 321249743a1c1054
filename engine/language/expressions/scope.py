"""What an expression can see: its payload and its variables.

Contract: frozen data. A variable is an atom, a record of fields that are known at load, or withheld with a
reason; what is in none of these does not exist.
Must not know how expressions are parsed or written as code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from engine.language.codegen import Atom
from engine.language.uses import VariablePath

#: The variable whose fields can be given up by `drop()`.
CLIENT_BODY: Final[VariablePath] = ("request", "body")


@dataclass(frozen=True, slots=True)
class Record:
    """A variable whose fields are known at load: `$request`, `$upstream`, `$env`.

    `whole` is the variable used without a field; None where that is not allowed.
    """

    fields: Mapping[str, Variable]
    whole: Atom | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """A variable or field that exists but must not be used here; `code` and `message` say why."""

    code: str
    message: str


Variable: TypeAlias = Atom | Record | Withheld


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression can see: its payload and its variables.

    `told` are those that are otherwise where a text is told to people, in a failure or the log. Where
    `notes_nulls`, a null of the client's that leads to nothing is noted while a request runs.
    """

    payload: Atom
    variables: Mapping[str, Variable]
    told: Mapping[str, Variable] = field(default_factory=dict)
    notes_nulls: bool = False

    def with_payload(self, payload: Atom) -> Scope:
        return replace(self, payload=payload)

    def with_variables(self, variables: Mapping[str, Variable]) -> Scope:
        return replace(self, variables={**self.variables, **variables})

    def telling(self) -> Scope:
        """What it can see of it for a text that is told."""
        return self.with_variables(self.told)
