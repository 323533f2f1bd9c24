"""The tables of the experiments' records, and what render.py makes of records, old ones, drafts and missing ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.pages import experiment_record, experiment_tables, figure_sources, render
from support import made_up_records

ROOT = Path(__file__).parents[3]
# The tables of means over data sets have tests of their own, in test_tabular_tables.py.
TABULAR = "tabular"
BLOCKS = [(name, block) for name, blocks in render.EXPERIMENTS.items() if name != TABULAR for block in blocks]


def cells(text):
    """Return the rows of all tables in a text: the first cell -> the others."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {first: rest for first, *rest in rows}


def test_table6():
    rows = cells(experiment_tables.table6(made_up_records.table6()))
    assert rows[""][3:] == [
        "wrong labels pruned, of 10",
        "wrong labels of weight below 0.05",
        "clean labels pruned, of 40",
        "clean labels of nominal weight",
    ]
    assert rows["plain training"] == ["71.0 ± 1.4", "81.0 ± 1.4", "25.0 ± 0.0", *["–"] * 4]
    for method in ("RRM, contamination 0.2, kept", "RRM, argmin"):  # 8 and 7, 2 and 3, 38 and 37
        assert rows[method] == ["71.0 ± 1.4", "81.0 ± 1.4", "25.0 ± 0.0", "8 ± 1", "8 ± 1", "2 ± 1", "38 ± 1"]


def test_table6_weights():
    text = experiment_tables.table6_weights(made_up_records.table6())
    rows = cells(text)
    edges = ["0 to 0.05", "0.05 to 0.5", "0.5 to 0.95", "0.95 to 1.05", "1.05 to 1.5", "1.5 to 2", "2 to 10"]
    assert rows["weight"] == [*edges, "10 and more"]
    zero = "0 ± 0"
    kept = "RRM, contamination 0.2, kept"
    assert rows[f"{kept}: clean labels"] == ["2 ± 1", zero, zero, zero, "38 ± 1", zero, zero, zero]
    assert rows["RRM, argmin: wrong labels"] == ["8 ± 1", zero, zero, "2 ± 1", zero, zero, zero, zero]
    assert not [row for row in rows if row.startswith("plain")]


def test_adversarial_has_a_table_for_each_noise_rate():
    text = experiment_tables.adversarial(made_up_records.adversarial())
    first, second, _ = text.split("\n\n")
    head = ["memorised", "FGSM, ε 0", "FGSM, ε 0.1", "PGD, ε 0", "PGD, ε 0.1"]
    assert cells(first)["20 % wrong labels"] == cells(second)["30 % wrong labels"] == head
    at = ["25.0 ± 0.0", "51.0 ± 1.4", "41.0 ± 1.4", "51.0 ± 1.4", "31.0 ± 1.4"]
    assert cells(first)["AT, FGSM"] == at
    assert cells(second)["A-RRM, FGSM, fresh losses"][1:3] == ["81.0 ± 1.4", "71.0 ± 1.4"]


def test_cifar10n():
    rows = cells(experiment_tables.cifar10n(made_up_records.cifar10n()))
    assert rows[""] == ["aggre", "random1", "worst"]
    assert rows["CCE"] == ["82.0 ± 1.4 (92.0 ± 1.4)", "74.0 ± 1.4 (84.0 ± 1.4)", "51.0 ± 1.4 (61.0 ± 1.4)"]
    assert rows["RRM"][2] == "56.0 ± 1.4 (66.0 ± 1.4)"


def test_cifar10n_fit():
    record = made_up_records.cifar10n()
    record["runs"][1]["result"]["precision"] = None  # the first seed of RRM on "aggre" pruned nothing
    lines = experiment_tables.cifar10n_fit(record).splitlines()
    assert lines[2:5] == [
        "| **aggre** |  |  |  |  |",
        "| CCE | 25.0 ± 0.0 | 87.5 ± 0.0 | – | – |",
        "| RRM | 25.0 ± 0.0 | 87.5 ± 0.0 | 60.0 ± 14.1 | 77.8 |",
    ]
    assert lines[10] == "| RRM | 25.0 ± 0.0 | 87.5 ± 0.0 | 60.0 ± 14.1 | 74.6 ± 4.5 |"


def test_real_noise_states_the_size():
    assert experiment_tables.real_noise(made_up_records.cifar10n()) == (
        "Photographs with the labels that people gave them (CIFAR-10N's worst, about 40 % wrong; 10,000 of 50,000 "
        "images, a small residual network, 3 epochs, 2 seeds): plain training ends at **51.0 ± 1.4 %** test accuracy, "
        "RRM at **56.0 ± 1.4 %**, and of the wrong labels it finds **60.0 ± 14.1 %**."
    )


