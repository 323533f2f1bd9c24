from enum import Enum
from typing import TypeAlias

from .formats import Array

_Levels: TypeAlias = tuple[float, float, float, float, float]
_Thresholds: TypeAlias = tuple[float, float, float]

class Redistribute(Enum):
    recipients = 0
    kept = 1
    drop = 2

class Rule:
    def __init__(
        self,
        rank: int,
        gamma: float,
        recipient_rank: int,
        quota: int,
        redistribute: Redistribute,
        prune_nan: bool,
        /,
    ) -> None: ...

def plan_and_apply(
    losses: Array, format: int, rule: Rule, mu: float, old: Array | None, out: Array | None, /
) -> tuple[tuple[int, int, int, int, int], _Thresholds | None, tuple[int, int, int] | None]: ...
def apply(
    losses: Array,
    format: int,
    thresholds: _Thresholds,
    levels: _Levels,
    mu: float,
    old: Array | None,
    out: Array,
    /,
) -> None: ...
def count_foreign(losses: Array, format: int, loss_min: float, allow_nan: bool, /) -> int: ...
def levels(
    n: int, n_pruned: int, n_tied: int, n_recipients: int, removed: int, redistribute: Redistribute, /
) -> _Levels: ...
