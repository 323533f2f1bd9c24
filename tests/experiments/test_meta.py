"""The experiment with a small clean set: every method, in small."""

from __future__ import annotations

import json

import pytest
import torch

from experiments import meta
from experiments.noisy_tasks import task
from experiments.runner.jobs import Job
from support.digits_as_fashion import write_digits

pytest.importorskip("sklearn")

SAMPLES = 600


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with digits under the name of Fashion-MNIST's images."""
    folder = tmp_path_factory.mktemp("data")
    write_digits(folder)
    return folder


def smaller(job):
    settings = json.loads(json.dumps(job.settings))
    settings["samples"] = SAMPLES
    settings["n_clean"] = min(settings["n_clean"], 50)
    settings["recipe"] |= {"epochs": 6, "batch_size": 100}
    return Job(job.method, settings, job.seed)


JOBS = [
    pytest.param(smaller(job), id=job.method)
    for job in meta.jobs(1)
    if job.settings["noise"] == "pair 0.3" and job.settings["n_clean"] < 1000
]


def run(job, data, path, on_epoch=lambda done, total: None):
    return json.loads(json.dumps(meta.execute(job, data, path, on_epoch), allow_nan=False))


# With so few samples, RRM begins before a class is learnt.
@pytest.mark.filterwarnings("ignore:the first reweight prunes almost all labels")
@pytest.mark.parametrize("job", JOBS)
def test_result_is_json_and_better_than_chance(job, data, tmp_path):
    done = []
    result = run(job, data, tmp_path / "run.pt", lambda *arguments: done.append(arguments))
    assert done == [(epoch, 6) for epoch in range(1, 7)]
    assert result["accuracy"] > 0.3
    assert len(result["epochs"]["accuracy"]) == 6
    assert result["seconds_per_epoch"] > 0
    weighted = job.settings["method"] in meta.META_METHODS or job.settings["rrm"] is not None
    assert ("mean_weight" in result) == weighted


@pytest.mark.parametrize("name", meta.META_METHODS)
def test_methods_with_a_clean_set_resume_to_the_same_result(name, data, tmp_path):
    job = smaller(next(job for job in meta.jobs(1) if job.settings["method"] == name))
    whole = run(job, data, tmp_path / "whole.pt")

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job, data, tmp_path / "part.pt", stop)
    resumed = run(job, data, tmp_path / "part.pt")
    for result in (whole, resumed):
        del result["seconds_per_epoch"]
    assert resumed == whole


def test_weights_are_described_relative_to_their_mean(data, tmp_path):
    job = smaller(next(job for job in meta.jobs(1) if job.settings["method"] == "Ren et al."))
    noisy = task(data, "fashion", job.settings["noise"], SAMPLES, 0)
    share = noisy.wrong.mean()
    weight = run(job, data, tmp_path / "run.pt")["mean_weight"]
    assert share * weight["wrong"] + (1 - share) * weight["clean"] == pytest.approx(1, abs=1e-4)
    assert weight["wrong"] < weight["clean"]


def test_clean_samples_are_balanced_correct_and_not_in_the_training_set(data):
    noisy = task(data, "fashion", "symmetric 0.4", SAMPLES, 3)
    x, y = meta.clean_samples(data, SAMPLES, 50, 3)
    assert torch.bincount(y).tolist() == [5] * 10
    assert not (x[:, None] == noisy.x_train[None]).flatten(2).all(2).any()
    loaded = meta.images.load_npz(data / meta.DATA)
    for image, label in zip(x, y, strict=True):
        same = (loaded.x_train == image).flatten(1).all(1)
        assert (loaded.y_train[same] == label).all()
    assert not torch.equal(meta.clean_samples(data, SAMPLES, 50, 4)[0], x)


def test_clean_samples_are_refused_where_a_class_has_too_few(data):
    with pytest.raises(ValueError, match=r"the data hold \d+ further images of a class, and 200 are needed"):
        meta.clean_samples(data, SAMPLES, 2000, 0)


def test_fair_baseline_has_the_clean_samples_beside_the_noisy_ones(data):
    noisy = task(data, "fashion", "pair 0.3", SAMPLES, 0)
    x, y = meta.clean_samples(data, SAMPLES, 50, 0)
    joined = meta.with_clean_samples(noisy, x, y)
    assert len(joined.x_train) == len(joined.labels) == len(joined.wrong) == SAMPLES + 50
    assert torch.equal(joined.labels[SAMPLES:], y)
    assert joined.wrong.sum() == noisy.wrong.sum()


def test_every_method_of_a_seed_has_the_same_training_set_and_settings():
    by_noise = {}
    for job in meta.jobs(3):
        settings = {k: v for k, v in job.settings.items() if k not in ("method", "n_clean", "rrm")}
        by_noise.setdefault(job.settings["noise"], []).append(settings)
    for settings in by_noise.values():
        assert len(settings) == 3 * 8
        assert all(each == settings[0] for each in settings)


def test_clock_counts_training_without_the_evaluation(monkeypatch, data):
    times = iter([10.0, 13.0, 17.0, 20.0, 20.5])
    monkeypatch.setattr(meta.time, "process_time", lambda: next(times))
    noisy = task(data, "fashion", "clean", SAMPLES, 0)
    clock = meta.EpochClock(lambda done, total: None)
    clock(1, 3)
    assert clock.seconds(noisy) is None
    clock(2, 3)
    clock(3, 3)
    assert clock.seconds(noisy) == 3.5 - 0.5
