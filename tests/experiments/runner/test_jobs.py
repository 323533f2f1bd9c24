from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments import registry
from experiments.runner import environment as origin
from experiments.runner import pool as workers
from experiments.runner import results as record
from experiments.runner.jobs import Experiment, Folder, Run, Spent, carry_out, located, planned, write
from experiments.runner.pool import check_data, work
from support import tiny_experiment
from support.tiny_experiment import EPOCHS, EXPERIMENT

RUN = Run("RRM, C=0.3", {"epochs": EPOCHS, "pause": 0.0, "wrong": None}, 1)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "tiny.npz").touch()
    return folder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "work"
    path.mkdir()
    return path


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
        for run in tiny_experiment.runs(self.seeds):
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


def test_a_key_is_readable_and_differs_with_everything():
    assert RUN.key.startswith("rrm-c-0.3-seed1-")
    assert RUN.key == Run("RRM, C=0.3", {"wrong": None, "pause": 0.0, "epochs": EPOCHS}, 1).key
    others = [
        Run("RRM, C=0.4", RUN.settings, 1),
        Run("rrm, c=0.3", RUN.settings, 1),
        Run(RUN.method, RUN.settings | {"pause": 1e-9}, 1),
        Run(RUN.method, RUN.settings | {"new": None}, 1),
        Run(RUN.method, RUN.settings, 2),
    ]
    assert len({RUN.key, *(other.key for other in others)}) == 6
    assert Run("../π", {}, 0).key.startswith("run-seed0-")
    assert len(Run("a" * 300, {}, 0).key) < 100


def test_a_key_stays_what_it_is():
    assert Run("plain", {"lr": 0.1, "hidden": [256, 256]}, 0).key == "plain-seed0-65a9502728"
    assert Run("plain", {"lr": 0.1, "hidden": (256, 256)}, 0).key == "plain-seed0-65a9502728"


def test_planned_runs():
    assert [run.seed for run in planned(EXPERIMENT, 2)] == [0, 1, 0, 1]
    assert {run.method for run in planned(EXPERIMENT, 2, ["rrm", "else"])} == {"RRM, C=0.3"}
    with pytest.raises(ValueError, match=r"no method of tiny contains 'x' or 'y'; it has plain, RRM, C=0.3"):
        planned(EXPERIMENT, 2, ["x", "y"])
    with pytest.raises(ValueError, match="same run twice"):
        planned(dataclasses.replace(EXPERIMENT, runs=lambda _: [RUN, RUN]), 1)


def test_a_result_says_what_made_it(data, folder):
    seen = []
    report = lambda done, total: seen.append((done, total))  # noqa: E731
    seconds = carry_out(EXPERIMENT.execute, RUN, data, Folder(folder), commit="abc", workers=3, on_epoch=report)
    assert seen == [(epoch, EPOCHS) for epoch in range(1, EPOCHS + 1)]
    assert [path.name for path in folder.iterdir()] == [f"{RUN.key}.json"]
    result = Folder(folder).finished(RUN)
    assert result["run"] == dataclasses.asdict(RUN)
    assert (result["seconds"], result["commit"], result["workers"]) == (seconds, "abc", 3)
    assert result["versions"]["torch"].startswith("2.")
    assert result["machine"]["cores"] == os.cpu_count()
    assert result["date"].startswith("20")


def test_a_resumed_run_sums_up_what_it_cost(data, folder):
    kept = Folder(folder)

    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    slow = dataclasses.replace(RUN, settings=RUN.settings | {"pause": 0.02})
    with pytest.raises(KeyboardInterrupt):
        carry_out(EXPERIMENT.execute, slow, data, kept, commit="abc", on_epoch=stop)
    assert kept.state(slow) == "epoch 2 of 6"
    before = kept.spent(slow)
    assert before.seconds > 0.04
    assert carry_out(EXPERIMENT.execute, slow, data, kept, commit="def") > before.seconds + 0.08
    assert kept.finished(slow)["commit"] == "abc+def"
    assert kept.state(slow) == "done"
    assert kept.spent(slow) == Spent()
    assert len((data / "epochs").read_text().splitlines()) == EPOCHS


