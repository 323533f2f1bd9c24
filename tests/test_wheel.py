"""The wheel, installed in an empty environment outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

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
try:
    import rrm_torch
except ModuleNotFoundError as error:
    assert "pip install torch" in str(error)
else:
    raise AssertionError("torch is not installed here")
print(rrm_core.__file__)
"""


def build(folder):
    # Built from the source distribution, which must therefore be complete; without CUDA, since nvcc takes minutes.
    without_cuda = "--config-setting=cmake.define.RRM_CUDA=OFF"
    command = [sys.executable, "-m", "build", without_cuda, "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)


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


def test_wheel_contains_only_both_packages(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"rrm_core", "rrm_torch"}
    for name in ("rrm_core/py.typed", "rrm_core/_cpu.pyi", "rrm_torch/py.typed", "rrm_torch/__main__.py"):
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
