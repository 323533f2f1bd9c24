"""The command line ``python -m rrm_core``."""

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
from rrm_core import _cli, cli, cli_options
from support.families import assert_same_bits

C = np.random.default_rng(0).exponential(size=10_000).astype(np.float32)
W = np.random.default_rng(1).exponential(size=10_000).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a temporary folder that holds a file of losses."""
    monkeypatch.chdir(tmp_path)
    np.save("losses.npy", C)
    return tmp_path


def run(text, **options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "rrm_core", *shlex.split(text)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_reweight_end_to_end(folder):
    process = run("reweight losses.npy --contamination 0.2 -o weights.npy")
    assert (process.returncode, process.stderr) == (0, "")
    expected, plan = rrm_core.reweight(C, contamination=0.2)
    assert_same_bits(np.load("weights.npy"), expected)
    printed = dict(line.split("  ", 1) for line in process.stdout.splitlines())
    printed = {key: value.strip() for key, value in printed.items()}
    assert printed["samples"] == "10,000"
    assert printed["pruned"] == "2,000"
    assert printed["pruned share"] == "20 %"
    assert float(printed["threshold"]) == pytest.approx(plan.threshold, rel=1e-5)
    assert printed["weights"] == "weights.npy"
    assert sorted(path.name for path in folder.iterdir()) == ["losses.npy", "weights.npy"]


def test_reweight_with_every_option(folder, capsys):
    np.save("old.npy", W)
    c = C.copy()
    c[5] = np.nan
    pa.parquet.write_table(pa.table({"loss": c, "other": W}), "losses.parquet")
    arguments = (
        "reweight losses.parquet --column loss --contamination 0.29 --ties share --nan prune --redistribute 0.1 "
        "--weights old.npy --mu 0.3 --memory 20M --threads 2 --json -o old.npy"
    )
    assert cli.main(shlex.split(arguments)) == 0
    rule = {"contamination": 0.29, "ties": "share", "nan": "prune", "redistribute": 0.1}
    expected, plan = rrm_core.reweight(c, W, mu=0.3, **rule)
    assert_same_bits(np.load("old.npy"), expected)
    printed = json.loads(capsys.readouterr().out)
    assert printed["rule"] == rule | {"gamma": None}
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
        assert printed[key] == getattr(plan, name), key
    assert (printed["losses"], printed["weights"]) == ("losses.parquet", "old.npy")
    assert printed["seconds"] > 0


def test_plan_writes_nothing(folder, capsys):
    assert cli.main(shlex.split("plan losses.npy --gamma inf --json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["gamma"], printed["pruned"], "weights" in printed) == (None, 0, False)  # JSON knows no infinity
    assert [path.name for path in folder.iterdir()] == ["losses.npy"]


def test_info(capsys):
    assert cli.main(["info", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["rrm-core"] == rrm_core.__version__
    assert printed["backends"] == list(rrm_core.available_backends())
    assert printed["instruction_set"] == rrm_core.cpu_info().instruction_set
    assert printed["pyarrow"] == version("pyarrow")
    assert cli.main(["info"]) == 0
    assert "cpp, numba, numpy, array_api" in capsys.readouterr().out


def test_info_without_optional_packages(capsys, monkeypatch):
    def not_found(_):
        raise PackageNotFoundError

    def not_built():
        raise ImportError

    monkeypatch.setattr(rrm_core, "cpu_info", not_built)
    monkeypatch.setattr(_cli, "version", not_found)
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for name in ("instruction set", "pyarrow", "rich"):
        assert next(line for line in out.splitlines() if line.startswith(name)).endswith("not installed")


INVALID = {
    "": "the following arguments are required: COMMAND; see --help",
    "reweight losses.npy -o w.npy": "one of the arguments --contamination --gamma is required",
    "reweight losses.npy -o w.npy --gamma 1 --contamination 0.2": "not allowed with argument",
    "reweight losses.npy --gamma 1": "the following arguments are required: -o/--out",
    "reweight losses.npy -o w.npy --contamination 20": "contamination must lie in [0, 1), got 20.0; it is a share",
    "reweight losses.npy -o w.npy --gamma 1 --mu 0.5": "--mu below 1 needs the current weights: give --weights",
    "reweight losses.npy -o w.npy --gamma 1 --weights losses.npy": "--weights are read only with a --mu below 1",
    "reweight losses.npy -o w.npy --gamma 1 --memory much": "must be a size such as 64M or 1G, got 'much'",
    "reweight losses.npy -o w.npy --gamma 1 --memory 1K": "memory must be a whole number of bytes, at least 16_777_216",
    "reweight losses.npy -o w.npy --gamma 1 --threads 0": "must be an integer of at least 1, got '0'",
    "reweight losses.npy -o w.npy --gamma 1 --redistribute all": "redistribute must be 'argmin', 'kept', 'drop' or a",
    "reweight losses.npy -o losses.npy --gamma 1": "out is the file of the losses, losses.npy, which are never",
    "reweight losses.npy -o no/w.npy --gamma 1": "out: there is no folder no for w.npy; create it first",
    "reweight losses.npy -o w.csv --gamma 1": "out must be a .npy, .parquet, .arrow or .feather file",
    "reweight none.npy -o w.npy --gamma 1": "No such file or directory: 'none.npy'",
    "plan losses.npy --gamma 1 --column x": "column='x' names a column of a Parquet or Arrow file, but losses.npy is",
    "plan losses.npy --gamma 1 --ties share": "ties='share' needs contamination",
}


@pytest.mark.parametrize("text", INVALID)
def test_invalid_input_exits_with_code_2_and_one_line(text, folder, capsys):
    try:
        code = cli.main(shlex.split(text))
    except SystemExit as exit:
        code = exit.code
    err = capsys.readouterr().err
    assert code == 2
    assert INVALID[text] in err
    assert err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["losses.npy"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("64M", 64 << 20), ("1g", 1 << 30), ("20000k", 20000 << 10), ("1.5GiB", 3 << 29), ("16777216", 1 << 24)],
)
def test_memory_sizes_with_units(text, size):
    assert cli_options._bytes(text) == size


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("losses changed"), MemoryError()]
)
def test_runtime_errors_exit_with_code_1(error, folder, capsys, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(rrm_core.stream, "reweight", fail)
    assert cli.main(shlex.split("reweight losses.npy -o w.npy --gamma 1")) == 1
    assert capsys.readouterr().err.startswith("python -m rrm_core reweight: error: ")


INTERRUPTED_PROGRAM = """
import os, signal, sys
import rrm_core
from rrm_core import __main__ as cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent process may ignore them
signal.signal(signal.SIGHUP, signal.SIG_DFL)
real, number = rrm_core.stream.reweight, getattr(signal, sys.argv[1])
def reweight(*arguments, progress, **more):
    def report(done, total, what):
        progress(done, total, what)
        if what == "writing" and done:
            os.kill(os.getpid(), number)
    return real(*arguments, progress=report, **more)
