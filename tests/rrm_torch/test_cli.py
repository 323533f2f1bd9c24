from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from rrm_torch import cli as command_line
from rrm_torch.data import images
from rrm_torch.data.noise import KINDS
from rrm_torch.report import folder as report_folder
from rrm_torch.training import compare as comparison
from rrm_torch.training import pipeline

QUICK = ["--epochs", "8", "--warmup", "4", "--hidden", "32", "--threads", "1"]


@pytest.fixture
def npz(tmp_path):
    """scikit-learn's digits in a .npz file."""
    digits = images.load_digits()
    path = tmp_path / "mine.npz"
    every = np.arange(len(digits.x_train))
    test = digits.x_test.numpy()[:, 0]
    np.savez(path, x_train=digits.pictures(every), y_train=digits.y_train, x_test=test.clip(0, 1), y_test=digits.y_test)
    return path


def test_train_with_corrections(npz, tmp_path, capsys):
    corrections = tmp_path / "corrections.csv"
    labels = np.load(npz)["y_train"]
    corrections.write_text(
        f"id,given_label,decision,label\n0,{labels[0]},drop,\n1,{labels[1]},relabel,{(labels[1] + 1) % 10}\n"
    )
    arguments = ["train", "--data", str(npz), "--seeds", "1", "--report", str(tmp_path / "report"), *QUICK]
    assert command_line.main([*arguments, "--corrections", str(corrections)]) == 0
    assert "1,346 training" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "report" / "flagged.csv").set_index("id")
    assert 0 not in table.index
    assert table["given_label"][1] == (labels[1] + 1) % 10
    assert table["given_label"][2] == labels[2]


def test_corrections_that_do_not_fit_are_bad_input(npz, tmp_path, capsys):
    corrections = tmp_path / "corrections.csv"
    corrections.write_text("id,given_label,decision,label\n5000,1,drop,\n")
    arguments = ["train", "--data", str(npz), "--report", str(tmp_path / "report"), "--corrections", str(corrections)]
    assert command_line.main(arguments) == 2
    assert "no sample has the id '5000'" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_demo_end_to_end(tmp_path):
    folder = tmp_path / "demo"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "rrm_torch", "demo", "--seeds", "1", "--report", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert "1,347 training and 450 test images" in run.stdout
    assert "recall" in run.stdout
    assert {p.name for p in folder.iterdir()} == {
        "flagged.csv",
        "results.json",
        "diagnosis.txt",
        "review.html",
        "curves.png",
        "weights.png",
        "trajectory.png",
        "suspicious.png",
        "joint.png",
        "groups.png",
    }
    assert "\nDiagnosis\nShare: " in run.stdout
    assert len(pd.read_csv(folder / "flagged.csv")) == 1347


def test_train_on_npz_file(npz, tmp_path, capsys):
    folder = tmp_path / "out"
    arguments = ["train", "--data", str(npz), "--noise", "0.3", "--seeds", "2", "--report", str(folder), *QUICK]
    assert command_line.main(arguments) == 0
    out = capsys.readouterr().out
    assert "mine, 30 % symmetric label noise" in out
    assert "32/32 epochs" in out
    assert "seed 1: test accuracy" in out
    assert "over 2 seeds" in out
    trial = json.loads((folder / "results.json").read_text())["trials"][0]
    n_flagged = pd.read_csv(folder / "flagged.csv")["is_label_issue"].sum()
    assert n_flagged == trial["flagged"] == int(trial["estimate"]["contamination"] * 1347)
    assert 0.2 < trial["estimate"]["contamination"] < 0.4
    assert trial["estimate"]["epoch"] == 4
    assert re.search(r"seed 0: .*, \d+\.\d% of the labels estimated to be wrong seed 1", " ".join(out.split()))
    assert "labels estimated to be wrong, %" in out
    printed = " ".join(out.partition("Diagnosis of seed 0")[2].split())
    diagnosis = (folder / "diagnosis.txt").read_text(encoding="utf-8")
    assert printed.startswith(" ".join(diagnosis.split()))
    assert "of which the page, flagged.csv, diagnosis.txt and the figures of samples show seed 0" in printed


