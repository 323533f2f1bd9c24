from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
from rich.console import Console

from experiments import cli
from experiments.display import ProgressDisplay
from experiments.registry import EXPERIMENTS, RECIPES
from experiments.runner import environment
from experiments.runner.jobs import Job, plan_jobs
from experiments.runner.pool import Event
from experiments.runner.run_directory import RunDirectory, write_json
from experiments.runner.worker import run_job
from support.tiny_experiment import EPOCHS, EXPERIMENT

A, B = (Job("plain", {}, seed) for seed in (0, 1))


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """Be in a folder where data/ holds what the tiny experiment needs, on a clean commit."""
    monkeypatch.setitem(EXPERIMENTS, "tiny", ("support.tiny_experiment", "a few milliseconds"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "commit", lambda: "abc")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny.npz").touch()


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "report-experiments" / "tiny"
    folder.mkdir(parents=True)
    return RunDirectory(folder)


def run_all(work, tmp_path, commit="abc"):
    for run in plan_jobs(EXPERIMENT, 3):
        if work.read_result(run) is None:
            run_job(EXPERIMENT.execute, run, tmp_path / "data", work, commit=commit)


def test_end_to_end(tmp_path, capsys):
    arguments = ["tiny", "--data", "data", "--seeds", "1", "--workers", "1", "--record", "tiny.json"]
    # A draft, since the workers see whether this checkout is clean.
    assert cli.main([*arguments, "--draft"]) == 0
    out, err = capsys.readouterr()
    assert re.sub(r"-\w{10}, [\d.]+ s", "", out).splitlines()[-2:] == [
        "2 of 2 runs are done; results in report-experiments/tiny",
        "recorded in tiny.json",
    ]
    assert "1 of 2: " in out
    assert "2 of 2: " in out
    assert err == ""
    recorded = json.loads((tmp_path / "tiny.json").read_text())
    assert [run["method"] for run in recorded["runs"]] == ["plain", "RRM, C=0.3"]


def test_list(work, tmp_path, capsys):
    first, second, *_ = plan_jobs(EXPERIMENT, 3)
    run_job(EXPERIMENT.execute, first, tmp_path / "data", work, commit=None)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(EXPERIMENT.execute, second, tmp_path / "data", work, commit=None, on_epoch=stop)
    assert cli.main(["tiny", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"done                 {first.key}"
    assert lines[1] == f"epoch 1 of {EPOCHS}         {second.key}"
    assert [line.split()[0] for line in lines[2:6]] == ["missing"] * 4
    assert lines[6:] == ["1 of 6 runs are done"]
    assert cli.main(["tiny", "--list", "--only", "rrm"]) == 0
    assert capsys.readouterr().out.endswith("\n0 of 3 runs are done\n")


def test_begin_with_reuses_an_earlier_record(work, tmp_path, capsys):
    run_job(EXPERIMENT.execute, plan_jobs(EXPERIMENT, 1)[0], tmp_path / "data", work, commit="abc")
    draft = ["--seeds", "1", "--record", "tiny.json", "--draft"]
    assert cli.main(["tiny", "--data", "data", "--only", "plain", "--workers", "1", *draft]) == 0
    other = ["tiny", "--begin-with", "tiny.json", "--work", "other", "--seeds", "1"]
    assert cli.main([*other, "--list"]) == 0
    assert capsys.readouterr().out.endswith("1 of 2 runs are done\n")
    (tmp_path / "data" / "epochs").unlink()
    assert cli.main([*other, "--data", "data", "--workers", "1", "--record", "whole.json", "--draft"]) == 0
    assert "plain" not in (tmp_path / "data" / "epochs").read_text()
    first, whole = (json.loads((tmp_path / name).read_text()) for name in ("tiny.json", "whole.json"))
    assert first["missing"] == 1
    assert whole["missing"] == 0
    assert whole["runs"][0] == first["runs"][0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"experiment": "tiny"}', "that is no record of tiny"),
        ('{"experiment": "cifar10n", "runs": []}', "that is no record of tiny, but of cifar10n"),
        ("[1, 2]", "that is no record of tiny"),
        ("{", "Expecting property name"),
        ('{"experiment": "tiny", "runs": [{}]}', "'method'"),
    ],
)
def test_begin_with_rejects_other_files(content, message, tmp_path, capsys):
    (tmp_path / "earlier.json").write_text(content)
    assert cli.main(["tiny", "--list", "--begin-with", "earlier.json"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("python -m experiments: error: can't begin with 'earlier.json': ")
    assert message in err
    assert err.count("\n") == 1


def test_write_json_puts_a_curve_on_one_line(tmp_path):
    content = {"a": [1, -2.5e-07, None], "b": [], "c": [{"d": [3]}], "e": ["x", "[4,\n5]"]}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == content
    assert '"a": [1, -2.5e-07, null],' in text


def test_missing_packages_end_the_command_before_a_run(capsys, monkeypatch):
    experiment = dataclasses.replace(EXPERIMENT, packages=("no-such-package",))
    monkeypatch.setattr(cli, "load", lambda name: experiment)
    assert cli.main(["tiny", "--data", "data"]) == 2
    assert "tiny needs packages that are not installed: pip install no-such-package" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("tiny", "tiny needs --data, a folder that holds tiny.npz"),
        ("tiny --data nowhere", "data folder 'nowhere' doesn't exist; it should be a folder that holds tiny.npz"),
        (
            "tiny --data data/tiny.npz",
            "data folder 'data/tiny.npz' is a file; it should be a folder that holds tiny.npz",
        ),
        ("tiny --data .", "data folder '.' lacks tiny.npz; it should hold tiny.npz"),
        ("tiny --data data --only Z", "no method of tiny contains 'Z'"),
        ("tiny --data data --record no/where.json", "record: there is no folder no for where.json; create it first"),
        ("tiny --data data --record data", "record: data is a folder; name a file in it"),
        ("tiny --data data --work data/tiny.npz", "can't be written"),
        ("gone", "gone can't run here: there is no module gone"),
    ],
)
def test_bad_input_prints_one_line_and_writes_nothing(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "gone", ("gone", ""))
    assert cli.main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("python -m experiments: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "NAME"),
        ("mnist", "there is no experiment 'mnist'; there are mnist-table6, mnist-adversarial, cifar10n"),
        ("tiny --seeds 0", "must be an integer from 1 to 1024, got '0'"),
        ("tiny --workers two", "must be an integer from 1 to 1024, got 'two'"),
        ("tiny --sedes 1", "--sedes"),
    ],
)
def test_bad_arguments_exit_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments.split())
    assert exit.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_help(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    headings = [text.index(f"\n{heading}") for heading in ("experiments:", "recipes for a GPU machine", "examples:")]
    assert headings == sorted(headings)
    for name, (_, description) in (EXPERIMENTS | RECIPES).items():
        assert re.search(rf"^  {name} +{re.escape(description)}$", text, re.MULTILINE)
    assert "examples:" in text
    assert "None" not in text


def test_record_requires_committed_code(work, tmp_path, capsys, monkeypatch):
    arguments = ["tiny", "--data", "data", "--record", "tiny.json"]
    monkeypatch.setattr(environment, "commit", lambda: "abc-dirty")
    assert cli.main(arguments) == 2
    assert "error: commit first: " in capsys.readouterr().err
    assert not list(work.path.iterdir())  # refused before the work

    first = plan_jobs(EXPERIMENT, 3)[0]
    run_job(EXPERIMENT.execute, first, tmp_path / "data", work, commit="abc-dirty")
    run_all(work, tmp_path)
    monkeypatch.setattr(environment, "commit", lambda: "abc")
    assert cli.main(arguments) == 2
    assert "error: not recorded: uncommitted code made runs of plain; remove" in capsys.readouterr().err
    assert not (tmp_path / "tiny.json").exists()
    assert cli.main([*arguments, "--draft"]) == 0
    assert len(json.loads((tmp_path / "tiny.json").read_text())["runs"]) == 6


def test_partial_record_requires_draft(work, tmp_path, capsys):
    for run in plan_jobs(EXPERIMENT, 3, ["rrm"]):
        run_job(EXPERIMENT.execute, run, tmp_path / "data", work, commit="abc")
    arguments = ["tiny", "--data", "data", "--only", "RRM", "--record", "tiny.json"]
    assert cli.main(arguments) == 2
    assert (
        "error: --only leaves out 3 runs that a record needs; leave it out, or add --draft" in capsys.readouterr().err
    )
    assert cli.main([*arguments, "--draft"]) == 0
    assert json.loads((tmp_path / "tiny.json").read_text())["missing"] == 3


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, ""),
        (OSError("Cannot allocate memory"), 1, "python -m experiments: error: Cannot allocate memory\n"),
    ],
)
def test_exit_codes_of_interrupt_and_os_error(error, code, message, capsys, monkeypatch):
    def stop(*_):
        raise error

    monkeypatch.setattr(cli, "run_experiment", stop)
    assert cli.main(["tiny", "--data", "data"]) == code
    out, err = capsys.readouterr()
    assert err == message
    assert out == ("Interrupted; 0 of 6 runs are done.\nThe same command resumes from here.\n" if code == 130 else "")


