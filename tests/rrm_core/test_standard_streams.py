"""Commands whose output is cut off, on a full disk, closed, or in an encoding that lacks characters."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rrm_core import _cli, cli
from rrm_core._standard_streams import OutputError, guarded_streams

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other pipes and devices")
needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")

UNDECODABLE = os.fsdecode(b"l\xe9")  # a name in Latin-1, as Python represents it


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("l.npy", np.arange(10.0))
    return tmp_path


COMMANDS = {
    "plan": ("l.npy", "--contamination", "0.2"),
    "reweight": ("l.npy", "--contamination", "0.2", "-o", "w.npy"),
    "info": (),
    "--help": (),
    "--version": (),
}


def main(command, out, monkeypatch, encoding="utf-8"):
    """Run a command of rrm_core in this process, with its output in a file or a descriptor; return its exit code."""
    # Closing it flushes, as the interpreter does at its end.
    with open(out, "w", encoding=encoding) as stdout, monkeypatch.context() as patch:  # noqa: PTH123
        patch.setattr(sys, "stdout", stdout)
        try:
            return cli.main(command)
        except SystemExit as exit:
            return exit.code


@pytest.mark.parametrize("name", COMMANDS)
def test_cut_off_pipe_exits_quietly(name, folder, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    code = main([name, *COMMANDS[name]], writer, monkeypatch)
    assert (code, capsys.readouterr().err) == (141, "")
    if name == "reweight":
        assert len(np.load("w.npy")) == 10


@needs_full_device
@pytest.mark.parametrize("name", COMMANDS)
def test_full_disk_is_one_line(name, folder, monkeypatch, capsys):
    code = main([name, *COMMANDS[name]], "/dev/full", monkeypatch)
    error = capsys.readouterr().err
    assert code == 1
    assert error.endswith("error: stdout could not be written: No space left on device\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("name", ["ü", UNDECODABLE, "\u4e2d"])
def test_name_that_cannot_be_shown(name, encoding, folder, monkeypatch, capsys):
    command = ["reweight", "l.npy", "--contamination", "0.2", "-o", f"{name}.npy"]
    assert main(command, "out.txt", monkeypatch, encoding) == 0
    shown = f"{name}.npy".encode(encoding, "replace").decode(encoding)
    assert Path("out.txt").read_text(encoding).splitlines()[-1].split() == ["weights", shown]
    assert len(np.load(f"{name}.npy")) == 10
    assert capsys.readouterr().err == ""


def test_name_that_is_not_utf8_in_json(folder, monkeypatch):
    np.save(f"{UNDECODABLE}.npy", np.arange(10.0))
    command = ["plan", f"{UNDECODABLE}.npy", "--contamination", "0.2", "--json"]
    assert main(command, "out.json", monkeypatch) == 0
    assert json.loads(Path("out.json").read_text())["losses"] == f"{UNDECODABLE}.npy"


# Processes, up to the last flush of the interpreter


def run(command, tail, **environment):
    """Run a command of rrm_core in bash; return its exit code, and what it printed on stderr."""
    process = subprocess.run(
        ["bash", "-c", f'"$@" {tail}; exit ${{PIPESTATUS[0]}}', "bash", sys.executable, "-m", "rrm_core", *command],
        capture_output=True,
        check=False,
        env=os.environ | environment,
    )
    return process.returncode, process.stderr.decode()


@needs_full_device
@pytest.mark.parametrize(
    ("tail", "code", "error"),
    [
        ("| exec true", 141, ""),
        ("> /dev/full", 1, "error: stdout could not be written: No space left on device\n"),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
@pytest.mark.parametrize("name", ["reweight", "--version"])
def test_process_whose_output_is_lost(name, tail, code, error, folder):
    found, printed = run([name, *COMMANDS[name]], tail)
    assert (found, printed[-len(error) :]) == (code, error) if error else (found, printed) == (code, "")
    if name == "reweight":
        assert np.load("w.npy").tolist() == [3.0, *[1.0] * 7, 0.0, 0.0]


def test_file_does_not_get_the_descriptor_of_closed_stdout(folder):
    program = (
        "import os\nfrom rrm_core import _cli\n"
        "def write():\n    with open('file', 'wb') as file:\n        os.write(1, b'noise of a library')\n"
        "_cli.run('program', write)"
    )
    subprocess.run(["bash", "-c", '"$@" <&- >&-', "bash", sys.executable, "-c", program], check=True)
    assert Path("file").read_bytes() == b""


@needs_full_device
def test_error_that_cannot_be_printed_keeps_its_exit_code(folder):
    assert run(["plan", "missing.npy", "--contamination", "0.2"], "> /dev/full 2>&1")[0] == 2


def test_undecodable_name_on_an_ascii_terminal(folder):
    command = ["plan", f"missing {UNDECODABLE}.npy", "--contamination", "0.2"]
    code, error = run(command, "", PYTHONIOENCODING="ascii:strict")
    assert (code, error.count("\n")) == (2, 1)


# Within this process


class Failing(io.StringIO):
    """A stream that can't be written, without a file descriptor."""

    encoding = "ascii"

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, _):
        raise self.error


def test_streams_are_replaced_only_in_the_context(monkeypatch):
    stdout, stderr = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    with guarded_streams():
        print("a\udce9")
        sys.stdout.writelines(["b", "c"])
        print("d", file=sys.stderr)
        assert sys.stdout is not stdout
        assert not sys.stdout.isatty()
    assert (sys.stdout, sys.stderr) == (stdout, stderr)
    assert (stdout.getvalue(), stderr.getvalue()) == ("a?\nbc", "d\n")


def test_failing_stdout_raises_and_failing_stderr_does_not(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Failing(OSError(5, "Input/output error")))
    monkeypatch.setattr(sys, "stderr", Failing(OSError(5, "Input/output error")))
    with guarded_streams():
        print("lost", file=sys.stderr)
        with pytest.raises(OutputError, match="stdout could not be written: Input/output error"):
            print("text")


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(5, "Input/output error"), 1, "program: error: stdout could not be written: Input/output error\n"),
    ],
)
def test_run_returns_exit_code_of_failing_output(error, code, printed, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Failing(error))

    def fail():
        # An OSError of the command's own files has another exit code.
        with _cli.exit_code(_cli.BAD_INPUT, OSError):
            print("text")

    assert _cli.run("program", fail) == code
    assert capsys.readouterr().err == printed


def test_run_reports_an_interrupt_in_one_line(capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert _cli.run("program", interrupt) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "program: error: interrupted\n"
