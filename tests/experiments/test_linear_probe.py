"""The experiment with linear classifiers of frozen features, on small made-up features."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from experiments import linear_probe
from experiments.data.cifar_features import CifarFeatures
from experiments.linear_probe import AUTO, CONFIDENT, PLAIN, TRIMMED, TRUE
from experiments.runner.jobs import Job

pytest.importorskip("sklearn")
pytest.importorskip("cleanlab")

N, SAMPLES, EPOCHS = 700, 600, 6


@pytest.fixture
def data(monkeypatch, tmp_path):
    """Return a folder with human labels, a quarter of which are wrong, of features of ten classes."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(N) % 10

    def rows(classes):
        return (5 * torch.eye(10, 16)[classes] + torch.randn(len(classes), 16, generator=generator)).half()

    features = CifarFeatures(rows(truth), truth, rows(truth[:200]), truth[:200])
    loaded = []

    def load(images, cache, pixels):
        loaded.append((images.name, cache, pixels))
        return features

    monkeypatch.setattr(linear_probe, "load_cifar_features", load)
    wrong = np.where(np.random.default_rng(0).random(N) < 0.25, (truth.numpy() + 1) % 10, truth.numpy())
    names = ("aggre_label", "worse_label", "random_label1", "random_label2", "random_label3")
    np.savez(tmp_path / "cifar10n_labels.npz", clean_label=truth.numpy(), **dict.fromkeys(names, wrong))
    (tmp_path / "cifar10_jpegq75.npz").touch()
    (tmp_path / "runs").mkdir()
    yield tmp_path
    assert set(loaded) == {("cifar10_jpegq75.npz", tmp_path / "features", linear_probe.PIXELS)}


def smaller(method, seed=0):
    job = next(job for job in linear_probe.jobs(1) if (job.method, job.settings["labels"]) == (method, "worst"))
    settings = json.loads(json.dumps(job.settings)) | {"samples": SAMPLES}
    settings["recipe"] |= {"epochs": EPOCHS, "batch_size": 60, "lr": 0.02}
    if settings.get("rrm") and "warmup" in settings["rrm"]:
        settings["rrm"]["warmup"] = 3
    return Job(method, settings, seed)


# With so few samples the estimate may come late.
@pytest.mark.filterwarnings("ignore:.*:UserWarning:rrm_torch")
@pytest.mark.parametrize("method", [PLAIN, AUTO, TRUE, TRIMMED, CONFIDENT])
def test_result_is_json_with_the_metrics_of_the_tables(method, data):
    epochs = []
    job = smaller(method)
    checkpoint = data / "runs" / f"{job.key}.pt"

    def after(done, total):
        assert checkpoint.exists()
        epochs.append((done, total))

    result = linear_probe.execute(job, data, checkpoint, after)
    total = EPOCHS * (linear_probe.FOLDS + 1 if method == CONFIDENT else 1)
    assert epochs == [(epoch, total) for epoch in range(1, total + 1)]
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["true_share"] == pytest.approx(0.25, abs=0.05)
    assert result["accuracy"] > 0.8
    assert result["best_accuracy"] >= result["accuracy"]
    assert ("recall" in result) == (method != PLAIN)
    if method != PLAIN:
        assert result["precision"] > 0.5
        assert result["recall"] > 0.3
    assert ("estimate" in result) == (method == AUTO)


def test_seeds_draw_other_samples(data):
    cache = data / "features"
    tasks = [linear_probe.task(data, cache, "worst", SAMPLES, linear_probe.PIXELS, seed) for seed in (0, 1, 1)]
    assert all(len(task.labels) == SAMPLES for task in tasks)
    assert not torch.equal(tasks[0].x_train, tasks[1].x_train)
    assert torch.equal(tasks[1].x_train, tasks[2].x_train)
    logits = tasks[0].model()(tasks[0].x_train)
    assert torch.equal(logits, torch.zeros(SAMPLES, 10))


def test_last_model_is_trained_without_the_listed_labels(data, monkeypatch):
    kept = []

    def part_of(task, chosen):
        kept.append(torch.from_numpy(task.wrong[chosen]))
        return linear_probe_part_of(task, chosen)

    linear_probe_part_of = linear_probe.part_of
    monkeypatch.setattr(linear_probe, "part_of", part_of)
    result = linear_probe.execute(smaller(CONFIDENT), data, data / "runs" / "run.pt", lambda done, total: None)
    n_wrong = round(result["true_share"] * SAMPLES)
    assert int(kept[0].sum()) == round((1 - result["recall"]) * n_wrong)
    n_listed = result["recall"] * n_wrong / result["precision"]
    assert len(kept[0]) == round(SAMPLES - n_listed)


def test_confident_learning_resumes_from_its_checkpoints(data):
    job = smaller(CONFIDENT)
    whole = linear_probe.execute(job, data, data / "runs" / "whole.pt", lambda done, total: None)

    class StoppedError(Exception):
        pass

    # In the second fold, and while the last model is trained.
    for stop in (EPOCHS + 2, linear_probe.FOLDS * EPOCHS + 2):

        def after(done, _total, stop=stop):
            if done == stop:
                raise StoppedError

        with pytest.raises(StoppedError):
            linear_probe.execute(job, data, data / "runs" / "part.pt", after)
    epochs = []
    resumed = linear_probe.execute(job, data, data / "runs" / "part.pt", lambda done, total: epochs.append(done))
    assert epochs == list(range(linear_probe.FOLDS * EPOCHS + 3, (linear_probe.FOLDS + 1) * EPOCHS + 1))
    for result in (whole, resumed):
        del result["seconds"], result["task_seconds"]
    assert resumed == whole
