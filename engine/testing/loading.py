"""A suite file → compiled cases, with their mapping compiled.

Contract: the contents of files never raise exceptions; findings are collected, including those of the
mapping. The mapping is compiled once for each environment, and has no access to the environment of the
process.
Must not know how a case runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from engine.compiler import compile_set, load
from engine.compiler import environment as load_time
from engine.compiler.environment import Environment
from engine.compiler.files import declared
from engine.diagnostics import Findings, suggestion
from engine.language import schema, yaml
from engine.language.spec import MappingSpec
from engine.language.templates import Coverage, TemplateCompiler
from engine.locations import Span
from engine.plan import PlanSet
from engine.testing import spec
from engine.testing.cases import Case, CaseCompiler

_SUFFIXES: Final = (".yaml", ".yml")


@dataclass(slots=True)
class Suite:
    """A suite file: its findings and, if there are no errors among them, its cases."""

    file: str
    findings: Findings = field(default_factory=Findings)
    coverage: Coverage = field(default_factory=Coverage)
    cases: list[Case] = field(default_factory=list)


def load_suite(file: Path) -> Suite:
    """Load a suite file with its mapping."""
    suite = Suite(os.fspath(file))
    document = yaml.read(file, suite.findings)
    checked = schema.check(document, "suite", suite.findings) if document is not None else None
    if checked is not None and isinstance(checked.data, dict):
        _SuiteCompiler(suite, spec.read(checked), file).run()
    if suite.findings.has_errors:
        suite.cases.clear()
    return suite


class _SuiteCompiler:
    """Compiles the cases of one suite."""

    def __init__(self, suite: Suite, read: spec.SuiteSpec, file: Path) -> None:
        self.suite = suite
        self.findings = suite.findings
        self.spec = read
        self.file = file
        self._compiled: dict[tuple[tuple[str, str], ...], tuple[PlanSet, Environment]] = {}

    def run(self) -> None:
        self._check_names()
        mapping = self._load_mapping()
        if mapping is None:
            return
        self._check_env(mapping)
        for case in self.spec.cases:
            plans, environment = self._compile(mapping, {**self.spec.env, **case.env})
            compiled = CaseCompiler(case, mapping, environment, self.findings).compile(plans)
            self.suite.cases.append(compiled)
        if not self.spec.cases:
            self._compile(mapping, self.spec.env)

    def _check_names(self) -> None:
        locations: dict[str, Span] = {}
        for case in self.spec.cases:
            location = case.node["name"].span
            first = locations.setdefault(case.name, location)
            if first is not location:
                message = f"duplicate case name, first used at line {first.line}"
                self.findings.error("duplicate-case", message, location)

    # The mapping

    def _load_mapping(self) -> MappingSpec | None:
        """The mapping of the suite. Only errors among its findings are reported."""
        path = self._mapping_file()
        if path is None:
            return None
        found = Findings()
        mappings = load([path], found)
        self._take_errors(found)
        return mappings[0] if mappings else None

    def _mapping_file(self) -> Path | None:
        node = self.spec.mapping
        if node is None:
            return self._default_mapping()
        path = Path(os.path.normpath(self.file.parent / node.value))
        if not os.path.isfile(path):
            self.findings.error("file-unreadable", f"'{path}' is not a file", node.span)
            return None
        return path

    def _default_mapping(self) -> Path | None:
        stem = self.file.name.removesuffix(self.file.suffix).removesuffix(".test")
        candidates = [self.file.with_name(stem + suffix) for suffix in _SUFFIXES]
        found = next((path for path in candidates if os.path.isfile(path)), None)
        if found is None:
            message = f"there is no mapping '{candidates[0].name}' next to this file"
            hint = "set 'mapping' to the path of the mapping"
            self.findings.error("file-unreadable", message, Span(self.spec.node.span.file, 1, 1), hint)
        return found

    def _compile(self, mapping: MappingSpec, env: Mapping[str, str | None]) -> tuple[PlanSet, Environment]:
        environ = {name: value for name, value in env.items() if value is not None}
        key = tuple(sorted(environ.items()))
        if key not in self._compiled:
            found = Findings()
            plans = compile_set([mapping], environ, found, coverage=self.suite.coverage)
            self._take_errors(found)
            self._compiled[key] = (plans, _environment(mapping, environ))
        return self._compiled[key]

    def _take_errors(self, found: Findings) -> None:
        """Add the errors of the mapping. Other mappings that it calls are stubbed, so they need not exist."""
        for diagnostic in found:
            if diagnostic.severity == "error" and diagnostic.code != "unknown-mapping":
                if diagnostic.code == "missing-env":
                    diagnostic = replace(diagnostic, hint=f"set it under 'env' in {self.suite.file}")
                self.findings.add(diagnostic)

    def _check_env(self, mapping: MappingSpec) -> None:
        known = {*declared(mapping, "env"), *mapping.env}
        for node in (self.spec.node, *(case.node for case in self.spec.cases)):
            env = node.get("env")
            for name, value in env.items() if env else ():
                if name not in known:
                    message = f"the mapping declares no environment variable '{name}'"
                    self.findings.error("unknown-variable", message, value.key_span, suggestion(name, known))


def _environment(mapping: MappingSpec, environ: Mapping[str, str]) -> Environment:
    """The values of `$env` and `$vars` for expectations; their errors are already reported."""
    templates = TemplateCompiler(Findings(), mapping.templates, mapping.document.file.name)
    return load_time.resolve(mapping, environ, templates, Findings(), is_served=False)
