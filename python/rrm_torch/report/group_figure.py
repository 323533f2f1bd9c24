"""The figure of what each reweight pruned of each group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..weighting.rrm import RRM

MAX_GROUPS = 40
MAX_EPOCHS = 12  # with a label
MAX_NAME = 30  # characters


def pruned_by_group(rrm: RRM, names: Sequence[str] | None = None) -> Figure:
    """Plot the share of each group that each reweight pruned: one row per group, one column per reweight.

    Parameters
    ----------
    rrm : RRM
        With groups, after its first reweight.
    names : sequence of str, length n_groups, optional
        By default the groups' numbers.

    Returns
    -------
    Figure
        The group of which the last reweight pruned the largest share is at the top, with this share at its right. Of
        more than 40 groups, those with the largest shares are shown. A group is grey where none of its samples took
        part.

    Raises
    ------
    ValueError
        `rrm` has no groups, or no reweight yet, or `names` has another length.
    """
    rounds = rrm.trajectory.rounds
    if rrm.groups is None or not rounds:
        raise ValueError("rrm must have groups, and have reweighted, to plot the share pruned by group")
    n_groups = rrm.groups.n_groups
    if names is None:
        names = [str(group) for group in range(n_groups)]
    if len(names) != n_groups:
        raise ValueError(f"names must name each of the {n_groups} groups, got {len(names)}")
    n_pruned, n_planned = (
        np.array([getattr(entry, name) for entry in rounds], np.float64).T
        for name in ("n_pruned_by_group", "n_planned_by_group")
    )
    n_planned[n_planned == 0] = np.nan
    shares = 100 * n_pruned / n_planned
    order = np.argsort(-np.nan_to_num(shares[:, -1], nan=-1.0), kind="stable")[:MAX_GROUPS]

    figure = Figure(figsize=(7.5, 1.6 + 0.26 * max(len(order), 4)), layout="constrained")
    axes = figure.add_subplot()
    epochs = [entry.epoch for entry in rounds]
    half_interval = (epochs[-1] - epochs[0]) / (2 * len(epochs) - 2) if len(epochs) > 1 else 0.5
    extent = (epochs[0] - half_interval, epochs[-1] + half_interval, len(order) - 0.5, -0.5)
    largest = max(np.nanmax(shares), 1)
    image = axes.imshow(
        shares[order], "Blues", aspect="auto", interpolation="nearest", vmin=0, vmax=largest, extent=extent
    )
    axes.set_facecolor("silver")
    title = "pruned share of each group (right: the last reweight)"
    if len(order) < n_groups:
        title += f"\nthe {len(order)} of {n_groups:,} groups with the largest shares"
    axes.set(xlabel=rrm.unit, ylabel="group", title=title)
    axes.set_xticks(epochs[:: -(-len(epochs) // MAX_EPOCHS)])
    axes.set_yticks(range(len(order)), [_shorten(names[group]) for group in order], fontsize=8, parse_math=False)
    right = axes.secondary_yaxis("right")
    last = ["–" if np.isnan(share) else f"{share:.0f} %" for share in shares[order, -1]]
    right.set_yticks(range(len(order)), last, fontsize=8)
    right.tick_params(length=0)
    figure.colorbar(image, label="% of the group", pad=0.02)
    return figure


def _shorten(name: str) -> str:
    """Return a name without its middle if it is long."""
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME // 2]}…{name[1 - MAX_NAME // 2 :]}"
