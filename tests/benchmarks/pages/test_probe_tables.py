"""The tables of the experiment with linear classifiers of frozen features."""

from __future__ import annotations

from benchmarks.pages import probe_tables
from support import made_up_records


def parts(text):
    """Return the tables of a text, each as first cell -> others, and the paragraphs between and after them."""
    tables = []
    paragraphs = []
    for part in text.split("\n\n"):
        if not part.startswith("|"):
            paragraphs.append(part)
            continue
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
        tables.append({first: rest for first, *rest in rows})
    return tables, paragraphs


def test_accuracy_is_compared_with_plain_training_in_the_last_and_in_the_best_epoch():
    (last, best), _ = parts(probe_tables.probe_accuracy(made_up_records.linear_probe()))
    head = ["aggre", "random1", "worst", "aggre, − plain", "random1, − plain", "worst, − plain"]
    assert last["test accuracy, last epoch, %"] == best["test accuracy, best epoch, %"] == head
    assert last["plain"] == ["81.0 ± 1.4", "81.0 ± 1.4", "51.0 ± 1.4", "", "", ""]
    noise = "+0.5 ± 0.5, within noise"
    assert last["RRM, auto"] == ["81.5 ± 2.1", "81.5 ± 2.1", "56.0 ± 1.4", noise, noise, "+5.0 ± 0.0"]
    assert last["cleanlab"] == ["71.0 ± 1.4", "71.0 ± 1.4", "41.0 ± 1.4", *["−10.0 ± 0.0"] * 3]
    assert best["plain"][0] == "91.0 ± 1.4"


def test_sentence_names_what_is_better_and_what_is_worse():
    _, (last, _, note) = parts(probe_tables.probe_accuracy(made_up_records.linear_probe()))
    assert last == (
        "Last epoch: of 6 differences, 1 (RRM, auto on worst: +5.0) are above 0 by more than two standard errors, 3 "
        "(cleanlab on aggre: −10.0; cleanlab on random1: −10.0; cleanlab on worst: −10.0) below, and 2 within noise."
    )
    assert "40,000 of 50,000 images, drawn anew for each seed, at 160 pixels; 3 epochs." in note


def test_pruned_labels_estimate_and_time():
    ((rows,), (note,)) = parts(probe_tables.probe_pruned(made_up_records.linear_probe()))
    assert rows[""][-2:] == ["estimate of C, %", "seconds"]
    assert rows["worst: RRM, auto"] == [
        *("25.0 ± 0.0", "87.5 ± 0.0", "70.0 ± 14.1", "50.0 ± 0.0", "35.0 ± 0.0", "50.0 ± 0.0")
    ]
    assert rows["aggre: plain"] == ["25.0 ± 0.0", "87.5 ± 0.0", "–", "–", "–", "50.0 ± 0.0"]
    assert "Wrong in fact: aggre 10.5 %, random1 10.5 %, worst 40.5 %." in note


def test_single_seed_has_no_standard_error():
    record = made_up_records.linear_probe()
    record["runs"] = [run for run in record["runs"] if run["seed"] == 0]
    (last, _), (sentence, *_) = parts(probe_tables.probe_accuracy(record))
    assert last["cleanlab"][-1] == "−10.0"
    assert sentence == "Last epoch: one seed has no standard error."