def test_fashion_synthetic():
    accuracy, learnt, _ = experiment_tables.fashion_synthetic(made_up_records.fashion()).split("\n\n")
    assert cells(accuracy)["test accuracy, %"] == ["10 %", "20 %", "30 %"]
    assert cells(accuracy)["CCE"] == ["65.0 ± 7.1"] * 3
    assert cells(learnt)["CCE + RRM"] == ["25.0 ± 0.0"] * 3 + ["80.0 ± 0.0"] * 3
    assert cells(learnt)["MAE + RRM"][3:] == ["0.0 ± 0.0"] * 3
    assert cells(learnt)["MAE"][3:] == ["–"] * 3


def test_gains_are_paired_by_seed():
    record = made_up_records.fashion()
    record["runs"].reverse()
    rows = cells(experiment_tables.fashion_gains(record))
    assert rows["gain"] == ["30 %", "20 %", "10 %"]
    # Seed by seed 30 and 33; unpaired, the spread would be that of the seeds, 7 points.
    assert rows["CCE + RRM"] == ["+31.5 ± 2.1", "+21.0 ± 1.4", "+10.5 ± 0.7"]
    assert rows["MAE + RRM"][0] == "−3.2 ± 0.2"
    assert rows["the paper, CIFAR-10, CCE"] == ["+6.6", "+3.5", "+2.3"]
    assert rows["the paper, CIFAR-10, MAE"] == ["−5.3", "–", "–"]


def test_ablation_grid():
    lines = experiment_tables.ablation_grid(made_up_records.ablation()).splitlines()
    assert lines[0] == (
        "| redistribute | no augmentation, scale mean | no augmentation, scale paper | strong augmentation, scale mean "
        "| strong augmentation, scale paper |"
    )
    accuracy, weight = (
        lines.index("| **test accuracy, %** |  |  |  |  |"),
        lines.index("| **largest weight ever** |  |  |  |  |"),
    )
    assert lines[accuracy + 1] == "| plain | 71.0 ± 1.4 | 51.0 ± 1.4 | 61.0 ± 1.4 | 41.0 ± 1.4 |"
    assert lines[accuracy + 3] == "| `kept` | 81.0 ± 1.4 | 61.0 ± 1.4 | 71.0 ± 1.4 | 51.0 ± 1.4 |"
    assert lines[weight + 1 : weight + 4] == [
        "| plain | – | – | – | – |",
        "| `argmin` |" + " 3,001 ± 1 |" * 4,
        "| `kept` |" + " 1.25 ± 0.00 |" * 4,
    ]


def test_ablation_settings():
    rows = cells(experiment_tables.ablation_settings(made_up_records.ablation()))
    assert rows["plain training"] == ["71.0 ± 1.4", "25.0 ± 0.0", "–", "–"]
    base = "RRM: contamination 0.3, warm-up 10, mu 1, recorded losses"
    assert rows[base] == ["81.0 ± 1.4", "25.0 ± 0.0", "80.0 ± 0.0", "1.25 ± 0.00"]
    assert rows["mu 0.5"] == ["55.0 ± 0.0", "25.0 ± 0.0", "80.0 ± 0.0", "2.50 ± 0.00"]
    assert list(rows)[-2:] == ["recorded losses, augmentation strong", "fresh losses, augmentation strong"]
    assert rows["recorded losses, augmentation strong"][0] == "71.0 ± 1.4"


def test_every_table_states_its_provenance():
    for name, block in BLOCKS:
        if block is not experiment_tables.real_noise:
            record = made_up_records.RECORDS[name]()
            assert block(record).endswith(
                f"`{record['command']}`; {experiment_record.seeds(record)}; {len(record['runs'])} runs, 1.5 hours "
                "of machine time in all, 2 at a time. P, 2 cores; python 3, torch 1 and 2; commit 0123456789, today."
            )


def test_unknown_and_dirty_commits_are_shown():
    record = made_up_records.table6() | {"commit": [None, "abcdef0123456789-dirty"], "seconds": 90}
    for run in record["runs"]:
        run["workers"] = 1
    text = experiment_record.provenance(record)
    assert "2 minutes of machine time in all. P" in text
    assert "commits unknown and abcdef0123-dirty, today." in text
    record["commit"].append("9876543210")
    assert "commits unknown, abcdef0123-dirty and 9876543210, today." in experiment_record.provenance(record)


def test_single_seed_has_no_deviation():
    for name, block in BLOCKS:
        record = made_up_records.RECORDS[name]()
        record["runs"] = [run for run in record["runs"] if run["seed"] == 0]
        text = block(record)
        assert "one seed" in text
        assert "±" not in text


