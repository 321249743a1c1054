"""The mapping language: reading files, and compiling their expressions and templates to Python."""
