"""Who may know whom, and what an import costs."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import rrm_core
from rrm_core.backends.registry import NAMES

ROOT = Path(__file__).parents[1]
CORE, TORCH, CSRC = ROOT / "rrm_core", ROOT / "python" / "rrm_torch", ROOT / "csrc"
HEAVY = (
    "torch",
    "numba",
    "cupy",
    "jax",
    "scipy",
    "pandas",
    "sklearn",
    "matplotlib",
    "ml_dtypes",
    "array_api_strict",
    "dask",
    "pyarrow",
    "rich",
)


# Private modules of rrm_core that all packages of this distribution share.
SHARED = ("_atomic_write", "_cli")


def modules(folder):
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


def imports(file):
    """Return the absolute names that a file imports, wherever in it, submodules named by `from x import y` included."""
    package = file.relative_to(TORCH.parent if file.is_relative_to(TORCH) else ROOT).parent.parts
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *([node.module] if node.module else [])))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def within(name, package):
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("program", ["import rrm_core", "import rrm_core; rrm_core.reweight([1.0, 2.0], gamma=0.5)"])
def test_importing_loads_nothing_heavy(program):
    check = f"import sys; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", f"{program}; {check}"], capture_output=True, text=True, check=True, cwd=ROOT.anchor
    )
    assert run.stdout.strip() == "[]"


def test_importing_does_not_load_the_compiled_module():
    check = "import sys, rrm_core; assert 'rrm_core._cpu' not in sys.modules; assert 'rrm_core.api' in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT.anchor)


def test_relative_imports_are_understood():
    assert "rrm_core.definition.plan.Plan" in imports(CORE / "api.py")
    assert "rrm_core.definition.formats.widen" in imports(CORE / "backends" / "numpy.py")
    assert "rrm_core._cpu" in imports(CORE / "backends" / "cpp.py")
    assert "rrm_core.backends.numba_kernels" in imports(CORE / "backends" / "numba.py")
    assert "rrm_core._cuda" in imports(CORE / "backends" / "cuda_interop.py")


@pytest.mark.parametrize("file", modules(CORE / "backends"), ids=lambda file: file.stem)
def test_backends_do_not_know_each_other(file):
    others = {other.stem for other in modules(CORE / "backends")} - {file.stem, "__init__"}
    allowed = {"numba": {"numba_kernels"}, "cuda": {"cuda_interop"}}.get(file.stem, set())
    known = {other for other in others for name in imports(file) if within(name, f"rrm_core.backends.{other}")}
    assert known <= allowed


@pytest.mark.parametrize("file", modules(CORE / "backends"), ids=lambda file: file.stem)
def test_backends_do_not_look_up(file):
    above = ("rrm_core.api", "rrm_core.planner", "rrm_core.arrays")
    assert not [name for name in imports(file) for module in above if within(name, module)]


@pytest.mark.parametrize(
    "file", [file for file in modules(CORE) if file.parent.name != "backends"], ids=lambda file: file.stem
)
def test_only_the_registry_imports_backends(file):
    found = [name for name in imports(file) if within(name, "rrm_core.backends")]
    assert not [name for name in found if not within(name, "rrm_core.backends.registry")]
    assert "import_module" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", modules(CORE), ids=lambda file: f"{file.parent.stem}-{file.stem}")
def test_the_core_needs_numpy_and_array_api_compat_only(file):
    allowed = {"rrm_core", "numpy", "array_api_compat", *sys.stdlib_module_names}
    if file.stem == "numba_kernels":
        allowed.add("numba")
    if file.stem == "dask_arrays":
        allowed.add("dask")
    if file == CORE / "stream" / "_pyarrow.py":
        allowed.add("pyarrow")
    if file == CORE / "_cli.py":
        allowed.add("rich")
    assert {name.partition(".")[0] for name in imports(file)} <= allowed


# From the ground up: each may import what comes before it, and nothing that comes after.
CORE_FLOORS = ("definition", "backends", "arrays", "planner", "api", "dask_arrays", "stream", "cli")
TORCH_FLOORS = (
    ("_models", "distributed", "data", "models", "losses"),
    ("weighting",),
    ("adversarial",),
    ("training",),
    ("methods",),
    ("report",),
    ("cli",),
)


def room(file, package):
    return file.relative_to(package).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", modules(CORE), ids=lambda file: f"{file.parent.stem}-{file.stem}")
def test_the_core_imports_downwards_only(file):
    if room(file, CORE) not in CORE_FLOORS:
        return  # _atomic_write and what stands on top of everything
    higher = CORE_FLOORS[CORE_FLOORS.index(room(file, CORE)) + 1 :]
    lazily = {"api": {"dask_arrays"}}.get(room(file, CORE), set())
    assert not [name for name in imports(file) for other in set(higher) - lazily if within(name, f"rrm_core.{other}")]


@pytest.mark.parametrize("file", modules(TORCH), ids=lambda file: f"{file.parent.stem}-{file.stem}")
def test_the_trainer_imports_downwards_only(file):
    floor = next((i for i, rooms in enumerate(TORCH_FLOORS) if room(file, TORCH) in rooms), len(TORCH_FLOORS))
    higher = [other for rooms in TORCH_FLOORS[floor + 1 :] for other in rooms]
    assert not [name for name in imports(file) for other in higher if within(name, f"rrm_torch.{other}")]


@pytest.mark.parametrize("file", modules(TORCH), ids=lambda file: file.stem)
def test_the_trainer_uses_public_names_only(file):
    public = {f"rrm_core.{name}" for name in (*rrm_core.__all__, *SHARED)}
    assert not [
        name
        for name in imports(file)
        if within(name, "rrm_core") and name != "rrm_core" and not any(within(name, allowed) for allowed in public)
    ]
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rrm_core"
    }
    assert attributes <= set(rrm_core.__all__)


def test_the_kernels_know_neither_python_nor_a_framework():
    files = [file for file in CSRC.rglob("*") if file.is_file()]
    assert files
    for file in files:
        text = file.read_text(encoding="utf-8")
        included = re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, re.MULTILINE)
        assert not [
            name for name in included if re.search(r"python|pybind|numpy|torch|bindings", name, re.IGNORECASE)
        ], file
        assert not re.search(r"\b(py::|PyObject|at::|torch::)", text), file


def test_no_file_has_a_name_that_says_nothing():
    files = [file for folder in (CORE, TORCH, CSRC, ROOT / "bindings", ROOT / "tests") for file in folder.rglob("*")]
    assert files
    nameless = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [file for file in files if file.stem.strip("_") in nameless]


def test_public_names_have_docstrings():
    for name in rrm_core.__all__:
        member = getattr(rrm_core, name)
        if name == "__version__":
            assert re.match(r"\d+\.\d+", member)
        else:
            assert inspect.getdoc(member), name
    assert {"reweight", "plan", "apply", "objective", "Plan", "available_backends"} <= set(rrm_core.__all__)
    for name in ("gamma", "pruned_fraction", "total_variation", "largest_weight", "effective_sample_size"):
        assert inspect.getdoc(getattr(rrm_core.Plan, name)), name


@pytest.mark.parametrize("name", ["reweight", "plan", "apply", "objective"])
def test_every_parameter_is_documented(name):
    function = getattr(rrm_core, name)
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^\s*([\w, ]+, )?{parameter}(, [\w, ]+)?( : .*)?$", function.__doc__, re.MULTILINE), (
            parameter
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_backend_has_what_dispatch_asks_for(name):
    backend = import_module(f"rrm_core.backends.{name}")
    assert backend.__doc__
    for function in ("is_available", "plan", "apply", "count_foreign"):
        assert inspect.getdoc(getattr(backend, function)), function


def test_a_source_folder_that_is_not_installed_says_what_to_do():
    program = """
import importlib.metadata
def version(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = version
import rrm_core
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT.anchor)
    assert run.stderr.splitlines()[-1].startswith("ImportError: this is rrm_core's source folder")
    assert "pip install -e ." in run.stderr