def test_rows_may_have_different_numbers_of_seeds():
    record = made_up_records.auto()
    record["runs"] = [run for run in record["runs"] if run["seed"] == 0 or run["settings"]["data"] == "digits"]
    experiment_record.require_complete(record)
    assert experiment_record.seeds(record) == "mean ± standard deviation over 1 to 2 seeds"


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_partial_record_is_rejected(name, block):
    record = made_up_records.RECORDS[name]()
    with pytest.raises(SystemExit, match=r"draft that lacks 3 runs, and isn't rendered: finish them"):
        block(record | {"missing": 3})
    if name == "auto_large":  # one method in a row, and rows may have different numbers of seeds
        return
    with pytest.raises(SystemExit, match="as many seeds for every method"):
        block(record | {"runs": record["runs"][1:]})


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Let render.py work at a folder with a page that shows a block, and a picture, of the ablation."""
    page = tmp_path / "README.md"
    page.write_text("<!-- begin ablation_grid -->\n<!-- end -->\n\n![A grid](docs/images/results_ablation.png)\n")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "PAGES", (page,))
    return tmp_path


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["render.py", *arguments])
    return render.main()


def keep(checkout, record):
    (checkout / "benchmarks" / "results" / "experiment_ablation.json").write_text(json.dumps(record))


def test_blocks_of_every_experiment_are_registered():
    assert render.EXPERIMENTS.keys() == {*made_up_records.RECORDS, TABULAR}
    blocks = {"auto_estimates", "auto_accuracy", "detection_order", "detection_lists"}
    assert blocks <= render.BLOCKS.keys()


@pytest.mark.parametrize("block", [block.__name__ for _, block in BLOCKS] + ["training_cost", "trainer"])
def test_block_without_a_record(checkout, block):
    assert render.BLOCKS[block]() == "Not recorded yet."


def test_outdated_figure_is_reported_and_redrawn(checkout, monkeypatch, capsys):
    picture = checkout / "docs" / "images" / "results_ablation.png"
    assert call(monkeypatch, "--check") == 1
    assert "README.md shows results_ablation.png, of which there is no record" in capsys.readouterr().out
    record = made_up_records.ablation()
    keep(checkout, record)
    assert call(monkeypatch, "--check") == 1
    assert not picture.exists()
    assert call(monkeypatch) == 0
    assert capsys.readouterr().out.endswith("drew docs/images/results_ablation.png\nwrote README.md\n")
    assert figure_sources.source(picture) == experiment_record.digest(record)
    before = picture.stat().st_mtime_ns
    assert (call(monkeypatch, "--check"), call(monkeypatch)) == (0, 0)
    assert picture.stat().st_mtime_ns == before

    path = checkout / "benchmarks" / "results" / "experiment_ablation.json"
    path.write_text(json.dumps(dict(reversed(record.items())), indent=3))
    assert call(monkeypatch, "--check") == 0  # the same record, laid out in another way
    record["runs"][0]["result"]["epochs"]["loss"][0] = 3.5  # which no table shows
    keep(checkout, record)
    capsys.readouterr()
    assert call(monkeypatch, "--check") == 1
    assert "which wasn't drawn from experiment_ablation.json" in capsys.readouterr().out
    assert (call(monkeypatch), call(monkeypatch, "--check")) == (0, 0)
    keep(checkout, record | {"missing": 1})
    with pytest.raises(SystemExit, match="isn't rendered"):
        call(monkeypatch)


def test_source_of_other_files_is_none(tmp_path):
    path = tmp_path / "picture.png"
    assert figure_sources.source(path) is None
    for content in (b"", b"GIF89a", figure_sources.SIGNATURE, (ROOT / "docs/images/demo_weights.png").read_bytes()):
        path.write_bytes(content)
        assert figure_sources.source(path) is None


def test_check_imports_neither_matplotlib_nor_torch():
    code = (
        "import sys; from benchmarks.pages import render; "
        "sys.exit(any(name in sys.modules for name in ('matplotlib', 'PIL', 'torch')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_training_cost(checkout):
    quartiles = {"median": 10.0, "quartile1": 9.5, "quartile3": 11.0}
    run = made_up_records.record("", []) | {
        "what": "a net",
        "commit": "c" * 40,
        "ms per batch": {"plain": quartiles, "rrm": quartiles | {"median": 10.1}},
        "batches": 1234,
        "ms of the difference": quartiles | {"median": 0.05, "quartile1": -1.0},
        "ms of the line": {"plain": quartiles, "rrm": quartiles | {"median": 0.0512}},
        "ms of step": {"median": 1.0, "quartile1": 0.9, "quartile3": 1.25},
        "added to an epoch, %": 0.534,
    }
    (checkout / "benchmarks" / "results" / "training_cost.json").write_text(json.dumps(run))
    rows = cells(render.training_cost())
    assert rows["a batch with RRM"] == ["10.1 ms (9.5–11)"]
    assert rows["the difference of two batches"] == ["0.05 ms (-1–11)"]
    assert rows["the line that differs, with RRM"] == ["0.0512 ms (9.5–11)"]
    assert rows["`RRM.step()` at an epoch's end"] == ["1 ms (0.9–1.25)"]
    assert rows["**added to an epoch**"] == ["**0.53 %**"]
    assert "a net: medians (quartiles) of 1,234 batches" in render.training_cost()
