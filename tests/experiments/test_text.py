"""The experiment on texts: every method, in small."""

from __future__ import annotations

import json
import lzma

import numpy as np
import pytest

from experiments import sms_task, text
from experiments.runner.jobs import Job

pytest.importorskip("sklearn")

N_SMS = 240
SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with made-up texts under the names of the three data sets."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)

    def words(label, n_classes=2):
        own = rng.integers(0, 4, 6) * n_classes + label
        return " ".join(f"w{number}" for number in [*own, *rng.integers(0, 8, 3)])

    with lzma.open(folder / "imdb.jsonl.xz", "wt", encoding="utf-8") as file:
        for i in range(800):
            row = {"split": ("train", "test")[i // 400], "label": i % 2, "text": words(i % 2)}
            file.write(json.dumps(row) + "\n")
    with lzma.open(folder / "banking77.tsv.xz", "wt", encoding="utf-8") as file:
        file.write("split\tlabel\ttext\n")
        file.writelines(f"{('train', 'test')[i // 300]}\t{'abc'[i % 3]}\t{words(i % 3, 3)}\n" for i in range(600))
    with lzma.open(folder / "sms_rules.tsv.xz", "wt", encoding="utf-8") as file:
        file.write("split\tlabel\trule_label\tn_rules_fired\ttext\n")
        for split in SPLITS:
            for i in range(N_SMS):
                # On one of four messages no rule fires. Where two fire, a quarter of the labels is wrong, of those to
                # check about half as many.
                n_fired = i % 4
                is_wrong = i % 16 == 2 and not (split == "valid" and i > N_SMS // 2)
                rule_label = "" if n_fired == 0 else ("ham", "spam")[(i // 4 + is_wrong) % 2]
                file.write(f"{split}\t{('ham', 'spam')[i // 4 % 2]}\t{rule_label}\t{n_fired}\t{words(i // 4 % 2)}\n")
    return folder


def small_job(name, noise, method):
    settings = json.loads(json.dumps(text.make_settings(name, noise, method)))
    settings["recipe"] |= {"epochs": 6, "batch_size": 20}
    if name == "imdb":
        settings["samples"] = 200
    return Job(f"{name}, {noise}: {method}", settings, 0)


# With 40 % wrong labels of two classes, a model of few epochs may not differ from chance.
@pytest.mark.filterwarnings("ignore:when the warm-up ended")
@pytest.mark.parametrize(
    "row", [(name, noise, method) for name, noise in text.ROWS for method in text.methods_of(name, noise)]
)
def test_result_is_json_and_better_than_chance(row, data, tmp_path):
    result = text.execute(small_job(*row), data, tmp_path / "run.pt", lambda done, total: None)
    result = json.loads(json.dumps(result, allow_nan=False))
    assert result["best_accuracy"] > 0.5
    assert ("rounds" in result) == (row[2] not in (text.PLAIN, text.CORRECT))
    shares = {"symmetric 0.2": 0.2, "symmetric 0.4": 0.4, "clean": 0.0, "rules": 1 / 12}
    assert result["true_share"] == pytest.approx(shares[row[1]], abs=0.002)
    assert result["n"] == {"imdb": 200, "banking77": 300, "sms": 165 if row[2] == text.CORRECT else 180}[row[0]]


def test_messages_are_grouped_by_how_many_rules_fired(data):
    grouped = sms_task.load_sms(data / sms_task.FILE)
    assert np.bincount(grouped.groups).tolist() == [60, 60, 60]
    np.testing.assert_allclose(grouped.true_shares, [0, 0.25, 0])
    np.testing.assert_allclose(grouped.checked_shares, [0, 8 / 60, 0])
    assert len(grouped.task.y_test) == N_SMS
    assert grouped.task.wrong.sum() == 15
    assert (grouped.groups[grouped.task.wrong] == 1).all()


def test_quotas_prune_as_many_of_a_group_as_were_wrong_of_those_checked(data, tmp_path):
    job = small_job("sms", "rules", "quotas, checked")
    found = text.execute(job, data, tmp_path / "run.pt", lambda done, total: None)["groups"]
    assert found["size"] == [60, 60, 60]
    assert found["pruned"] == [0, 8, 0]
    assert found["wrong_pruned"][1] > 2  # as many as by chance
    assert "estimated" not in found


def test_estimated_quotas_are_of_the_result(data, tmp_path):
    job = small_job("sms", "rules", "quotas, auto")
    found = text.execute(job, data, tmp_path / "run.pt", lambda done, total: None)["groups"]
    assert len(found["estimated"]) == 3


def test_only_rows_with_wrong_labels_are_told_the_share():
    methods = {job.method for job in text.jobs(1)}
    assert "imdb, symmetric 0.4: true" in methods
    assert "banking77, clean: auto" in methods
    assert not any("banking77, clean: true" in method for method in methods)
    assert not any("quotas" in method for method in methods if not method.startswith("sms"))
