"""The pictures of the experiments' records show what the records say."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest

from benchmarks.pages import experiment_figures, experiment_record, figure_sources
from support import made_up_records

DRAWN = [(name, record.removeprefix("experiment_")) for name, record in figure_sources.RECORDS.items()]


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes}


def lines(axes):
    """Return what has a label in the legend: label -> heights."""
    return {
        line.get_label(): line.get_ydata() for line in axes.get_lines() if not str(line.get_label()).startswith("_")
    }


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize(("name", "experiment"), DRAWN)
def test_figure_has_content_and_source(name, experiment, seeds, tmp_path):
    record = made_up_records.RECORDS[experiment]()
    record["runs"] = [run for run in record["runs"] if run["seed"] < seeds]
    path = tmp_path / "images" / f"{name}.png"
    experiment_figures.draw(name, record, path)
    height, width, _ = matplotlib.image.imread(path).shape
    assert 400 < height < 1000 < width < 1500
    assert path.stat().st_size < 250_000
    assert figure_sources.source(path) == experiment_record.digest(record)
    assert figure_sources.outdated(path.parent, {figure_sources.RECORDS[name]: record}) == []


def test_draw_rejects_partial_record(tmp_path):
    with pytest.raises(SystemExit, match="isn't rendered"):
        experiment_figures.draw("results_ablation", made_up_records.ablation() | {"missing": 1}, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_table6_plots_labels_by_round_and_weight():
    figure = experiment_figures.table6(made_up_records.table6())
    drawn = panels(figure)
    wrong, clean = drawn["wrong labels pruned, of 10"], drawn["clean labels pruned, of 40"]
    for method in ("RRM, contamination 0.2, kept", "RRM, argmin"):
        np.testing.assert_allclose(lines(wrong)[method], [6, 7])
        np.testing.assert_allclose(lines(clean)[method], [4, 2])
    bars = [container for container in drawn["clean labels by weight, at the end"].containers if len(container) == 8]
    heights = [[bar.get_height() for bar in container] for container in bars]
    np.testing.assert_allclose(heights, [[2.5, 0, 0, 0, 37.5, 0, 0, 0], [2.5, 0, 0, 37.5, 0, 0, 0, 0]])
    ticks = [text.get_text() for text in drawn["wrong labels by weight, at the end"].get_xticklabels()]
    assert ticks[0] == "0 to 0.05"
    assert ticks[-1] == "≥ 10"
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["RRM, contamination 0.2, kept", "RRM, argmin"]


def test_adversarial_plots_accuracy_by_attack_size():
    drawn = panels(experiment_figures.adversarial(made_up_records.adversarial()))
    assert len(drawn) == 4
    points = {bars.get_label(): bars[0].get_xydata() for bars in drawn["30 % wrong labels, tested with PGD"].containers}
    assert points.keys() == {"AT, FGSM", "A-RRM, FGSM"}
    np.testing.assert_allclose(points["AT, FGSM"], [[0, 41], [0.1, 21]])
    np.testing.assert_allclose(points["A-RRM, FGSM"], [[0, 71], [0.1, 51]])


def test_cifar10n_plots_accuracy_by_epoch():
    drawn = panels(experiment_figures.cifar10n(made_up_records.cifar10n()))
    assert list(drawn) == ["labels: aggre", "labels: random1", "labels: worst"]
    np.testing.assert_allclose(lines(drawn["labels: worst"])["CCE"], [10, 61, 51])
    np.testing.assert_allclose(lines(drawn["labels: worst"])["RRM"], [10, 66, 56])
    each = [line.get_ydata() for line in drawn["labels: worst"].get_lines()[:2]]
    np.testing.assert_allclose(each, [[10, 60, 50], [10, 62, 52]])


def test_fashion_plots_accuracy_and_gains():
    drawn = panels(experiment_figures.fashion(made_up_records.fashion()))
    assert list(drawn) == ["CCE, 30 % wrong labels", "gain of RRM, ± standard deviation", "MAE, 30 % wrong labels"]
    np.testing.assert_allclose(lines(drawn["CCE, 30 % wrong labels"])["CCE + RRM"][-1], 65 + 31.5)
    gain = drawn["gain of RRM, ± standard deviation"]
    assert [text.get_text() for text in gain.get_yticklabels()] == ["MAE + RRM", "CCE + RRM"]
    widths = {round(bar.get_y() + bar.get_height() / 2, 2): bar.get_width() for bar in gain.patches}
    # Of each method, the lowest rate at the top.
    np.testing.assert_allclose([widths[y] for y in (1.27, 1.0, 0.73)], [10.5, 21, 31.5])
    np.testing.assert_allclose([widths[y] for y in (0.27, 0.0, -0.27)], [-1.05, -2.1, -3.15])
    published = sorted(
        (round(float(line.get_ydata()[0]), 2), round(float(line.get_xdata()[0]), 2))
        for line in gain.get_lines()
        if line.get_marker() == "D" and len(line.get_xdata())
    )
    assert published == [(-0.27, -5.3), (0.73, 6.59), (1.0, 3.46), (1.27, 2.26)]


def test_ablation_plots_the_grid():
    (axes,) = experiment_figures.ablation(made_up_records.ablation()).axes
    heights = {
        container.get_label(): [bar.get_height() for bar in container]
        for container in axes.containers
        if not container.get_label().startswith("_")
    }
    np.testing.assert_allclose(heights["plain training"], [71, 51, 61, 41])
    np.testing.assert_allclose(heights["kept"], [81, 61, 71, 51])
    assert len(axes.get_xticklabels()) == 4


def test_auto_plots_estimates_beside_true_shares():
    (axes,) = experiment_figures.auto(made_up_records.auto()).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "CIFAR-10N, worst",
        "Fashion-MNIST, clean",
        "digits, symmetric, 30 %",
    ]
    drawn = [line for line in axes.get_lines() if len(line.get_xdata())]
    points = sorted((line.get_ydata()[0], line.get_xdata()[0]) for line in drawn if line.get_marker() == "o")
    expected = [(-0.2, 35), (0.2, 37), (0.8, 2), (1.2, 4), (1.8, 25), (2.2, 17)]
    np.testing.assert_allclose(points, expected, atol=1e-12)
    hollow = [line.get_xdata()[0] for line in drawn if line.get_markerfacecolor() == "none"]
    np.testing.assert_allclose(hollow, [37])
    intervals = sorted(tuple(bar[:, 0]) for bars in axes.containers for bar in bars[2][0].get_segments())
    np.testing.assert_allclose(intervals, [(0, 6), (1, 8), (10, 25), (20, 35), (30, 45)], atol=1e-12)
    lines = [collection for collection in axes.collections if collection.get_linewidth()[0] == 2]
    true_shares = [mark[0, 0] for collection in lines for mark in collection.get_segments()]
    np.testing.assert_allclose(true_shares, [40, 41, 0, 0, 30, 30])


def test_meta_tells_numbers_of_clean_samples_by_dashes():
    drawn = panels(experiment_figures.meta(made_up_records.meta()))
    assert [title.removeprefix("Fashion-MNIST, ") for title in drawn] == [
        "symmetric, 40 %",
        "pair, 30 %",
        "instance, 30 %",
    ]
    for axes in drawn.values():
        few, many = (
            next(line for line in axes.get_lines() if line.get_label() == f"Meta-Weight-Net, {n}") for n in (250, 1000)
        )
        assert few.get_color() == many.get_color()
        assert [line.get_linestyle() for line in (few, many)] == ["-", "--"]
        assert few.get_color() not in [line.get_color() for line in axes.get_lines() if line.get_label() == "RRM, auto"]
    np.testing.assert_allclose(lines(drawn["Fashion-MNIST, symmetric, 40 %"])["RRM, auto"], [10, 71, 61])


def test_systems_have_a_colour_each_and_a_kind_of_line_for_each_use_of_rrm():
    drawn = panels(experiment_figures.systems(made_up_records.systems()))
    plotted = {line.get_label(): line for line in drawn["worst: test accuracy"].get_lines()}
    plain, wrapped = plotted["DivideMix"], plotted["DivideMix + RRM, drop"]
    assert plain.get_color() == wrapped.get_color() != plotted["CCE"].get_color()
    assert plain.get_linestyle() != wrapped.get_linestyle()
    precision = lines(drawn["worst: wrong among labels pruned"])
    assert list(precision) == ["DivideMix + RRM, drop"]
    np.testing.assert_allclose(precision["DivideMix + RRM, drop"], [np.nan, 50, 25])


def test_text_plots_accuracy_by_epoch_of_each_row():
    drawn = panels(experiment_figures.text(made_up_records.text()))
    assert list(drawn) == ["IMDb, symmetric, 20 %", "BANKING77, as published", "SMS Spam, labels of rules"]
    reviews = lines(drawn["IMDb, symmetric, 20 %"])
    assert list(reviews) == ["plain training", "RRM, auto", "RRM, true C"]
    np.testing.assert_allclose(reviews["plain training"], [10, 65, 55])
    colours = [
        [line.get_color() for line in axes.get_lines() if line.get_label() == "RRM, auto"] for axes in drawn.values()
    ]
    assert len({colour for found in colours for colour in found}) == 1


def test_legend_has_the_methods_of_all_panels():
    figure = experiment_figures.text(made_up_records.text())
    plotted = {name for axes in figure.axes for name in axes.get_legend_handles_labels()[1]}
    assert {"RRM, true C", "correct labels only"} <= plotted
    assert {text.get_text() for text in figure.legends[0].get_texts()} == plotted


@pytest.mark.parametrize("has_hollow_points", [False, True])
def test_auto_explains_hollow_points_only_where_there_are_some(has_hollow_points):
    record = made_up_records.auto()
    if not has_hollow_points:
        for run in record["runs"]:
            if "estimate" in run["result"]:
                run["result"]["estimate"]["interval"] = [0.0, 1.0]
    legend = [text.get_text() for text in experiment_figures.auto(record).legends[0].get_texts()]
    assert ("estimate without an interval" in legend) == has_hollow_points
