from typing import Literal, TypeAlias

from .definition.formats import Array

_Redistribute: TypeAlias = Literal["recipients", "kept", "drop"]
_Levels: TypeAlias = tuple[float, float, float, float, float]
_Faults: TypeAlias = tuple[int, int, int, int, int]  # number and first index of NaN and of -inf, number of +inf
# Number of NaN; minimum, threshold, recipients' threshold; pruned, tied, recipients, removed; levels.
_Found: TypeAlias = tuple[int, float, float, float, int, int, int, int, _Levels]

class Rule:
    def __init__(
        self,
        rank: int,
        gamma: float,
        recipient_rank: int,
        quota: int,
        redistribute: _Redistribute,
        prune_nan: bool,
        /,
    ) -> None: ...

def reweight(
    losses: Array, format: int, rule: Rule, mu: float, old: Array | None, out: Array | None, threads: int, /
) -> tuple[_Faults, None] | tuple[None, _Found]: ...
def apply(
    losses: Array,
    format: int,
    threshold: float,
    recipient_threshold: float,
    levels: _Levels,
    mu: float,
    old: Array | None,
    out: Array,
    threads: int,
    /,
) -> None: ...
def count_foreign(losses: Array, format: int, loss_min: float, allow_nan: bool, threads: int, /) -> int: ...
def tally_all(
    losses: Array, format: int, first: int, counts: Array, threads: int, /
) -> tuple[int, int, int, int]: ...  # lowest key, first index of NaN and of -inf (-1: none), checksum
def tally_some(
    losses: Array,
    format: int,
    intervals: list[tuple[int, int, int]],  # at most two: first and last key, shift from a distance to its bin
    memory: list[Array],  # for each, of int64: counts of bins, added to; of uint64: room for keys
    points: list[int],  # at most two keys
    threads: int,
    /,
) -> tuple[int, list[int], list[tuple[int, int]]]: ...  # checksum; losses inside; losses below and at each point
def checksum(losses: Array, format: int, /) -> int: ...
def levels(
    n: int, n_pruned: int, n_tied: int, n_recipients: int, removed: int, redistribute: _Redistribute, /
) -> _Levels: ...
def instruction_sets() -> tuple[str, str]: ...  # the one in use, the best of this processor
def tuning() -> dict[str, int]: ...  # csrc/cpu/tuning.h

# For tests and benchmarks, not during a call:
def tune(values: dict[str, int], /) -> None: ...
def choose_instruction_set(name: str, /) -> None: ...
def sampled_places(n: int, /) -> list[int]: ...  # where the kernel looks before it chooses its first bracket
def threads_started() -> int: ...  # by all calls so far
