"""The experiment on DivideMix, ProMix and CC: every method in its quick version, and what is measured in their sets."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import cli, systems, wrapped_systems
from experiments.registry import load
from experiments.runner.jobs import Job
from rrm_torch.methods import TrainingSet
from rrm_torch.methods.division import Division

pytest.importorskip("sklearn")

QUICK = {job.method: job for job in systems.quick_jobs(3)}
SYSTEMS = [method for method, job in QUICK.items() if "system" in job.settings]


def division(labelled, unlabelled, pruned):
    parts = (torch.tensor(part, dtype=torch.int64) for part in (labelled, unlabelled, pruned))
    labelled, unlabelled, pruned = parts
    return Division(labelled, unlabelled, weights=None, pruned=pruned)


def test_every_system_has_a_run_without_rrm_and_one_with_it():
    rrm = {method for method in SYSTEMS if "RRM" in method}
    assert {method.split(" + ")[0] for method in rrm} == set(SYSTEMS) - rrm == {"DivideMix", "ProMix", "CC"}


def test_worst_labels_have_all_seeds_and_aggre_labels_one():
    seeds = Counter((job.settings["noise"], job.method) for job in systems.jobs(3))
    assert {noise: {n for (kind, _), n in seeds.items() if kind == noise} for noise in ("worst", "aggre")} == {
        "worst": {3},
        "aggre": {1},
    }
    assert {method for _, method in seeds} == set(QUICK)


@pytest.mark.parametrize("method", SYSTEMS)
def test_quick_run_describes_its_labelled_sets(method, tmp_path):
    epochs = []
    result = systems.execute(
        QUICK[method], Path(), tmp_path / "run.pt", lambda done, total: epochs.append((done, total))
    )
    result = json.loads(json.dumps(result, allow_nan=False))
    assert epochs == [(1, 4), (2, 4), (3, 4), (4, 4)]
    curves = result["epochs"]
    assert result["accuracy"] == pytest.approx(curves["accuracy"][-1], abs=1e-4)
    assert [value is None for value in curves["labelled"]] == [True, True, False, False]
    assert len(result["by_class"]) == 2
    if "RRM" in method:
        assert min(curves["pruned"][2:]) > 0
        assert 0 <= curves["precision"][-1] <= 1
    else:
        assert curves["pruned"][2:] == [0, 0]


def test_thresholds_by_class_prune_a_tenth_of_each_class(tmp_path):
    job = QUICK["ProMix + RRM, drop by class"]
    result = systems.execute(job, Path(), tmp_path / "run.pt", lambda done, total: None)
    for network in result["by_class"]:
        selected = np.add(network["labelled"], network["pruned"])
        assert len(set(selected)) == 1
        assert network["pruned"] == (selected // 10).tolist()


def test_resumed_run_has_the_result_of_an_uninterrupted_one(tmp_path):
    job = QUICK["DivideMix + RRM, drop"]
    whole = systems.execute(job, Path(), tmp_path / "whole.pt", lambda done, total: None)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        systems.execute(job, Path(), tmp_path / "run.pt", stop)
    assert systems.execute(job, Path(), tmp_path / "run.pt", lambda done, total: None) == whole


def test_metrics_tell_selected_from_used_labels():
    wrong = np.array([True, False, True, False, False, True])
    dropped = division([0, 1, 2, 3], [4, 5], [2])
    moved = division([0, 1], [2, 3, 4, 5], [2, 3])
    metrics = wrapped_systems.division_metrics((dropped, moved), wrong)
    assert metrics == {
        "labelled": 2.5,  # 0, 1, 3, and 0, 1
        "wrong_selected": 0.5,  # 0 and 2 of 0, 1, 2, 3, in both
        "wrong_labelled": pytest.approx((1 / 3 + 1 / 2) / 2, abs=1e-5),
        "pruned": 1.5,
        "precision": 0.75,  # 2; and 2 of 2, 3
    }


def test_class_metrics_are_those_of_each_given_class():
    data = TrainingSet(torch.zeros(6, 1), torch.tensor([0, 0, 1, 1, 2, 2]), n_classes=3)
    wrong = np.array([True, False, True, False, False, True])
    assert wrapped_systems.class_metrics(division([0, 1, 2, 3], [4, 5], [2]), wrong, data) == {
        "labelled": [2, 1, 0],
        "wrong_labelled": [0.5, 0.0, None],
        "pruned": [0, 1, 0],
        "precision": [None, 1.0, None],
    }


def test_system_with_another_optimizer_is_refused():
    job = QUICK["DivideMix"]
    with pytest.raises(ValueError, match="optimizer of DivideMix must be 'sgd', got 'adam'"):
        systems.execute(Job(job.method, job.settings | {"optimizer": "adam"}, 0), Path(), Path("run.pt"), print)


def test_quick_version_needs_no_data():
    quick = load("systems").quick_version()
    assert quick.name == "systems-quick"
    assert not quick.data


def test_experiment_without_a_quick_version_is_refused(capsys):
    assert cli.main(["scores", "--quick"]) == 2
    assert "scores has no quick version" in capsys.readouterr().err
