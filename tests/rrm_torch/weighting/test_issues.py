from __future__ import annotations

import numpy as np
import pytest
import torch

import rrm_review
from rrm_torch import RRM, BatchRRM

N = 1000
LABELS = torch.arange(N) % 10


def trained(rounds=4, n=N, **settings):
    """Return an RRM after some reweights of random losses, the latest of which are ties mostly."""
    generator = torch.Generator().manual_seed(0)
    rrm = RRM(n, warmup=1, **({"contamination": 0.3} | settings))
    for _ in range(rounds):
        rrm.step(torch.rand(n, generator=generator).mul(1000).round())
    return rrm


def assert_agrees(rrm, **arguments):
    """Assert that the rows of the table are what the RRM says elsewhere."""
    issues = rrm.issues(**arguments)
    index = issues["index"]
    assert index.tolist() == rrm.ranking().tolist()
    assert index[issues["is_label_issue"]].tolist() == rrm.flagged().tolist()
    assert (np.diff(issues["label_quality"]) >= 0).all()
    assert 0 < issues["label_quality"][0] <= issues["label_quality"][-1] == 1
    np.testing.assert_array_equal(issues["sample_weight"], rrm.weights.numpy()[index])
    np.testing.assert_array_equal(issues["loss"], rrm.losses.numpy()[index])
    np.testing.assert_array_equal(issues["share_pruned"].astype(np.float32), rrm.trajectory.share_pruned.numpy()[index])
    return issues


def test_rows_agree_with_ranking_flagged_and_weights():
    predictions = LABELS.flip(0)
    issues = assert_agrees(trained(mu=0.7), labels=LABELS, predictions=predictions, ids=[f"{i}.png" for i in range(N)])
    index = issues["index"]
    assert issues["given_label"].tolist() == LABELS[index].tolist()
    assert issues["predicted_label"].tolist() == predictions[index].tolist()
    assert issues["id"].tolist() == [f"{i}.png" for i in index]


def test_sums_that_differ_in_the_last_bit_keep_their_order():
    # The quotients by 3 of sums that are neighbours are equal in float32, and so would be their order.
    rrm = RRM(100_000, contamination=0.01, warmup=1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        rrm.step(1 + torch.rand(100_000, generator=generator))
    assert_agrees(rrm)
    mean_excess = rrm.trajectory.mean_excess[rrm.ranking()]
    quality = torch.from_numpy(rrm.issues()["label_quality"])
    assert ((mean_excess.diff() == 0) & (quality.diff() > 0)).any()


def test_float64_losses_keep_their_type():
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.step(torch.rand(N, dtype=torch.float64))
    issues = assert_agrees(rrm)
    assert issues["sample_weight"].dtype == issues["loss"].dtype == np.float64


def test_before_the_first_reweight_nothing_is_an_issue():
    issues = RRM(5, contamination=0.2).issues(labels=LABELS[:5])
    assert issues["index"].tolist() == [0, 1, 2, 3, 4]
    assert not issues["is_label_issue"].any()
    assert issues["label_quality"].tolist() == issues["sample_weight"].tolist() == [1] * 5
    assert np.isnan(issues["loss"]).all()
    assert np.isnan(issues["share_pruned"]).all()


def test_samples_that_were_never_seen_are_the_least_suspicious():
    rrm = RRM(8, contamination=0.25, warmup=1, unseen="latest")
    for _ in range(2):
        rrm.weighted_mean(torch.tensor([1.0, 5, 2, 4, 3, 6]), torch.tensor([7, 6, 5, 3, 1, 0]))
        rrm.step()
    issues = rrm.issues()
    assert issues["index"].tolist() == rrm.ranking().tolist() == [0, 6, 3, 1, 5, 7, 2, 4]
    assert np.isnan(issues["share_pruned"][issues["index"] == 2]).all()
    assert issues["label_quality"][5:].tolist() == [0.75, 1, 1]


def test_batch_rrm_has_the_table():
    rrm = BatchRRM(4, contamination=0.5, warmup=1)
    for _ in range(3):
        rrm.weighted_mean(torch.tensor([0.1, 9.0, 0.2, 0.3]), torch.arange(4))
        rrm.step()
    assert assert_agrees(rrm)["is_label_issue"].tolist() == [True, True, False, False]


def test_table_does_not_change_with_the_weights():
    rrm = trained()
    issues = rrm.issues(order="index")
    rrm.weights.fill_(7)
    assert not (issues["sample_weight"] == 7).any()


def test_tensors_of_any_kind_are_taken():
    logits = torch.randn(N, 10, requires_grad=True).bfloat16()
    issues = trained().issues(labels=LABELS.int(), predictions=logits, ids=LABELS, order="index")
    assert issues["predicted_label"].tolist() == logits.argmax(1).tolist()
    assert issues["id"].tolist() == issues["given_label"].tolist() == LABELS.tolist()


def test_wrong_arguments_are_refused():
    rrm = trained()
    with pytest.raises(ValueError, match=r"labels must have shape \(1000,\), one per sample, got \(999,\)"):
        rrm.issues(labels=LABELS[1:])
    with pytest.raises(TypeError, match="labels must be integers or strings, got float32"):
        rrm.issues(labels=LABELS.float())
    with pytest.raises(ValueError, match="order must be 'suspicion' or 'index', got 'loss'"):
        rrm.issues(order="loss")


def test_cleanlab_takes_the_table_in_index_order():
    """CleanLearning fits on the samples that are no issues, and refuses a table in another order."""
    classification = pytest.importorskip("cleanlab.classification", reason="cleanlab is not installed")
    linear_model = pytest.importorskip("sklearn.linear_model")
    truth = LABELS.numpy() % 3
    x = np.eye(3)[truth] + np.random.default_rng(0).normal(0, 0.1, (N, 3))
    labels = truth.copy()
    labels[:100] = (labels[:100] + 1) % 3
    rrm = RRM(N, contamination=0.1, warmup=1)
    rrm.step(torch.from_numpy(np.square(x - np.eye(3)[labels]).sum(1)))

    table = rrm_review.to_frame(rrm.issues(labels=labels, predictions=truth, ids=np.arange(N), order="index"))
    learner = classification.CleanLearning(linear_model.LogisticRegression(), verbose=False)
    learner.fit(x, labels, label_issues=table)
    kept = learner.get_label_issues()
    assert kept["is_label_issue"].tolist() == [True] * 100 + [False] * (N - 100)
    assert kept["sample_weight"].tolist() == rrm.weights.tolist()
    assert (learner.predict(x) == truth).all()
    with pytest.raises(ValueError, match="labels must match label_issues"):
        learner.fit(x, labels, label_issues=rrm_review.to_frame(rrm.issues(labels=labels)))
