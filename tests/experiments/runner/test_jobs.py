"""Jobs and their planning."""

from __future__ import annotations

import dataclasses

import pytest

from experiments.runner.jobs import Job, check_data, check_packages, find_data, plan_jobs
from support.tiny_experiment import EPOCHS, EXPERIMENT

JOB = Job("RRM, C=0.3", {"epochs": EPOCHS, "pause": 0.0, "wrong": None}, 1)


def test_key_is_readable_and_unique():
    assert JOB.key.startswith("rrm-c-0.3-seed1-")
    assert JOB.key == Job("RRM, C=0.3", {"wrong": None, "pause": 0.0, "epochs": EPOCHS}, 1).key
    others = [
        Job("RRM, C=0.4", JOB.settings, 1),
        Job("rrm, c=0.3", JOB.settings, 1),
        Job(JOB.method, JOB.settings | {"pause": 1e-9}, 1),
        Job(JOB.method, JOB.settings | {"new": None}, 1),
        Job(JOB.method, JOB.settings, 2),
    ]
    assert len({JOB.key, *(other.key for other in others)}) == 6
    assert Job("../π", {}, 0).key.startswith("run-seed0-")
    assert len(Job("a" * 300, {}, 0).key) < 100


def test_key_is_stable():
    assert Job("plain", {"lr": 0.1, "hidden": [256, 256]}, 0).key == "plain-seed0-65a9502728"
    assert Job("plain", {"lr": 0.1, "hidden": (256, 256)}, 0).key == "plain-seed0-65a9502728"


def test_plan_jobs():
    assert [run.seed for run in plan_jobs(EXPERIMENT, 2)] == [0, 1, 0, 1]
    assert {run.method for run in plan_jobs(EXPERIMENT, 2, ["rrm", "else"])} == {"RRM, C=0.3"}
    with pytest.raises(ValueError, match=r"no method of tiny contains 'x' or 'y'; it has plain, RRM, C=0.3"):
        plan_jobs(EXPERIMENT, 2, ["x", "y"])
    with pytest.raises(ValueError, match="same run twice"):
        plan_jobs(dataclasses.replace(EXPERIMENT, jobs=lambda _: [JOB, JOB]), 1)


def test_data_file_with_alternative_names(tmp_path):
    (tmp_path / "second").mkdir()
    assert find_data(tmp_path, "first|second") == tmp_path / "second"
    assert find_data(tmp_path, "first|third") is None
    experiment = dataclasses.replace(EXPERIMENT, data=("first|second", "third|fourth"))
    with pytest.raises(ValueError, match="lacks third or fourth; it should hold first or second, third or fourth"):
        check_data(experiment, tmp_path)
    (tmp_path / "fourth").touch()
    check_data(experiment, tmp_path)


def test_missing_packages_are_named_before_a_run():
    check_packages(EXPERIMENT)
    check_packages(dataclasses.replace(EXPERIMENT, packages=("numpy",)))
    with pytest.raises(ValueError, match=r"tiny needs packages that are not installed: pip install no-such-package$"):
        check_packages(dataclasses.replace(EXPERIMENT, packages=("numpy", "no-such-package")))


def test_packages_without_their_requirements_have_a_command_of_their_own():
    experiment = dataclasses.replace(EXPERIMENT, packages_without_requirements=("numpy", "no-such-weights"))
    with pytest.raises(ValueError, match=r"not installed: pip install --no-deps no-such-weights$"):
        check_packages(experiment)
    both = dataclasses.replace(experiment, packages=("no-such-package",))
    with pytest.raises(ValueError, match=r": pip install no-such-package; pip install --no-deps no-such-weights$"):
        check_packages(both)
