"""Settings that hold for every test."""

import os

from hypothesis import settings

# Threads that wait for each other shall sleep, not spin: thousands of short parallel loops otherwise take minutes on a
# busy machine. OpenMP reads this when it is loaded, after this file.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The same examples on every run and machine; how long one takes says nothing about its correctness.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