def test_groups_of_a_file_are_capped_and_drawn(tmp_path, capsys):
    groups = np.arange(1347) % 3
    np.save(tmp_path / "groups.npy", groups)
    arguments = ["--noise", "0.3", "--groups", str(tmp_path / "groups.npy"), "--cap", "0.25", "--seeds", "1", *QUICK]
    assert command_line.main(["train", *arguments, "--report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "trajectory.png, suspicious.png, joint.png, groups.png" in " ".join(printed.split())
    issues = pd.read_csv(tmp_path / "flagged.csv").sort_values("index")
    np.testing.assert_array_equal(issues["group"], groups)
    n_pruned = issues.groupby("group")["is_label_issue"].sum().tolist()
    assert max(n_pruned) == 112  # a quarter of 449
    trial = json.loads((tmp_path / "results.json").read_text())["trials"][0]
    assert (trial["samples_by_group"], trial["pruned_by_group"]) == ([449] * 3, n_pruned)
    assert re.search(r"largest share of a group, % *│ *│ 24.9 │", printed)
    np.save(tmp_path / "groups.npy", groups[1:])
    assert command_line.main(["train", *arguments, "--report", str(tmp_path)]) == 2
    assert "groups must have one number for each of the n=1347 samples, got 1346" in capsys.readouterr().err


def test_every_option_reaches_the_settings(npz, tmp_path):
    options = "--contamination 0.1 --mu 0.5 --every 2 --redistribute 0.2 --ties share --scoring pass"
    options += " --noise 0.2 --noise-kind pair --batch-size 64 --lr 0.01 --loss gce --attack pgd --eps 0.2"
    options += " --groups labels --mass group"
    parsed = command_line._make_parser().parse_args(["train", "--data", str(npz), *options.split(), *QUICK])
    settings = command_line._make_settings(parsed)
    assert (settings.contamination, settings.gamma, settings.mu, settings.every) == (0.1, None, 0.5, 2)
    assert (settings.redistribute, settings.ties, settings.scoring) == (0.2, "share", "pass")
    assert (settings.noise, settings.noise_kind, settings.batch_size, settings.lr) == (0.2, "pair", 64, 0.01)
    assert (settings.loss, settings.attack, settings.eps) == ("gce", "pgd", 0.2)
    assert (settings.groups, settings.cap, settings.mass) == ("labels", None, "group")
    assert (settings.epochs, settings.warmup, settings.hidden) == (8, 4, (32,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data nowhere.npz --noise 0.3", "nowhere.npz"),
        ("--data digits --contamination most", "contamination must be 'auto' or a number, got 'most'"),
        ("--data digits --noise 2", "noise must lie in [0, 1], got 2.0"),
        ("--data digits --noise 0.3 --mu 2", "mu must lie in (0, 1], got 2.0"),
        ("--data digits --noise 0.3 --contamination 1.0", "contamination must lie in [0, 1), got 1.0"),
        ("--data digits --gamma -1", "gamma must be at least 0, got -1.0"),
        ("--data digits --noise 0.3 --redistribute all", "got 'all'"),
        ("--data digits --noise 0.3 --epochs 5 --warmup 10", "epochs must exceed warmup"),
        ("--data digits --gamma 1 --ties share", "ties='share' needs contamination"),
        ("--data digits --noise 0.3 --attack fgsm --eps -0.1", "eps must be finite and at least 0, got -0.1"),
        ("--data digits --contamination 0.0001", "n=1347 samples are too few for contamination=0.0001"),
        ("--data digits --noise 0.3 --contamination 0.3 --cap 0.2", "cap needs groups"),
        ("--data digits --noise 0.3 --groups labels --cap 1.5", "cap must lie in [0, 1), got 1.5"),
        ("--data digits --noise 0.3 --groups nowhere.npy", "nowhere.npy"),
        (f"--data digits --noise 0.3 --groups {__file__}", "a .npy file of integers, as numpy.save writes, got"),
    ],
)
def test_bad_input_prints_one_line_and_writes_nothing(arguments, message, tmp_path, capsys):
    folder = tmp_path / "out"
    assert command_line.main(["train", *arguments.split(), "--report", str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("python -m rrm_torch train: error: ")
    assert message in captured.err
    assert not folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["paint"],
        [],
        ["train", "--data", "digits", "--noise-kind", "white"],
        ["train", "--data", "digits", "--loss", "hinge"],
        ["train", "--data", "digits", "--attack", "square"],
        ["train", "--noise", "30%"],
        ["demo", "--threads", "100000"],
        ["train", "--data", "digits", "--contamination", "0.1", "--gamma", "1"],
        ["demo", "--seeds", "0"],
        ["demo", "--sedes", "1"],
    ],
)
def test_parser_errors_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        command_line.main(arguments)
    assert exit.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "attribute", "value"),
    [
        ("--lr 0.5", "lr", 0.5),
        ("--batch-size 7", "batch_size", 7),
        ("--scoring pass", "scoring", "pass"),
        ("--noise-kind pair", "noise_kind", "pair"),
    ],
)
def test_options_reach_training(options, attribute, value, tmp_path, monkeypatch, capsys):
    values = {}
    fit = pipeline.fit
    adam = torch.optim.Adam
    kinds = {name: lambda *a, n=name, f=f, **k: values.update(noise_kind=n) or f(*a, **k) for name, f in KINDS.items()}

    def spy(model, loader, optimizer, epochs, **others):
        values["batch_size"] = len(next(iter(loader))[0])
        values["scoring"] = "recorded" if others["score_loader"] is None else "pass"
        return fit(model, loader, optimizer, epochs, **others)

    monkeypatch.setattr(pipeline, "fit", spy)
    monkeypatch.setattr(comparison.noise, "KINDS", kinds)
    monkeypatch.setattr(torch.optim, "Adam", lambda p, lr, **more: values.update(lr=lr) or adam(p, lr, **more))
    quick = "--contamination 0.3 --seeds 1 --epochs 2 --warmup 1 --hidden 8 --threads 1"
    arguments = f"train --noise 0.3 {quick} {options}"
    assert command_line.main([*arguments.split(), "--report", str(tmp_path)]) == 0
    assert values[attribute] == value