def test_what_was_noted_of_an_unfinished_run_may_be_lost(data, folder):
    kept = Folder(folder)
    kept.progress(RUN).write_text('{"seconds": 5.0')
    assert kept.spent(RUN) == Spent()  # there is no checkpoint
    kept.checkpoint(RUN).write_text('{"epoch": 5, "sum": 1}')
    assert kept.spent(RUN) == Spent()
    carry_out(EXPERIMENT.execute, RUN, data, kept, commit=None)
    assert kept.finished(RUN)["commit"] is None


@pytest.mark.parametrize("content", ["", '{"run": ', "[]", '{"run": {"method": "plain", "settings": {}, "seed": 0}}'])
def test_a_damaged_result_is_named(content, data, folder):
    (folder / f"{RUN.key}.json").write_text(content)
    with pytest.raises(ValueError, match=rf"^{RUN.key}.json in .* remove it to repeat the run$"):
        Folder(folder).finished(RUN)
    with pytest.raises(ValueError, match="remove it"):
        work(dataclasses.replace(EXPERIMENT, runs=lambda _: [RUN]), 1, data, folder, 1)


def test_writing_leaves_the_former_file_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write(path, {"a": 1})
    with pytest.raises(ValueError):
        write(path, {"a": float("nan")})

    def full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_work_in_workers_that_import_torch(data, folder):
    events = []
    assert work(EXPERIMENT, 1, data, folder, 2, events.append) == {}
    assert multiprocessing.active_children() == []
    kinds = Counter(event.kind for event in events)
    assert kinds == {"started": 2, "epoch": 2 * EPOCHS, "done": 2}
    assert {event.worker for event in events} == {0, 1}
    for run in planned(EXPERIMENT, 1):
        assert Folder(folder).finished(run)["result"]["threads"] == [1, "1"]
    assert work(EXPERIMENT, 1, data, folder, 2, events.append) == {}
    assert len(events) == sum(kinds.values())  # there was nothing left to do


def test_a_worker_alone_leaves_the_threads_as_they_are(data, folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert work(EXPERIMENT, 1, data, folder, 1, only=["plain"]) == {}
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert Folder(folder).finished(planned(EXPERIMENT, 1)[0])["result"]["threads"] == [2, "2"]


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_it_goes_on_where_it_was(seed, data, folder, tmp_path):
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


def test_a_killed_worker_costs_its_run_alone(data, folder, tmp_path):
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
def test_ctrl_c_ends_everything_at_once(epochs, data, folder):
    program = Program(data, folder, pause=0.3 if epochs else 5.0)
    process = program.start()
    wait_until((folder / "lock").exists)  # the workers are about to start
    program.wait_for(epochs)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)  # a run that is let go on takes half a minute
    assert process.returncode == 130
    assert out == "Interrupted; 0 of 4 runs are done.\nThe same command goes on from here.\n"
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
def test_a_failure_is_reported_and_the_others_go_on(wrong, message, data, folder):
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


def test_a_failure_is_told_by_its_traceback_until_it_is_gone(data, folder):
    kept = Folder(folder)
    failing = dataclasses.replace(RUN, settings=RUN.settings | {"wrong": "raises"})
    with pytest.raises(ValueError, match="losses contain"):
        carry_out(EXPERIMENT.execute, failing, data, kept, commit=None)
    assert "Traceback" in kept.error(failing).read_text()
    assert kept.state(failing) == "failed after epoch 3 of 6"
    kept.checkpoint(failing).write_text('{"epoch": 4, "sum": 1}')
    carry_out(EXPERIMENT.execute, failing, data, kept, commit=None)
    assert not kept.error(failing).exists()


def test_a_worker_does_what_it_is_given(data, folder):
    ours, theirs = multiprocessing.Pipe()
    failing = dataclasses.replace(RUN, settings=RUN.settings | {"wrong": "raises"})
    for order in (RUN, failing, None):
        ours.send(order)
    workers._serve(theirs, None, EXPERIMENT.execute, data, Folder(folder), 1)
    theirs.close()
    told = [ours.recv() for _ in range(EPOCHS + 1 + 3 + 1)]
    assert told[:EPOCHS] == [("epoch", {"done": epoch, "total": EPOCHS}) for epoch in range(1, EPOCHS + 1)]
    assert told[EPOCHS] == ("done", {"seconds": Folder(folder).finished(RUN)["seconds"]})
    assert told[-1] == ("failed", {"error": "ValueError: losses contain 3 NaN"})
    with pytest.raises(EOFError):
        ours.recv()


