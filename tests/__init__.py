"""Tests, in the packages of what they test; cases that are data are in `suites`."""
