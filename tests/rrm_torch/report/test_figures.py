from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rrm_torch import RRM, BatchRRM
from rrm_torch.data.images import load_digits
from rrm_torch.report import figures
from rrm_torch.training.compare import ComparisonSettings, compare


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def trials(digits):
    settings = ComparisonSettings(noise=0.3, contamination=0.3, epochs=8, warmup=4, hidden=(32,))
    return [compare(digits, settings, seed) for seed in range(2)]


def lines(axes):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axes.get_lines()}


@pytest.mark.parametrize(("panel", "attribute", "scale"), [(0, "accuracy", 100), (1, "loss", 1)])
def test_curves_show_the_mean_of_each_method(trials, panel, attribute, scale):
    drawn = lines(figures.curves(trials).axes[panel])
    for label, outcomes in (("plain", [t.plain for t in trials]), ("RRM", [t.weighted for t in trials])):
        mean = np.mean([[scale * getattr(e, attribute) for e in o.history.epochs] for o in outcomes], axis=0)
        np.testing.assert_allclose(drawn[label], mean)
    np.testing.assert_array_equal(drawn["first reweight"], [0, 1])


def test_weights_separate_clean_and_wrong_labels(trials):
    by_epoch, final = figures.weights(trials[0]).axes
    history = trials[0].weighted.history.epochs
    for name in ("clean", "wrong"):
        expected = [e.groups[name].mean_weight for e in history]
        np.testing.assert_array_equal(lines(by_epoch)[f"{name} labels"], expected)
        assert expected[0] == 1
        assert expected[-1] != 1
    counted = {label: sum(bar.get_height() for bar in bars) for bars, label in zip(*labelled(final), strict=True)}
    assert counted == {"clean labels": 943, "wrong labels": 404}


def labelled(axes):
    return axes.containers, [text.get_text() for text in axes.get_legend().get_texts()]


def test_suspicious_shows_image_index_label_and_predicted_label_with_its_probability(digits, trials):
    trial = trials[0]
    flagged = trial.rrm.flagged().tolist()
    predicted = trial.probabilities.argmax(1)
    shown = figures.suspicious(digits, trial).axes
    assert len(shown) == 24
    colours = set()
    for axes, i in zip(shown, flagged, strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), digits.pictures([i])[0])
        confidence = 100 * trial.probabilities[i].max()
        assert axes.get_title() == f"{i}: {trial.labels[i]}\n→ {predicted[i]} {confidence:.0f} %"
        assert (axes.title.get_color() == "tab:red") == (not trial.wrong[i])
        colours.add(axes.title.get_color())


def test_suspicious_marks_correct_labels_red(digits, trials):
    all_clean = replace(trials[0], wrong=np.zeros_like(trials[0].wrong))
    assert {axes.title.get_color() for axes in figures.suspicious(digits, all_clean).axes} == {"tab:red"}


def test_suspicious_draws_class_names_literally_and_truncated(digits, trials, tmp_path):
    renamed = replace(digits, classes=("$x_{$", "A name that is much too long", *digits.classes[2:]))
    relabelled = replace(trials[0], labels=np.arange(1347) % 2)
    figure = figures.suspicious(renamed, relabelled)
    figure.savefig(tmp_path / "suspicious.png")
    names = {axes.get_title().partition("\n")[0].partition(": ")[2] for axes in figure.axes}
    assert names <= {"$x_{$", "A name that is …"}


def test_suspicious_with_fewer_flagged_samples_than_panels(digits):
    trial = compare(digits, ComparisonSettings(contamination=0.004, epochs=2, warmup=1, hidden=()), 0)
    assert len(figures.suspicious(digits, trial).axes) == 5  # floor(0.004 * 1347)


def panels(rrm, wrong=None, **options):
    """Return the panels by title, without the count after the colon."""
    figure = figures.trajectory(rrm, wrong, **options)
    return {axes.get_title().partition(":")[0]: axes for axes in figure.axes}  # the second axis has no title


# Six samples, five reweights that prune two each: 0 always, 1 repeatedly, 2 and 3 at times, 4 and 5 never.
PRUNED = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 1], [0] * 5, [0] * 5], dtype=bool)
WRONG = np.array([1, 1, 0, 1, 0, 0], dtype=bool)


