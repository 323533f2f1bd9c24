"""A backend is available once it works; one that fails says why, and is replaced only in the automatic choice."""

from __future__ import annotations

import hashlib
import importlib.machinery
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import rrm_core
from rrm_core.backends import extension, registry
from rrm_core.definition import counting, group_counting
from support.families import BACKENDS, assert_same_bits

C = np.array([0.5, 3.0, 0.25, 2.0, 1.0], np.float32)
W = np.array([1.0, 0.5, 2.0, 1.5, 0.0], np.float32)
OK = {"contamination": 0.2}

# The cached function that loads the compiled part, the module that looks for it, and the start of the error without it.
COMPILED = {
    "cpp": (
        "cpp._extension",
        "rrm_core.backends.extension",
        "backend 'cpp' needs the compiled module rrm_core._cpu, which ",
    ),
    "numba": (
        "numba_runtime._load",
        "rrm_core.backends.numba_runtime",
        "backend 'numba' needs Numba: pip install numba",
    ),
}


def loader(name):
    """Return the function that loads a backend's compiled part once."""
    module, _, function = COMPILED[name][0].partition(".")
    return getattr(import_module(f"rrm_core.backends.{module}"), function)


@pytest.fixture(params=COMPILED)
def unloaded(request):
    """Clear the caches, so that the backend looks for its compiled part again, before and after the test."""
    caches = (loader(request.param), registry.first_available, registry._why_unavailable)
    for cache in caches:
        cache.cache_clear()
    yield request.param, import_module(COMPILED[request.param][1])
    for cache in caches:
        cache.cache_clear()


def assert_refused(name, message):
    out, plan = W.copy(), rrm_core.plan(C, backend="numpy", **OK)
    for call in (
        lambda: rrm_core.reweight(C, W, out=out, backend=name, **OK),
        lambda: rrm_core.plan(C, backend=name, **OK),
        lambda: rrm_core.apply(plan, C, W, out=out, backend=name),
    ):
        with pytest.raises(ImportError) as caught:
            call()
        assert message in str(caught.value)
    assert_same_bits(out, W)


def test_missing_backend_error_names_what_to_install(unloaded, monkeypatch):
    name, module = unloaded
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert name not in rrm_core.available_backends()
    assert registry.unavailable_backends()[name].startswith(COMPILED[name][2])
    assert_refused(name, COMPILED[name][2])


def test_next_backend_replaces_a_missing_one(unloaded, monkeypatch):
    _, module = unloaded
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    expected, plan = rrm_core.reweight(C, W, mu=0.3, backend="numpy", **OK)
    weights, actual_plan = rrm_core.reweight(C, W, mu=0.3, **OK)
    assert actual_plan == plan
    assert_same_bits(weights, expected)


def test_numpy_is_used_without_compiled_backends(unloaded, monkeypatch):
    for name, (_, module, _) in COMPILED.items():
        monkeypatch.setattr(f"{module}.find_spec", lambda _: None)
        loader(name).cache_clear()
    assert rrm_core.available_backends() == ("numpy", "array_api")
    assert_same_bits(rrm_core.reweight(C, **OK)[0], np.array([1, 0, 2, 1, 1], np.float32))


FAILURES = (
    "raise ImportError('undefined symbol: rrm')",
    "raise SystemError('initialization failed')",
    "raise AttributeError('module llvmlite has no attribute binding')",
    "raise OSError('cannot allocate memory')",
    "import no_such_dependency",
)


@pytest.mark.parametrize("failure", FAILURES)
def test_backend_that_fails_to_load_is_not_available(failure, unloaded, monkeypatch, tmp_path):
    name, _ = unloaded
    package, part = {"cpp": ("rrm_core", "_cpu"), "numba": ("rrm_core.backends", "numba_kernels")}[name]
    import_module(f"{package}.{part}")
    # Replace the module by one that fails to load, as if it lacked a shared library.
    monkeypatch.delitem(sys.modules, f"{package}.{part}")
    monkeypatch.delattr(sys.modules[package], part)
    (tmp_path / f"{part}.py").write_text(failure, encoding="utf-8")
    monkeypatch.setattr(sys.modules[package], "__path__", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [importlib.machinery.PathFinder])
    message = failure.split("'")[1] if "'" in failure else "No module named 'no_such_dependency'"
    assert rrm_core.available_backends() == tuple(other for other in BACKENDS if other != name)
    assert message in registry.unavailable_backends()[name]
    assert_refused(name, message)
    if name == "cpp":
        with pytest.warns(RuntimeWarning, match="Another backend is used instead"):
            weights, _ = rrm_core.reweight(C, **OK)
        assert_same_bits(weights, np.array([1, 0, 2, 1, 1], np.float32))
        assert rrm_core.plan(C, **OK).n_pruned == 1  # the warning is issued once


