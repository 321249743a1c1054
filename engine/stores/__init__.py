"""State that outlives a request: cached responses and rate-limit counters."""
