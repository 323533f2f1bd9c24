"""The backends: which of them can serve an array, and which one is chosen.

Only this module imports a backend, and only when it is needed. A backend is available once it has been loaded and found
to work. One that is requested by name is never replaced by another one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol, cast

from ..definition.group_counting import GroupPass
from ..definition.group_numbers import GroupNumbers
from ..definition.group_thresholds import GroupedLosses
from ..definition.old_weights import InvalidWeights
from ..definition.plan import Plan
from ..definition.rule import Rule
from .errors import NoDeviceError


class Backend(Protocol):
    """The functions of a backend module.

    A module may also have ``reweight(losses, rule, old_weights, mu, out, threads)``, which plans and applies in one
    call and returns the new weights, the plan, and the invalid old weights as `apply` does.
    """

    def check_available(self) -> None:
        """Load what the backend needs; raise an error that says what to do if it cannot run here.

        The error is a ModuleNotFoundError if something is not installed, another ImportError if it is installed but
        does not work, and a RuntimeError if there is no device.
        """

    def plan(self, losses: Any, rule: Rule, threads: int | None) -> Plan:
        """Return the plan; raise ValueError on losses that cannot be reweighted. `threads` limits those of a kernel."""

    def apply(
        self, plan: Plan, losses: Any, old_weights: Any | None, mu: float, out: Any, threads: int | None
    ) -> tuple[Any, InvalidWeights | None]:
        """Return the new weights, written to `out`, and the invalid old weights: None if there are none.

        `old_weights` None stands for ones. `out` None asks the backend to allocate the new weights; that is for arrays
        which are not on the host.
        """

    def count_foreign(self, plan: Plan, losses: Any, threads: int | None) -> int:
        """Return how many losses lie below the plan's minimum, or are NaN though the planned losses had no NaN."""


class GroupingBackend(Backend, Protocol):
    """The functions of a backend for losses with groups."""

    def grouped_losses(self, losses: Any, groups: GroupNumbers, threads: int | None) -> GroupedLosses:
        """Return the losses of one call by group."""


class CountingBackend(Backend, Protocol):
    """The functions of a backend that counts losses for a `Planner`. See `rrm_core.definition.counting`."""

    def count_first_pass(self, losses: Any, first: int, counts: Any, threads: int | None) -> None:
        """Add the losses to the counts of the first pass; `first` is the index of the first loss.

        If an error is raised, nothing has been counted. The counts change in one call of compiled code.
        """

    def count_pass(
        self,
        losses: Any,
        ranges: Sequence[tuple[int, int, int]],
        key_memory: Sequence[Any],
        pivots: Sequence[int],
        counts: Any,
        threads: int | None,
    ) -> None:
        """Add the losses to the counts of a later pass, in the same way; see `count_pass` in `numpy.py`."""

    def checksum(self, losses: Any) -> int:
        """Return the sum of the losses' words, modulo 2**32."""

    def count_groups(
        self, losses: Any, groups: Any, first: int, group_pass: GroupPass, counts: Any, threads: int | None
    ) -> None:
        """Add the losses to the counts of a pass with groups, in the same way; see `numpy_group_counting.py`."""

    def group_checksum(self, losses: Any, groups: Any) -> int:
        """Return the checksum of losses with groups; see `numpy_group_counting.py`."""


class PlainBackend(CountingBackend, Protocol):
    """The functions of a backend that checks NumPy arrays itself, in compiled code."""

    def are_plain(self, losses: Any, old_weights: Any | None, out: Any | None) -> bool:
        """Return whether it can use the arrays as they are, so that no check of `rrm_core.arrays` is needed."""

    def reweight_plain(
        self,
        losses: Any,
        parameters: tuple[Any, ...],
        old_weights: Any | None,
        mu: float,
        out: Any | None,
        threads: int | None,
    ) -> tuple[Any, Plan, InvalidWeights | None] | None:
        """Return what `reweight` returns, for the rule with these parameters of `make_rule`.

        None if the arrays are not plain, or the parameters are invalid.
        """


def _load_cpp() -> PlainBackend:
    from . import cpp

    return cpp


def _load_numba() -> Backend:
    from . import numba

    return numba


def _load_numpy() -> CountingBackend:
    from . import numpy

    return numpy


def _load_cuda() -> Backend:
    from . import cuda

    return cuda


def _load_array_api() -> Backend:
    from . import array_api

    return array_api


LOADERS: dict[str, Callable[[], Backend]] = {
    "cpp": _load_cpp,
    "numba": _load_numba,
    "numpy": _load_numpy,
    "cuda": _load_cuda,
    "array_api": _load_array_api,
}


@cache
def load(name: str) -> Backend:
    """Return the backend called `name`, a key of `LOADERS`."""
    return LOADERS[name]()


# The backends for an array by its place, the preferred one first.
HOST = ("cpp", "numba", "numpy")  # NumPy arrays and what can be viewed as one
CUDA = ("cuda", "array_api")  # arrays in the memory of an NVIDIA GPU
ELSEWHERE = ("array_api",)
COUNTING = ("cpp", "numpy")  # those that count losses on the host for a `Planner`


