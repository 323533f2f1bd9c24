"""The report of a comparison: results table, report folder and figures."""
