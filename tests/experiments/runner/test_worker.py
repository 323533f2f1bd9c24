"""Execution of jobs in one process."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os

import pytest

from experiments.runner.jobs import Job
from experiments.runner.run_directory import Progress, RunDirectory
from experiments.runner.worker import run_job, serve
from support.tiny_experiment import EPOCHS, EXPERIMENT

JOB = Job("RRM, C=0.3", {"epochs": EPOCHS, "pause": 0.0, "wrong": None}, 1)


def test_result_contains_provenance(data, folder):
    seen = []
    report = lambda done, total: seen.append((done, total))  # noqa: E731
    seconds = run_job(EXPERIMENT.execute, JOB, data, RunDirectory(folder), commit="abc", workers=3, on_epoch=report)
    assert seen == [(epoch, EPOCHS) for epoch in range(1, EPOCHS + 1)]
    assert [path.name for path in folder.iterdir()] == [f"{JOB.key}.json"]
    result = RunDirectory(folder).read_result(JOB)
    assert result["run"] == dataclasses.asdict(JOB)
    assert (result["seconds"], result["commit"], result["workers"]) == (seconds, "abc", 3)
    assert result["versions"]["torch"].startswith("2.")
    assert result["machine"]["cores"] == os.cpu_count()
    assert result["date"].startswith("20")


def test_resumed_job_adds_up_seconds_and_commits(data, folder):
    directory = RunDirectory(folder)

    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    slow = dataclasses.replace(JOB, settings=JOB.settings | {"pause": 0.02})
    with pytest.raises(KeyboardInterrupt):
        run_job(EXPERIMENT.execute, slow, data, directory, commit="abc", on_epoch=stop)
    assert directory.status(slow) == "epoch 2 of 6"
    before = directory.read_progress(slow)
    assert before.seconds > 0.04
    assert run_job(EXPERIMENT.execute, slow, data, directory, commit="def") > before.seconds + 0.08
    assert directory.read_result(slow)["commit"] == "abc+def"
    assert directory.status(slow) == "done"
    assert directory.read_progress(slow) == Progress()
    assert len((data / "epochs").read_text().splitlines()) == EPOCHS


def test_error_file_exists_until_the_job_succeeds(data, folder):
    directory = RunDirectory(folder)
    failing = dataclasses.replace(JOB, settings=JOB.settings | {"wrong": "raises"})
    with pytest.raises(ValueError, match="losses contain"):
        run_job(EXPERIMENT.execute, failing, data, directory, commit=None)
    assert "Traceback" in directory.error_path(failing).read_text()
    assert directory.status(failing) == "failed after epoch 3 of 6"
    directory.checkpoint_path(failing).write_text('{"epoch": 4, "sum": 1}')
    run_job(EXPERIMENT.execute, failing, data, directory, commit=None)
    assert not directory.error_path(failing).exists()


def test_serve_executes_jobs_until_none(data, folder):
    ours, theirs = multiprocessing.Pipe()
    failing = dataclasses.replace(JOB, settings=JOB.settings | {"wrong": "raises"})
    for order in (JOB, failing, None):
        ours.send(order)
    serve(theirs, None, EXPERIMENT.execute, data, RunDirectory(folder), 1)
    theirs.close()
    told = [ours.recv() for _ in range(EPOCHS + 1 + 3 + 1)]
    assert told[:EPOCHS] == [("epoch", {"done": epoch, "total": EPOCHS}) for epoch in range(1, EPOCHS + 1)]
    assert told[EPOCHS] == ("done", {"seconds": RunDirectory(folder).read_result(JOB)["seconds"]})
    assert told[-1] == ("failed", {"error": "ValueError: losses contain 3 NaN"})
    with pytest.raises(EOFError):
        ours.recv()