def available_backends() -> tuple[str, ...]:
    """Return the names of the backends that can run here, the preferred one first.

    The first call loads all of them, and thereby imports Numba where it is installed.

    Returns
    -------
    tuple of str
        Some of ``"cpp"`` (compiled), ``"numba"``, ``"numpy"`` (the reference), ``"cuda"`` (compiled, for NVIDIA GPUs)
        and ``"array_api"`` (any other device or framework). ``python -m rrm_core info`` prints why others cannot run.
    """
    unavailable = unavailable_backends()
    return tuple(name for name in LOADERS if name not in unavailable)


def unavailable_backends() -> dict[str, str]:
    """Return the backends that cannot run here, and for each why, and what to do about it."""
    return {name: reason for name in LOADERS if (reason := _why_unavailable(name))}


@cache
def _why_unavailable(name: str) -> str | None:
    try:
        load(name).check_available()
    except (ImportError, RuntimeError) as error:
        return str(error)
    return None


class CpuInfo(NamedTuple):
    """Configuration of the compiled CPU backend.

    Attributes
    ----------
    instruction_set : str
        The one in use: ``"baseline"``, ``"v3"`` (x86-64-v3, AVX2) or ``"v4"`` (x86-64-v4, AVX-512). The environment
        variable ``RRM_CPU`` selects one; it is read when the first array is reweighted.
    best_instruction_set : str
        The best one for which there are kernels and which this processor has.
    threads : int
        Number of threads for large arrays: ``OMP_NUM_THREADS``, or the number of processors that this process may use.
    samples_per_thread : int
        Number of samples from which another thread is started.
    """

    instruction_set: str
    best_instruction_set: str
    threads: int
    samples_per_thread: int


def cpu_info() -> CpuInfo:
    """Return instruction set and number of threads of the compiled CPU backend.

    Returns
    -------
    CpuInfo

    Raises
    ------
    ImportError
        The compiled backend is not installed.
    ValueError
        ``RRM_CPU`` is not the name of an instruction set, or this processor lacks it.

    Examples
    --------
    >>> import rrm_core
    >>> rrm_core.cpu_info().best_instruction_set in ("baseline", "v3", "v4")
    True
    """
    from . import cpp

    used, best = cpp.instruction_sets()
    return CpuInfo(used, best, cpp.default_threads(), cpp.samples_per_thread())


def choose(name: str | None, *, on_host: bool, on_cuda: bool) -> Backend:
    """Return the backend called `name`, or the first available one for arrays on the host, a GPU, or elsewhere."""
    candidates = candidates_for(on_host=on_host, on_cuda=on_cuda)
    if name is None:
        return first_available(candidates)
    check_can_serve(name, candidates)
    return load(name)


def plain_backend(name: str | None) -> PlainBackend | None:
    """Return the compiled CPU backend, if it is the one that `name` requests, or that is chosen without a name."""
    chosen: Backend | None = None
    if name is None:
        chosen = first_available(HOST)
    elif name == "cpp" and _why_unavailable(name) is None:
        chosen = load(name)
    return cast("PlainBackend", chosen) if hasattr(chosen, "reweight_plain") else None


def choose_counting(name: str | None) -> CountingBackend:
    """Return the backend called `name`, or the first available one, to count losses on the host for a `Planner`."""
    if name is None:
        return cast("CountingBackend", first_available(COUNTING))
    check_can_count(name)
    return cast("CountingBackend", load(name))


def candidates_for(*, on_host: bool, on_cuda: bool) -> tuple[str, ...]:
    """Return the backends for arrays on the host, a GPU, or elsewhere, the preferred one first."""
    if on_host:
        return HOST
    if on_cuda:
        return CUDA
    return ELSEWHERE


def check_can_serve(name: str, candidates: tuple[str, ...]) -> None:
    """Raise a ValueError unless `name` is a backend for arrays that `candidates` serve."""
    # A tuple, since `name` may be unhashable.
    if name not in tuple(LOADERS):
        raise ValueError(f"backend must be one of {', '.join(map(repr, LOADERS))} or None, got {name!r}")
    if name not in candidates and name != "array_api":
        needs = "in host memory as NumPy, torch or JAX hold them on the CPU"
        if name == "cuda":
            needs = "in the memory of an NVIDIA GPU as torch, CuPy or JAX hold them there"
        served = " or ".join(map(repr, candidates))
        raise ValueError(f"backend={name!r} needs losses {needs}; these are served by {served}")


def check_can_count(name: str) -> None:
    """Raise a ValueError unless `name` is a backend that counts losses for a `Planner`."""
    if name not in COUNTING:
        raise ValueError(f"backend must be one of {', '.join(map(repr, COUNTING))} or None, got {name!r}")


@cache
def first_available(candidates: tuple[str, ...]) -> Backend:
    """Return the first of these backends that can run here; warn of those that are installed but do not work."""
    for name in candidates[:-1]:
        try:
            load(name).check_available()
        except (ModuleNotFoundError, NoDeviceError):
            continue
        except ImportError as error:
            warnings.warn(f"{error}. Another backend is used instead", RuntimeWarning, stacklevel=2)
            continue
        return load(name)
    # The last one needs nothing but the dependencies of this package.
    return load(candidates[-1])
