"""The rivals in C++: compiles native.cpp into a temporary folder and calls it."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, c_double, c_int, c_int64, c_void_p
from pathlib import Path

import numpy as np

from benchmarks.common.losses import FORMATS, Answer, Array, Losses
from benchmarks.common.record import ROOT
from benchmarks.cpu.rivals import Rival

HERE = Path(__file__).parent
KERNEL = ROOT / "csrc" / "cpu"
COMPILER = os.environ.get("CXX", "g++")
# The flags of CMakeLists.txt; the last keeps copies of the library separate (see Native.kernel).
FLAGS = "-O3 -std=c++20 -ffp-contract=off -fno-math-errno -fno-trapping-math -fPIC -pthread -fno-gnu-unique"
INSTRUCTION_SETS = {0: (), 2: ("baseline",), 3: ("baseline", "v3"), 4: ("baseline", "v3", "v4")}
OWN_SELECTIONS = {
    "std::nth_element": "bench_nth_element",
    "Floyd-Rivest": "bench_floyd_rivest",
    "pdqselect": "bench_pdqselect",
}
SELECTIONS = {  # optional header-only libraries, and their flags besides -march
    "x86-simd-sort": ["-DX86_SIMD_SORT"],
    "VQSelect": ["-DVQSELECT", "-maes", "-mpclmul"],  # without these two it uses an older instruction set
}


class _Answer(ctypes.Structure):
    _fields_ = (("threshold", c_double), ("lowest", c_double), ("n_lowest", c_int64), ("n_above", c_int64))

    def value(self) -> Answer:
        return Answer(self.threshold, self.lowest, self.n_lowest, self.n_above)


class Native:
    """The compiled library, one copy of it for each instruction set, and selections of other libraries."""

    def __init__(self, folder: Path, headers: Path | None = None, sources: Path = KERNEL) -> None:
        self.folder = folder
        kernel = [path for path in sorted(sources.glob("*.cpp")) if not path.name.startswith("grouped_")]
        self.path = self._compile("native", [HERE / "native.cpp", *kernel])
        self.library = ctypes.CDLL(str(self.path))
        floor = self.library.bench_floor
        composition = self.library.bench_composition
        floor.restype = composition.restype = c_double
        floor.argtypes = [c_int, c_void_p, c_int64, c_double, c_void_p, c_int, c_int, c_int64]
        composition.argtypes = [c_void_p, c_void_p, c_int64, c_int64, c_double, c_void_p, c_void_p, c_int64]
        composition.argtypes += [POINTER(_Answer)]
        self.instruction_sets = INSTRUCTION_SETS[self.library.bench_instruction_set()]
        self.selections = {name: self.library[function] for name, function in OWN_SELECTIONS.items()}
        for name, flags in SELECTIONS.items() if headers is not None else ():
            for level, label in (("v3", "AVX2"), ("v4", "AVX-512")):
                if level in self.instruction_sets:
                    flags_here = [*flags, f"-march=x86-64-{level}", *_include(headers)]
                    path = self._compile(f"{name}-{level}", [HERE / "native_select.cpp"], *flags_here)
                    self.selections[f"{name}, {label}"] = ctypes.CDLL(str(path)).bench_select
        self._kernels: dict[str, ctypes.CDLL] = {}

    def kernel(self, instruction_set: str = "") -> ctypes.CDLL:
        """Return a library whose kernel uses this instruction set; with "" it uses its default.

        The kernel reads RRM_CPU once, in its first call. A copy of the file is a separate library with a first call of
        its own, so that the instruction sets can be interleaved in one process.
        """
        if instruction_set not in self._kernels:
            path = shutil.copy(self.path, self.folder / f"kernel-{instruction_set or 'own'}.so")
            library = ctypes.CDLL(path)
            library.bench_kernel.restype = c_double
            library.bench_kernel.argtypes = [c_int, c_void_p, c_int64, c_int64, c_double, c_void_p, c_int, c_int64]
            library.bench_kernel.argtypes += [POINTER(_Answer)]
            self._kernels[instruction_set] = library
            before = os.environ.pop("RRM_CPU", None)
            if instruction_set:
                os.environ["RRM_CPU"] = instruction_set
            what = Losses(100_000)
            drawn = what.draw()
            Kernel(self, what, drawn, np.ones_like(drawn), 1.0, instruction_set=instruction_set)()
            os.environ.pop("RRM_CPU", None)
            if before is not None:
                os.environ["RRM_CPU"] = before
        return self._kernels[instruction_set]

    def _compile(self, name: str, sources: Iterable[Path], *flags: str) -> Path:
        """Compile the sources at once, and link them."""
        path = self.folder / f"{name}.so"

        def compiled(source: Path) -> str:
            target = str(self.folder / f"{name}-{source.stem}.o")
            _run_compiler(*flags, "-c", str(source), "-o", target)
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            _run_compiler(*flags, "-shared", *pool.map(compiled, sources), "-o", str(path))
        return path


def _run_compiler(*arguments: str) -> None:
    run = subprocess.run([COMPILER, *FLAGS.split(), *arguments], capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{' '.join([COMPILER, *arguments])} failed:\n{run.stderr[:4000]}")


def _include(headers: Path) -> list[str]:
    """Return the include paths of the two libraries in NumPy's source distribution, unpacked inside `headers`."""
    for simd_sort in sorted(headers.rglob("npysort/x86-simd-sort")):
        if (simd_sort.parent.parent / "highway").is_dir():
            return [f"-I{simd_sort.parent.parent}", f"-I{simd_sort.parent.parent / 'highway'}"]
    raise SystemExit(
        f"no npysort/x86-simd-sort next to highway below {headers}: unpack NumPy's source distribution there"
    )


