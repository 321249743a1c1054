"""State that outlives a request: cached responses, and counters of rate limits."""
