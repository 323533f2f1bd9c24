"""Settings that hold for every test."""

from hypothesis import settings

# The same examples on every run and machine; how long one takes says nothing about its correctness.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
