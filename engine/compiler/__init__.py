"""Compiles specs to plans: resolves names, compiles expressions to Python, collects findings.

Contract: `load` and `compile_set` never raise because of the contents of a file. They record findings and
continue, so that authors see all of them at once. The only I/O is reading the files that mappings name.
"""

from engine.compiler.files import load, source_files
from engine.compiler.mapping import compile_set

__all__ = ["compile_set", "load", "source_files"]
