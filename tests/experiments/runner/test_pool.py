"""Worker processes, of the tiny experiment."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.runner.jobs import Job, check_data, plan_jobs
from experiments.runner.pool import Worker, WorkerPool, run_experiment
from experiments.runner.run_directory import RunDirectory
from experiments.runner.worker import run_job, serve
from support import tiny_experiment
from support.tiny_experiment import EPOCHS, EXPERIMENT

JOB = Job("RRM, C=0.3", {"epochs": EPOCHS, "pause": 0.0, "wrong": None}, 1)


class Program:
    """The command line of the tiny experiment in processes of its own, as in a terminal: a group for Ctrl-C."""

    def __init__(self, data, folder, pause=0.0, wrong="", seeds=2, workers=2):
        self.data, self.folder, self.seeds = data, folder, seeds
        self.environment = os.environ | {"TINY_PAUSE": str(pause), "TINY_WRONG": wrong}
        self.command = [sys.executable, "-W", "error", tiny_experiment.__file__, "tiny", "--data", str(data)]
        self.command += ["--work", str(folder), "--seeds", str(seeds), "--workers", str(workers)]

    def start(self):
        return subprocess.Popen(
            self.command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self):
        process = self.start()
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def epochs(self):
        """Return (key, epoch, process) of every epoch that was begun."""
        path = self.data / "epochs"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(key, int(epoch), int(process)) for key, epoch, process in map(str.split, lines)]

    def wait_for(self, epochs):
        wait_until(lambda: len(self.epochs()) >= epochs)

    def processes(self):
        return {process for _, _, process in self.epochs()}

    def results(self):
        """Return the results by key; all of them can be read, whenever."""
        found = {path.stem: json.loads(path.read_text()) for path in self.folder.glob("*.json")}
        return {key: one["result"]["sum"] for key, one in found.items()}

    def expected(self, data, folder):
        """Return the results of the same runs, each from beginning to end in this process."""
        sums = {}
        for run in tiny_experiment.jobs(self.seeds):
            run = dataclasses.replace(run, settings=run.settings | {"pause": 0.0})
            sums[run.method, run.seed] = tiny_experiment.execute(run, data, folder / "x.pt", lambda *_: None)["sum"]
            (folder / "x.pt").unlink()
        return sums


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def lives(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # one that nobody has taken note of


def sums(folder):
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return {(one["run"]["method"], one["run"]["seed"]): one["result"]["sum"] for one in found}


def test_run_experiment_in_workers_that_import_torch(data, folder):
    events = []
    assert run_experiment(EXPERIMENT, 1, data, folder, 2, events.append) == {}
    assert multiprocessing.active_children() == []
    kinds = Counter(event.kind for event in events)
    assert kinds == {"started": 2, "epoch": 2 * EPOCHS, "done": 2}
    assert {event.worker for event in events} == {0, 1}
    for run in plan_jobs(EXPERIMENT, 1):
        assert RunDirectory(folder).read_result(run)["result"]["threads"] == [1, "1"]
    assert run_experiment(EXPERIMENT, 1, data, folder, 2, events.append) == {}
    assert len(events) == sum(kinds.values())  # there was nothing left to do


def test_single_worker_keeps_the_number_of_threads(data, folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert run_experiment(EXPERIMENT, 1, data, folder, 1, only=["plain"]) == {}
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert RunDirectory(folder).read_result(plan_jobs(EXPERIMENT, 1)[0])["result"]["threads"] == [2, "2"]


def test_worker_ends_without_an_error_if_its_parent_left_a_message_unread(data, folder):
    pipe_of_worker, pipe_of_parent = multiprocessing.Pipe()
    pipe_of_worker.send(("epoch", {"done": 1, "total": 2}))
    pipe_of_parent.close()
    serve(pipe_of_worker, None, EXPERIMENT.execute, data, RunDirectory(folder), 1)


@pytest.mark.parametrize("seed", range(3))
def test_resumes_after_kills_at_random_moments(seed, data, folder, tmp_path):
    chance = random.Random(seed)
    program = Program(data, folder, pause=0.02)
    kills = begun = 0
    while len(program.results()) < 4:
        process = program.start()
        begun += chance.randint(1, 9)
        wait_until(lambda p=process, b=begun: len(program.epochs()) >= b or p.poll() is not None)
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        out, err = process.communicate()  # returns when the workers have closed it too
        assert "Traceback" not in out + err
        wait_until(lambda: not any(map(lives, program.processes())), seconds=5)
        program.results()
        begun, kills = len(program.epochs()), kills + 1
    assert program.run() == (0, f"4 of 4 runs are done; results in {folder}\n", "")
    assert sums(folder) == program.expected(data, tmp_path)
    # No more than one epoch of each worker was done again for each time that it was killed.
    repeated = len([line for line in program.epochs() if line[2] != os.getpid()]) - 4 * EPOCHS
    assert 0 <= repeated <= 2 * kills
    assert {path.suffix for path in folder.iterdir()} == {".json", ""}


def test_killed_worker_fails_only_its_job(data, folder, tmp_path):
    program = Program(data, folder, pause=0.02)
    process = program.start()
    program.wait_for(5)
    key, _, worker = program.epochs()[-1]
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == f"python -m experiments: error: {key}: its process was ended by SIGKILL\n"
    assert "1 of 4 runs failed" in out
    assert len(program.results()) == 3
    assert program.run()[0] == 0
    assert sums(folder) == program.expected(data, tmp_path)
    assert max(Counter(line[:2] for line in program.epochs() if line[0] == key).values()) == 2  # one epoch, once more


@pytest.mark.parametrize("epochs", [0, 5])
def test_ctrl_c_ends_all_workers_immediately(epochs, data, folder):
    program = Program(data, folder, pause=0.3 if epochs else 5.0)
    process = program.start()
    wait_until((folder / "lock").exists)  # the workers are about to start
    program.wait_for(epochs)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)  # a run that is let go on takes half a minute
    assert process.returncode == 130
    assert out == "Interrupted; 0 of 4 runs are done.\nThe same command resumes from here.\n"
    assert err == ""
    assert not any(map(lives, program.processes()))
    assert len(list(folder.glob("*.pt"))) == (2 if epochs else 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("raises", "ValueError: losses contain 3 NaN"),
        ("dies", "its process ended with exit code 7"),
        ("nan", "ValueError: Out of range float values are not JSON compliant"),
    ],
)
def test_failed_job_is_reported_and_others_continue(wrong, message, data, folder):
    program = Program(data, folder, wrong=wrong)
    code, out, err = program.run()
    assert code == 1
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("python -m experiments: error: rrm-c-0.3-seed") for line in lines)
    assert all(message in line for line in lines)
    assert "2 of 4 runs failed" in out
    assert [key.partition("-")[0] for key in program.results()] == ["plain", "plain"]
    assert len(list(folder.glob("*.error"))) == (0 if wrong == "dies" else 2)
    assert len(list(folder.glob("*.pt"))) == 2  # to go on from, when the reason is gone


@pytest.mark.parametrize("finished", [True, False])
def test_worker_killed_before_reporting_done(finished, data, folder):
    if finished:
        run_job(EXPERIMENT.execute, JOB, data, RunDirectory(folder), commit=None)
    events = []
    pool = WorkerPool(EXPERIMENT.execute, data, RunDirectory(folder), 1, None, events.append)
    ours, theirs = multiprocessing.Pipe()
    pool.workers[ours] = Worker(0, SimpleNamespace(join=lambda: None, exitcode=-9, pid=1), JOB)
    theirs.close()
    assert pool.run(deque()) == ({} if finished else {JOB.key: "its process was ended by SIGKILL"})
    assert [event.kind for event in events] == ["done" if finished else "failed"]
    assert ours.closed


def test_second_process_is_rejected(data, folder):
    program = Program(data, folder, pause=0.5)
    process = program.start()
    program.wait_for(1)
    code, out, err = program.run()
    assert (code, out) == (2, "")
    assert err.startswith(f"python -m experiments: error: another process ({process.pid}) is at work in")
    assert err.count("\n") == 1
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    assert max(Counter(line[:2] for line in program.epochs()).values()) == 1


def test_unwritable_directory_raises(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"can't be written: .*; choose another"):
        run_experiment(EXPERIMENT, 1, data, tmp_path / "file", 1)


def test_missing_data_raises(data, tmp_path):
    needy = dataclasses.replace(EXPERIMENT, data=("tiny.npz", "other.npz"))
    with pytest.raises(ValueError, match=r"doesn't exist; it should be a folder that holds tiny.npz, other.npz$"):
        run_experiment(needy, 1, tmp_path / "nowhere", tmp_path / "work", 1)
    with pytest.raises(ValueError, match=r"lacks other.npz; it should hold tiny.npz, other.npz$"):
        run_experiment(needy, 1, data, tmp_path / "work", 1)
    assert not (tmp_path / "work").exists()
    check_data(dataclasses.replace(EXPERIMENT, data=()), None)


def test_leftovers_of_finished_jobs_are_removed(data, folder):
    directory = RunDirectory(folder)
    for run in plan_jobs(EXPERIMENT, 1):
        run_job(EXPERIMENT.execute, run, data, directory, commit=None)
        directory.checkpoint_path(run).touch()
        directory.progress_path(run).touch()
        (folder / f"{run.key}.json.tmp").touch()
    (folder / "notes.txt").touch()
    assert run_experiment(EXPERIMENT, 1, data, folder, 1) == {}
    assert {path.suffix for path in folder.iterdir()} == {".json", ".txt", ""}
