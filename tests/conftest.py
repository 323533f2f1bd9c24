"""Settings that hold for every test."""

import os

from hypothesis import settings

# Threads that wait for each other shall sleep, not spin: a thousand short parallel loops on a busy machine otherwise take
# minutes. Read when OpenMP is loaded, which no test module has done yet.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The same examples on every run and machine; how long one takes says nothing about its correctness.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
