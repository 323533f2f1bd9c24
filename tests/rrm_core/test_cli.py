"""The command line of the library."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rrm_core
from rrm_core import cli as command_line
from support.families import assert_same_bits

C = np.random.default_rng(0).exponential(size=10_000).astype(np.float32)
W = np.random.default_rng(1).exponential(size=10_000).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the current folder, with a file of losses."""
    monkeypatch.chdir(tmp_path)
    np.save("losses.npy", C)
    return tmp_path


def run(text, **more):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "rrm_core", *shlex.split(text)],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def test_reweight_end_to_end(folder):
    done = run("reweight losses.npy --contamination 0.2 -o weights.npy")
    assert (done.returncode, done.stderr) == (0, "")
    expected, plan = rrm_core.reweight(C, contamination=0.2)
    assert_same_bits(np.load("weights.npy"), expected)
    shown = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    shown = {key: value.strip() for key, value in shown.items()}
    assert shown["samples"] == "10,000"
    assert shown["pruned"] == "2,000"
    assert shown["pruned share"] == "20 %"
    assert float(shown["threshold"]) == pytest.approx(plan.threshold, rel=1e-5)
    assert shown["weights"] == "weights.npy"
    assert sorted(path.name for path in folder.iterdir()) == ["losses.npy", "weights.npy"]


def test_every_option(folder, capsys):
    np.save("old.npy", W)
    c = C.copy()
    c[5] = np.nan
    pa.parquet.write_table(pa.table({"loss": c, "other": W}), "losses.parquet")
    arguments = (
        "reweight losses.parquet --column loss --contamination 0.29 --ties share --nan prune --redistribute 0.1 "
        "--weights old.npy --mu 0.3 --memory 20M --threads 2 --json -o old.npy"
    )
    assert command_line.main(shlex.split(arguments)) == 0
    rule = {"contamination": 0.29, "ties": "share", "nan": "prune", "redistribute": 0.1}
    expected, plan = rrm_core.reweight(c, W, mu=0.3, **rule)
    assert_same_bits(np.load("old.npy"), expected)
    shown = json.loads(capsys.readouterr().out)
    assert shown["rule"] == rule | {"gamma": None}
    names = {
        "samples": "n",
        "type": "dtype",
        "threshold": "threshold",
        "smallest_loss": "loss_min",
        "gamma": "gamma",
        "pruned": "n_pruned",
        "pruned_share": "pruned_fraction",
        "NaN": "n_nan",
        "tied": "n_tied",
        "recipients": "n_recipients",
        "largest_weight": "largest_weight",
        "effective_size": "effective_sample_size",
        "total_variation": "total_variation",
    }
    for key, name in names.items():
        assert shown[key] == getattr(plan, name), key
    assert (shown["losses"], shown["weights"]) == ("losses.parquet", "old.npy")
    assert shown["seconds"] > 0


def test_plan_writes_nothing(folder, capsys):
    assert command_line.main(shlex.split("plan losses.npy --gamma inf --json")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["gamma"], shown["pruned"], "weights" in shown) == (None, 0, False)  # JSON knows no infinity
    assert [path.name for path in folder.iterdir()] == ["losses.npy"]


