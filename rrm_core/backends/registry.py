"""Where the losses live decides which backends may serve them; the first one available does.

Nobody else imports a backend. A named backend is never replaced by another: it serves, or it says why it can't.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

from ..definition.counting import FirstPassCounts, PassCounts
from ..definition.plan import Plan
from ..definition.rule import Rule

HOST = ("cpp", "numba", "numpy")  # NumPy arrays, and what can be viewed as one
CUDA = ("cuda", "array_api")  # arrays in the memory of an NVIDIA GPU
DEVICE = ("array_api",)  # everything else
NAMES = (*HOST, *CUDA)
COUNTING = ("cpp", "numpy")  # those of the host that count for a selection in rounds


class Backend(Protocol):
    """What a backend module offers."""

    def is_available(self) -> bool:
        """Return whether the backend can run here."""

    def plan(self, losses: Any, rule: Rule, threads: int | None) -> Plan:
        """Return the plan; raise ValueError on losses that can't be reweighted. `threads` bounds those of a kernel."""

    def apply(
        self, plan: Plan, losses: Any, weights: Any | None, mu: float, out: Any | None, threads: int | None
    ) -> Any:
        """Return the new weights, written to `out` if given."""

    def count_foreign(self, plan: Plan, losses: Any, threads: int | None) -> int:
        """Return how many losses lie below the plan's minimum, or are NaN though it has none."""


class Counting(Backend, Protocol):
    """What a backend that counts for a `Planner` offers besides. See `rrm_core.selection`."""

    def count_first_pass(self, losses: Any, first: int, counts: Any, threads: int | None) -> FirstPassCounts:
        """Add the losses to the counts of all bins; the index of the first of them is `first`."""

    def count_pass(
        self,
        losses: Any,
        intervals: Sequence[tuple[int, int, int]],
        memory: Sequence[Any],
        points: Sequence[int],
        threads: int | None,
    ) -> PassCounts:
        """Count what lies in intervals of keys, or keep the keys, and how the losses stand to points."""

    def checksum(self, losses: Any) -> int:
        """Return the sum of the losses' words, modulo 2**32."""


def available_backends() -> tuple[str, ...]:
    """Return the names of the backends that can run here, the preferred one first.

    Returns
    -------
    tuple of str
        Some of ``"cpp"`` (compiled), ``"numba"``, ``"numpy"`` (the reference), ``"cuda"`` (compiled, for NVIDIA GPUs)
        and ``"array_api"`` (any other device or framework).
    """
    return tuple(name for name in NAMES if _load(name).is_available())


class CpuInfo(NamedTuple):
    """How the compiled backend runs here.

    Attributes
    ----------
    instruction_set : str
        The one in use: ``"baseline"``, ``"v3"`` (x86-64-v3, AVX2) or ``"v4"`` (x86-64-v4, AVX-512). The environment
        variable ``RRM_CPU`` chooses one, read when the first array is reweighted.
    best_instruction_set : str
        The best that this processor has a kernel for.
    threads : int
        How many threads large arrays get: ``OMP_NUM_THREADS`` or the processors that this process may use.
    samples_per_thread : int
        How many samples it takes for another thread to be worth starting.
    """

    instruction_set: str
    best_instruction_set: str
    threads: int
    samples_per_thread: int


def cpu_info() -> CpuInfo:
    """Return how the compiled backend runs here: instruction set and threads.

    Returns
    -------
    CpuInfo

    Raises
    ------
    ImportError
        The compiled backend is not there.
    ValueError
        ``RRM_CPU`` names no instruction set, or one that this processor lacks.

    Examples
    --------
    >>> import rrm_core
    >>> rrm_core.cpu_info().best_instruction_set in ("baseline", "v3", "v4")
    True
    """
    cpp = cast("Any", _load("cpp"))
    used, best = cpp.instruction_sets()
    return CpuInfo(used, best, cpp.default_threads(), cpp.samples_per_thread())


def choose(name: str | None, *, on_host: bool, on_cuda: bool) -> Backend:
    """Return the backend called `name`, or the first available one for arrays on the host, a GPU, or elsewhere."""
    candidates = HOST if on_host else CUDA if on_cuda else DEVICE
    if name is None:
        return _load(_first_available(candidates))
    if name not in NAMES:
        raise ValueError(f"backend must be one of {', '.join(map(repr, NAMES))} or None, got {name!r}")
    if name not in candidates and name != "array_api":
        needs = (
            "in the memory of an NVIDIA GPU as torch, CuPy or JAX hold them there"
            if name == "cuda"
            else "in host memory as NumPy, torch or JAX hold them on the CPU"
        )
        served = " or ".join(map(repr, candidates))
        raise ValueError(f"backend={name!r} needs losses {needs}; these are served by {served}")
    return _load(name)


def choose_counting(name: str | None) -> Counting:
    """Return the backend called `name`, or the first available one, to count losses on the host for a `Planner`."""
    if name is not None and name not in COUNTING:
        raise ValueError(f"backend must be one of {', '.join(map(repr, COUNTING))} or None, got {name!r}")
    return cast("Counting", _load(name or _first_available(COUNTING)))


@cache
def _first_available(candidates: tuple[str, ...]) -> str:
    return next(name for name in candidates if _load(name).is_available())


@cache
def _load(name: str) -> Backend:
    return cast("Backend", import_module(f".{name}", __package__))
