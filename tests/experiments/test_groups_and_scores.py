"""The experiments on groups and on scores: every method, in small."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from experiments import groups, scores
from experiments.runner.jobs import Job
from support.digits_as_fashion import write_digits

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with digits under the name of Fashion-MNIST's images."""
    folder = tmp_path_factory.mktemp("data")
    write_digits(folder)
    return folder


def smaller(job):
    settings = json.loads(json.dumps(job.settings))
    settings["samples"] = 1200
    settings["recipe"] |= {"epochs": 6, "batch_size": 100}
    return Job(job.method, settings, job.seed)


JOBS = [
    pytest.param(module, smaller(job), id=f"{module.__name__}: {job.method}")
    for module in (groups, scores)
    for job in module.jobs(1)
    if job.settings["data"] != "cifar10n" and "tail 100" not in job.method
]


# Of the annotators' labels, half are wrong.
@pytest.mark.filterwarnings("ignore:.* of the labels are estimated to be wrong")
@pytest.mark.filterwarnings("ignore:the first reweight prunes almost all labels")
@pytest.mark.parametrize(("module", "job"), JOBS)
def test_result_is_json_and_better_than_chance(module, job, data, tmp_path):
    result = module.execute(job, data, tmp_path / "run.pt", lambda done, total: None)
    result = json.loads(json.dumps(result, allow_nan=False))
    assert result["accuracy"] > 0.3
    assert len(result["class_recall"]) == 10
    assert 0 < result["true_share"] < 1


def test_quotas_follow_what_is_known_of_each_source(data):
    grouped = groups.make_task(data, "annotators", 1200, 0)
    options = {method: groups.options_of(method, grouped) for method in groups.SOURCE_METHODS}
    np.testing.assert_array_equal(options["quotas, true"]["contamination"], grouped.true_shares)
    np.testing.assert_array_equal(options["quotas, checked"]["contamination"], grouped.checked_shares)
    assert options["quotas, auto"]["contamination"] == "auto"
    assert options["plain"] is options["correct labels"] is None


def test_correct_part_has_no_wrong_labels(data):
    grouped = groups.make_task(data, "annotators", 1200, 0)
    part = groups.correct_part(grouped.task)
    assert not part.wrong.any()
    assert len(part.labels) == len(part.x_train) == int((~grouped.task.wrong).sum())


@pytest.mark.parametrize("method", ["noise-aware, mean of 5 epochs", "disagreement"])
def test_variants_resume_to_the_same_result(method, data, tmp_path):
    job = smaller(next(job for job in scores.jobs(1) if job.method == f"fashion, pair 0.3: {method}"))
    whole = scores.execute(job, data, tmp_path / "whole.pt", lambda done, total: None)

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scores.execute(job, data, tmp_path / "part.pt", stop)
    resumed = scores.execute(job, data, tmp_path / "part.pt", lambda done, total: None)
    for result in (whole, resumed):
        del result["seconds"]
    assert resumed == whole


def test_disagreement_counts_epochs_before_the_loss():
    kind, _ = scores.METHODS["disagreement"]
    rrm = kind(200, contamination=0.1, warmup=1)
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    for _ in range(2):
        ranking = rrm._use_outputs(torch.tensor([9.0, 0.5]), torch.arange(2), None, logits, torch.tensor([1, 1]))
    torch.testing.assert_close(ranking, torch.tensor([0.9, 2 + 0.5 / 1.5]))
