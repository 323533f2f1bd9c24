"""Shared modules of the tests: inputs, jobs for ranks, records."""
