from typing import Any

from numpy.typing import NDArray

from ._cpu import _InvalidWeights, _Levels, _NonFiniteCounts, _PlanFields, _Redistribute

INTERFACE: int  # version, see rrm_core/backends/extension.py
OUTCOME_BYTES: int  # size of the device memory that reweight writes and read_outcome reads
APPLY_OUTCOME_BYTES: int  # size of that which apply writes if it reads old weights

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

# Arrays and streams are addresses; 0 means no array, or the legacy default stream.
def device_count() -> tuple[int, str]: ...  # and the reason if it is 0
def memory_device(address: int, /) -> int: ...  # -1: host memory
def workspace_bytes(format: int, n: int, rule: Rule, device: int, /) -> int: ...
def reweight(
    losses: int,
    format: int,
    n: int,
    rule: Rule,
    mu: float,
    old: int,
    out: int,
    out_is_new: bool,
    outcome: int,
    workspace: int,
    device: int,
    stream: int,
    /,
) -> None: ...  # out_is_new: fill `out` with NaN if the losses are rejected
def read_outcome(
    outcome: int, n: int, prune_nan: bool, device: int, stream: int, /
) -> tuple[_NonFiniteCounts, None, None] | tuple[None, _PlanFields, _InvalidWeights | None]: ...  # waits for the stream
def apply(
    losses: int,
    format: int,
    n: int,
    threshold: float,
    recipient_threshold: float,
    levels: _Levels,
    mu: float,
    old: int,
    out: int,
    out_is_new: bool,
    outcome: int,
    device: int,
    stream: int,
    /,
) -> _InvalidWeights | None: ...  # waits for the stream if `outcome`, memory for reading old weights, is given
def count_foreign(
    losses: int, format: int, n: int, loss_min: float, allow_nan: bool, counter: int, device: int, stream: int, /
) -> int: ...  # waits for the stream

# For losses with groups, see csrc/cuda/groups.h. Arrays are on the host and contiguous. The functions that take one
# wait for the stream.
def copy_to_device(array: NDArray[Any], address: int, device: int, stream: int, /) -> None: ...
def group_workspace_bytes(format: int, n: int, n_groups: int, device: int, /) -> int: ...
def sort_groups(
    losses: int,
    format: int,
    n: int,
    groups: int,
    n_groups: int,
    workspace: int,
    device: int,
    stream: int,
    result: NDArray[Any],
    /,
) -> None: ...  # result: 4 + 5 * n_groups 8-byte numbers
def find_in_groups(
    format: int,
    n: int,
    n_groups: int,
    by_rank: bool,
    query: NDArray[Any],
    workspace: int,
    device: int,
    stream: int,
    result: NDArray[Any],
    /,
) -> None: ...  # query: n_groups int64 or float64 numbers; result: (3, n_groups) 8-byte numbers
def group_write_bytes(format: int, n_groups: int, /) -> int: ...
def write_groups(
    losses: int,
    format: int,
    n: int,
    groups: int,
    n_groups: int,
    plan: NDArray[Any],
    mu: float,
    old: int,
    out: int,
    out_is_new: bool,
    workspace: int,
    device: int,
    stream: int,
    /,
) -> _InvalidWeights | None: ...  # plan: 7 * n_groups float64 numbers
def count_foreign_in_groups(
    losses: int,
    format: int,
    n: int,
    groups: int,
    n_groups: int,
    minima_and_n_nan: NDArray[Any],
    scratch: int,
    device: int,
    stream: int,
    /,
) -> int: ...  # minima_and_n_nan: (2, n_groups) float64 numbers; scratch: 8 bytes more than that

# For a trainer, see csrc/cuda/training.h. Its memory must live as long as the recorder.
class BatchRecorder:
    def __init__(
        self,
        is_double: bool,
        losses: int,
        marks: int,
        weights: int,
        start: int,
        n: int,
        counts: bool,
        skip_nan: bool,
        device: int,
        /,
    ) -> None: ...  # counts: marks count how often a sample was recorded; otherwise they are the epoch
    def record(
        self,
        losses: int,
        index: int,
        size: int,
        is_int64: bool,
        epoch: int,
        terms: int,
        factors: int,
        has_loss: int,
        stream: int,
        /,
    ) -> None: ...

def order_after(stream: int, producer: int, device: int, /) -> None: ...
def synchronize(device: int, stream: int, /) -> None: ...
def read_capsule(capsule: Any, /) -> tuple[int, int, int]: ...  # DLPack: address, device, stride in elements
def tuning() -> dict[str, int]: ...  # Tuning in csrc/cuda/reweight.h
def tune(values: dict[str, int], /) -> None: ...  # not during a call; for tests
