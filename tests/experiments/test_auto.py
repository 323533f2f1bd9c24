"""The experiment on the estimated contamination."""

from __future__ import annotations

import json

import pytest

from experiments import auto
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
