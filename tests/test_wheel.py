"""The wheel, installed in an empty environment outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import array_api_compat
import numpy as np
import pytest

import rrm_core

ROOT = Path(__file__).parent.parent

USE = """
import importlib.util, sys
import rrm_core
assert importlib.util.find_spec("torch") is None
weights, plan = rrm_core.reweight([0.1, 0.3, 0.2, 4.0, 0.4], contamination=0.2, backend="cpp")
assert weights.tolist() == [2, 1, 1, 0, 1]
assert rrm_core.available_backends() == ("cpp", "numpy", "array_api")
try:
    rrm_core.reweight([1.0], contamination=0.2, backend="numba")
except ImportError as error:
    assert "pip install numba" in str(error)
else:
    raise AssertionError("numba is not installed here")
import rrm_review
issues = {"index": [0], "given_label": ["cat"], "predicted_label": ["dog"]}
assert rrm_review.write_page(issues, ["a text"], "review.html") == 1
try:
    import rrm_sklearn
except ImportError as error:
    assert "pip install 'scikit-learn>=1.6'" in str(error)
else:
    raise AssertionError("scikit-learn is not installed here")
try:
    import rrm_torch
except ModuleNotFoundError as error:
    assert "pip install torch" in str(error)
else:
    raise AssertionError("torch is not installed here")
print(rrm_core.__file__)
"""


def build(folder):
    # Built from the source distribution, which must therefore be complete; without CUDA, since nvcc takes minutes, and
    # without optimization, which takes two.
    settings = ["--config-setting=cmake.define.RRM_CUDA=OFF", "--config-setting=cmake.build-type=Debug"]
    command = [sys.executable, "-m", "build", *settings, "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"RRM_REQUIRE_COMPILED": "1"})


def start_build_without_compiler(folder, required):
    settings = [f"--config-setting=build-dir={folder / 'build'}"]
    command = [sys.executable, "-m", "build", "--wheel", *settings, "--outdir", folder, ROOT]
    environment = os.environ | {"CC": "false", "CXX": "false", "RRM_REQUIRE_COMPILED": required}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.fixture(scope="module")
def builds_without_compiler(tmp_path_factory):
    """Return, with the kernels required ("1") or not ("0"): the folder, the exit code and the output of a build."""
    folders = {required: tmp_path_factory.mktemp("wheel") for required in ("0", "1")}
    builds = {required: start_build_without_compiler(folder, required) for required, folder in folders.items()}
    outputs = {required: build.communicate(timeout=600)[0] for required, build in builds.items()}
    return {required: (folders[required], build.returncode, outputs[required]) for required, build in builds.items()}


@pytest.fixture(scope="module")
def wheel(build_once):
    (path,) = build_once("dist", build).glob("*.whl")
    return path


def test_reweight_without_torch(wheel, tmp_path):
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, cwd=tmp_path)
    run = subprocess.run([python, "-c", USE], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert Path(run.stdout.strip()).is_relative_to(tmp_path)


def test_wheel_contains_only_the_packages(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    packages = {"rrm_core", "rrm_keras", "rrm_review", "rrm_sklearn", "rrm_torch"}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == packages
    typed = [f"{package}/py.typed" for package in sorted(packages)]
    for name in (*typed, "rrm_core/_cpu.pyi", "rrm_torch/__main__.py"):
        assert name in names
    assert [name for name in names if name.startswith("rrm_core/_cpu.") and name.endswith((".so", ".pyd"))]
    assert not [name for name in names if name.endswith((".cpp", ".h", ".cu"))]


def test_wheel_without_cuda_does_not_link_to_it(wheel, tmp_path):
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.startswith("rrm_core/_cuda.") and not name.endswith(".pyi")]
    (kernel,) = (name for name in names if name.startswith("rrm_core/_cpu.") and not name.endswith(".pyi"))
    file = zipfile.ZipFile(wheel).extract(kernel, tmp_path)
    symbols = subprocess.run(["nm", "-D", file], check=True, capture_output=True, text=True).stdout
    assert "PyInit__cpu" in symbols
    assert "cuda" not in symbols.lower()


def test_sdist_contains_the_cuda_sources(wheel):
    (path,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {str(file.relative_to(ROOT)) for file in (ROOT / "csrc" / "cuda").iterdir()} <= names
    assert "bindings/cuda.cpp" in names


# -S ignores the editable installation, so that the packages are found in the given folders only.
USE_PYTHON_FILES = """
import sys
sys.path[:0] = sys.argv[1:]
import rrm_core, rrm_core.cli
assert rrm_core.__file__.startswith(sys.argv[1])
assert "cpp" not in rrm_core.available_backends() and "numpy" in rrm_core.available_backends()
weights, plan = rrm_core.reweight([0.1, 0.3, 0.2, 4.0, 0.4], contamination=0.2, backend="numpy")
print(weights.tobytes().hex())
try:
    rrm_core.reweight([1.0], contamination=0.2, backend="cpp")
except ImportError as error:
    print(error)
rrm_core.cli.main(["info"])
"""


def test_wheel_without_a_compiler_holds_python_files_only(builds_without_compiler):
    folder, code, output = builds_without_compiler["0"]
    assert code == 0, output
    assert "The kernels could not be compiled" in output
    (path,) = folder.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl")
    zipfile.ZipFile(path).extractall(folder / "installed")
    folders = {str(Path(module.__file__).parents[1]) for module in (np, array_api_compat)}
    command = [sys.executable, "-S", "-c", USE_PYTHON_FILES, str(folder / "installed"), *folders]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout.splitlines()
    weights, _ = rrm_core.reweight([0.1, 0.3, 0.2, 4.0, 0.4], contamination=0.2)
    assert out[0] == weights.tobytes().hex()
    reason = "needs the compiled module rrm_core._cpu, which was not compiled when this package was installed"
    assert out[1].startswith(f"backend 'cpp' {reason}")
    assert any(line.startswith("cpp backend") and reason in line for line in out[2:])


def test_required_kernels_that_cannot_be_compiled_fail_the_build(builds_without_compiler):
    folder, code, output = builds_without_compiler["1"]
    assert code != 0
    assert "CMake configuration failed" in output
    assert not list(folder.glob("*.whl"))


def test_make_requires_the_kernels():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\nexport RRM_REQUIRE_COMPILED := 1\n" in makefile
