"""Files → specs: finding mapping files, reading them, and bringing in what they include."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from engine.diagnostics import Findings
from engine.language import schema, spec, yaml
from engine.language.spec import ErrorsSpec, LimitsSpec, MappingSpec, RouteSpec
from engine.locations import Document, Node, SourceFile, Span
from engine.resources import shipped_mappings

#: The version of the mapping language.
LANGUAGE: Final = 1

SUFFIXES: Final = (".yaml", ".yml")
TEST_SUFFIXES: Final = (".test.yaml", ".test.yml")

_OWN_KEYS = re.compile(rb"^[\"']?(dragoman|routes|upstreams|cases)[\"']?\s*:", re.MULTILINE)
_BEGINNING: Final = 1 << 20

#: What a secret key looks like.
KEY_LIKE = re.compile(r"\b(sk|pk|rk|ghp|gho|xox[abp]|AIza|hf)[-_][A-Za-z0-9_-]{16,}")


def source_files(paths: Iterable[str], findings: Findings, tests: bool = False) -> list[Path]:
    """The mapping files that paths, directories, globs and names of shipped mappings stand for.

    With `tests`, the `*.test.yaml` files in their place. What leads to no file is a finding.
    """
    found: dict[str, Path] = {}
    for path in paths:
        files = list(_files(path, tests))
        if not files:
            what = "test" if tests else "mapping"
            findings.error("no-files", f"no {what} file here", Span(SourceFile(path, ""), 1, 1))
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def _files(path: str, tests: bool) -> Iterator[Path]:
    given = Path(path)
    if os.path.isdir(given):
        yield from _in_directory(given, tests)
    elif os.path.exists(given):
        yield from _beside(given) if tests and not given.name.endswith(TEST_SUFFIXES) else (given,)
    elif glob.has_magic(path):
        for match in sorted(glob.glob(path, recursive=True)):
            if _is_wanted(Path(match), tests):
                yield Path(match)
    elif path in shipped_mappings():
        shipped = shipped_mappings()[path]
        yield from _beside(shipped) if tests else (shipped,)


def _in_directory(directory: Path, tests: bool) -> Iterator[Path]:
    """All files below a directory, hidden ones and those of hidden directories left aside."""
    for root, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            file = Path(root, name)
            if not name.startswith(".") and _is_wanted(file, tests) and _is_ours(file):
                yield file


def _beside(mapping: Path) -> Iterator[Path]:
    """The test file of a mapping."""
    for suffix in TEST_SUFFIXES:
        file = mapping.with_name(mapping.stem + suffix)
        if os.path.exists(file):
            yield file


def _is_ours(file: Path) -> bool:
    """Whether a file that was merely met in a directory is a mapping or a suite, as against other YAML.

    What cannot be read counts as ours: reading it then says why.
    """
    if not os.path.isfile(file):
        return True
    try:
        with file.open("rb") as stream:
            return bool(_OWN_KEYS.search(stream.read(_BEGINNING)))
    except OSError:
        return True


def _is_wanted(file: Path, tests: bool) -> bool:
    if not file.name.endswith(SUFFIXES):
        return False
    return file.name.endswith(TEST_SUFFIXES) == tests


def load(files: Iterable[Path], findings: Findings) -> list[MappingSpec]:
    """Read mapping files with all they include. A file that cannot be read is a finding, and left out."""
    mappings = []
    for file in files:
        mapping = _read(file, findings)
        if mapping is not None:
            mappings.append(_with_included(mapping, file, findings))
    return mappings


def _read(file: Path, findings: Findings, name: str | None = None) -> MappingSpec | None:
    document = yaml.read(file, findings, name)
    if document is None:
        return None
    if not isinstance(document.data, dict):
        findings.error("wrong-type", "a mapping file holds a mapping of keys", document.root.span)
        return None
    if _is_of_other_version(document, findings):
        return None
    _warn_of_keys(document, findings)
    checked = schema.check(document, "mapping", findings)
    return None if checked is None else spec.read(checked)


def _is_of_other_version(document: Document, findings: Findings) -> bool:
    """A file of another version of the language: whatever else could be said of it would be wrong."""
    version = document.data.get("dragoman")
    if type(version) is not int or version == LANGUAGE:
        return False
    message = f"this file is written in version {version} of the mapping language; known is {LANGUAGE}"
    findings.error("bad-value", message, document.root["dragoman"].span)
    return True


def _warn_of_keys(document: Document, findings: Findings) -> None:
    """Secrets belong into the environment; one that stands in the file is named by its place alone."""
    for path, span in document.value_spans.items():
        value = _at(document, path)
        if isinstance(value, str) and KEY_LIKE.search(value):
            message = "this looks like a secret key; read it from the environment instead"
            findings.warning("secret-literal", message, span, "declare it under env with secret: true")


def _at(document: Document, path: tuple[str | int, ...]) -> object:
    value = document.data
    for step in path:
        value = value[step]
    return value


def _with_included(
    mapping: MappingSpec, file: Path, findings: Findings, chain: tuple[Path, ...] = ()
) -> MappingSpec:
    """The mapping with all that its includes serve and are made of; nearer ones win."""
    chain = (*chain, file.resolve())
    merged = mapping
    for node in reversed(mapping.include):
        included = _include(node, file, findings, chain)
        if included is not None:
            merged = replace(
                merged,
                env={**included.env, **merged.env},
                vars={**included.vars, **merged.vars},
                upstreams={**included.upstreams, **merged.upstreams},
                auth=merged.auth or included.auth,
                limits=_merged_limits(included.limits, merged.limits),
                templates={**included.templates, **merged.templates},
                errors=_merged_errors(included.errors, merged.errors),
                routes=_merged_routes(included.routes, merged.routes),
            )
    return merged


def _merged_routes(base: tuple[RouteSpec, ...], own: tuple[RouteSpec, ...]) -> tuple[RouteSpec, ...]:
    keys = {(route.method, route.path) for route in own}
    return (*(route for route in base if (route.method, route.path) not in keys), *own)


def _include(node: Node, file: Path, findings: Findings, chain: tuple[Path, ...]) -> MappingSpec | None:
    target = file.parent / str(node.value)
    # Of os.path, as those of pathlib raise for a name that is too long, or leads in a circle.
    if not os.path.isfile(target):
        findings.error("file-unreadable", f"'{node.value}' is no file here", node.span)
        return None
    if target.resolve() in chain:
        names = " → ".join(path.name for path in (*chain, target.resolve()))
        findings.error("include-cycle", f"files include each other: {names}", node.span)
        return None
    included = _read(target, findings, os.path.normpath(target))
    return None if included is None else _with_included(included, target, findings, chain)


def _merged_errors(base: ErrorsSpec | None, own: ErrorsSpec | None) -> ErrorsSpec | None:
    if base is None or own is None:
        return own or base
    return ErrorsSpec(own.node, own.status or base.status, own.headers or base.headers, own.body or base.body)


def _merged_limits(base: LimitsSpec | None, own: LimitsSpec | None) -> LimitsSpec | None:
    if base is None or own is None:
        return own or base
    return LimitsSpec(own.node, own.steps or base.steps, own.bytes or base.bytes)


def declared(mapping: MappingSpec, section: str) -> Mapping[str, object]:
    """The names a file declares under a section, those with findings of their own included."""
    names = mapping.document.original.get(section)
    return names if isinstance(names, dict) else {}
