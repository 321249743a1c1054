"""Benchmarks of templates (`transform`) and of the complete request path (`python -m benchmarks`).

Both compare within one run: the ratios carry over to another machine, the absolute results do not.
"""
