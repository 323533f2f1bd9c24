"""Carries out experiments: jobs, worker processes, results, environment."""
