"""Files → specs: finds mapping files, reads them, and merges what they include."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from engine.compiler.literal_texts import warn_of_literal_texts
from engine.compiler.missing_files import describe_missing
from engine.diagnostics import Findings
from engine.language import schema, spec, yaml
from engine.language.spec import MappingSpec, RouteSpec
from engine.language.spec_reader import merged as merged_keys
from engine.locations import Document, Node, Span
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
    """The mapping files of paths, directories, globs and names of shipped mappings.

    With `tests`, their `*.test.yaml` files instead; without, such a file is skipped next to mappings, as a
    shell expands `*.yaml` to both. A path without files is a finding.
    """
    found: dict[str, Path] = {}
    paths = list(paths)
    mappings = [path for path in paths if tests or not _is_suite(Path(path)) or not os.path.isfile(path)]
    for path in mappings or paths:
        files = [] if path not in mappings else list(_files(path, tests))
        if not files:
            message, hint = describe_missing(path, SUFFIXES, shipped_mappings(), tests)
            findings.error("no-files", message, Span.whole(path), hint)
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def _files(path: str, tests: bool) -> Iterator[Path]:
    given = Path(path)
    if os.path.isdir(given):
        yield from _in_directory(given, tests)
    elif os.path.exists(given):
        yield from _tests_of(given) if tests and not _is_suite(given) else (given,)
    elif glob.has_magic(path):
        for match in sorted(glob.glob(path, recursive=True)):
            if _is_wanted(Path(match), tests):
                yield Path(match)
    elif path in shipped_mappings():
        shipped = shipped_mappings()[path]
        yield from _tests_of(shipped) if tests else (shipped,)


def _in_directory(directory: Path, tests: bool) -> Iterator[Path]:
    """All files below a directory, except hidden files and directories."""
    for root, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            file = Path(root, name)
            if not name.startswith(".") and _is_wanted(file, tests) and _is_ours(file):
                yield file


def _tests_of(mapping: Path) -> Iterator[Path]:
    """The test file of a mapping."""
    for suffix in TEST_SUFFIXES:
        file = mapping.with_name(mapping.stem + suffix)
        if os.path.exists(file):
            yield file


def _is_suite(file: Path) -> bool:
    """Whether a file is a suite of tests, not a mapping, by its name."""
    return file.name.endswith(TEST_SUFFIXES)


def _is_ours(file: Path) -> bool:
    """Whether a file found in a directory is a mapping or a suite, not other YAML.

    An unreadable file counts as ours, so that reading it reports the reason.
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
    return _is_suite(file) == tests


def load(files: Iterable[Path], findings: Findings) -> list[MappingSpec]:
    """Read mapping files with all that they include. An unreadable file is a finding, and is skipped."""
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
        findings.error("wrong-type", "a mapping file must contain a YAML mapping", document.root.span)
        return None
    if _is_of_other_version(document, findings):
        return None
    _warn_of_keys(document, findings)
    warn_of_literal_texts(document, findings)
    checked = schema.check(document, "mapping", findings)
    return None if checked is None else spec.read(checked)


def _is_of_other_version(document: Document, findings: Findings) -> bool:
    """Report a file of another language version; other findings about it would mislead."""
    version = document.data.get("dragoman")
    if type(version) is not int or version == LANGUAGE:
        return False
    message = f"unsupported version {version} of the mapping language; supported: {LANGUAGE}"
    findings.error("bad-value", message, document.root["dragoman"].span)
    return True


def _warn_of_keys(document: Document, findings: Findings) -> None:
    """Warn of secrets in a file, which belong in the environment. The finding has only the location."""
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
    """The mapping merged with its includes. Its own definitions take precedence, then later includes."""
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
                limits=merged_keys(included.limits, merged.limits),
                templates={**included.templates, **merged.templates},
                streams={**included.streams, **merged.streams},
                errors=merged_keys(included.errors, merged.errors),
                routes=_merged_routes(included.routes, merged.routes),
            )
    return merged


def _merged_routes(base: Mapping[str, RouteSpec], own: Mapping[str, RouteSpec]) -> Mapping[str, RouteSpec]:
    """The routes of both; those of `own`, which take precedence, are last."""
    return {**{key: route for key, route in base.items() if key not in own}, **own}


def _include(node: Node, file: Path, findings: Findings, chain: tuple[Path, ...]) -> MappingSpec | None:
    target = file.parent / str(node.value)
    # os.path, because pathlib raises for a name that is too long, or a symlink loop.
    if not os.path.isfile(target):
        findings.error("file-unreadable", f"file '{node.value}' not found", node.span)
        return None
    if target.resolve() in chain:
        names = " → ".join(path.name for path in (*chain, target.resolve()))
        findings.error("include-cycle", f"files include each other in a cycle: {names}", node.span)
        return None
    included = _read(target, findings, os.path.normpath(target))
    return None if included is None else _with_included(included, target, findings, chain)


def declared(mapping: MappingSpec, section: str) -> Mapping[str, object]:
    """The names that a file declares in a section, including those with findings."""
    names = mapping.document.original.get(section)
    return names if isinstance(names, dict) else {}
