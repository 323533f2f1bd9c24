"""Exact order statistics in rounds of counting, over losses that are never in one place."""