def compiler_version() -> str:
    run = subprocess.run([COMPILER, "-dumpfullversion"], capture_output=True, text=True, check=True)
    return f"{run.stdout.strip()} ({platform.libc_ver()[0]} {platform.libc_ver()[1]})"


class NativeRival(Rival):
    """A rival whose library repeats and times the calls."""

    def __init__(self, native: Native, what: Losses, losses: Array, weights: Array, mu: float) -> None:
        super().__init__(what, losses, weights, mu)
        self.native = native
        self.answer = _Answer()

    def __call__(self) -> Answer:
        self.nanoseconds(1)
        return self.answer.value()

    def time(self, calls: int) -> float:
        return self.nanoseconds(calls) / 1e9

    def nanoseconds(self, calls: int) -> float:
        """Return the mean time of `calls` calls in nanoseconds."""
        raise NotImplementedError


class Floor(NativeRival):
    """The memory traffic alone: each loss read once or twice, each weight read and written in place."""

    computes_answer = False

    def __init__(
        self, native: Native, what: Losses, losses: Array, weights: Array, mu: float, *, twice: bool, threads: int = 1
    ) -> None:
        super().__init__(native, what, losses, weights, mu)
        self.twice = twice
        self.threads = threads

    def nanoseconds(self, calls: int) -> float:
        c = self.losses
        w = self.weights
        return self.native.library.bench_floor(
            c.itemsize, c.ctypes.data, c.size, self.mu, w.ctypes.data, self.twice, self.threads, calls
        )


class Composition(NativeRival):
    """A selection on a copy in preallocated memory, and one fused update."""

    def __init__(
        self, native: Native, what: Losses, losses: Array, weights: Array, mu: float, *, selection: str, scratch: Array
    ) -> None:
        super().__init__(native, what, losses, weights, mu)
        self.select = ctypes.cast(native.selections[selection], c_void_p)
        self.scratch = scratch

    def nanoseconds(self, calls: int) -> float:
        return self.native.library.bench_composition(
            self.select,
            self.losses.ctypes.data,
            self.what.n,
            self.what.rank,
            self.mu,
            self.weights.ctypes.data,
            self.scratch.ctypes.data,
            calls,
            self.answer,
        )


class Kernel(NativeRival):
    """The project's kernel, called without Python."""

    def __init__(
        self,
        native: Native,
        what: Losses,
        losses: Array,
        weights: Array,
        mu: float,
        *,
        threads: int = 1,
        instruction_set: str = "",
    ) -> None:
        super().__init__(native, what, losses, weights, mu)
        self.threads = threads
        self.library = native.kernel(instruction_set)

    def nanoseconds(self, calls: int) -> float:
        c = self.losses.ctypes.data
        w = self.weights.ctypes.data
        code = FORMATS.index(self.what.format)
        rank = self.what.rank
        return self.library.bench_kernel(code, c, self.what.n, rank, self.mu, w, self.threads, calls, self.answer)