rrm_core.stream.reweight = reweight
sys.exit(cli.main(["reweight", "losses.npy", "-o", "weights.npy", "--gamma", "1"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_leave_the_previous_weights_and_no_temporary_file(name, code, folder):
    (folder / "weights.npy").write_bytes(b"previous")
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERRUPTED_PROGRAM, name], capture_output=True, text=True, check=False
    )
    assert process.returncode == code, process.stderr
    assert (folder / "weights.npy").read_bytes() == b"previous"
    assert sorted(path.name for path in folder.iterdir()) == ["losses.npy", "weights.npy"]
    message = "python -m rrm_core reweight: error: interrupted before weights.npy was written\n"
    assert process.stderr == (message if name == "SIGINT" else "")


def test_signal_handlers_are_restored(folder):
    handler = signal.getsignal(signal.SIGTERM)
    assert cli.main(shlex.split("plan losses.npy --gamma 1")) == 0
    assert signal.getsignal(signal.SIGTERM) is handler


def run_on_terminal(text, **environment):
    """Run a command with a terminal as stderr; return its exit code, stdout, and the terminal's content."""
    import pty  # not available on Windows

    terminal, stderr = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "rrm_core", *shlex.split(text)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"} | environment,
        text=True,
    )
    os.close(stderr)
    out, _ = process.communicate()
    printed = b""
    try:
        while data := os.read(terminal, 65536):
            printed += data
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return process.returncode, out, printed.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")
def test_progress_bar_on_a_terminal(folder):
    code, out, printed = run_on_terminal("reweight losses.npy --contamination 0.2 -o weights.npy --json")
    assert code == 0
    assert json.loads(out)["samples"] == 10_000
    assert "━" in printed
    assert "100%" in printed


def test_interrupt_is_reported_in_one_line(folder, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(rrm_core.stream, "plan", interrupt)
    assert cli.main(shlex.split("plan losses.npy --gamma 1")) == 130
    message = "python -m rrm_core plan: error: interrupted\n"
    assert capsys.readouterr().err == message


def test_help_shows_examples_that_work(folder, capsys):
    pa.parquet.write_table(pa.table({"loss": C, "other": W, "source": np.arange(len(C)) % 3}), "run.parquet")
    np.save("class.npy", np.arange(len(C)) % 10)
    np.save("rank-0.npy", C[:1])
    np.save("rank-1.npy", C[1:])
    with pytest.raises(SystemExit):
        cli.main(["reweight", "--help"])
    printed = capsys.readouterr().out
    examples = [
        line.split(maxsplit=3)[3] for line in printed.splitlines() if line.startswith("    python -m rrm_core ")
    ]
    assert len(examples) == 7
    for example in examples:
        assert cli.main(shlex.split(example)) == 0, example
    assert max(map(len, cli.make_parser().format_help().splitlines())) <= 120
