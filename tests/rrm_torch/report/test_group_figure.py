from __future__ import annotations

import numpy as np
import pytest
import torch

import rrm_core
from rrm_torch import RRM
from rrm_torch.report.group_figure import pruned_by_group

N = 60
GROUPS = torch.arange(N) % 3


def trained(n_epochs=2):
    """Return an RRM with quotas of 10, 50 and 0 % in three groups, and a fourth group without a sample."""
    groups = rrm_core.Groups(GROUPS, n_groups=4)
    rrm = RRM(N, groups=groups, contamination=lambda epoch: [0.1 * epoch, 0.5, 0.0, 0.0], warmup=1)
    for _ in range(n_epochs):
        rrm.step(torch.rand(N))
    return rrm


def rows(figure):
    axes = figure.axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    return dict(zip(labels, axes.images[0].get_array().filled(np.nan).tolist(), strict=True))


def test_rows_show_the_share_pruned_of_each_group():
    shown = rows(pruned_by_group(trained(), names=["one", "two", "three", "empty"]))
    assert list(shown) == ["two", "one", "three", "empty"]
    assert shown["two"] == [50, 50]
    assert shown["one"] == [10, 20]
    assert shown["three"] == [0, 0]
    assert np.isnan(shown["empty"]).all()


def test_figure_shows_the_groups_of_which_most_is_pruned():
    groups = torch.arange(200) // 2
    shares = np.where(np.arange(100) % 2, 0.5, 0.0)
    rrm = RRM(200, groups=groups, contamination=shares, warmup=1)
    rrm.step(torch.rand(200))
    figure = pruned_by_group(rrm)
    assert list(rows(figure)) == [str(group) for group in range(1, 81, 2)]
    assert figure.axes[0].get_title().endswith("\nthe 40 of 100 groups with the largest shares")


def test_long_names_lose_their_middle():
    first, last = "https://example.org/annotators/17/batch-1", "https://example.org/annotators/17/batch-2"
    rrm = RRM(4, groups=[0, 0, 1, 1], contamination=[0.5, 0.0], warmup=1)
    rrm.step(torch.rand(4))
    assert list(rows(pruned_by_group(rrm, [first, last]))) == [
        "https://example…ors/17/batch-1",
        "https://example…ors/17/batch-2",
    ]


def test_refuses_what_has_no_shares_by_group():
    for rrm in (trained(0), RRM(N, contamination=0.1)):
        with pytest.raises(ValueError, match="must have groups, and have reweighted"):
            pruned_by_group(rrm)
    with pytest.raises(ValueError, match="names must name each of the 4 groups, got 3"):
        pruned_by_group(trained(), names=["one", "two", "three"])
