"""A classification problem that is easy to learn."""

from __future__ import annotations

import torch
from torch import Tensor


def three_clouds(n: int) -> tuple[Tensor, Tensor]:
    """Return n points of three well separated clouds in the plane, and their labels."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    centres = torch.tensor([[0.0, 4.0], [4.0, -4.0], [-4.0, -4.0]])
    return centres[y] + torch.randn(n, 2, generator=generator), y
