"""Other methods that prune by loss, as settings of the same engine: the baselines to compare RRM with."""

from __future__ import annotations

from typing import Any

from ..weighting.batch_rrm import BatchRRM
from ..weighting.rrm import RRM
from ..weighting.schedule import Ramp


def trimmed(n: int, contamination: float, **options: Any) -> RRM:
    """Return iterative trimmed loss minimisation: train on the samples with the smallest losses, choose them anew.

    RRM that hands the mass of the pruned samples to nobody.

    Parameters
    ----------
    n : int
        Number of training samples.
    contamination : float in (0, 1)
        Share of the samples left out.
    **options
        Of `RRM`, such as `warmup`.

    Returns
    -------
    RRM

    References
    ----------
    Y. Shen, S. Sanghavi, "Learning with bad training data via iterative trimmed loss minimization", ICML 2019.
    """
    return RRM(n, contamination=contamination, **{"redistribute": "drop", **options})


def self_paced(n: int, contamination: float, *, first: float = 0.5, over: int = 20, **options: Any) -> RRM:
    """Return self-paced learning: begin with the easy samples, admit harder ones as training goes on.

    Parameters
    ----------
    n : int
        Number of training samples.
    contamination : float in [0, 1)
        Share of the samples that stays left out; 0 admits all in the end, as the paper does.
    first : float, default 0.5
        Share left out at the first reweight.
    over : int, default 20
        Epochs from there to the end of the way.
    **options
        Of `RRM`, such as `warmup`.

    Returns
    -------
    RRM

    Notes
    -----
    The paper lets the threshold of the loss grow by a factor. As most later work, this lets the share of the samples
    grow, which needs no knowledge of the losses' size.

    References
    ----------
    M. P. Kumar, B. Packer, D. Koller, "Self-paced learning for latent variable models", NIPS 2010.
    """
    warmup = options.setdefault("warmup", 10)
    pace = Ramp(contamination, over, first=first, after=warmup)
    return RRM(n, contamination=pace, **{"redistribute": "drop", **options})


def co_teaching(n: int, contamination: float, *, over: int = 10, **options: Any) -> BatchRRM:
    """Return the small-loss selection of Co-teaching: of each batch, leave out the samples with the highest losses.

    Co-teaching trains two networks, each on what the other selects; make one of these for each, and give `ranking`::

        first.weighted_mean(first_losses, index, ranking=second_losses)
        second.weighted_mean(second_losses, index, ranking=first_losses)

    Parameters
    ----------
    n : int
        Number of training samples.
    contamination : float in (0, 1)
        Share of each batch left out in the end.
    over : int, default 10
        Epochs in which it gets there from 0.
    **options
        Of `RRM`.

    Returns
    -------
    RRM

    Notes
    -----
    The loss is the mean over the selected samples, as in the paper.

    References
    ----------
    B. Han et al., "Co-teaching: robust training of deep neural networks with extremely noisy labels", NeurIPS 2018.
    """
    defaults = {"warmup": 1, "redistribute": "kept"}
    return BatchRRM(n, contamination=Ramp(contamination, over), **{**defaults, **options})