@pytest.fixture
def changing():
    rrm = RRM(6, contamination=0.34, warmup=2, every=3)
    for epoch in range(1, 15):
        losses = torch.arange(6) / 10
        if rrm.due:
            losses[torch.from_numpy(PRUNED[:, (epoch - 2) // 3])] = float(epoch)
        rrm.step(losses)
    return rrm


def test_trajectory_shows_the_statistics_of_every_reweight(changing):
    drawn = panels(changing, WRONG)
    rounds = changing.trajectory.rounds
    epochs = [2, 5, 8, 11, 14]
    assert [entry.epoch for entry in rounds] == epochs
    share = lines(drawn["pruned"])
    np.testing.assert_allclose(share["wrong labels"], 100 * PRUNED[WRONG].mean(axis=0))
    np.testing.assert_allclose(share["clean labels"], 100 * PRUNED[~WRONG].mean(axis=0))
    levels = lines(drawn["losses above the threshold were pruned"])
    np.testing.assert_array_equal(levels["threshold"], [entry.threshold for entry in rounds])
    np.testing.assert_array_equal(levels["gamma"], [entry.gamma for entry in rounds])
    changes = lines(drawn["changes from reweight to reweight"])
    np.testing.assert_array_equal(changes["entered"], [2, 1, 1, 1, 0])
    np.testing.assert_array_equal(changes["left"], [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(changes["returned"], [0, 0, 1, 0, 0])
    overlap = lines(drawn[""])["overlap (right)"]
    np.testing.assert_allclose(overlap, [np.nan, 100 / 3, 100 / 3, 100 / 3, 100])
    size = lines(drawn["effective sample size"])
    np.testing.assert_allclose(size["effective sample size"], 4)
    np.testing.assert_array_equal(size["all samples"], [6, 6])
    for name, axes in drawn.items():
        assert axes.get_xlabel() == ("epoch" if name else "")
        assert axes.get_ylabel()
        for line in axes.get_lines():
            if line.get_label() != "all samples":
                np.testing.assert_array_equal(line.get_xdata(), epochs)
    shown = [text.get_text() for text in drawn[""].get_legend().get_texts()]
    assert shown == ["entered", "left", "returned", "overlap (right)"]


def test_trajectory_shows_samples_with_wrong_and_clean_labels(changing):
    drawn = panels(changing, WRONG)
    wrong = drawn["wrong labels that change"]
    clean = drawn["clean labels that change"]
    np.testing.assert_array_equal(wrong.images[0].get_array(), PRUNED[[1, 3]])  # three changes, and one
    np.testing.assert_array_equal(clean.images[0].get_array(), PRUNED[[2]])
    assert wrong.get_title().endswith(": 2 of 2")
    assert wrong.get_position().y0 > clean.get_position().y1
    for axes in (wrong, clean):
        image = axes.images[0]
        assert image.get_extent()[:2] == [0.5, 15.5]  # each column in the middle of its epoch, 3 wide
        luminance = [image.cmap(float(value))[:3] @ np.array([0.3, 0.6, 0.1]) for value in (0, 1)]
        assert luminance[0] > 0.9 > 0.6 > luminance[1]


def test_trajectory_limits_the_number_of_samples(changing):
    axes = panels(changing, max_samples=2)["labels that change"]
    np.testing.assert_array_equal(axes.images[0].get_array(), PRUNED[[1, 2]])
    assert axes.get_title().endswith(": 2 of 3")
    one_each = panels(changing, torch.from_numpy(WRONG), max_samples=2)
    np.testing.assert_array_equal(one_each["wrong labels that change"].images[0].get_array(), PRUNED[[1]])


def test_trajectory_shows_all_samples_if_wrong_labels_are_unknown(changing):
    np.testing.assert_allclose(lines(panels(changing)["pruned"])["all labels"], 100 * 2 / 6)
    same = panels(changing, np.zeros(6, dtype=bool))  # known, and no label is wrong
    assert lines(same["pruned"]).keys() == {"clean labels"}


def test_trajectory_of_one_reweight(tmp_path):
    rrm = RRM(4, gamma=0.5, warmup=1)
    with pytest.raises(ValueError, match="before its first reweight"):
        figures.trajectory(rrm)
    rrm.step(torch.tensor([0.0, 0.1, 0.2, 3.0]))
    drawn = panels(rrm)
    assert {line.get_marker() for line in drawn["pruned"].get_lines()} == {"."}
    assert drawn["labels that change"].get_title().endswith(": none")
    assert not drawn["labels that change"].images
    figures.trajectory(rrm).savefig(tmp_path / "trajectory.png")
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        figures.trajectory(rrm, np.zeros(3, dtype=bool))


def test_trajectory_of_batches_has_no_threshold_panel():
    rrm = BatchRRM(4, contamination=0.25, warmup=1)
    for epoch in range(3):
        rrm.weighted_mean(torch.tensor([0.0, 0.1, 0.2, 3.0]).roll(epoch), torch.arange(4))
        rrm.step()
    drawn = panels(rrm)
    assert "losses above the threshold were pruned" not in drawn
    np.testing.assert_allclose(lines(drawn["pruned"])["all labels"], [25, 25])


def test_small_effective_sample_size_uses_a_log_scale():
    rrm = RRM(100, contamination=0.9, warmup=1, redistribute="argmin")
    rrm.step(torch.arange(100) / 10)
    axes = panels(rrm)["effective sample size"]
    assert rrm.trajectory.rounds[0].effective_sample_size < 2
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] < 1
