"""Benchmarks, their records, and what writes those into README.md and docs/; see benchmarks/README.md."""
