"""The report of a comparison: tables and figures."""
