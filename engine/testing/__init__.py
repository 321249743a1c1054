"""The runner of mapping tests: `NAME.test.yaml` beside `NAME.yaml`.

Contract: pure; a suite runs the same path as a request to the server, with its upstreams faked. What is wrong
with a suite file, or with its mapping, is a finding, and then no case of that suite runs.

    spec          the nouns of a suite file as frozen data
    expectations  what a value should be, and how one that came differs
    matchers      what a value should be like
    notation      how both are written: a suite file's values → expectations
    cases         a case of the file → a case that is ready to run
    loading       a suite file → its cases, with its mapping compiled
    comparison    what came, against what a case expects
    runner        a case → how it went
    coverage      which places of mappings the cases have reached
"""

from engine.testing.coverage import Uncovered
from engine.testing.expectations import Mismatch
from engine.testing.runner import CaseResult, SuiteResult, SuiteRun, run_suites

__all__ = ["CaseResult", "Mismatch", "SuiteResult", "SuiteRun", "Uncovered", "run_suites"]
