"""Streams turned from one dialect into another, with no network."""
