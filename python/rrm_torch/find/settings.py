"""Settings of a search for wrong labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AUTO: Literal["auto"] = "auto"
MAX_SEED = 2**32 - 1
"""The limit of scikit-learn."""


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search.

    Attributes
    ----------
    contamination : float in [0, 1), or "auto"
        The share of labels to flag. By default the share of wrong labels is estimated.
    model : str or None
        A model of one's own, as ``file.py:name`` or ``module:name``, see `rrm_torch.find.own_model`.
    epochs : int
        Passes over the images, at least 3.
    seed : int
        In [0, 2**32).

    Raises
    ------
    ValueError
        A setting is outside its range.
    """

    contamination: float | Literal["auto"] = AUTO
    model: str | None = None
    epochs: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        is_share = isinstance(self.contamination, (int, float)) and 0 <= self.contamination < 1
        if self.contamination != AUTO and not is_share:
            raise ValueError(f"contamination must be 'auto' or a number in [0, 1), got {self.contamination!r}")
        if self.epochs < 3:
            raise ValueError(f"epochs must be at least 3: a warm-up, then reweights, got {self.epochs}")
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed must be an integer from 0 to {MAX_SEED}, got {self.seed}")
