"""Benchmarks of templates (`transform`), of hops between mappings (`hops`), and of the complete request path
(`python -m benchmarks`).

They compare within one run: the ratios carry over to another machine, the absolute results do not.
"""
