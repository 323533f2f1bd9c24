from typing import Literal, TypeAlias

from .definition.formats import Array

_Redistribute: TypeAlias = Literal["recipients", "kept", "drop"]
_Levels: TypeAlias = tuple[float, float, float, float, float]
# Number and first index (-1: none) of NaN and of -inf, number of +inf.
_NonFiniteCounts: TypeAlias = tuple[int, int, int, int, int]
# Number of NaN; minimum, threshold, recipients' threshold; n_pruned, n_tied, n_recipients, removed; levels.
_PlanFields: TypeAlias = tuple[int, float, float, float, int, int, int, int, _Levels]

# Number of invalid old weights, index of the first, and its value.
_InvalidWeights: TypeAlias = tuple[int, int, float]

# Of a reweight: the former if the losses are invalid.
_Outcome: TypeAlias = tuple[_NonFiniteCounts, None, None] | tuple[None, _PlanFields, _InvalidWeights | None]

INTERFACE: int  # version, see rrm_core/backends/extension.py

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
    losses: Array, format: int, rule: Rule, mu: float, old_weights: Array | None, out: Array | None, threads: int, /
) -> _Outcome: ...

# Any NumPy arrays, of which uint16 stands for bfloat16. See plain_call_format in bindings/plain_arrays.h.
def are_plain(losses: Array, old_weights: Array | None, out: Array | None, /) -> bool: ...
def reweight_plain(
    losses: Array, rule: Rule, mu: float, old_weights: Array | None, out: Array | None, threads: int, /
) -> tuple[Array, _Outcome] | None: ...  # the new weights and the outcome, as of `reweight`; None: not plain
def apply(
    losses: Array,
    format: int,
    threshold: float,
    recipient_threshold: float,
    levels: _Levels,
    mu: float,
    old_weights: Array | None,
    out: Array,
    threads: int,
    /,
) -> _InvalidWeights | None: ...
def count_foreign(losses: Array, format: int, loss_min: float, allow_nan: bool, threads: int, /) -> int: ...
def count_first_pass(losses: Array, format: int, first: int, counts: Array, threads: int, /) -> None: ...
def count_pass(
    losses: Array,
    format: int,
    ranges: list[tuple[int, int, int]],  # at most two: first and last key, shift; bin = (key - first) >> shift
    key_memory: list[Array],  # uint64, one per range; or none, and the counts have a histogram per range
    pivots: list[int],  # at most two keys
    counts: Array,
    threads: int,
    /,
) -> None: ...
def checksum(losses: Array, format: int, /) -> int: ...

# Groups: int32 group numbers; arrays of n_groups float64 or int64 numbers, and of n_groups + 1 for `starts`.
def count_samples(groups: Array, sizes: Array, /) -> None: ...  # fills the last one
def sort_by_group(groups: Array, starts: Array, positions: Array, /) -> None: ...  # fills the last two

class GroupRule:
    def __init__(
        self,
        ranks: Array,
        rank_of_all: int,
        gamma: float,
        recipient_ranks: Array,
        recipient_rank_of_all: int,
        redistribute: _Redistribute,
        share_ties: bool,
        quota_of_all: int,
        keep_mass: bool,
        prune_nan: bool,
        /,
    ) -> None: ...

def reweight_groups(
    losses: Array,
    format: int,
    groups: Array,
    starts: Array,
    positions: Array,
    rule: GroupRule,
    mu: float,
    old_weights: Array | None,
    out: Array | None,
    # These are filled. Rows: minimum, threshold, recipients' threshold, removed; n_pruned, n_tied, n_recipients, n_nan.
    thresholds: Array,
    counts: Array,
    levels: Array,  # of shape (n_groups, 5)
    threads: int,
    /,
) -> tuple[int, _InvalidWeights | None]: ...  # error, see `GroupError` in csrc/cpu/grouped_reweight.h
def find_non_finite(
    losses: Array, format: int, /
) -> tuple[int, int, int, int]: ...  # number and first index: NaN, -inf
def write_groups(
    losses: Array,
    format: int,
    groups: Array,
    thresholds: Array,
    recipient_thresholds: Array,
    levels: Array,
    mu: float,
    old_weights: Array | None,
    out: Array,
    threads: int,
    /,
) -> _InvalidWeights | None: ...
def count_foreign_in_groups(
    losses: Array, format: int, groups: Array, minima: Array, n_nan: Array, threads: int, /
) -> int: ...
def count_groups(
    losses: Array,
    format: int,
    groups: Array,
    first: int,
    is_first_pass: bool,
    bits: int,
    shift: int,
    own: Array,  # uint64, as the next two: `GroupPass` in rrm_core/definition/group_counting.py
    of_all: Array,
    pivots: Array,
    counts: Array,
    /,
) -> None: ...
def group_checksum(losses: Array, format: int, groups: Array, /) -> int: ...

# For trainers. Bits of samples are uint8, eight samples in a byte, the first in the highest bit; masks are uint8 too.
def add_to_record(
    losses: Array,
    weights: Array,
    thresholds: Array | None,  # of each sample; None: `threshold` is that of all
    threshold: float,
    pruned: Array | None,  # None: the samples above their threshold, and NaN
    members: Array | None,  # None: all
    last: Array,  # bits, as the next one
    ever: Array,
    excess: Array,  # float32
    excess_thresholds: Array | None,  # of each sample; None: `excess_threshold` is that of all
    excess_threshold: float,
    scales: tuple[float, float, float],  # of weights, their squares and costs; 0: no sum
    # These are filled.
    bits: Array,
    new_ever: Array,
    new_excess: Array,
    /,
) -> tuple[int, int, int, int, int, int]: ...  # `RecordTotals` in csrc/cpu/pruning_record.h
def count_prunings(rounds: list[Array], times: Array, /) -> None: ...  # fills `times`
def order_by_suspicion(excess: Array, order: Array, scratch: Array, /) -> None: ...  # fills `order`

class BatchRecorder:
    def __init__(self, losses: Array, marks: Array, weights: Array, start: int, skip_nan: bool, /) -> None: ...
    def record(
        self, losses: int, index: int, size: int, is_int64: bool, epoch: int, weights: int, /
    ) -> int: ...  # addresses; the number of losses that are not finite, or -1 if an index is out of range

def levels(
    n: int, n_pruned: int, n_tied: int, n_recipients: int, removed: int, redistribute: _Redistribute, /
) -> _Levels: ...
def instruction_sets() -> tuple[str, str]: ...  # the chosen one, and the best of this processor
def tuning() -> dict[str, int]: ...  # csrc/cpu/tuning.h

# For tests and benchmarks; not to be called while another call runs.
def tune(values: dict[str, int], /) -> None: ...
def choose_instruction_set(name: str, /) -> None: ...
def sample_indices(n: int, /) -> list[int]: ...  # the losses sampled to estimate the first bracket
def threads_started() -> int: ...  # by all calls together
