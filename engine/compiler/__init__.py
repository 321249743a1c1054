"""Specs → plans: every name resolved, every expression turned into code, every finding collected.

Contract: `load` and `compile_set` never raise for what stands in a file; they record findings and go on, so
that an author sees all of them at once. No I/O but reading the files that mappings name.
"""

from engine.compiler.files import load, source_files
from engine.compiler.mapping import compile_set

__all__ = ["compile_set", "load", "source_files"]
