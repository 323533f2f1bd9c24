"""Checks of the RRMs that methods get."""

from __future__ import annotations

import warnings
from typing import Any

from ..weighting.rrm import RRM


def check_rrm(rrm: RRM, n: int) -> None:
    """Raise a ValueError unless an RRM holds n samples in one process, and counts epochs."""
    if rrm.n != n:
        raise ValueError(f"rrm must be made for the {n} samples of the training set, got n={rrm.n}")
    if rrm.layout is not None:
        raise ValueError(f"rrm must hold all samples in one process, got layout={rrm.layout!r}; leave layout out")
    if rrm.unit != "epoch":
        raise ValueError("rrm must count epochs, got unit='step'; the method reweights once an epoch")


def check_rrms(rrm: Any, n: int) -> None:
    """Raise unless a method gets an RRM for each of its two networks.

    Raises
    ------
    TypeError, ValueError
        They aren't two RRMs for n samples in one process, or hold out samples in a warm-up.
    """
    if not isinstance(rrm, tuple) or len(rrm) != 2 or not all(isinstance(each, RRM) for each in rrm):
        raise TypeError(f"rrm must be a tuple of two RRMs, one for each network, or None, got {rrm!r:.200}")
    if rrm[0] is rrm[1]:
        raise ValueError("rrm must be two objects, got the same one twice; each network has weights of its own")
    for each in rrm:
        check_rrm(each, n)
        if each.settings.needs_predictions:
            raise ValueError(
                "rrm can't estimate here, since it sees no predictions: leave contamination='auto' out, and warmup an "
                "integer"
            )
        if each.settings.rank_by != "loss":
            raise ValueError(
                f"rrm must rank by the loss, got rank_by={each.settings.rank_by!r}; it sees no outputs of the networks"
            )


def check_rounds(rrm: tuple[RRM, RRM] | None) -> None:
    """Check that RRMs reweight in each of a method's epochs with a labelled set.

    Raises
    ------
    ValueError
        One of them reweights in every second epoch, say: the labelled set of the others has no weights.

    Warns
    -----
    UserWarning
        One of them has a warm-up of its own.
    """
    for each in rrm or ():
        if each.settings.every != 1:
            raise ValueError(
                f"rrm must reweight in each epoch, got every={each.settings.every}: the labelled set is another one in "
                "each"
            )
        if each.settings.warmup != 1:
            warnings.warn(
                f"rrm does nothing in the first {each.settings.warmup} epochs after the method's warm-up; "
                "RRM(n, warmup=1) begins at once",
                stacklevel=5,
            )
