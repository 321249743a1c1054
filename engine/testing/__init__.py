"""The runner of mapping tests: `NAME.test.yaml` next to `NAME.yaml`.

Contract: pure; a suite runs the same code as a request to the server, with stubbed upstreams. Errors in a
suite file or in its mapping are findings, and no case of that suite runs then.

    spec          a suite file as frozen data
    expectations  expected values, and the differences of actual ones
    matchers      expected properties of values
    notation      the values of a suite file → expectations
    cases         a case of the file → a compiled case
    loading       a suite file → its cases, with its mapping compiled
    comparison    actual calls and responses against the expected ones
    offline       runs exchanges without a network
    runner        a case → its result
    coverage      the locations of mappings that no case has reached
"""

from engine.testing.coverage import Uncovered
from engine.testing.expectations import Mismatch
from engine.testing.runner import CaseResult, SuiteResult, SuiteRun, run_suites

__all__ = ["CaseResult", "Mismatch", "SuiteResult", "SuiteRun", "Uncovered", "run_suites"]
