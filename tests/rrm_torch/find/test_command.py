"""The command `find`, from files to files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rrm_torch.cli import main
from rrm_torch.find import export_formats
from support import planted_errors
from support.planted_errors import find_flagged, read_csv
from support.review_pages import HOSTILE, read_page_data

FILES = {"review.html", "issues.csv", "summary.txt", "results.json"}


def find(*arguments):
    """Run the command, and return its exit code."""
    return main(["find", *map(str, arguments)])


def write_source(folder, kind):
    """Write a source of some kind; return the arguments of the command and the ids of the wrong labels."""
    path = folder / f"{kind}.csv"
    if kind == "images":
        return [folder / kind, "--epochs", "6"], planted_errors.write_images(folder / kind, 300, 30)
    if kind == "texts":
        return [path], planted_errors.write_texts(path)
    if kind == "logits":
        return [path, "--logits", "p_*"], planted_errors.write_predictions(path)
    wrong = planted_errors.write_numbers(path)
    if kind == "columns":
        return [path, "--features", "x0, x1,x2"], wrong
    if kind == "vectors":
        np.save(folder / "vectors.NPY", planted_errors.make_vectors(planted_errors.plant(150, 15)[0]))
        (folder / "vectors.NPY.npy").rename(folder / "vectors.NPY")
        return [path, "--features", folder / "vectors.NPY"], wrong
    return [path], wrong


@pytest.fixture
def numbers(tmp_path):
    """A CSV file of numbers and labels."""
    path = tmp_path / "numbers.csv"
    planted_errors.write_numbers(path)
    return path


@pytest.mark.parametrize(
    ("kind", "page_kind", "noun"),
    [
        ("images", "images", "300 images"),
        ("texts", "texts", "150 texts"),
        ("table", "table", "150 rows"),
        ("columns", "table", "150 samples"),
        ("vectors", "table", "150 samples"),
        ("logits", "table", "150 samples"),
    ],
)
def test_planted_errors_are_found(tmp_path, capsys, kind, page_kind, noun):
    arguments, wrong = write_source(tmp_path, kind)
    out = tmp_path / "new" / "out"
    assert find(*arguments, "--out", out) == 0
    assert {path.name for path in out.iterdir()} == FILES
    flagged = find_flagged(out)
    assert len(flagged & wrong) >= 0.8 * len(wrong)
    assert len(flagged) < 2 * len(wrong)

    rows = read_csv(out / "issues.csv")
    quality = [float(row["label_quality"]) for row in rows]
    assert quality == sorted(quality)
    assert all(0 <= float(row["confidence"]) <= 1 for row in rows)
    assert {row["given_label"] for row in rows} == set(planted_errors.CLASSES)
    numbers = json.loads((out / "results.json").read_text())
    assert numbers["flagged"] == len(flagged)
    assert numbers["samples"] == len(rows)
    assert numbers["is_complete"] is True
    assert numbers["estimate"]["contamination"] == pytest.approx(0.1, abs=0.06)

    printed = capsys.readouterr()
    assert printed.err == ""
    summary = (out / "summary.txt").read_text()
    assert printed.out.startswith(summary)
    assert f": {noun} of 3 classes, judged by " in summary
    assert f"Open {out / 'review.html'} in a browser." in printed.out
    page = read_page_data(out / "review.html")
    assert page["kind"] == page_kind
    assert page["total"] == len(rows)
    assert page["ids"] == [row["id"] for row in rows]
    assert page["notes"] == summary.splitlines()
    assert ("pruned" in page) == (kind == "images")


@pytest.mark.parametrize("kind", ["images", "texts", "table", "columns"])
def test_same_seed_gives_the_same_table(tmp_path, kind):
    if kind == "images":
        planted_errors.write_images(tmp_path / "photos", 60, 6)
        arguments = [tmp_path / "photos", "--epochs", "3"]
    else:
        arguments, _ = write_source(tmp_path, kind)
    tables = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert find(*arguments, "--contamination", "0.1", "--seed", seed, "--out", tmp_path / name) == 0
        tables.append((tmp_path / name / "issues.csv").read_bytes())
    assert tables[0] == tables[1] != tables[2]


@pytest.mark.parametrize("kind", ["images", "table", "logits"])
def test_contamination_is_the_share_of_flagged_labels(tmp_path, capsys, kind):
    arguments, wrong = write_source(tmp_path, kind)
    assert find(*arguments, "--contamination", "0.05", "--out", tmp_path / "out") == 0
    flagged = find_flagged(tmp_path / "out")
    assert len(flagged) == len(wrong) // 2
    assert flagged <= wrong
    assert json.loads((tmp_path / "out" / "results.json").read_text())["estimate"] is None
    assert "The share to flag was given: " in capsys.readouterr().out


def test_few_images_need_no_estimate(tmp_path):
    wrong = planted_errors.write_images(tmp_path / "few", 60, 6)
    assert find(tmp_path / "few", "--contamination", "0.1", "--epochs", "4", "--out", tmp_path / "out") == 0
    assert find_flagged(tmp_path / "out") == wrong


def test_limit_is_the_number_of_samples_on_the_page(numbers, tmp_path):
    assert find(numbers, "--limit", "7", "--out", tmp_path / "out") == 0
    page = read_page_data(tmp_path / "out" / "review.html")
    rows = read_csv(tmp_path / "out" / "issues.csv")
    assert len(rows) == 150
    assert page["ids"] == [row["id"] for row in rows[:7]]


def test_hostile_ids_and_classes(tmp_path, capsys):
    classes = ["=cmd()", "</script><script>alert(1)</script>", "\x1b[31mred"]
    ids = [text for text in HOSTILE if text.isprintable()]
    n = len(ids) * 15
    true, given, _ = planted_errors.plant(n, n // 10)
    x = planted_errors.make_vectors(true)
    names = [f"{ids[index % len(ids)]}{index}" for index in range(n)]
    table = {"id": names, "u": x[:, 0].tolist(), "v": x[:, 1].tolist(), "w": x[:, 2].tolist()}
    source = tmp_path / "\x1b]0;title\x07.csv"
    planted_errors.write_csv(source, {**table, "class": [classes[label] for label in given]})
    for _ in range(2):
        assert find(source, "--id", "id", "--out", tmp_path / "out") == 0
    assert sorted(read_page_data(tmp_path / "out" / "review.html")["ids"]) == sorted(names)
    text = (tmp_path / "out" / "review.html").read_text()
    assert "<script>alert(1)" not in text
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[31mred" in out
    # The apostrophe before a formula is no part of the id.
    assert " 0 no longer, 0 new." in out
    assert not [row for row in read_csv(tmp_path / "out" / "issues.csv") if row["id"].startswith("=")]


def test_hostile_file_names(tmp_path, capsys):
    planted_errors.write_images(tmp_path / "photos", 60, 6, name='{:03}\udcff\n"<b>=.png')
    assert find(tmp_path / "photos", "--contamination", "0.1", "--epochs", "3", "--out", tmp_path / "out") == 0
    rows = read_csv(tmp_path / "out" / "issues.csv")
    names = {path.relative_to(tmp_path / "photos").as_posix() for path in (tmp_path / "photos").rglob("*.png")}
    assert {row["id"] for row in rows} == {name.replace("\udcff", "\ufffd") for name in names}
    assert len(names) == 60
    assert capsys.readouterr().err == ""


def test_broken_and_repeated_images_are_listed(tmp_path, capsys):
    photos = tmp_path / "photos"
    planted_errors.write_images(photos, 60, 0)
    (photos / "cat" / "broken.png").write_bytes(b"no image")
    (photos / "dog" / "copy.png").write_bytes((photos / "cat" / "000.png").read_bytes())
    out = tmp_path / "out"
    assert find(photos, "--contamination", "0.05", "--epochs", "3", "--out", out) == 0
    assert read_csv(out / "left_out.csv")[0]["id"] == "cat/broken.png"
    assert read_csv(out / "duplicates.csv") == [
        {"group": "0", "labels_differ": "True", "index": "0", "id": "cat/000.png", "label": "cat"},
        {"group": "0", "labels_differ": "True", "index": "40", "id": "dog/copy.png", "label": "dog"},
    ]
    remarks = {row["id"]: row["duplicates"] for row in read_csv(out / "issues.csv") if row["duplicates"]}
    assert remarks == {
        "cat/000.png": "same content as dog/copy.png, which is dog",
        "dog/copy.png": "same content as cat/000.png, which is cat",
    }
    text = capsys.readouterr().out
    assert "1 sample is left out, listed in left_out.csv: cat/broken.png." in text
    assert "; the labels differ, such as cat/000.png (cat), dog/copy.png (dog)." in text
    assert "left_out.csv. Open" in text
    numbers = json.loads((out / "results.json").read_text())
    assert (numbers["duplicates"], numbers["duplicates_with_different_labels"], numbers["left_out"]) == (2, 2, 1)

    (photos / "cat" / "broken.png").unlink()
    (photos / "dog" / "copy.png").unlink()
    assert find(photos, "--contamination", "0.05", "--epochs", "3", "--out", out) == 0
    assert {path.name for path in out.iterdir()} == FILES


def test_second_run_says_what_changed(tmp_path, capsys):
    path = tmp_path / "numbers.csv"
    out = tmp_path / "out"
    wrong = planted_errors.write_numbers(path)
    find(path, "--contamination", "0.06", "--out", out)
    assert "earlier run" not in capsys.readouterr().out
    before = find_flagged(out)
    assert before < wrong
    find(path, "--contamination", "0.1", "--out", out)
    expected = f"The earlier run in this folder flagged 9 labels: 9 still flagged, 0 no longer, {len(wrong) - 9} new."
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "formats", "names"),
    [
        ("images", ["fiftyone", "label-studio"], ["fiftyone.json", "label_studio.json", "label_studio.xml"]),
        ("texts", ["argilla", "label-studio"], ["argilla.json", "label_studio.json", "label_studio.xml"]),
        ("table", ["cleanlab", "parquet", "cleanlab"], ["cleanlab.csv", "issues.parquet"]),
        ("vectors", ["label-studio"], ["label_studio.json", "label_studio.xml"]),
    ],
)
def test_exports(tmp_path, capsys, kind, formats, names):
    arguments, _ = write_source(tmp_path, kind)
    out = tmp_path / "out"
    assert find(*arguments, "--contamination", "0.1", "--out", out, "--export", *formats) == 0
    assert {path.name for path in out.iterdir()} == FILES | set(names)
    assert f"results.json, {', '.join(names)}. Open" in capsys.readouterr().out
    numbers = json.loads((out / "results.json").read_text())
    for name in names:
        path = out / name
        if path.suffix == ".json":
            items = json.loads(path.read_text())
            assert len(items["labels"] if name == "fiftyone.json" else items) == numbers["samples"]
        if path.suffix == ".csv":
            rows = read_csv(path)
            assert [int(row["index"]) for row in rows] == list(range(150))
            assert list(rows[0])[1:3] == ["is_label_issue", "label_quality"]


def test_export_to_a_dataset(tmp_path, monkeypatch):
    class Stub:
        def __init__(self, issues, samples):
            self.content = {"issues": sorted(issues), "samples": {name: len(samples[name]) for name in samples}}

        def save_to_disk(self, path):
            Path(path).write_text(json.dumps(self.content))

    # The package may be missing.
    monkeypatch.setitem(sys.modules, "datasets", sys)
    monkeypatch.setattr(export_formats, "to_dataset", Stub)
    for kind, names in (("texts", ["text"]), ("table", ["x0", "x1", "x2"])):
        arguments, _ = write_source(tmp_path, kind)
        assert find(*arguments, "--out", tmp_path / "out", "--export", "dataset") == 0
        content = json.loads((tmp_path / "out" / "dataset").read_text())
        assert content["samples"] == dict.fromkeys(names, 150)
        assert "confidence" in content["issues"]


def test_exports_that_need_a_missing_package(numbers, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert find(numbers, "--out", tmp_path / "out", "--export", "dataset") == 2
    expected = "exports in the format dataset need datasets, which is not installed: pip install datasets\n"
    assert capsys.readouterr().err.endswith(expected)
    assert not (tmp_path / "out").exists()


def test_exports_that_need_image_files(tmp_path, capsys):
    np.savez(tmp_path / "images.npz", x=np.zeros((120, 8, 8), np.uint8), y=np.arange(120) % 3)
    assert find(tmp_path / "images.npz", "--out", tmp_path / "out", "--export", "label-studio") == 2
    assert "got images without a file of their own" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_failed_export_keeps_the_table(numbers, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "cleanlab.csv").mkdir(parents=True)
    assert find(numbers, "--out", out, "--export", "cleanlab") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert {path.name for path in out.iterdir()} >= FILES


def test_console_script_is_called_rrm(tmp_path):
    program = "import sys; sys.argv[0] = '/usr/bin/rrm'; from rrm_torch.cli import main; sys.exit(main())"
    result = subprocess.run(
        [sys.executable, "-c", program, "find", "nothing.csv", "--out", "out"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("rrm find: error: nothing.csv doesn't exist; data must be ")
    assert not list(tmp_path.iterdir())


def test_help_has_the_options_and_fits_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main(["find", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for option in ("--contamination", "--corrections", "--export", "--model", "--features", "--logits", "--limit"):
        assert f"\n  {option} " in text
    assert "DATA is a folder of images with one folder per class" in text
    assert "exit codes\n  0 done" in text
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "\n    find " in capsys.readouterr().out