def test_info(capsys):
    assert command_line.main(["info", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["rrm-core"] == rrm_core.__version__
    assert shown["backends"] == list(rrm_core.available_backends())
    assert shown["instruction_set"] == rrm_core.cpu_info().instruction_set
    assert shown["pyarrow"] == version("pyarrow")
    assert command_line.main(["info"]) == 0
    assert "cpp, numba, numpy, array_api" in capsys.readouterr().out


def test_info_where_little_is_installed(capsys, monkeypatch):
    def nothing(*_):
        raise PackageNotFoundError

    def not_built():
        raise ImportError

    monkeypatch.setattr(rrm_core, "cpu_info", not_built)
    monkeypatch.setattr(command_line, "version", lambda name: version(name) if name == "numpy" else nothing())
    assert command_line.main(["info"]) == 0
    out = capsys.readouterr().out
    for name in ("instruction set", "pyarrow", "rich"):
        assert next(line for line in out.splitlines() if line.startswith(name)).endswith("not installed")


BAD = {
    "": "the following arguments are required: COMMAND; see --help",
    "reweight losses.npy -o w.npy": "one of the arguments --contamination --gamma is required",
    "reweight losses.npy -o w.npy --gamma 1 --contamination 0.2": "not allowed with argument",
    "reweight losses.npy --gamma 1": "the following arguments are required: -o/--out",
    "reweight losses.npy -o w.npy --contamination 20": "contamination must lie in [0, 1), got 20.0; it is a share",
    "reweight losses.npy -o w.npy --gamma 1 --mu 0.5": "--mu needs the weights to start from: give --weights",
    "reweight losses.npy -o w.npy --gamma 1 --weights losses.npy": "--weights are read only with a --mu below 1",
    "reweight losses.npy -o w.npy --gamma 1 --memory much": "must be a size such as 64M or 1G, got 'much'",
    "reweight losses.npy -o w.npy --gamma 1 --memory 1K": "memory must be a whole number of bytes, at least 16_777_216",
    "reweight losses.npy -o w.npy --gamma 1 --threads 0": "must be a whole number, at least 1, got '0'",
    "reweight losses.npy -o w.npy --gamma 1 --redistribute all": "redistribute must be 'argmin', 'kept', 'drop' or a",
    "reweight losses.npy -o losses.npy --gamma 1": "out is the file of the losses, losses.npy, which are never",
    "reweight losses.npy -o no/w.npy --gamma 1": "out: there is no folder no for w.npy; make it first",
    "reweight losses.npy -o w.csv --gamma 1": "out must be a .npy, .parquet, .arrow or .feather file",
    "reweight none.npy -o w.npy --gamma 1": "No such file or directory: 'none.npy'",
    "plan losses.npy --gamma 1 --column x": "column='x' names a column of a Parquet or Arrow file, but losses.npy is",
    "plan losses.npy --gamma 1 --ties share": "ties='share' needs contamination",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_input(text, folder, capsys):
    try:
        code = command_line.main(shlex.split(text))
    except SystemExit as exit:
        code = exit.code
    err = capsys.readouterr().err
    assert code == 2
    assert BAD[text] in err
    assert err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["losses.npy"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("64M", 64 << 20), ("1g", 1 << 30), ("20000k", 20000 << 10), ("1.5GiB", 3 << 29), ("16777216", 1 << 24)],
)
def test_sizes(text, size):
    assert command_line._bytes(text) == size


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("losses changed"), MemoryError()]
)
def test_failures_while_working(error, folder, capsys, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(rrm_core.stream, "reweight", fail)
    assert command_line.main(shlex.split("reweight losses.npy -o w.npy --gamma 1")) == 1
    assert capsys.readouterr().err.startswith("python -m rrm_core reweight: error: ")


STRUCK = """
import os, signal, sys
import rrm_core
from rrm_core import __main__ as command_line
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started this may have them ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
real, number = rrm_core.stream.reweight, getattr(signal, sys.argv[1])
def reweight(*arguments, progress, **more):
    def struck(done, total, what):
        progress(done, total, what)
        if what == "writing" and done:
            os.kill(os.getpid(), number)
    return real(*arguments, progress=struck, **more)
rrm_core.stream.reweight = reweight
sys.exit(command_line.main(["reweight", "losses.npy", "-o", "weights.npy", "--gamma", "1"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_leave_the_former_weights_and_nothing_else(name, code, folder):
    (folder / "weights.npy").write_bytes(b"former")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", STRUCK, name], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert (folder / "weights.npy").read_bytes() == b"former"
    assert sorted(path.name for path in folder.iterdir()) == ["losses.npy", "weights.npy"]
    said = "python -m rrm_core reweight: error: interrupted; weights.npy is as it was\n"
    assert done.stderr == (said if name == "SIGINT" else "")


def test_signals_are_as_before_afterwards(folder):
    before = signal.getsignal(signal.SIGTERM)
    assert command_line.main(shlex.split("plan losses.npy --gamma 1")) == 0
    assert signal.getsignal(signal.SIGTERM) is before


def on_terminal(text, **environment):
    """Run a command whose stderr is a terminal; return its exit code, what it printed, and what the terminal got."""
    import pty  # which Windows lacks

    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "rrm_core", *shlex.split(text)],
        stdout=subprocess.PIPE,
        stderr=end,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"} | environment,
        text=True,
    )
    os.close(end)
    out, _ = process.communicate()
    shown = b""
    try:
        while some := os.read(terminal, 65536):
            shown += some
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return process.returncode, out, shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of this kind")
def test_a_bar_on_a_terminal(folder):
    code, out, shown = on_terminal("reweight losses.npy --contamination 0.2 -o weights.npy --json")
    assert code == 0
    assert json.loads(out)["samples"] == 10_000
    assert "━" in shown
    assert "100%" in shown


def test_the_bar_follows_the_passes(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with command_line._progress() as bar:
        for what in ("round 1", "round 2"):
            bar.say(0, 100, what)
            bar.say(100, 100, what)
    assert (bar.what, bar.task) == ("round 2", 0)
    assert "round 2" in capsys.readouterr().err


def test_an_interrupt_is_said_in_one_line(folder, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(rrm_core.stream, "plan", interrupt)
    assert command_line.main(shlex.split("plan losses.npy --gamma 1")) == 130
    said = "python -m rrm_core plan: error: interrupted; nothing was to be written\n"
    assert capsys.readouterr().err == said


def test_lines_where_there_is_no_terminal(monkeypatch, capsys):
    clock = iter([0.0, 5.0, 10.0, 11.0, 25.0])
    monkeypatch.setattr(command_line.time, "monotonic", lambda: next(clock))
    lines = command_line._Lines()
    for done, total in ((1000, None), (2000, None), (3000, 9000), (4000, 9000)):
        lines.say(done, total, "round 1")
    assert capsys.readouterr().err == "round 1: 2,000 samples\nround 1: 4,000 of 9,000 samples\n"


def test_without_rich_there_is_no_bar(monkeypatch):
    monkeypatch.setattr(command_line, "_version", lambda _: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with command_line._progress() as progress:
        assert isinstance(progress, command_line._Lines)


def test_help_shows_examples_that_work(folder, capsys):
    pa.parquet.write_table(pa.table({"loss": C, "other": W}), "run.parquet")
    with pytest.raises(SystemExit):
        command_line.main(["reweight", "--help"])
    shown = capsys.readouterr().out
    examples = [line.split(maxsplit=3)[3] for line in shown.splitlines() if line.startswith("    python -m rrm_core ")]
    assert len(examples) == 4
    for example in examples:
        assert command_line.main(shlex.split(example)) == 0, example
    assert max(map(len, command_line._parser().format_help().splitlines())) <= 120
