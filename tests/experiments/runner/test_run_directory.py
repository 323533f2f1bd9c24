"""Files of an experiment's jobs."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from experiments.runner.jobs import Job
from experiments.runner.pool import run_experiment
from experiments.runner.run_directory import Progress, RunDirectory, write_json
from experiments.runner.worker import run_job
from support.tiny_experiment import EPOCHS, EXPERIMENT

JOB = Job("RRM, C=0.3", {"epochs": EPOCHS, "pause": 0.0, "wrong": None}, 1)


def test_lost_progress_is_zero(data, folder):
    directory = RunDirectory(folder)
    directory.progress_path(JOB).write_text('{"seconds": 5.0')
    assert directory.read_progress(JOB) == Progress()  # there is no checkpoint
    directory.checkpoint_path(JOB).write_text('{"epoch": 5, "sum": 1}')
    assert directory.read_progress(JOB) == Progress()
    run_job(EXPERIMENT.execute, JOB, data, directory, commit=None)
    assert directory.read_result(JOB)["commit"] is None


@pytest.mark.parametrize("content", ["", '{"run": ', "[]", '{"run": {"method": "plain", "settings": {}, "seed": 0}}'])
def test_damaged_result_raises_with_its_name(content, data, folder):
    (folder / f"{JOB.key}.json").write_text(content)
    with pytest.raises(ValueError, match=rf"^{JOB.key}.json in .* remove it to repeat the run$"):
        RunDirectory(folder).read_result(JOB)
    with pytest.raises(ValueError, match="remove it"):
        run_experiment(dataclasses.replace(EXPERIMENT, jobs=lambda _: [JOB]), 1, data, folder, 1)


def test_write_json_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})

    def full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
