"""Each recipe runs from the files of its stand-in to the result."""

from __future__ import annotations

import pytest

from experiments import registry
from experiments.recipes import recipe
from support.recipe_runs import job_of, run_quickly

EPOCHS = recipe.QUICK["epochs"]
DRAWN = recipe.QUICK_OPTIONS["epoch_samples"]

# A method, the samples and classes, the sets it is tested on, and how many samples RRM prunes in the last epoch.
SINGLE = [
    ("cifar100n", "CE + RRM", 200, 100, {"test"}, 80),
    ("clothing1m", "CE + RRM", 112, 14, {"val", "test"}, int(0.38 * DRAWN)),
    ("food101n", "CE + RRM", 202, 101, {"test"}, 40),
    ("animal10n", "CE + RRM", 100, 10, {"test"}, 8),
    ("webvision", "CE + RRM", 100, 50, {"test", "imagenet"}, 20),
    ("medmnist", "pathmnist, pair 0.2: CE + RRM", 120, 9, {"val", "test"}, 24),
    ("medmnist", "pneumoniamnist, symmetric 0.3: CE + RRM", 120, 2, {"val", "test"}, 36),
    ("imdb", "symmetric 0.4: CE + RRM", 300, 2, {"test"}, 120),
    ("jigsaw", "symmetric 0.2: CE + RRM", 400, 2, {"test"}, 80),
    ("wrench", "sms: CE + RRM, rules, checked", 242, 2, {"val", "test"}, None),
]
SYSTEMS = [
    ("cifar100n", "DivideMix + RRM", 200),
    ("cifar100n", "ProMix + RRM", 200),
    ("clothing1m", "CC + RRM", 112),
    ("animal10n", "CC + RRM", 100),
    ("webvision", "DivideMix + RRM", 100),
]


def check_result(result, n, n_classes):
    assert (result["n"], result["n_classes"]) == (n, n_classes)
    assert {len(curve) for curve in result["epochs"].values()} == {EPOCHS}
    accuracies = result["epochs"]["test"]
    assert result["accuracy"] == pytest.approx(accuracies[-1], abs=1e-4)
    assert result["best_accuracy"] == pytest.approx(max(accuracies), abs=1e-4)
    assert result["best_epoch"] == accuracies.index(max(accuracies)) + 1
    assert len(result["class_recall"]) == n_classes
    assert all(share is None or 0 <= share <= 1 for share in result["class_recall"])


@pytest.mark.parametrize(("name", "method", "n", "n_classes", "tests", "n_pruned"), SINGLE)
def test_cross_entropy_with_rrm(name, method, n, n_classes, tests, n_pruned, tmp_path):
    epochs = []
    result = run_quickly(name, method, tmp_path, lambda done, total: epochs.append((done, total)))
    assert epochs == [(epoch, EPOCHS) for epoch in range(1, EPOCHS + 1)]
    check_result(result, n, n_classes)
    assert tests <= result["epochs"].keys() <= tests | {"loss", "pruned", "precision", "recall"}
    assert ("chosen_accuracy" in result) == ("val" in tests)
    assert result["epochs"]["pruned"][-1] > 0
    if n_pruned is not None:
        assert result["epochs"]["pruned"][-1] == n_pruned


@pytest.mark.parametrize(("name", "method", "n"), SYSTEMS)
def test_system_with_rrm(name, method, n, tmp_path):
    result = run_quickly(name, method, tmp_path)
    check_result(result, n, result["n_classes"])
    pruned = result["epochs"]["pruned"]
    assert pruned[0] is None  # the warm-up
    assert all(0 <= number < n for number in pruned[1:])
    if name in ("cifar100n", "webvision"):
        assert pruned[-1] > 0


@pytest.mark.parametrize(("name", "method"), [("medmnist", "pathmnist, pair 0.2: CE"), ("clothing1m", "CC")])
def test_without_rrm_nothing_is_pruned(name, method, tmp_path):
    assert "pruned" not in run_quickly(name, method, tmp_path)["epochs"]


def test_pruned_reviews_are_those_with_wrong_labels(tmp_path):
    result = run_quickly("imdb", "symmetric 0.2: CE + RRM", tmp_path)
    assert result["wrong"] == pytest.approx(0.2)
    assert result["epochs"]["precision"][-1] > 0.9
    assert result["epochs"]["recall"][-1] > 0.9
    assert result["accuracy"] > 0.9


# Three epochs are too few to learn enough.
@pytest.mark.filterwarnings("ignore:when the warm-up ended:UserWarning", "ignore:the warm-up ended:UserWarning")
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("jigsaw", "own labels: CE + RRM, auto"),
        ("wrench", "agnews: CE + RRM, rules, auto"),
        ("animal10n", "CE + RRM, auto"),
    ],
)
def test_estimated_contamination_is_recorded(name, method, tmp_path):
    result = run_quickly(name, method, tmp_path)
    assert 0 <= result["estimate"]["contamination"] < 1


def test_vote_of_rules_needs_no_training(tmp_path):
    result = run_quickly("wrench", "youtube: majority vote", tmp_path)
    assert set(result) == {"accuracy", "coverage", "decided_accuracy"}
    assert result["coverage"] < 1
    assert result["decided_accuracy"] > result["accuracy"] > 0.5


@pytest.mark.parametrize(("name", "method"), [("clothing1m", "CE + RRM"), ("imdb", "symmetric 0.2: CE + RRM")])
def test_run_resumes_from_its_checkpoint(name, method, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(done, total):
        if done == 2:
            raise StoppedError

    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = run_quickly(name, method, tmp_path / "whole")
    with pytest.raises(StoppedError):
        run_quickly(name, method, tmp_path / "parts", stop)
    epochs = []
    resumed = run_quickly(name, method, tmp_path / "parts", lambda done, total: epochs.append(done))
    assert epochs == [EPOCHS]
    assert resumed == whole


@pytest.mark.parametrize("name", registry.RECIPES)
def test_quick_version_has_all_methods_with_the_small_network(name):
    full = registry.load(name)
    quick = full.quick_version().jobs(3)
    assert [job.method for job in quick] == [job.method for job in full.jobs(1)]
    assert {job.settings["network"] for job in quick} <= {"small", "perceptron"}
    assert len({job.key for job in quick} | {job.key for job in full.jobs(2)}) == 3 * len(quick)
    assert job_of(name, quick[0].method).settings["stand_in"]
