from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rrm_torch import pictures
from rrm_torch.comparison import Settings, compare
from rrm_torch.images import load_digits


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def trials(digits):
    settings = Settings(noise=0.3, contamination=0.3, epochs=8, warmup=4, hidden=(32,))
    return [compare(digits, settings, seed) for seed in range(2)]


def lines(axes):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axes.get_lines()}


@pytest.mark.parametrize(("panel", "attribute", "scale"), [(0, "accuracy", 100), (1, "loss", 1)])
def test_curves_show_the_mean_of_each_method(trials, panel, attribute, scale):
    drawn = lines(pictures.curves(trials).axes[panel])
    for label, outcomes in (("plain", [t.plain for t in trials]), ("RRM", [t.weighted for t in trials])):
        mean = np.mean([[scale * getattr(e, attribute) for e in o.history.epochs] for o in outcomes], axis=0)
        np.testing.assert_allclose(drawn[label], mean)
    np.testing.assert_array_equal(drawn["first reweight"], [0, 1])


def test_weights_show_clean_and_wrong_apart(trials):
    course, final = pictures.weights(trials[0]).axes
    history = trials[0].weighted.history.epochs
    for name in ("clean", "wrong"):
        expected = [e.groups[name].mean_weight for e in history]
        np.testing.assert_array_equal(lines(course)[f"{name} labels"], expected)
        assert expected[0] == 1
        assert expected[-1] != 1
    counted = {label: sum(bar.get_height() for bar in bars) for bars, label in zip(*labelled(final), strict=True)}
    assert counted == {"clean labels": 943, "wrong labels": 404}


def labelled(axes):
    return axes.containers, [text.get_text() for text in axes.get_legend().get_texts()]


def test_weights_without_the_truth_show_the_threshold(digits):
    trial = compare(digits, Settings(contamination=0.1, epochs=4, warmup=2, hidden=()), 0)
    course, final = pictures.weights(trial).axes
    thresholds = course.get_lines()[0].get_ydata()
    np.testing.assert_array_equal(np.isnan(thresholds), [True, False, False, False])
    assert thresholds[-1] == trial.rrm.plan.threshold
    assert labelled(final)[1] == ["all labels"]


def test_suspicious_shows_picture_given_and_predicted_label(digits, trials):
    trial = trials[0]
    flagged, predicted = trial.rrm.flagged().tolist(), trial.probabilities.argmax(1)
    shown = pictures.suspicious(digits, trial).axes
    assert len(shown) == 24
    colours = set()
    for axes, i in zip(shown, flagged, strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), digits.pictures([i])[0])
        assert axes.get_title() == f"{trial.labels[i]}\n→ {predicted[i]}"
        assert (axes.title.get_color() == "tab:red") == (not trial.wrong[i])
        colours.add(axes.title.get_color())


def test_right_labels_among_the_suspicious_are_red(digits, trials):
    innocent = replace(trials[0], wrong=np.zeros_like(trials[0].wrong))
    assert {axes.title.get_color() for axes in pictures.suspicious(digits, innocent).axes} == {"tab:red"}


def test_names_of_any_kind_are_drawn_as_they_are(digits, trials, tmp_path):
    strange = replace(digits, classes=("$x_{$", "A name that goes on and on", *digits.classes[2:]))
    everything = replace(trials[0], labels=np.arange(1347) % 2)
    figure = pictures.suspicious(strange, everything)
    figure.savefig(tmp_path / "suspicious.png")
    assert {axes.get_title().partition("\n")[0] for axes in figure.axes} <= {"$x_{$", "A name that goe…"}


def test_fewer_flagged_than_places(digits):
    trial = compare(digits, Settings(contamination=0.004, epochs=2, warmup=1, hidden=()), 0)
    assert len(pictures.suspicious(digits, trial).axes) == 5  # floor(0.004 * 1347)
