"""The experiment on listing wrong labels: its jobs, and their results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import checked_tasks, detection
from experiments.noisy_tasks import task as noisy_task
from experiments.runner.jobs import Job

pytest.importorskip("sklearn")
pytest.importorskip("cleanlab")

EPOCHS = 8
LISTINGS = {
    "RRM": ["RRM"],
    "confident learning": ["confident learning", "confident learning, normalised margin"],
    "AUM": ["AUM"],
    "plain training": ["small loss, early epoch", "small loss, mean of epochs", "margin, mean of epochs"],
}


def smaller(method, **changes):
    job = next(job for job in detection.jobs(1) if job.method == method and job.settings["data"] == "digits")
    settings = job.settings | {"samples": 200} | changes
    settings["recipe"] = settings["recipe"] | {"epochs": EPOCHS}
    if "early" in settings:
        settings["early"] = 3
    if "rrm" in settings:
        settings["rrm"] = {"contamination": 0.3, "warmup": 2}
    return Job(method, settings, 0)


@pytest.mark.parametrize("method", detection.METHODS)
def test_result_is_json_with_the_metrics_of_each_listing(method, tmp_path):
    result = detection.execute(smaller(method), Path(), tmp_path / "run.pt", lambda done, total: None)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["n"], result["n_wrong"]) == (200, 60)
    assert list(result["listings"]) == LISTINGS[method]
    for metrics in result["listings"].values():
        assert metrics["average_precision"] > 0.3  # 0.3 is that of a random order


def test_jobs_have_a_budget_that_can_be_divided():
    for job in detection.jobs(1):
        assert job.settings["recipe"]["epochs"] % (detection.FOLDS - 1) == 0
        assert job.settings["recipe"]["epochs"] > detection.EARLY


def test_experiment_needs_the_files_of_all_rows():
    assert detection.EXPERIMENT.data == (
        "cifar10_jpegq75.npz|cifar-10-batches-py",
        "cifar10n_labels.npz|CIFAR-10_human.pt",
        "fashion_mnist.npz",
        "banking77.tsv.xz",
        "imdb.jsonl.xz|aclImdb",
        "label_errors_cifar10_mturk.json",
        "label_errors_imdb_mturk.json",
    )


def test_checked_rows_are_trained_on_test_sets(monkeypatch, tmp_path):
    given = []

    def task(data, name, seed):
        given.append((data, name, seed))
        return noisy_task(Path(), "digits", "symmetric 0.3", 100, seed)

    monkeypatch.setattr(checked_tasks, "task", task)
    job = smaller("AUM", data="imdb", noise="checked", samples=None)
    assert detection.execute(job, tmp_path, tmp_path / "run.pt", lambda done, total: None)["n"] == 100
    assert given == [(tmp_path, "imdb", 0)]


def test_unknown_method_is_rejected(tmp_path):
    job = Job("guessing", smaller("AUM").settings, 0)
    with pytest.raises(ValueError, match=r"method must be one of RRM, .* got 'guessing'"):
        detection.execute(job, Path(), tmp_path / "run.pt", lambda done, total: None)
