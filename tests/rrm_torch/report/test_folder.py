from __future__ import annotations

import json
from dataclasses import asdict, replace

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch

from rrm_core._atomic_write import atomic_write
from rrm_review import csv_file, page
from rrm_torch import diagnose
from rrm_torch.data.images import load_digits
from rrm_torch.report import figures
from rrm_torch.report import folder as report_folder
from rrm_torch.training.compare import ComparisonSettings, compare
from support.interrupts import interrupted
from support.review_pages import read_page_data

SETTINGS = ComparisonSettings(noise=0.3, contamination=0.3, epochs=8, warmup=4, hidden=(32,))
SAMPLES = 10  # of the instructions that are interrupted


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def trials(digits):
    return [compare(digits, SETTINGS, seed) for seed in range(2)]


@pytest.fixture(scope="module")
def folder(digits, trials, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    names = report_folder.write(folder, "digits", digits, SETTINGS, trials)
    assert sorted(names) == sorted(path.name for path in folder.iterdir())
    return folder


def test_flagged_csv_lists_every_sample_by_suspicion(folder, trials):
    frame, (trial, _) = pd.read_csv(folder / "flagged.csv"), trials
    assert list(frame.columns) == [
        "index",
        "is_label_issue",
        "label_quality",
        "given_label",
        "predicted_label",
        "sample_weight",
        "loss",
        "share_pruned",
    ]
    assert frame["index"].tolist() == trial.rrm.ranking().tolist()
    assert frame["is_label_issue"].dtype == bool
    assert frame["index"][frame["is_label_issue"]].tolist() == trial.rrm.flagged().tolist()
    np.testing.assert_array_equal(frame["given_label"], trial.labels[frame["index"]])
    np.testing.assert_array_equal(frame["predicted_label"], trial.probabilities.argmax(1)[frame["index"]])
    for name, values in (("sample_weight", trial.rrm.weights), ("loss", trial.rrm.losses)):
        np.testing.assert_array_equal(frame[name].astype(np.float32), values.numpy()[frame["index"]])
    assert frame["label_quality"].is_monotonic_increasing


def test_results_json_contains_every_seed(folder, trials):
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


def test_diagnosis_is_that_of_the_first_seed(folder, trials, digits):
    text = (folder / "diagnosis.txt").read_text(encoding="utf-8")
    assert text == f"{diagnose(trials[0].rrm, digits.classes, trials[0].labels)}\n"
    assert text.startswith("Share: not estimated. The last reweight pruned 404 of 1,347 samples")
    assert "\nClasses: " in text


def test_an_estimate_has_a_picture_of_the_confident_joint(digits, tmp_path):
    (tmp_path / "joint.png").write_text("of an earlier report")
    settings = ComparisonSettings(noise=0.3, epochs=6, hidden=(32,))
    trial = compare(digits, settings, 0)
    assert "joint.png" in report_folder.write(tmp_path, "digits", digits, settings, [trial])
    assert matplotlib.image.imread(tmp_path / "joint.png").ndim == 3
    assert (tmp_path / "diagnosis.txt").read_text(encoding="utf-8").count("labels are estimated to be wrong") == 1


@pytest.mark.parametrize("name", ["curves", "weights", "trajectory", "suspicious"])
def test_figures_are_not_empty(folder, name):
    picture = matplotlib.image.imread(folder / f"{name}.png")
    height, width, _ = picture.shape
    assert width > 900
    assert height > 300
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50


def test_figures_without_noise_and_flagged_samples(digits, tmp_path):
    settings = ComparisonSettings(gamma=1e9, epochs=2, warmup=1, hidden=())
    trial = compare(digits, settings, 0)
    names = report_folder.write(tmp_path, "digits", digits, settings, [trial])
    assert "suspicious.png" in names
    assert json.loads((tmp_path / "results.json").read_text())["trials"][0]["wrong"] is None


def test_page_shows_the_most_suspicious_images_under_the_names_of_their_classes(digits, trials, tmp_path, monkeypatch):
    monkeypatch.setattr(report_folder, "MAX_IMAGES", 5)
    names = tuple(f"digit {label}" for label in digits.classes)
    report_folder.write(tmp_path, "digits", replace(digits, classes=names), SETTINGS, trials[:1])
    data = read_page_data(tmp_path / "review.html")
    trial = trials[0]
    first = trial.rrm.ranking()[:5].tolist()
    assert data["ids"] == [str(index) for index in first]
    assert [data["values"][label] for label in data["given"]] == [names[trial.labels[index]] for index in first]
    np.testing.assert_allclose(data["columns"]["confidence"], trial.probabilities.max(1)[first])
    assert data["pruned"]["n"] == len(trial.rrm.trajectory.rounds)
    bits = [int(digits, 16) >> (4 * len(digits) - data["pruned"]["n"]) for digits in data["pruned"]["bits"]]
    assert [bin(number).count("1") for number in bits] == trial.rrm.trajectory.pruned()[:, first].sum(0).tolist()
    assert data["title"] == "Label issues of digits"


def test_ids_of_corrected_images_are_those_of_the_source(digits, trials, tmp_path):
    trial = trials[0]
    shifted = replace(digits, ids=np.arange(len(digits.y_train)) + 100)
    corrections = tmp_path / "corrections.csv"
    first = trial.rrm.ranking()[0].item()
    corrections.write_text(f"id,given_label,decision,label\n{first + 100},,keep,\n7,,drop,\n")
    report_folder.write(tmp_path, "digits", shifted, SETTINGS, [trial], [corrections])
    frame = pd.read_csv(tmp_path / "flagged.csv")
    np.testing.assert_array_equal(frame["id"], frame["index"] + 100)
    data = read_page_data(tmp_path / "review.html")
    assert data["ids"][0] == str(first + 100)
    assert data["decisions"][0] == "keep"
    assert data["others"] == [{"id": "7", "given_label": None, "decision": "drop", "label": None}]
    titles = [axes.get_title() for axes in figures.suspicious(shifted, trial).axes]
    assert titles[0].startswith(f"{first + 100}: ")


def test_page_has_the_labels_of_the_source_so_that_its_corrections_fit_the_source(digits, trials, tmp_path):
    trial = trials[0]
    first = trial.rrm.ranking()[0].item()
    uncorrected = trial.labels.copy()
    uncorrected[first] = (trial.labels[first] + 1) % 10
    given, label = (digits.classes[labels[first]] for labels in (uncorrected, trial.labels))
    corrections = tmp_path / "corrections.csv"
    corrections.write_text(f"id,given_label,decision,label\n{first},{given},relabel,{label}\n")
    corrected = replace(digits, y_train=torch.from_numpy(trial.labels), uncorrected=uncorrected)
    report_folder.write(tmp_path, "digits", corrected, SETTINGS, [trial], [corrections])
    data = read_page_data(tmp_path / "review.html")
    assert data["ids"][0] == str(first)
    assert data["values"][data["given"][0]] == given
    assert data["values"][data["labels"][0]] == label


def test_without_matplotlib_writes_no_figures(digits, trials, tmp_path, monkeypatch):
    monkeypatch.setattr(report_folder, "find_spec", lambda _: None)
    for name in ("curves.png", "groups.png", "joint.png", "review.html"):
        (tmp_path / name).write_text("of an earlier report")
    files = report_folder.write(tmp_path, "digits", digits, SETTINGS, trials)
    assert files == ["results.json", "flagged.csv", "diagnosis.txt"]
    assert not [*tmp_path.glob("*.png"), *tmp_path.glob("*.html")]


def test_non_finite_numbers_become_null(digits, trials, tmp_path, monkeypatch):
    monkeypatch.setattr(report_folder, "find_spec", lambda _: None)
    diverged = replace(trials[0], plain=replace(trials[0].plain, memorised=float("nan")))
    report_folder.write(tmp_path, "digits", digits, SETTINGS, [diverged])
    text = (tmp_path / "results.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["trials"][0]["plain"]["memorised"] is None


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "flagged.csv"
    path.write_text("old")

    def write_half():
        with atomic_write(path) as file:
            file.write(b"half")
            file.flush()
            assert path.read_text() == "old"
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_every_file_is_written_atomically(digits, trials, tmp_path, monkeypatch):
    paths = []
    for module in (report_folder, csv_file, page):
        monkeypatch.setattr(module, "atomic_write", lambda path: paths.append(path.name) or atomic_write(path))
    assert report_folder.write(tmp_path, "digits", digits, SETTINGS, trials) == paths


def test_prepare_creates_an_empty_folder(tmp_path):
    report_folder.prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_prepare_keeps_files_of_any_name(tmp_path):
    (tmp_path / ".writable").write_text("kept")
    report_folder.prepare(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def test_prepare_rejects_a_file(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match=r"report folder '.*file' can't be written: File exists; choose another"):
        report_folder.prepare(tmp_path / "file")


# Interrupted before an opened file has a name, Python closes it with a warning.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_interrupt_leaves_old_files_or_new_ones(digits, trials, tmp_path, monkeypatch):
    monkeypatch.setattr(report_folder, "find_spec", lambda _: None)
    report_folder.write(tmp_path, "new", digits, SETTINGS, trials)
    names = ("results.json", "flagged.csv", "diagnosis.txt")
    new = {name: (tmp_path / name).read_bytes() for name in names}
    old = dict.fromkeys(names, b"old")

    def make():
        for name in names:
            (tmp_path / name).write_bytes(old[name])

    found = set()
    for last in (None, 300):
        write = interrupted(
            make, lambda _: report_folder.write(tmp_path, "new", digits, SETTINGS, trials), samples=SAMPLES, last=last
        )
        for point, _ in write:
            assert {path.name for path in tmp_path.iterdir()} == set(names), point
            content = {name: (tmp_path / name).read_bytes() for name in names}
            assert all(content[name] in (old[name], new[name]) for name in names), point
            found.add(tuple(content[name] == new[name] for name in names))
    assert found == {(False, False, False), (True, False, False), (True, True, False), (True, True, True)}
