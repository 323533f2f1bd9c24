"""FMix: two images combined by a random mask of low spatial frequency (Harris et al., arXiv:2002.12047)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .draws import Draws

DECAY = 3.0
"""Exponent by which amplitudes decrease with the frequency, as published."""


@dataclass(frozen=True, eq=False)
class FMixMask:
    """The mask of a batch.

    Attributes
    ----------
    mask : Tensor of float32, shape (1, H, W)
        1 where an image keeps its own pixels, 0 where it gets its partner's.
    share : float
        The share of an image's own label.
    """

    mask: Tensor
    share: float

    @classmethod
    def draw(cls, height: int, width: int, draws: Draws, alpha: float = 1.0) -> FMixMask:
        """Draw the share from Beta(alpha, alpha), and a mask whose area is this share."""
        share = draws.beta(alpha)
        values = _low_frequency_image(height, width, draws).flatten()
        n_own = round(share * len(values))
        mask = torch.zeros_like(values)
        mask[values.argsort(descending=True)[:n_own]] = 1
        return cls(mask.view(1, height, width), share)

    def __call__(self, x: Tensor, partner: Tensor) -> Tensor:
        """Return the combined images, shape (batch, C, H, W)."""
        mask = self.mask.to(x.device)
        return mask * x + (1 - mask) * x[partner]


def _low_frequency_image(height: int, width: int, draws: Draws) -> Tensor:
    """Return Gaussian noise whose amplitudes decrease with the frequency, shape (height, width)."""
    device = draws.generator.device
    rows = torch.fft.fftfreq(height, dtype=torch.float32, device=device)[:, None]
    columns = torch.fft.rfftfreq(width, dtype=torch.float32, device=device)[None]
    frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / max(height, width))
    noise = torch.randn(2, *frequency.shape, generator=draws.generator, dtype=torch.float32, device=device)
    image: Tensor = torch.fft.irfft2(torch.complex(noise[0], noise[1]) / frequency**DECAY, s=(height, width))
    return image
