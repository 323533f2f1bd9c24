from __future__ import annotations

import json
import math

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from rrm_torch import report
from rrm_torch.comparison import Settings, compare
from rrm_torch.images import load_digits

SETTINGS = Settings(noise=0.3, contamination=0.3, epochs=8, warmup=4, hidden=(32,))


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def trials(digits):
    return [compare(digits, SETTINGS, seed) for seed in range(2)]


@pytest.fixture(scope="module")
def folder(digits, trials, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    names = report.write(folder, "digits", digits, SETTINGS, trials)
    assert sorted(names) == sorted(path.name for path in folder.iterdir())
    return folder


def test_flagged_csv_lists_every_sample_by_suspicion(folder, trials):
    frame, (trial, _) = pd.read_csv(folder / "flagged.csv"), trials
    assert tuple(frame.columns) == report.COLUMNS
    assert sorted(frame["index"]) == list(range(1347))
    assert list(frame["index"][:404]) == trial.rrm.flagged().tolist()
    assert frame["is_label_issue"].dtype == bool
    assert frame["is_label_issue"].tolist() == [True] * 404 + [False] * 943
    np.testing.assert_array_equal(frame["given_label"], trial.labels[frame["index"]])
    np.testing.assert_array_equal(frame["predicted_label"], trial.probabilities.argmax(1)[frame["index"]])
    np.testing.assert_allclose(frame["sample_weight"], trial.rrm.weights.numpy()[frame["index"]], rtol=1e-5)
    confidence = trial.probabilities[frame["index"], frame["given_label"]]
    np.testing.assert_allclose(frame["label_quality"], confidence, rtol=1e-5)


def test_results_json_holds_every_seed(folder, trials):
    results = json.loads((folder / "results.json").read_text())
    assert results["data"] == "digits"
    assert results["settings"]["noise"] == 0.3
    assert set(results["versions"]) == {"python", "rrm-core", "torch", "numpy"}
    assert [t["seed"] for t in results["trials"]] == [0, 1]
    for recorded, trial in zip(results["trials"], trials, strict=True):
        assert recorded["rrm"]["accuracy"] == trial.weighted.accuracy
        assert recorded["plain"]["memorised"] == trial.plain.memorised
        assert recorded["recall"] == trial.recall
        assert (recorded["samples"], recorded["wrong"], recorded["flagged"]) == (1347, 404, 404)
        assert recorded["realised_noise"] == 404 / 1347
        assert recorded["rrm"]["seconds"]["training"] > 0


@pytest.mark.parametrize("name", ["curves", "weights", "suspicious"])
def test_pictures_show_something(folder, name):
    picture = matplotlib.image.imread(folder / f"{name}.png")
    height, width, _ = picture.shape
    assert width > 900
    assert height > 300
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50


def test_pictures_without_noise_and_without_flags(digits, tmp_path):
    settings = Settings(gamma=1e9, epochs=2, warmup=1, hidden=())
    trial = compare(digits, settings, 0)
    names = report.write(tmp_path, "digits", digits, settings, [trial])
    assert "suspicious.png" in names
    assert json.loads((tmp_path / "results.json").read_text())["trials"][0]["wrong"] is None


def test_without_matplotlib_there_are_tables_only(digits, trials, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "find_spec", lambda _: None)
    assert report.write(tmp_path, "digits", digits, SETTINGS, trials) == ["results.json", "flagged.csv"]


def test_a_former_report_outlives_a_failed_one(digits, trials, tmp_path, monkeypatch):
    (tmp_path / "flagged.csv").write_text("former")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(report, "_write_flagged", full)
    with pytest.raises(OSError, match="no space left"):
        report.write(tmp_path, "digits", digits, SETTINGS, trials)
    assert (tmp_path / "flagged.csv").read_text() == "former"


def shown(trials):
    console = Console(width=100, markup=False)
    with console.capture() as capture:
        console.print(report.table(trials, "title"))
    return capture.get()


def test_table_tells_mean_and_spread(trials):
    text = shown(trials)
    accuracies = [100 * t.weighted.accuracy for t in trials]
    mean, deviation = np.mean(accuracies), np.std(accuracies, ddof=1)
    assert f"{mean:.1f} ± {deviation:.1f}" in text
    assert "mean ± standard deviation over 2 seeds" in text
    for row in ("test accuracy", "memorised", "precision", "recall", "training, s", "scoring, s", "reweighting, s"):
        assert row in text


def test_table_of_one_seed(trials):
    text = shown(trials[:1])
    assert "±" not in text
    assert "one seed" in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.5, 0.7], "60.0 ± 14.1"), ([0.5], "50.0"), ([None, 0.5], "50.0"), ([None], "–"), ([], "–")],
)
def test_spread(values, expected):
    assert report.spread(values) == expected
    assert math.sqrt(2) * 10 == pytest.approx(14.1, abs=0.05)  # the sample's standard deviation, not the population's


def test_prepare_creates_the_folder_and_leaves_nothing(tmp_path):
    report.prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
