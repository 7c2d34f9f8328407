"""Shared test helpers: small data and runs, fakes, and programs that tests run as processes."""
