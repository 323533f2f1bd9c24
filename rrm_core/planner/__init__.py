"""Exact order statistics of losses that come in parts, by repeated counting passes."""
