"""Records of experiments."""

from __future__ import annotations

import json
import os

import pytest

from experiments.runner import environment
from experiments.runner.jobs import plan_jobs
from experiments.runner.results import collect, split, uncommitted_methods
from experiments.runner.run_directory import RunDirectory
from experiments.runner.worker import run_job
from support import tiny_experiment
from support.tiny_experiment import EXPERIMENT


def carried_out(data, folder, commits, seeds=2):
    runs = plan_jobs(EXPERIMENT, seeds)
    for run, commit in zip(reversed(runs), commits, strict=False):
        run_job(EXPERIMENT.execute, run, data, RunDirectory(folder), commit=commit)
    return runs


def test_collect(data, folder):
    runs = carried_out(data, folder, ["b", "a", None, "b"])
    collected = collect(EXPERIMENT, 2, folder)
    assert collected["experiment"] == "tiny"
    assert collected["command"] == "python -m experiments tiny --data DIR --seeds 2"
    assert collected["commit"] == [None, "a", "b"]
    assert collected["machine"] == environment.machine()
    assert collected["versions"] == environment.versions()
    assert collected["seconds"] == sum(run["seconds"] for run in collected["runs"])
    assert [(run["method"], run["seed"]) for run in collected["runs"]] == [(run.method, run.seed) for run in runs]
    assert set(collected["runs"][0]) == {"method", "settings", "seed", "seconds", "workers", "commit", "result"}
    assert [run["commit"] for run in collected["runs"]] == ["b", None, "a", "b"]
    assert (
        collected["runs"][3]["result"]["sum"]
        == tiny_experiment.execute(runs[3], data, folder / "x", lambda *_: None)["sum"]
    )
    assert "missing" not in collected
    assert str(folder) not in json.dumps(collected)
    assert uncommitted_methods(collected) == []


def test_collect_partial(data, folder):
    carried_out(data, folder, ["a", "b-dirty"])
    with pytest.raises(ValueError, match="2 of 4 runs of tiny are missing"):
        collect(EXPERIMENT, 2, folder)
    collected = collect(EXPERIMENT, 2, folder, partial=True)
    assert collected["missing"] == 2
    assert len(collected["runs"]) == 2
    assert uncommitted_methods(collected) == ["RRM, C=0.3"]
    assert collect(EXPERIMENT, 2, folder / "empty", partial=True)["runs"] == []


def test_collect_lists_differing_values(data, folder):
    runs = carried_out(data, folder, ["a", "a+b-dirty"], seeds=1)
    path = folder / f"{runs[0].key}.json"
    changed = json.loads(path.read_text())
    changed["versions"]["torch"] = "9"
    changed["machine"]["cores"] = 1024
    path.write_text(json.dumps(changed))
    collected = collect(EXPERIMENT, 1, folder)
    assert collected["versions"] == environment.versions() | {"torch": [environment.versions()["torch"], "9"]}
    assert sorted(collected["machine"]["cores"]) == [os.cpu_count(), 1024]
    assert collected["commit"] == ["a", "b-dirty"]
    # Taken apart, each of its runs has both; and so has what is collected of them.
    split(collected, EXPERIMENT, RunDirectory(folder / "again"))
    assert collect(EXPERIMENT, 1, folder / "again") == collected
