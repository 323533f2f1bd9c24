"""The helper that the command lines share, `rrm_core._cli`."""

from __future__ import annotations

import argparse
import sys

import pytest

from rrm_core import _cli


def test_parser_reports_errors_in_one_line(capsys):
    parser = _cli.Parser(prog="program")
    parser.add_argument("--seeds", type=_cli.positive_int(8))
    with pytest.raises(SystemExit) as exit_:
        parser.parse_args(["--seeds", "9"])
    assert exit_.value.code == _cli.BAD_INPUT
    expected = "program: error: argument --seeds: must be an integer from 1 to 8, got '9'; see --help\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "two", ""])
def test_positive_int_rejects_other_text(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be an integer of at least 1"):
        _cli.positive_int()(text)


def test_number_or_name():
    assert _cli.number_or_name("0.5") == 0.5
    assert _cli.number_or_name("argmin") == "argmin"


def test_run_returns_the_exit_code_of_the_command():
    assert _cli.run("program", lambda code: code, 3) == 3


def test_run_prints_a_command_error_in_one_line(capsys):
    def fail():
        with _cli.exit_code(_cli.FAILED, OSError), _cli.exit_code(_cli.BAD_INPUT, FileNotFoundError):
            raise FileNotFoundError("no\n  such file")

    assert _cli.run("program", fail) == _cli.BAD_INPUT
    assert capsys.readouterr().err == "program: error: no such file\n"


def test_exit_code_names_an_error_without_message(capsys):
    def fail():
        with _cli.exit_code(_cli.FAILED, MemoryError):
            raise MemoryError

    assert _cli.run("program", fail) == _cli.FAILED
    assert capsys.readouterr().err == "program: error: MemoryError\n"


def test_run_passes_other_errors():
    def fail():
        with _cli.exit_code(_cli.FAILED, OSError):
            raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        _cli.run("program", fail)


def test_bar_restarts_with_each_pass(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with _cli.report_progress() as report:
        for what in ("round 1", "round 2"):
            report(0, 100, what)
            report(100, 100, what)
    assert (report.what, report.task) == ("round 2", 0)
    assert "round 2" in capsys.readouterr().err


def test_progress_lines_without_a_terminal(monkeypatch, capsys):
    clock = iter([0.0, 5.0, 10.0, 11.0, 25.0])
    monkeypatch.setattr(_cli.time, "monotonic", lambda: next(clock))
    report = _cli.LineReporter()
    for done, total in ((1000, None), (2000, None), (3000, 9000), (4000, 9000)):
        report(done, total, "round 1")
    assert capsys.readouterr().err == "round 1: 2,000 samples\nround 1: 4,000 of 9,000 samples\n"


def test_progress_lines_without_rich(monkeypatch):
    monkeypatch.setattr(_cli, "installed_version", lambda _: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with _cli.report_progress() as report:
        assert isinstance(report, _cli.LineReporter)
