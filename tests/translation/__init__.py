"""Tests of translations between APIs, without a network."""