@pytest.mark.parametrize("finished", [True, False])
def test_a_worker_killed_before_it_could_say_that_it_is_done(finished, data, folder):
    if finished:
        carry_out(EXPERIMENT.execute, RUN, data, Folder(folder), commit=None)
    events = []
    crew = workers._Crew(EXPERIMENT.execute, data, Folder(folder), 1, None, events.append)
    ours, theirs = multiprocessing.Pipe()
    crew.members[ours] = workers._Worker(0, SimpleNamespace(join=lambda: None, exitcode=-9, pid=1), RUN)
    theirs.close()
    assert crew.work(deque()) == ({} if finished else {RUN.key: "its process was ended by SIGKILL"})
    assert [event.kind for event in events] == ["done" if finished else "failed"]
    assert ours.closed


def test_a_second_process_is_refused(data, folder):
    program = Program(data, folder, pause=0.05)
    process = program.start()
    program.wait_for(1)
    code, out, err = program.run()
    assert (code, out) == (2, "")
    assert err.startswith(f"python -m experiments: error: another process ({process.pid}) is at work in")
    assert err.count("\n") == 1
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    assert max(Counter(line[:2] for line in program.epochs()).values()) == 1


def test_the_lock_waits_for_workers_of_a_dead_parent(folder, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0.1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with workers._locked(folder):
        (folder / "lock").write_text(str(gone.pid))
        start = time.monotonic()
        with pytest.raises(ValueError, match="at work"), workers._locked(folder):
            pass
        assert time.monotonic() - start > 0.1
    with workers._locked(folder):
        assert (folder / "lock").read_text() == str(os.getpid())
        assert workers._lives("1")  # someone else's


def test_a_folder_that_cannot_be_made(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"can't be written: .*; choose another"):
        work(EXPERIMENT, 1, data, tmp_path / "file", 1)


def test_missing_data(data, tmp_path):
    needy = dataclasses.replace(EXPERIMENT, data=("tiny.npz", "other.npz"))
    with pytest.raises(ValueError, match=r"doesn't exist; it should be a folder that holds tiny.npz, other.npz$"):
        work(needy, 1, tmp_path / "nowhere", tmp_path / "work", 1)
    with pytest.raises(ValueError, match=r"lacks other.npz; it should hold tiny.npz, other.npz$"):
        work(needy, 1, data, tmp_path / "work", 1)
    assert not (tmp_path / "work").exists()
    workers.check_data(dataclasses.replace(EXPERIMENT, data=()), None)


def test_what_a_killed_process_left_of_finished_runs_is_removed(data, folder):
    kept = Folder(folder)
    for run in planned(EXPERIMENT, 1):
        carry_out(EXPERIMENT.execute, run, data, kept, commit=None)
        kept.checkpoint(run).touch()
        kept.progress(run).touch()
        (folder / f"{run.key}.json.tmp").touch()
    (folder / "notes.txt").touch()
    assert work(EXPERIMENT, 1, data, folder, 1) == {}
    assert {path.suffix for path in folder.iterdir()} == {".json", ".txt", ""}


def carried_out(data, folder, commits, seeds=2):
    runs = planned(EXPERIMENT, seeds)
    for run, commit in zip(reversed(runs), commits, strict=False):
        carry_out(EXPERIMENT.execute, run, data, Folder(folder), commit=commit)
    return runs


def test_the_record(data, folder):
    runs = carried_out(data, folder, ["b", "a", None, "b"])
    collected = record.collect(EXPERIMENT, 2, folder)
    assert collected["experiment"] == "tiny"
    assert collected["command"] == "python -m experiments tiny --data DIR --seeds 2"
    assert collected["commit"] == [None, "a", "b"]
    assert collected["machine"] == origin.machine()
    assert collected["versions"] == origin.versions()
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
    assert record.dirty(collected) == []


def test_a_record_of_a_part(data, folder):
    carried_out(data, folder, ["a", "b-dirty"])
    with pytest.raises(ValueError, match="2 of 4 runs of tiny are missing"):
        record.collect(EXPERIMENT, 2, folder)
    collected = record.collect(EXPERIMENT, 2, folder, partial=True)
    assert collected["missing"] == 2
    assert len(collected["runs"]) == 2
    assert record.dirty(collected) == ["RRM, C=0.3"]
    assert record.collect(EXPERIMENT, 2, folder / "empty", partial=True)["runs"] == []


def test_what_differs_between_runs_is_listed(data, folder):
    runs = carried_out(data, folder, ["a", "a+b-dirty"], seeds=1)
    path = folder / f"{runs[0].key}.json"
    changed = json.loads(path.read_text())
    changed["versions"]["torch"] = "9"
    changed["machine"]["cores"] = 1024
    path.write_text(json.dumps(changed))
    collected = record.collect(EXPERIMENT, 1, folder)
    assert collected["versions"] == origin.versions() | {"torch": [origin.versions()["torch"], "9"]}
    assert sorted(collected["machine"]["cores"]) == [os.cpu_count(), 1024]
    assert collected["commit"] == ["a", "b-dirty"]
    # Taken apart, each of its runs has both; and so has what is collected of them.
    record.take_apart(collected, EXPERIMENT, Folder(folder / "again"))
    assert record.collect(EXPERIMENT, 1, folder / "again") == collected


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_of_the_code(tmp_path):
    assert origin.commit(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert origin.commit(tmp_path) is None  # there is none yet
    (tmp_path / "rrm_core").mkdir()
    (tmp_path / "rrm_core" / "a.py").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "x")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert origin.commit(tmp_path) == head
    (tmp_path / "notes").touch()
    assert origin.commit(tmp_path) == head
    assert origin.commit(tmp_path / "rrm_core") is None  # someone else's checkout
    (tmp_path / "rrm_core" / "b.py").touch()
    assert origin.commit(tmp_path) == head + "-dirty"


def test_the_machine_where_there_is_no_cpuinfo(monkeypatch):
    read_text = Path.read_text

    def missing(path, *arguments, **options):
        if path.name == "cpuinfo":
            raise FileNotFoundError
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(origin, "PACKAGES", ("rrm-core", "not-there"))
    assert origin.machine()["processor"]
    assert set(origin.versions()) == {"python", "rrm-core"}


def test_the_registry():
    with pytest.raises(ValueError, match="no experiment 'x'; there are mnist-table6, "):
        registry.load("x")
    assert all(name == module.strip(".").replace("_", "-") for name, (module, _) in registry.EXPERIMENTS.items())


@pytest.mark.parametrize("name", registry.EXPERIMENTS)
def test_an_experiment_is_what_the_registry_says(name):
    _, description = registry.EXPERIMENTS[name]
    experiment = registry.load(name)
    assert (experiment.name, experiment.description) == (name, description)
    assert len(planned(experiment, 2)) == 2 * len(planned(experiment, 1))
    there = pickle.loads(pickle.dumps(experiment.execute))  # as another process gets it
    for part, default in (("func", experiment.execute), ("args", ())):
        assert getattr(there, part, there if part == "func" else ()) == getattr(experiment.execute, part, default)


def test_an_experiment_whose_module_is_missing(monkeypatch):
    monkeypatch.setitem(registry.EXPERIMENTS, "x", (".x", "x"))
    with pytest.raises(ValueError, match=r"x can't run here: there is no module experiments.x"):
        registry.load("x")
    monkeypatch.setitem(registry.EXPERIMENTS, "tiny", ("support.tiny_experiment", "x"))
    assert isinstance(registry.load("tiny"), Experiment)


def test_a_file_may_have_several_names(tmp_path):
    (tmp_path / "second").mkdir()
    assert located(tmp_path, "first|second") == tmp_path / "second"
    assert located(tmp_path, "first|third") is None
    experiment = dataclasses.replace(EXPERIMENT, data=("first|second", "third|fourth"))
    with pytest.raises(ValueError, match="lacks third or fourth; it should hold first or second, third or fourth"):
        check_data(experiment, tmp_path)
    (tmp_path / "fourth").touch()
    check_data(experiment, tmp_path)
