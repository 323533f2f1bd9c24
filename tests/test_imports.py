"""Import rules: which module may import which, and what an import of a package loads."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import rrm_core
import rrm_review
import rrm_sklearn
import rrm_torch
from rrm_core.backends.registry import LOADERS

ROOT = Path(__file__).parents[1]
CORE = ROOT / "rrm_core"
TORCH = ROOT / "python" / "rrm_torch"
REVIEW = ROOT / "python" / "rrm_review"
SKLEARN = ROOT / "python" / "rrm_sklearn"
KERAS = ROOT / "python" / "rrm_keras"
EXPERIMENTS = ROOT / "experiments"
BENCHMARKS = ROOT / "benchmarks"
CSRC = ROOT / "csrc"
HEAVY = (
    "torch",
    "numba",
    "cupy",
    "jax",
    "scipy",
    "pandas",
    "sklearn",
    "matplotlib",
    "PIL",
    "ml_dtypes",
    "array_api_strict",
    "dask",
    "pyarrow",
    "polars",
    "xarray",
    "tensorflow",
    "keras",
    "paddle",
    "mlx",
    "rich",
    "datasets",
    "argilla",
    "fiftyone",
    "cleanlab",
)

# Private modules of rrm_core that all packages of this distribution share. `SHARED_IMPORTS` says what else of rrm_core
# they import.
SHARED = (
    "_agreement",
    "_arguments",
    "_atomic_write",
    "_cli",
    "_held_out",
    "_learnt_estimate",
    "_npy_header",
    "_out_of_fold",
    "_public",
    "_standard_streams",
    "_training",
    "_warmup_end",
)
SHARED_IMPORTS = {
    "_cli": {"_atomic_write", "_standard_streams"},
    "_learnt_estimate": {"_agreement", "arrays", "contamination"},
    "_out_of_fold": {"_agreement", "_learnt_estimate", "contamination"},
    "_training": {"backends"},
    "_warmup_end": {"_agreement"},
}


def modules(folder):
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


def module_name(file):
    """Return the dotted name under which a source file is imported."""
    base = TORCH.parent if file.is_relative_to(TORCH.parent) else ROOT
    parts = file.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(tree, with_types):
    """Yield the nodes of a syntax tree, with or without those of `if TYPE_CHECKING:` blocks."""
    for node in ast.iter_child_nodes(tree):
        if not with_types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from statements(node, with_types)


def imports(file, with_types=False):
    """Return the absolute names that a file imports, also inside functions, with submodules of `from x import y`.

    `with_types` includes imports for annotations only, in `if TYPE_CHECKING:` blocks.
    """
    package = module_name(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    names = set()
    for node in statements(ast.parse(file.read_text(encoding="utf-8")), with_types):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def subpackage(file, package):
    """Return the folder or module directly below a package in which a file lies."""
    return file.relative_to(package).parts[0].removesuffix(".py")


def label(file):
    return f"{file.parent.stem}-{file.stem}"


# What an import loads


@pytest.mark.parametrize(
    "program",
    ["import rrm_core", "import rrm_core; rrm_core.reweight([1.0, 2.0], gamma=0.5)", "import rrm_review"],
)
def test_importing_loads_numpy_and_nothing_heavier(program):
    check = f"import sys; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", f"{program}; {check}"], capture_output=True, text=True, check=True, cwd=ROOT.anchor
    )
    assert run.stdout.strip() == "[]"


def test_importing_the_core_does_not_load_the_compiled_module():
    check = "import sys, rrm_core; assert 'rrm_core._cpu' not in sys.modules; assert 'rrm_core.api' in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT.anchor)


# Which module may import which


def test_relative_and_lazy_imports_are_resolved():
    assert "rrm_core.definition.plan.Plan" in imports(CORE / "api.py")
    assert "rrm_core.dask_arrays" in imports(CORE / "api.py")
    assert "rrm_core.definition.formats.widen" in imports(CORE / "backends" / "numpy.py")
    assert "rrm_core.backends.numpy" in imports(CORE / "backends" / "registry.py")
    assert "rrm_core.backends.numba_kernels" in imports(CORE / "backends" / "numba_runtime.py")
    assert "rrm_core._cuda" in imports(CORE / "backends" / "cuda_interop.py")


def test_type_checking_blocks_are_not_imports(tmp_path, monkeypatch):
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import numba\n"
    (tmp_path / "module.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert imports(tmp_path / "module.py") == {"typing.TYPE_CHECKING", "numba"}


BACKEND_PARTS = {
    "registry": {*LOADERS, "errors"},
    "cpp": {"cpp_groups", "extension"},
    "numpy": {"numpy_group_counting", "numpy_groups", "numpy_keys", "numpy_smoothing"},
    "numpy_groups": {"numpy_smoothing"},
    "numpy_group_counting": {"numpy_keys"},
    "array_api": {"array_api_groups"},
    "numba": {"numba_arrays", "numba_groups", "numba_runtime"},
    "numba_groups": {"numba_arrays", "numba_runtime"},
    "numba_runtime": {"numba_kernels", "numba_group_kernels"},
    "numba_group_kernels": {"numba_compile", "numba_kernels"},
    "numba_kernels": {"numba_compile"},
    "cuda": {"cuda_call", "cuda_groups", "cuda_interop"},
    "cuda_call": {"cuda_interop", "errors", "extension"},
    "cuda_groups": {"cuda_call", "cuda_interop"},
}


@pytest.mark.parametrize("file", modules(CORE / "backends"), ids=lambda file: file.stem)
def test_backends_do_not_import_each_other(file):
    others = {other.stem for other in modules(CORE / "backends")} - {file.stem, "__init__"}
    imported = {other for other in others for name in imports(file) if within(name, f"rrm_core.backends.{other}")}
    assert imported <= BACKEND_PARTS.get(file.stem, set())


def test_the_registry_names_every_backend():
    parts = set().union(*BACKEND_PARTS.values()) - set(LOADERS)
    assert set(LOADERS) == {file.stem for file in modules(CORE / "backends")} - parts - {"registry", "__init__"}


@pytest.mark.parametrize(
    "file", [file for file in modules(CORE) if file.parent.name != "backends"], ids=lambda file: file.stem
)
def test_only_the_registry_imports_backends(file):
    # Whatever uses a compiled module is loaded like a backend.
    loaders = ("cuda_call", "errors", "extension")
    allowed = {f"rrm_core.backends.{name}" for name in (loaders if file.stem == "_training" else ("registry",))}
    found = [name for name in imports(file) if within(name, "rrm_core.backends")]
    assert not [name for name in found if not any(within(name, module) for module in allowed)]
    assert "import_module" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", modules(CORE), ids=label)
def test_the_core_needs_numpy_and_array_api_compat_only(file):
    allowed = {"rrm_core", "numpy", "array_api_compat", *sys.stdlib_module_names}
    optional = {
        CORE / "backends" / "numba_compile.py": "numba",
        CORE / "backends" / "numba_kernels.py": "numba",
        CORE / "backends" / "numba_group_kernels.py": "numba",
        CORE / "dask_arrays.py": "dask",
        CORE / "dask_groups.py": "dask",
        CORE / "jax.py": "jax",
        CORE / "stream" / "_pyarrow.py": "pyarrow",
        CORE / "_cli.py": "rich",
    }
    assert {name.partition(".")[0] for name in imports(file)} <= allowed | {optional.get(file, "numpy")}


# From the lowest level up. A package imports packages of lower levels only, none of its own.
CORE_LEVELS = (
    ("definition",),
    ("backends", "arrays"),
    ("_engine", "planner"),
    ("_grouped_engine",),
    ("api", "stream", "dask_arrays", "dask_groups", "cli_options", "cli_summary"),
    ("relaxed_objective", "contamination", "cli", "jax"),
)
# The API lazily, when it is given a Dask array.
SAME_LEVEL = {"api": {"dask_arrays", "dask_groups"}, "dask_groups": {"dask_arrays"}}


@pytest.mark.parametrize("file", modules(CORE), ids=label)
def test_the_core_imports_lower_levels_only(file):
    own_package = subpackage(file, CORE)
    if own_package in ("__init__", "__main__"):
        return
    lower = set(SHARED)
    if own_package in SHARED:
        lower = SHARED_IMPORTS.get(own_package, set())
    else:
        level = next(i for i, packages in enumerate(CORE_LEVELS) if own_package in packages)
        lower |= {other for packages in CORE_LEVELS[:level] for other in packages}
        lower |= SAME_LEVEL.get(own_package, set())
    allowed = {own_package, "_cpu", "_cuda"} | lower
    imported = {name.split(".")[1] for name in imports(file) if name.startswith("rrm_core.")}
    assert imported <= allowed


# From the lowest level up. A package imports packages of its own level and of lower ones.
TORCH_LEVELS = (
    ("_checks", "_models", "_rollback", "distributed", "data", "models", "losses"),
    ("weighting",),
    ("adversarial",),
    ("training",),
    ("methods", "integrations"),
    ("report", "find"),
    ("cli",),
)


@pytest.mark.parametrize("file", modules(TORCH), ids=label)
def test_rrm_torch_imports_lower_levels_only(file):
    if file.parent == TORCH and file.stem in ("__init__", "__main__"):
        return
    (level,) = (i for i, packages in enumerate(TORCH_LEVELS) if subpackage(file, TORCH) in packages)
    higher = [other for packages in TORCH_LEVELS[level + 1 :] for other in packages]
    assert not [name for name in imports(file) for other in higher if within(name, f"rrm_torch.{other}")]


@pytest.mark.parametrize("file", modules(REVIEW), ids=label)
def test_rrm_review_needs_numpy_and_the_core_only(file):
    allowed = {"rrm_review", "rrm_core", "numpy", *sys.stdlib_module_names}
    optional = {
        REVIEW / "issues.py": {"pandas"},
        REVIEW / "exports" / "dataset.py": {"datasets"},
        REVIEW / "exports" / "parquet.py": {"pyarrow"},
        REVIEW / "page.py": {"pandas"},
        REVIEW / "thumbnails.py": {"PIL"},
    }
    assert {name.partition(".")[0] for name in imports(file)} <= allowed | optional.get(file, set())


@pytest.mark.parametrize("file", modules(SKLEARN), ids=label)
def test_rrm_sklearn_needs_scikit_learn_numpy_and_lower_packages_only(file):
    allowed = {"rrm_sklearn", "rrm_review", "rrm_core", "sklearn", "numpy", *sys.stdlib_module_names}
    assert {name.partition(".")[0] for name in imports(file)} <= allowed


@pytest.mark.parametrize("file", modules(KERAS), ids=label)
def test_rrm_keras_needs_keras_numpy_and_lower_packages_only(file):
    allowed = {"rrm_keras", "rrm_review", "rrm_core", "keras", "numpy", *sys.stdlib_module_names}
    assert {name.partition(".")[0] for name in imports(file)} <= allowed


@pytest.mark.parametrize("file", [*modules(SKLEARN), *modules(KERAS), *modules(TORCH)], ids=label)
def test_packages_use_public_names_of_rrm_review_only(file):
    public = {f"rrm_review.{name}" for name in rrm_review.__all__}
    assert {name for name in imports(file) if within(name, "rrm_review")} <= public


@pytest.mark.parametrize("file", [*modules(REVIEW), *modules(SKLEARN), *modules(KERAS), *modules(TORCH)], ids=label)
def test_packages_use_public_names_of_the_core_only(file):
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


@pytest.mark.parametrize(
    "file", [*modules(CORE), *modules(REVIEW), *modules(SKLEARN), *modules(KERAS), *modules(TORCH)], ids=label
)
def test_packages_do_not_import_experiments_benchmarks_or_tests(file):
    assert not {name.partition(".")[0] for name in imports(file)} & {"experiments", "benchmarks", "tests", "support"}


@pytest.mark.parametrize("file", modules(EXPERIMENTS), ids=label)
def test_experiments_import_neither_benchmarks_nor_tests(file):
    assert not {name.partition(".")[0] for name in imports(file)} & {"benchmarks", "tests", "support"}


COMPILED = {"rrm_core._cpu", "rrm_core._cuda"}


def import_graph(files):
    """Return, for each module, the modules among these files that it imports, lazily or for annotations as well."""
    names = {module_name(file): file for file in files}
    graph = {}
    for name, file in names.items():
        others = imports(file, with_types=True) - COMPILED
        imported = {other if other in names else other.rpartition(".")[0] for other in others}
        graph[name] = sorted((imported & set(names)) - {name})
    return graph


def find_circle(graph):
    """Return the modules of a circle of imports, or None."""
    finished = set()

    def visit(module, path):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in finished:
            return None
        for other in graph[module]:
            circle = visit(other, [*path, module])
            if circle:
                return circle
        finished.add(module)
        return None

    return next((circle for module in graph if (circle := visit(module, []))), None)


def test_find_circle():
    assert find_circle({"a": ["b", "c"], "b": ["c"], "c": []}) is None
    assert find_circle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]


@pytest.mark.parametrize(
    "folder", [CORE, REVIEW, SKLEARN, KERAS, TORCH, EXPERIMENTS, BENCHMARKS], ids=lambda folder: folder.name
)
def test_no_circle_of_imports(folder):
    assert find_circle(import_graph(modules(folder))) is None


def test_the_kernels_include_neither_python_nor_a_framework():
    files = [file for file in CSRC.rglob("*") if file.is_file()]
    assert files
    for file in files:
        text = file.read_text(encoding="utf-8")
        included = re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, re.MULTILINE)
        assert not [
            name for name in included if re.search(r"python|pybind|numpy|torch|bindings", name, re.IGNORECASE)
        ], file
        assert not re.search(r"\b(py::|PyObject|at::|torch::)", text), file


# Names


def test_file_names_say_what_is_in_them():
    folders = (CORE, REVIEW, SKLEARN, KERAS, TORCH, CSRC, ROOT / "bindings", ROOT / "tests")
    files = [file for folder in folders for file in folder.rglob("*")]
    assert files
    vague = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [file for file in files if file.stem.strip("_") in vague]


@pytest.mark.parametrize(
    "package", [rrm_core, rrm_review, rrm_sklearn, rrm_torch], ids=lambda package: package.__name__
)
def test_no_public_name_shadows_a_module(package):
    for name in package.__all__:
        spec = find_spec(f"{package.__name__}.{name}")
        assert spec is None or inspect.ismodule(getattr(package, name)), name


@pytest.mark.parametrize(
    "package", [rrm_core, rrm_review, rrm_sklearn, rrm_torch], ids=lambda package: package.__name__
)
def test_public_classes_are_found_under_their_public_name(package):
    for name in package.__all__:
        member = getattr(package, name)
        if inspect.isclass(member):
            assert member.__module__ == package.__name__, name
            assert pydoc.locate(f"{package.__name__}.{name}") is member


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


@pytest.mark.parametrize("name", LOADERS)
def test_a_backend_has_the_functions_of_the_protocol(name):
    backend = import_module(f"rrm_core.backends.{name}")
    assert backend is LOADERS[name]()
    assert backend.__doc__
    for function in ("check_available", "plan", "apply", "count_foreign"):
        assert inspect.getdoc(getattr(backend, function)), function


def test_a_source_folder_that_is_not_installed_raises_import_error():
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
