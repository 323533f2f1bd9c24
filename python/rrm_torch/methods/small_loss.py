"""Small-loss methods, as settings of `RRM` and `BatchRRM`: baselines to compare RRM with."""

from __future__ import annotations

from typing import Any

from ..weighting.batch_rrm import BatchRRM
from ..weighting.rrm import RRM
from ..weighting.schedule import Ramp


def trimmed(n: int, contamination: float, **options: Any) -> RRM:
    """Return iterative trimmed loss minimisation: train on the samples with the smallest losses, reselected each epoch.

    RRM that drops the mass of the pruned samples.

    Parameters
    ----------
    n : int
        Number of training samples.
    contamination : float in (0, 1)
        Share of the samples left out.
    **options
        Further arguments of `RRM`, such as `warmup`.

    Returns
    -------
    RRM

    References
    ----------
    Y. Shen, S. Sanghavi, "Learning with bad training data via iterative trimmed loss minimization", ICML 2019.
    """
    return RRM(n, contamination=contamination, **{"redistribute": "drop", **options})


def self_paced(n: int, contamination: float, *, first: float = 0.5, over: int = 20, **options: Any) -> RRM:
    """Return self-paced learning: start with the easy samples, and add harder ones as training proceeds.

    Parameters
    ----------
    n : int
        Number of training samples.
    contamination : float in [0, 1)
        Share of the samples that is never used; 0 uses all of them in the end, as the paper does.
    first : float, default 0.5
        Share left out at the first reweight.
    over : int, default 20
        Epochs from there until `contamination` is reached.
    **options
        Further arguments of `RRM`, such as `warmup`.

    Returns
    -------
    RRM

    Notes
    -----
    The paper multiplies the threshold of the loss by a factor. Like most later work, this increases the share of the
    samples, which does not depend on the scale of the losses.

    References
    ----------
    M. P. Kumar, B. Packer, D. Koller, "Self-paced learning for latent variable models", NIPS 2010.
    """
    warmup = options.setdefault("warmup", 10)
    if isinstance(warmup, str):
        raise TypeError(f"warmup must be a number of epochs, after which the share begins to rise, got {warmup!r}")
    pace = Ramp(contamination, over, first=first, after=warmup)
    return RRM(n, contamination=pace, **{"redistribute": "drop", **options})


def co_teaching(n: int, contamination: float, *, over: int = 10, **options: Any) -> BatchRRM:
    """Return the small-loss selection of Co-teaching: in each batch, leave out the samples with the highest losses.

    Co-teaching trains two networks, each on the samples that the other selects. Make one object for each network, and
    pass `ranking`::

        first.weighted_mean(first_losses, index, ranking=second_losses)
        second.weighted_mean(second_losses, index, ranking=first_losses)

    Parameters
    ----------
    n : int
        Number of training samples.
    contamination : float in (0, 1)
        Share of each batch left out in the end.
    over : int, default 10
        Epochs in which the share rises from 0 to `contamination`.
    **options
        Further arguments of `BatchRRM`.

    Returns
    -------
    BatchRRM

    Notes
    -----
    The loss is the mean over the selected samples, as in the paper.

    References
    ----------
    B. Han et al., "Co-teaching: robust training of deep neural networks with extremely noisy labels", NeurIPS 2018.
    """
    defaults = {"warmup": 1, "redistribute": "kept"}
    return BatchRRM(n, contamination=Ramp(contamination, over), **{**defaults, **options})
