"""Calls to upstreams, and the runner that carries out exchanges. Everything here does I/O."""
