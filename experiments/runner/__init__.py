"""Execution of experiments: jobs, worker processes, files, records, provenance."""