@pytest.mark.parametrize("unloaded", ["cpp"], indirect=True)
@pytest.mark.parametrize("version", [None, extension.INTERFACE - 1, extension.INTERFACE + 1])
def test_extension_with_another_interface_is_not_available(version, unloaded, monkeypatch):
    from rrm_core import _cpu

    if version is None:
        monkeypatch.delattr(_cpu, "INTERFACE")
    else:
        monkeypatch.setattr(_cpu, "INTERFACE", version)
    assert "cpp" not in rrm_core.available_backends()
    assert_refused("cpp", f"version {version}, not {extension.INTERFACE}; build it with GCC or Clang, from a checkout")
    with pytest.warns(RuntimeWarning, match="Another backend is used instead"):
        weights, _ = rrm_core.reweight(C, **OK)
    assert_same_bits(weights, np.array([1, 0, 2, 1, 1], np.float32))


# Of the stubs of the compiled modules and the layout of counts, for each version of the interface.
INTERFACE_DIGESTS = {
    1: "d2a3eee77c02818b",
    2: "015cc44dde65545b",
    3: "5e468cf07c63da64",
    4: "8b0ebc0d3e5d38c0",
    5: "c72b93694caf78b1",
    6: "47512beca15f6866",
}


def test_interface_that_changes_has_another_version():
    stubs = [(Path(rrm_core.__file__).parent / name).read_text(encoding="utf-8") for name in ("_cpu.pyi", "_cuda.pyi")]
    text = "".join(re.sub(r"#.*|\s", "", line) for stub in stubs for line in stub.splitlines())
    layouts = vars(counting) | vars(group_counting)
    layout = {name: value for name, value in layouts.items() if isinstance(value, int)}
    digest = hashlib.sha256(f"{text} {layout}".encode()).hexdigest()[:16]
    remedy = f"raise INTERFACE in rrm_core/backends/extension.py, and record {digest} for it here"
    assert INTERFACE_DIGESTS.get(extension.INTERFACE) == digest, remedy


@pytest.mark.parametrize("unloaded", ["cpp"], indirect=True)
def test_extension_for_another_python_is_named(unloaded, monkeypatch, tmp_path):
    _, module = unloaded
    (tmp_path / "_cpu.cpython-39-powerpc-linux-gnu.so").touch()
    monkeypatch.setattr(rrm_core, "__path__", [str(tmp_path)])
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert_refused("cpp", "there for another Python only (_cpu.cpython-39-powerpc-linux-gnu.so); build it")


@pytest.mark.parametrize("unloaded", ["numba"], indirect=True)
def test_numba_whose_results_are_wrong_is_not_available(unloaded, monkeypatch):
    monkeypatch.setattr("rrm_core.backends.numba_kernels.first_equal", lambda *_: 1)
    assert "numba" not in rrm_core.available_backends()
    assert_refused("numba", "a compiled function returned a wrong result; reinstall it")


@pytest.mark.parametrize("unloaded", ["numba"], indirect=True)
def test_numba_without_compilation_is_not_available(unloaded, monkeypatch):
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert "numba" not in rrm_core.available_backends()
    assert_refused("numba", "NUMBA_DISABLE_JIT is set")


def test_available_backends_starts_no_threads():
    program = (
        "import sys, rrm_core; assert 'numba' not in sys.modules;"
        "print(rrm_core.available_backends());"
        "import numba; numba.threading_layer()"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == str(BACKENDS)
    assert run.stderr.splitlines()[-1] == "ValueError: Threading layer is not initialized."


class Foreign:
    """An array of a framework whose namespace implements little."""

    def __array_namespace__(self, *, api_version=None):
        return import_module("math")


def test_array_namespace_without_a_required_function_is_named():
    with pytest.raises(TypeError, match=r"array namespace lacks argmax, asarray, astype, .*; convert them to NumPy"):
        import_module("rrm_core.backends.array_api").plan(Foreign(), rrm_core.Rule(contamination=0.2))