@pytest.mark.parametrize(
    ("options", "contamination", "warmup"),
    [
        ("", "auto", "auto"),
        ("--warmup 3", "auto", 3),
        ("--contamination 0.2", 0.2, 10),
        ("--contamination 0.2 --warmup auto", 0.2, "auto"),
        ("--gamma 2", None, 10),
    ],
)
def test_contamination_and_warmup_are_estimated_by_default(options, contamination, warmup):
    parsed = command_line._make_parser().parse_args(["train", "--noise", "0.3", *options.split()])
    settings = command_line._make_settings(parsed)
    assert (settings.contamination, settings.warmup) == (contamination, warmup)


def test_failed_seed_keeps_the_report_of_finished_seeds(tmp_path, capsys, monkeypatch):
    compare = command_line.compare
    calls = []

    def diverge(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise ValueError("losses contain 3 NaN among 1_347, the first at index 5")
        return compare(*arguments)

    monkeypatch.setattr(command_line, "compare", diverge)
    assert command_line.main(["train", "--noise", "0.3", *QUICK, "--report", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err == "python -m rrm_torch train: error: losses contain 3 NaN among 1_347, the first at index 5\n"
    assert "one seed" in captured.out
    assert (tmp_path / "flagged.csv").exists()


def test_closed_pipe_and_ascii_output_keep_the_report(npz, tmp_path):
    command = [sys.executable, "-m", "rrm_torch", "train", "--data", str(npz), "--noise", "0.3", "--seeds", "1", *QUICK]
    for name, environment, shell in (("cut", {}, "| head -1"), ("ascii", {"PYTHONIOENCODING": "ascii"}, "> out.txt")):
        line = " ".join([*map(shlex.quote, command), "--report", name, shell])
        run = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | environment,
        )
        assert (run.returncode, run.stderr) == (141 if name == "cut" else 0, "")
        assert (tmp_path / name / "flagged.csv").exists()


def test_report_folder_that_cannot_be_created(tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    assert command_line.main(["demo", "--report", str(tmp_path / "file" / "report")]) == 2
    assert "error: " in capsys.readouterr().err
    assert command_line.main(["demo", "--report", str(tmp_path / "file")]) == 2
    assert (tmp_path / "file").read_text() == "kept"


def test_interrupt_keeps_the_report_of_finished_seeds(npz, tmp_path, capsys, monkeypatch):
    compare = command_line.compare
    calls = []

    def interrupt(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compare(*arguments)

    monkeypatch.setattr(command_line, "compare", interrupt)
    folder = tmp_path / "out"
    arguments = ["train", "--data", str(npz), "--noise", "0.3", "--report", str(folder), *QUICK]
    assert command_line.main(arguments) == 130
    assert "Interrupted; 1 of 3 seeds are complete." in capsys.readouterr().out
    assert (folder / "flagged.csv").exists()


def test_failed_report_still_prints_the_table(npz, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(report_folder, "write", full)
    arguments = ["train", "--data", str(npz), "--noise", "0.3", "--seeds", "1", *QUICK, "--report", str(tmp_path / "r")]
    assert command_line.main(arguments) == 1
    captured = capsys.readouterr()
    assert "recall" in captured.out  # the table is still printed
    assert captured.err == "python -m rrm_torch train: error: No space left on device\n"


def test_without_matplotlib_prints_what_to_install(npz, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report_folder, "find_spec", lambda _: None)
    arguments = ["train", "--data", str(npz), "--noise", "0.3", "--seeds", "1", *QUICK, "--report", str(tmp_path / "r")]
    assert command_line.main(arguments) == 0
    assert "pip install matplotlib" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["", "demo", "train"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as exit:
        command_line.main([*command.split(), "--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    assert "None" not in text
    for word in {"": ["demo", "train"], "demo": ["--seeds"], "train": ["--noise", "argmin", "MNIST", "x_train"]}[
        command
    ]:
        assert word in text


def test_version(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["--version"])
    assert capsys.readouterr().out.startswith("rrm-core 0.")


def test_threads(npz, tmp_path):
    before = torch.get_num_threads()
    try:
        arguments = ["train", "--data", str(npz), "--noise", "0.3", "--seeds", "1", *QUICK, "--threads", "2"]
        assert command_line.main([*arguments, "--report", str(tmp_path / "r")]) == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("page", "what"), [(["review.html"], "figures"), ([], "figures and the page")])
def test_hint_names_what_is_missing_without_matplotlib(tmp_path, page, what):
    output = io.StringIO()
    command_line._print_files(Console(file=output, width=200), tmp_path, ["results.json", *page], 1)
    assert f"For {what}, install Matplotlib" in output.getvalue()
