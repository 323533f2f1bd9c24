"""The experiment on the estimated contamination."""

from __future__ import annotations

import json

import pytest

from experiments import auto, auto_large, cifar10n
from experiments.runner.jobs import Job

pytest.importorskip("sklearn")


def job_on_digits(method):
    settings = json.loads(json.dumps(auto.make_settings("digits", "symmetric 0.3", method)))
    settings["recipe"]["epochs"] = 6
    return Job(f"digits, symmetric 0.3: {method}", settings, 0)


def test_perceptrons_have_more_seeds():
    seeds = {}
    for job in auto.jobs(3):
        seeds.setdefault(job.settings["data"], set()).add(job.seed)
    assert {name: len(found) for name, found in seeds.items()} == dict.fromkeys(auto.NOISES, 6) | {"cifar10n": 3}


# A warm-up of 10 epochs doesn't end in these 6.
@pytest.mark.filterwarnings("ignore:the run ends after epoch 6")
@pytest.mark.parametrize("method", auto.METHODS)
def test_result_has_the_true_share_and_the_estimate(method, tmp_path):
    result = auto.execute(job_on_digits(method), tmp_path, tmp_path / "run.pt", lambda done, total: None)
    result = json.loads(json.dumps(result, allow_nan=False))
    assert result["true_share"] == pytest.approx(0.3, abs=0.001)
    assert ("estimate" in result) == (method not in (auto.PLAIN, auto.FIXED_WARMUP))
    if method in auto.MULTIPLES:
        pruned = result["rounds"]["n_pruned"][-1] / 1347
        assert pruned == pytest.approx(auto.MULTIPLES[method] * result["true_share"], abs=0.002)


def test_large_runs_train_on_all_images_of_cifar10():
    jobs = auto_large.jobs(3)
    assert [job.settings["noise"] for job in jobs[::3]] == list(auto_large.NOISES)
    for job in jobs:
        assert job.settings["samples"] == 5 * cifar10n.SAMPLES
        assert job.settings["rrm"] == {"contamination": "auto"}


def test_samples_of_the_settings_are_those_of_the_run(tmp_path):
    job = job_on_digits(auto.AUTO)
    job.settings["samples"] = 400
    result = auto.execute(job, tmp_path, tmp_path / "run.pt", lambda done, total: None)
    assert sum(map(sum, result["histogram"].values())) == 400
