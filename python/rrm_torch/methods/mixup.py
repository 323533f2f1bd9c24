"""MixUp: each sample of a batch mixed with another one (Zhang et al., ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .draws import Draws


@dataclass(frozen=True, eq=False)
class MixUp:
    """The random draws of MixUp for one batch.

    Called with any values of the batch's samples, it returns ``share * values + (1 - share) * values[partner]``.

    Attributes
    ----------
    share : float in [0, 1]
        The share of each sample itself.
    partner : Tensor of int64, shape (batch,)
        The position in the batch of each sample's partner.
    """

    share: float
    partner: Tensor

    @classmethod
    def draw(cls, n: int, alpha: float, draws: Draws, *, keeps_order: bool = True) -> MixUp:
        """Draw the share from Beta(alpha, alpha), and the partners as a permutation.

        Parameters
        ----------
        n : int
            Number of samples in the batch.
        alpha : float, above 0
        draws : Draws
        keeps_order : bool, default True
            Whether the larger part of each mixture is the sample itself: ``max(share, 1 - share)``.
        """
        share = draws.beta(alpha)
        if keeps_order:
            share = max(share, 1 - share)
        return cls(share, draws.permutation(n))

    def __call__(self, values: Tensor) -> Tensor:
        """Return the mixtures, of the shape of `values`."""
        return self.share * values + (1 - self.share) * values[self.partner.to(values.device)]
