"""Values that no entry of a state should have: numbers, texts and containers of any kind, and tensors of no use."""

from __future__ import annotations

import math
from typing import Any

import torch

PLAIN: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**63, 2**80, -(2**80)),
    *(0.5, -1.0, 1e300, 5e-324, math.nan, math.inf, -math.inf, 1j),
    *("", "x", "x" * 1000, "RRM", "\udcff", b"", b"bytes"),
    *((), [], {}, set(), [1, 2], (1, 2), {1, 2}, {"n": 1}, {0: 1}, [None], [{}]),
)

TENSORS = (
    *(torch.zeros(0), torch.zeros(()), torch.zeros(3), torch.full((2,), torch.nan)),
    *(torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.complex64), torch.zeros(1).expand(4, 5)),
)
