from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from experiments import __main__ as command_line
from experiments.registry import EXPERIMENTS
from experiments.runner import environment as origin
from experiments.runner.jobs import Folder, Run, carry_out, planned, write
from experiments.runner.pool import Event
from support.tiny_experiment import EPOCHS, EXPERIMENT

A, B = (Run("plain", {}, seed) for seed in (0, 1))


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """Be in a folder where data/ holds what the tiny experiment needs, on a clean commit."""
    monkeypatch.setitem(EXPERIMENTS, "tiny", ("support.tiny_experiment", EXPERIMENT.description))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(origin, "commit", lambda: "abc")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny.npz").touch()


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "report-experiments" / "tiny"
    folder.mkdir(parents=True)
    return Folder(folder)


def carry_out_all(work, tmp_path, commit="abc"):
    for run in planned(EXPERIMENT, 3):
        if work.finished(run) is None:
            carry_out(EXPERIMENT.execute, run, tmp_path / "data", work, commit=commit)


def test_end_to_end(tmp_path, capsys):
    arguments = ["tiny", "--data", "data", "--seeds", "1", "--workers", "1", "--record", "tiny.json"]
    # A draft, since the workers see whether this checkout is clean.
    assert command_line.main([*arguments, "--draft"]) == 0
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
    first, second, *_ = planned(EXPERIMENT, 3)
    carry_out(EXPERIMENT.execute, first, tmp_path / "data", work, commit=None)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(EXPERIMENT.execute, second, tmp_path / "data", work, commit=None, on_epoch=stop)
    assert command_line.main(["tiny", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"done                 {first.key}"
    assert lines[1] == f"epoch 1 of {EPOCHS}         {second.key}"
    assert [line.split()[0] for line in lines[2:6]] == ["missing"] * 4
    assert lines[6:] == ["1 of 6 runs are done"]
    assert command_line.main(["tiny", "--list", "--only", "rrm"]) == 0
    assert capsys.readouterr().out.endswith("\n0 of 3 runs are done\n")


def test_what_an_earlier_record_holds_is_not_done_again(work, tmp_path, capsys):
    carry_out(EXPERIMENT.execute, planned(EXPERIMENT, 1)[0], tmp_path / "data", work, commit="abc")
    draft = ["--seeds", "1", "--record", "tiny.json", "--draft"]
    assert command_line.main(["tiny", "--data", "data", "--only", "plain", "--workers", "1", *draft]) == 0
    other = ["tiny", "--begin-with", "tiny.json", "--work", "other", "--seeds", "1"]
    assert command_line.main([*other, "--list"]) == 0
    assert capsys.readouterr().out.endswith("1 of 2 runs are done\n")
    (tmp_path / "data" / "epochs").unlink()
    assert command_line.main([*other, "--data", "data", "--workers", "1", "--record", "whole.json", "--draft"]) == 0
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
def test_what_is_no_record_is_refused(content, message, tmp_path, capsys):
    (tmp_path / "earlier.json").write_text(content)
    assert command_line.main(["tiny", "--list", "--begin-with", "earlier.json"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("python -m experiments: error: can't begin with 'earlier.json': ")
    assert message in err
    assert err.count("\n") == 1


def test_a_curve_takes_one_line(tmp_path):
    content = {"a": [1, -2.5e-07, None], "b": [], "c": [{"d": [3]}], "e": ["x", "[4,\n5]"]}
    write(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == content
    assert '"a": [1, -2.5e-07, null],' in text


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
        ("tiny --data data --record no/where.json", "must be a file in a folder that exists"),
        ("tiny --data data --record data", "must be a file in a folder that exists"),
        ("tiny --data data --work data/tiny.npz", "can't be written"),
        ("gone", "gone can't run here: there is no module gone"),
    ],
)
def test_bad_input_gives_one_line_and_writes_nothing(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "gone", ("gone", ""))
    assert command_line.main(arguments.split()) == 2
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
def test_unknown_words_exit_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        command_line.main(arguments.split())
    assert exit.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_help(capsys):
    with pytest.raises(SystemExit) as exit:
        command_line.main(["--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    for name, (_, description) in EXPERIMENTS.items():
        assert re.search(rf"^  {name} +{re.escape(description)}$", text, re.MULTILINE)
    assert "examples:" in text
    assert "None" not in text


def test_only_committed_code_is_recorded(work, tmp_path, capsys, monkeypatch):
    arguments = ["tiny", "--data", "data", "--record", "tiny.json"]
    monkeypatch.setattr(origin, "commit", lambda: "abc-dirty")
    assert command_line.main(arguments) == 2
    assert "error: commit first: " in capsys.readouterr().err
    assert not list(work.path.iterdir())  # refused before the work

    first = planned(EXPERIMENT, 3)[0]
    carry_out(EXPERIMENT.execute, first, tmp_path / "data", work, commit="abc-dirty")
    carry_out_all(work, tmp_path)
    monkeypatch.setattr(origin, "commit", lambda: "abc")
    assert command_line.main(arguments) == 2
    assert "error: not recorded: uncommitted code made runs of plain; remove" in capsys.readouterr().err
    assert not (tmp_path / "tiny.json").exists()
    assert command_line.main([*arguments, "--draft"]) == 0
    assert len(json.loads((tmp_path / "tiny.json").read_text())["runs"]) == 6


def test_a_part_is_recorded_as_a_draft_alone(work, tmp_path, capsys):
    for run in planned(EXPERIMENT, 3, ["rrm"]):
        carry_out(EXPERIMENT.execute, run, tmp_path / "data", work, commit="abc")
    arguments = ["tiny", "--data", "data", "--only", "RRM", "--record", "tiny.json"]
    assert command_line.main(arguments) == 2
    assert (
        "error: --only leaves out 3 runs that a record needs; leave it out, or add --draft" in capsys.readouterr().err
    )
    assert command_line.main([*arguments, "--draft"]) == 0
    assert json.loads((tmp_path / "tiny.json").read_text())["missing"] == 3


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, ""),
        (OSError("Cannot allocate memory"), 1, "python -m experiments: error: Cannot allocate memory\n"),
    ],
)
def test_exit_codes(error, code, message, capsys, monkeypatch):
    def stop(*_):
        raise error

    monkeypatch.setattr(command_line, "work", stop)
    assert command_line.main(["tiny", "--data", "data"]) == code
    out, err = capsys.readouterr()
    assert err == message
    assert out == ("Interrupted; 0 of 6 runs are done.\nThe same command goes on from here.\n" if code == 130 else "")


def test_failed_runs(capsys, monkeypatch):
    def fail(experiment, seeds, data, folder, workers, on_progress, only):
        on_progress(Event("started", A, 0))
        on_progress(Event("failed", A, 0, error="ValueError: no"))
        return {A.key: "ValueError: no"}

    monkeypatch.setattr(command_line, "work", fail)
    assert command_line.main(["tiny", "--data", "data", "--record", "tiny.json"]) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == f"python -m experiments: error: {A.key}: ValueError: no"
    assert "6 of 6 runs of tiny are missing" in err
    assert "1 of 6 runs failed; how, say the .error files in report-experiments/tiny" in out


def test_bars_on_a_terminal():
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120, color_system=None)
    display = command_line._Display(console, "tiny", total=4, finished=1)
    with display:
        display.show(Event("started", A, 0))
        display.show(Event("epoch", A, 0, done=2, total=5))
        display.show(Event("started", B, 1))
        display.progress.refresh()
        text = shown.getvalue()
        display.show(Event("done", A, 0, seconds=1.0))
        display.show(Event("failed", B, 1, error="no"))
        assert len(display.progress.tasks) == 1
    assert re.search(r"tiny +━* *1 of 4 runs, 0:00:00, about 0:00:0\d left", text)
    assert re.search(rf"  {A.key} ━* *epoch 2 of 5", text)
    assert re.search(rf"  {B.key} ━* *starting", text)
    assert "2 of 4 runs" in shown.getvalue()


def test_time_left():
    outlook = command_line.Outlook(total=5, finished=1, now=100.0)
    outlook.note(Event("started", A, 0), 100.0)
    assert outlook.left(105.0) is None
    assert outlook.line(105.0) == "1 of 5 runs, 0:00:05"
    outlook.note(Event("epoch", A, 0, done=1, total=4), 110.0)
    assert outlook.left(110.0) == pytest.approx(150.0)  # 3 and 3/4 runs, of which each quarter took 10 s
    assert outlook.left(130.0) == pytest.approx(130.0)
    assert outlook.line(130.0) == "1 of 5 runs, 0:00:30, about 0:02:10 left"
    outlook.note(Event("started", B, 1), 110.0)
    outlook.note(Event("epoch", B, 1, done=9, total=10), 120.0)  # the eight before it were in a checkpoint
    assert outlook.left(120.0) == pytest.approx((5 - 1 - 0.25 - 0.9) * 20 / 0.35)
    outlook.note(Event("done", A, 0), 140.0)
    outlook.note(Event("failed", B, 1), 140.0)
    assert outlook.finished == 2
    assert outlook.left(140.0) == pytest.approx(2 * 40 / 1.2)
    for run in (A, B):
        outlook.note(Event("started", run, 0), 140.0)
        outlook.note(Event("done", run, 0), 150.0)
    assert outlook.left(150.0) == 0.0


def test_the_last_run_goes_at_its_own_pace():
    outlook = command_line.Outlook(total=2, finished=0, now=0.0)
    for run, worker in ((A, 0), (B, 1)):
        outlook.note(Event("started", run, worker), 0.0)
        outlook.note(Event("epoch", run, worker, done=1, total=2), 10.0)
    assert outlook.left(10.0) == pytest.approx(10.0)
    outlook.note(Event("done", A, 0), 20.0)
    outlook.note(Event("epoch", B, 1, done=3, total=4), 30.0)
    assert outlook.left(30.0) == pytest.approx(10.0)  # two workers together had done as much in 4 s
