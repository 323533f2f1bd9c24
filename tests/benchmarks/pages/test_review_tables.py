"""The tables of the search for wrong labels."""

from __future__ import annotations

from benchmarks.pages import review_tables
from support.markdown_tables import tables


def run(task, seed, interval=(0.03, 0.09)):
    return {
        "task": task,
        "seed": seed,
        "recall": 0.9 + seed / 100,
        "precision": 0.6,
        "precision_at_wrong": 0.8,
        "corrected": 0.95,
        "estimate": {"contamination": 0.06, "interval": interval},
        "seconds": 50.0 + seed,
    }


def find_record(**changes):
    runs = [run(task, seed) for task in ("images", "texts") for seed in range(2)]
    return {"command": "find it", "samples": 5000, "share": 0.05, "runs": runs} | changes


def test_errors_found_by_kind_of_data():
    text = review_tables.find_errors(find_record())
    (rows,) = tables(text)
    head = ["recall", "precision", "of the first k", "right class", "estimated", "interval", "time"]
    values = ["90.5 ± 0.7", "60.0 ± 0.0", "80.0 ± 0.0", "95.0 ± 0.0", "6.0 ± 0.0", "3.0 to 9.0", "50 ± 1 s"]
    assert list(rows) == ["", "---", review_tables.TASKS["images"], review_tables.TASKS["texts"]]
    assert rows[""] == head
    assert rows[review_tables.TASKS["images"]] == values
    assert "5,000 samples, of which 5 % got a wrong label" in text
    assert "2 seeds" in text


def test_intervals_of_a_model_that_was_still_learning_are_left_out():
    runs = [run("images", 0, None), run("images", 1, (0.02, 0.04)), run("texts", 0, None)]
    (rows,) = tables(review_tables.find_errors(find_record(runs=runs)))
    assert rows[review_tables.TASKS["images"]][5] == "2.0 to 4.0"
    assert rows[review_tables.TASKS["texts"]][5] == "–"


def test_accuracy_before_and_after():
    entry = {"wrong": 250, "relabelled": 240, "kept": 150}
    entry |= {"before": {"plain": 0.8, "rrm": 0.84}, "after": {"plain": 0.85, "rrm": 0.86}}
    text = review_tables.round_trip({"command": "go round", "samples": 5000, "runs": [entry]})
    (rows,) = tables(text)
    assert rows["labels as given"] == ["80.0", "84.0"]
    assert rows["after the corrections"] == ["85.0", "86.0"]
    assert "250 of 5,000 labels are wrong; 240 of them" in text
    assert "150 flagged labels that are correct were kept" in text


def test_size_and_times_of_pages():
    page = {"samples": 1000, "bytes": 7_330_000, "seconds_to_open": [0.9, 0.8, 1.25]}
    page |= {"ms_decision": [3.0, 4.0, 5.0], "ms_search": [30.0, 20.0, 10.0]}
    (rows,) = tables(review_tables.review_page({"command": "open it", "repeats": 3, "pages": {"images": page}}))
    cells = ["7.3 MB", "0.9 s (0.8 to 1.2)", "4 ms (3 to 5)", "20 ms (10 to 30)"]
    assert rows["1,000 thumbnails of photographs"] == cells


def banking_record():
    names = ("text", "given_label", "predicted_label", "judgement", "better_label")
    rows = [
        ("Where is\nit?", "a", "b", "wrong", "c"),
        ("a | b", "d", "e", "debatable", ""),
        ("x | y", "d", "e", "wrong", "e"),
    ]
    first = [dict(zip(names, row, strict=True)) for row in rows]
    return {"command": "read", "counts": {"wrong": 2, "debatable": 1, "right": 0}, "first": first}


def test_judgement_in_a_sentence():
    text = review_tables.banking77(banking_record())
    assert text.startswith("Of the first 3 of the list, **2 labels are wrong**, 1 are debatable")


def test_wrong_labels_are_listed_with_their_rank():
    lines = review_tables.banking77_list(banking_record()).splitlines()
    assert lines[2] == "| 1 | Where is it? | `a` | `c` | `b` |"
    assert lines[3] == "| 3 | x \\| y | `d` | `e` | `e` |"
    assert "CC BY 4.0" in lines[-1]
