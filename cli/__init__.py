"""The command line: one file a command, a click decorator over a plain `run(…) -> int`.

Exit statuses: 0 all is well, 1 there are findings or failures, 2 the command was called wrongly.
"""
