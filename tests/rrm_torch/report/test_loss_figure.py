from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rrm_torch.data.images import load_digits
from rrm_torch.report.loss_figure import losses_and_classes
from rrm_torch.training.compare import ComparisonSettings, compare


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def trial(digits):
    return compare(digits, ComparisonSettings(contamination=0.1, epochs=4, warmup=2, hidden=()), 0)


def test_losses_of_kept_and_pruned_samples_lie_on_either_side_of_the_threshold(digits, trial):
    left, _ = losses_and_classes(trial, digits.classes).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "kept: 1,213",
        "pruned: 134",
        f"threshold: {trial.rrm.plan.threshold:.3g}",
    ]
    kept, pruned = ([bar.get_height() for bar in bars] for bars in left.containers)
    assert (sum(kept), sum(pruned)) == (1213, 134)
    assert left.get_lines()[0].get_xdata()[0] == trial.rrm.plan.threshold
    # Only the bin of the threshold may hold both.
    assert np.count_nonzero(np.array(kept) * np.array(pruned)) <= 1


def test_pruned_share_of_each_class_in_descending_order(digits, trial):
    _, right = losses_and_classes(trial, digits.classes).axes
    names = [text.get_text() for text in right.get_yticklabels()]
    shares = [bar.get_width() for bar in right.containers[0]]
    is_pruned = trial.rrm.weights.numpy() == 0
    assert shares == sorted(shares, reverse=True)
    for name, share in zip(names, shares, strict=True):
        assert share == pytest.approx(100 * is_pruned[trial.labels == int(name)].mean())


def test_classes_with_the_largest_shares_are_shown_and_long_names_cut_off(trial):
    names = [f"$_{{{number}: a name that is much too long" for number in range(40)]
    _, right = losses_and_classes(trial, names).axes
    assert len(right.containers[0]) == 25
    assert right.get_title() == "pruned share of each given class, % (the largest 25 of 40)"
    assert all(len(text.get_text()) == 24 for text in right.get_yticklabels())


def test_with_groups_there_is_no_common_threshold(digits):
    settings = ComparisonSettings(contamination=0.1, groups="labels", cap=0.2, epochs=4, warmup=2, hidden=())
    left, _ = losses_and_classes(compare(digits, settings, 0), digits.classes).axes
    assert not left.get_lines()


def test_losses_that_are_infinite_are_left_out(digits, trial, tmp_path):
    rrm = trial.rrm
    losses = rrm.losses.clone()
    losses[0] = np.inf
    changed = type("State", (), {"weights": rrm.weights, "losses": losses, "trajectory": rrm.trajectory})
    figure = losses_and_classes(replace(trial, rrm=changed), digits.classes)
    figure.savefig(tmp_path / "weights.png")
    assert sum(bar.get_height() for bars in figure.axes[0].containers for bar in bars) == 1346
