"""Settings that hold for every test, and what several folders of tests build."""

import fcntl
import os

import pytest
from hypothesis import settings

# Threads that wait for each other shall sleep, not spin: thousands of short parallel loops otherwise take minutes on a
# busy machine. OpenMP reads this when it is loaded, after this file.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The same examples on every run and machine; how long one takes says nothing about its correctness.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def build_once(tmp_path_factory):
    """Return ``build_once(name, build)``, which calls ``build(folder)`` in one process only, and returns the folder."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def built(name, build):
        folder = shared / name
        complete = shared / f"{name}.complete"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not complete.exists():
                folder.mkdir(exist_ok=True)
                build(folder)
                complete.touch()
        return folder

    return built


@pytest.fixture(scope="session")
def stand_in_folder(build_once):
    """Return the folder of the CUDA backend on a stand-in for CUDA's runtime library."""
    from cuda_model.cudart.stand_in import build

    return build_once("stand_in", build)


@pytest.fixture(scope="session")
def stand_in(stand_in_folder):
    """Return the CUDA module as nvcc makes it, on a stand-in for CUDA's runtime library."""
    from cuda_model.cudart.stand_in import StandIn

    return StandIn(stand_in_folder)
