"""Benchmarks: of templates alone (`transform`), and of the whole request path (`python -m benchmarks`).

Both compare within one run: their ratios carry over to another machine, their absolute figures do not.
"""
