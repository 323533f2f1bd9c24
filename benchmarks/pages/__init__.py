"""Writes the tables and figures of recorded runs into README.md and docs/."""
