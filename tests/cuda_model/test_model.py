"""The execution model passes correct kernels and detects errors, plain and under sanitizers."""

from __future__ import annotations

import os
import subprocess

import pytest

from cuda_model.builds import HERE, MODEL

COMPILER = os.environ.get("CXX", "g++")
FLAGS = ["-std=c++20", "-O1", "-g", "-rdynamic", "-DRRM_GPU_MODEL", f"-I{HERE}"]
BUILDS = {
    # name: (flags of the kernels, flags of the model)
    "plain": ([], []),
    "ucontext": ([], ["-DRRM_MODEL_UCONTEXT"]),
    "address": (["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],) * 2,
    "thread": (["-fsanitize=thread"], ["-DRRM_MODEL_TSAN"]),
}


def build(name, folder):
    kernel_flags, machine_flags = BUILDS[name]
    commands = [
        [COMPILER, *FLAGS, *kernel_flags, "-c", str(MODEL / "model_checks.cpp"), "-o", str(folder / "checks.o")],
        [COMPILER, *FLAGS, *machine_flags, "-c", str(MODEL / "machine.cpp"), "-o", str(folder / "machine.o")],
    ]
    for compiling in [subprocess.Popen(command) for command in commands]:
        assert compiling.wait() == 0
    program = folder / "model_checks"
    objects = [str(folder / "checks.o"), str(folder / "machine.o")]
    subprocess.run([COMPILER, *FLAGS, *kernel_flags, *objects, "-o", str(program)], check=True)
    return program


@pytest.fixture(scope="session", params=BUILDS)
def program(request, tmp_path_factory):
    """Return the name of a build and the command that runs its program."""
    path = build(request.param, tmp_path_factory.mktemp(request.param))
    # GCC 12's ThreadSanitizer does not support the address randomisation of newer Linux kernels.
    return request.param, ["setarch", "-R", str(path)] if request.param == "thread" else [str(path)]


def is_expected(name, run, outcome):
    kind, _, text = outcome.partition(": ")
    race = "WARNING: ThreadSanitizer: data race" in run.stderr
    if kind == "race":
        return name != "thread" or (race and run.returncode == 66)
    if kind == "overflow":
        return name != "address" or "heap-buffer-overflow" in run.stderr
    return run.returncode == int(kind.removeprefix("exit ")) and text in run.stderr and (run.stderr or not text)


def test_checks_have_their_expected_outcomes(program):
    name, command = program
    listed = subprocess.run([*command, "list"], capture_output=True, text=True, check=True).stdout
    checks = [line.split("\t") for line in listed.splitlines()]
    assert {"exit 0", "race"} < {outcome for _, outcome in checks}
    wrong = {}
    for check, outcome in checks:
        run = subprocess.run([*command, check], capture_output=True, text=True, check=False, timeout=60)
        if not is_expected(name, run, outcome):
            wrong[check] = f"not {outcome!r} but exit {run.returncode}: {run.stderr[:500]}"
    assert not wrong


def test_unknown_check_is_an_error(program):
    assert subprocess.run([*program[1], "no such check"], check=False).returncode == 2
