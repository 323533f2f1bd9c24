from __future__ import annotations

import json
from dataclasses import asdict, replace

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from rrm_core._atomic_write import atomic_write
from rrm_torch.data.images import load_digits
from rrm_torch.report import report
from rrm_torch.training.compare import Settings, compare
from rrm_torch.training.fit import Seconds

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
        assert recorded["rrm"]["seconds"] == asdict(trial.weighted.seconds)
        assert [e["loss"] for e in recorded["rrm"]["epochs"]] == [e.loss for e in trial.weighted.history.epochs]
        assert recorded["plain"]["epochs"][7]["accuracy"] == trial.plain.accuracy


@pytest.mark.parametrize("name", ["curves", "weights", "trajectory", "suspicious"])
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
    (tmp_path / "curves.png").write_text("of a former report")
    assert report.write(tmp_path, "digits", digits, SETTINGS, trials) == ["results.json", "flagged.csv"]
    assert not (tmp_path / "curves.png").exists()


def test_a_number_that_is_none_is_null(digits, trials, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "find_spec", lambda _: None)
    diverged = replace(trials[0], plain=replace(trials[0].plain, memorised=float("nan")))
    report.write(tmp_path, "digits", digits, SETTINGS, [diverged])
    text = (tmp_path / "results.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["trials"][0]["plain"]["memorised"] is None


def test_a_former_file_outlives_a_failed_successor(tmp_path):
    path = tmp_path / "flagged.csv"
    path.write_text("former")

    def half():
        with atomic_write(path) as file:
            file.write(b"half")
            file.flush()
            assert path.read_text() == "former"
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        half()
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_every_file_is_replaced_that_way(digits, trials, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(report, "atomic_write", lambda path: seen.append(path.name) or atomic_write(path))
    assert report.write(tmp_path, "digits", digits, SETTINGS, trials) == seen


def shown(trials):
    console = Console(width=100, markup=False)
    with console.capture() as capture:
        console.print(report.table(trials, "title"))
    return capture.get()


def test_every_cell_of_the_table(trials):
    """Hand-made outcomes, all different, so that no cell can stand for another."""
    seconds = [Seconds(10.0, 11.0, 12.0), Seconds(20.0, 21.0, 22.0)]
    plain = replace(trials[0].plain, accuracy=0.11, memorised=0.12, seconds=seconds[0])
    weighted = replace(trials[0].weighted, accuracy=0.21, memorised=0.22, seconds=seconds[1])
    trial = replace(trials[0], plain=plain, weighted=weighted, precision=0.31, recall=0.32)
    rows = [line.strip("│ ").split("│") for line in shown([trial]).splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["test accuracy, %", "11.0", "21.0"],
        ["wrong labels memorised, %", "12.0", "22.0"],
        ["labels made wrong, %", "30.0", "30.0"],
        ["flagged labels", "", "404"],
        ["of them wrong (precision), %", "", "31.0"],
        ["of the wrong, found (recall), %", "", "32.0"],
        ["training, s", "10.00", "20.00"],
        ["scoring, s", "11.00", "21.00"],
        ["reweighting, s", "12.00", "22.00"],
    ]


def test_table_tells_mean_and_spread(trials):
    text = shown(trials)
    accuracies = [100 * t.weighted.accuracy for t in trials]
    assert f"{np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f}" in text
    assert "mean ± standard deviation over 2 seeds" in text
    assert "one seed" in shown(trials[:1])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.5, 0.7], "60.0 ± 14.1"), ([0.5], "50.0"), ([None, 0.5], "50.0"), ([None], "–"), ([], "–")],
)
def test_spread(values, expected):
    assert report.spread(values) == expected  # of the sample, not the population: sqrt(2) * 10


def test_prepare_creates_the_folder_and_leaves_nothing(tmp_path):
    report.prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_prepare_names_the_folder(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match=r"report folder '.*file' can't be written: File exists; choose another"):
        report.prepare(tmp_path / "file")
