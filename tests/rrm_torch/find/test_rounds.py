"""Rounds of the command `find`: corrections of an earlier round, and interrupts."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from rrm_torch.cli import main
from rrm_torch.find import command
from support import planted_errors
from support.planted_errors import CLASSES, find_flagged, read_csv, write_csv
from support.review_pages import read_page_data

FILES = {"review.html", "issues.csv", "summary.txt", "results.json"}


def judge(folder, wrong, path):
    """Write the corrections of the first eight samples on a page: keep, drop, unsure and relabel in turn."""
    rows = read_csv(folder / "issues.csv")[:8]
    decisions = [("keep", "drop", "unsure", "relabel")[position % 4] for position in range(len(rows))]
    labels = [row["predicted_label"] if word == "relabel" else "" for row, word in zip(rows, decisions, strict=True)]
    given = [row["given_label"] for row in rows]
    ids = [row["id"] for row in rows]
    write_csv(path, {"id": ids, "given_label": given, "decision": decisions, "label": labels})
    return dict(zip(ids, zip(decisions, labels, given, strict=True), strict=True))


@pytest.mark.parametrize("kind", ["images", "texts", "table"])
def test_corrections(tmp_path, capsys, kind):
    source = tmp_path / ("photos" if kind == "images" else "data.csv")
    write = {"images": planted_errors.write_images, "texts": planted_errors.write_texts}.get(
        kind, planted_errors.write_numbers
    )
    wrong = write(source, 120, 12)
    arguments = ["find", str(source), "--contamination", "0.1", "--epochs", "5", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    judged = judge(tmp_path / "out", wrong, tmp_path / "corrections.csv")
    capsys.readouterr()
    assert main([*arguments, "--corrections", str(tmp_path / "corrections.csv"), "--limit", "20"]) == 0

    rows = {row["id"]: row for row in read_csv(tmp_path / "out" / "issues.csv")}
    dropped = [id_ for id_, (decision, *_) in judged.items() if decision == "drop"]
    assert len(rows) == 120 - len(dropped) == 118
    assert not set(dropped) & set(rows)
    for id_, row in rows.items():
        decision, label, given = judged.get(id_, ("", "", row["given_label"]))
        assert row["decision"] == decision
        assert row["given_label"] == given
        assert row["label"] == (label or given)
        # The samples keep their indices.
        if kind != "images":
            assert row["index"] == id_.removeprefix("t")
    relabelled = [id_ for id_, (decision, *_) in judged.items() if decision == "relabel"]
    assert not set(relabelled) & find_flagged(tmp_path / "out")

    text = capsys.readouterr().out
    assert "8 samples were judged before: 2 relabelled, 2 kept, 2 dropped, 2 unsure." in text
    assert "The earlier run in this folder flagged 12 labels: " in text
    page = read_page_data(tmp_path / "out" / "review.html")
    on_page = {id_: word for id_, word in zip(page["ids"], page["decisions"], strict=True) if word}
    others = {item["id"]: item["decision"] for item in page["others"]}
    assert on_page | others == {id_: decision for id_, (decision, *_) in judged.items()}
    assert set(dropped) <= set(others)
    assert not set(on_page) & set(others)
    if kind == "images":
        assert len(page["pruned"]["bits"]) == 20
    numbers = json.loads((tmp_path / "out" / "results.json").read_text())
    assert numbers["samples"] == 118

    # Applied again, they give the same.
    table = (tmp_path / "out" / "issues.csv").read_bytes()
    assert main([*arguments, "--corrections", str(tmp_path / "corrections.csv")]) == 0
    assert (tmp_path / "out" / "issues.csv").read_bytes() == table


@pytest.mark.parametrize(
    ("decision", "label", "expected"),
    [("relabel", "cat", "; their labels agree."), ("drop", "", None), ("keep", "", "; the labels differ, such as")],
)
def test_corrections_of_duplicates(tmp_path, capsys, decision, label, expected):
    path = tmp_path / "texts.csv"
    planted_errors.write_texts(path, 60, 0)
    first = read_csv(path)[0]["text"]
    with path.open("a") as file:
        file.write(f"copy,{first},owl\n")
    write_csv(tmp_path / "corrections.csv", {"id": ["copy"], "decision": [decision], "label": [label]})
    out = tmp_path / "out"
    assert main(["find", str(path), "--out", str(out), "--corrections", str(tmp_path / "corrections.csv")]) == 0
    text = capsys.readouterr().out
    assert "1 sample was judged before: " in text
    if expected is None:
        assert "the same content" not in text
        assert not (out / "duplicates.csv").exists()
    else:
        assert f"2 samples have the same content as another, in 1 group listed in duplicates.csv{expected}" in text
        labels = [row["label"] for row in read_csv(out / "duplicates.csv")]
        assert labels == ["cat", label or "owl"]


def interrupt_at(monkeypatch, what, n_calls):
    """Interrupt the command when progress in an activity is reported for the n-th time; return the reports."""
    reports = []

    def report(done, total, activity):
        reports.append((done, total, activity))
        if sum(item[2] == what for item in reports) == n_calls:
            raise KeyboardInterrupt

    @contextmanager
    def report_progress():
        yield report

    monkeypatch.setattr(command, "report_progress", report_progress)
    return reports


def write_source(folder, kind):
    if kind == "images":
        planted_errors.write_images(folder / "data", 100, 10)
        return folder / "data"
    planted_errors.write_texts(folder / "data.csv", 120, 12)
    return folder / "data.csv"


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_interrupt_before_the_first_findings_writes_nothing(tmp_path, capsys, monkeypatch, kind):
    reports = interrupt_at(monkeypatch, "training", 1)
    source = write_source(tmp_path, kind)
    out = tmp_path / "out"
    assert main(["find", str(source), "--contamination", "0.1", "--epochs", "6", "--out", str(out)]) == 130
    printed = capsys.readouterr()
    assert printed.err == (
        "python -m rrm_torch find: error: interrupted before anything was found; nothing is written\n"
    )
    assert printed.out == ""
    assert not list(out.iterdir())
    n = 100 if kind == "images" else 120
    total = 6 * n if kind == "images" else 10 * n
    assert reports[-1] == (n, total, "training")


@pytest.mark.parametrize(("kind", "n_calls"), [("images", 5), ("texts", 5), ("texts", 3)])
def test_interrupt_after_the_first_findings_writes_them(tmp_path, capsys, monkeypatch, kind, n_calls):
    reports = interrupt_at(monkeypatch, "training", n_calls + 1)
    source = write_source(tmp_path, kind)
    out = tmp_path / "out"
    assert main(["find", str(source), "--contamination", "0.1", "--epochs", "9", "--out", str(out)]) == 130
    printed = capsys.readouterr()
    assert printed.err == ""
    assert {path.name for path in out.iterdir()} == FILES
    last = "The search was interrupted: these are the findings up to then."
    assert (out / "summary.txt").read_text().endswith(f"\n{last}\n")
    assert last in printed.out
    assert json.loads((out / "results.json").read_text())["is_complete"] is False
    assert find_flagged(out)
    training = [done for done, _, what in reports if what == "training"]
    assert training == [(call + 1) * len(read_csv(out / "issues.csv")) for call in range(n_calls + 1)]


def test_interrupt_while_images_are_read(tmp_path, capsys, monkeypatch):
    reports = interrupt_at(monkeypatch, "reading", 30)
    source = write_source(tmp_path, "images")
    assert main(["find", str(source), "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "python -m rrm_torch find: error: interrupted\n"
    assert not (tmp_path / "out").exists()
    assert reports == [(call + 1, 100, "reading") for call in range(30)]


def test_classes_that_corrections_empty(tmp_path):
    path = tmp_path / "numbers.csv"
    planted_errors.write_numbers(path, 120, 6)
    rows = [index for index, row in enumerate(read_csv(path)) if row["label"] == "owl"]
    decisions = ["drop"] * len(rows)
    write_csv(tmp_path / "corrections.csv", {"id": rows, "decision": decisions, "label": [""] * len(rows)})
    arguments = ["find", str(path), "--contamination", "0.02", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--corrections", str(tmp_path / "corrections.csv")]) == 0
    table = read_csv(tmp_path / "out" / "issues.csv")
    assert {row["predicted_label"] for row in table} == {"cat", "dog"}
    assert read_page_data(tmp_path / "out" / "review.html")["names"] == list(CLASSES)