def test_failed_jobs_exit_with_1(capsys, monkeypatch):
    def fail(experiment, seeds, data, path, workers, on_event, only):
        on_event(Event("started", A, 0))
        on_event(Event("failed", A, 0, error="ValueError: no"))
        return {A.key: "ValueError: no"}

    monkeypatch.setattr(cli, "run_experiment", fail)
    assert cli.main(["tiny", "--data", "data", "--record", "tiny.json"]) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == f"python -m experiments: error: {A.key}: ValueError: no"
    assert "6 of 6 runs of tiny are missing" in err
    assert "1 of 6 runs failed; see the .error files in report-experiments/tiny" in out


def test_progress_bars_on_a_terminal():
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120, color_system=None)
    display = ProgressDisplay(console, "tiny", total=4, n_done=1)
    with display:
        display.show(Event("started", A, 0))
        display.show(Event("epoch", A, 0, done=2, total=5))
        display.show(Event("started", B, 1))
        display.progress.refresh()
        text = shown.getvalue()
        display.show(Event("done", A, 0, seconds=1.0))
        display.show(Event("failed", B, 1, error="no"))
        assert len(display.progress.tasks) == 1
    assert re.search(r"tiny +\S* *1 of 4 runs 0:00:00 left -:--:--", text)
    assert re.search(rf"  {A.key} \S* *epoch 2 of 5", text)
    assert re.search(rf"  {B.key} \S* *starting", text)
    assert "2 of 4 runs" in shown.getvalue()


def test_time_left_does_not_count_epochs_of_an_earlier_run():
    now = 0.0
    display = ProgressDisplay(Console(file=io.StringIO(), force_terminal=True), "tiny", total=2, n_done=0)
    display.progress.get_time = lambda: now
    display.progress.reset(display.progress.tasks[0].id)
    for job, worker in ((A, 0), (B, 1)):
        display.show(Event("started", job, worker))
    for epoch in (91, 92, 93):
        for job, worker in ((A, 0), (B, 1)):
            now += 5.0
            display.show(Event("epoch", job, worker, done=epoch, total=100))
    # 14 epochs are left, and each took 5 s.
    assert display.progress.tasks[0].time_remaining == 70
    display.show(Event("failed", A, 0, error="no"))
    assert display.progress.tasks[0].time_remaining == 35
