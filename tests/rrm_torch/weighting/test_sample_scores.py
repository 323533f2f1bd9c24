"""Scores that rank samples in place of their losses, against their definitions, and in RRM."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import rrm_core
from rrm_torch import RRM, batches, fit
from rrm_torch.weighting.held_out import held_out
from rrm_torch.weighting.sample_scores import (
    as_columns,
    class_shares,
    noise_aware_loss,
    prior_adjusted_loss,
    transition_matrix,
)
from support import estimate_jobs
from support.layout_jobs import differences

N = 600
K = estimate_jobs.N_CLASSES


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(50, K, generator=generator), torch.randint(0, K, (50,), generator=generator)


def test_noise_aware_loss_is_the_posterior_of_the_given_class(batch):
    logits, labels = batch
    transition = torch.rand(K, K, generator=torch.Generator().manual_seed(1))
    transition /= transition.sum(1, keepdim=True)
    expected = []
    for row, y in zip(logits.tolist(), labels.tolist(), strict=True):
        p = np.exp(row) / np.exp(row).sum()
        total = sum(p[k] * transition[k, y].item() for k in range(K))
        expected.append(-math.log(p[y] * transition[y, y].item() / total))
    torch.testing.assert_close(noise_aware_loss(logits, labels, transition.T.log()), torch.tensor(expected))


def test_noise_aware_loss_without_noise_is_zero(batch):
    logits, labels = batch
    scores = noise_aware_loss(logits, labels, torch.eye(K).log())
    assert (scores == 0).all()


def test_prior_adjusted_loss_divides_by_the_prior(batch):
    logits, labels = batch
    prior = torch.tensor([0.7, 0.1, 0.1, 0.1])
    p = logits.softmax(1) / prior
    expected = -(p / p.sum(1, keepdim=True)).log().gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(prior_adjusted_loss(logits, labels, prior), expected)
    uniform = torch.full((K,), 1 / K)
    torch.testing.assert_close(
        prior_adjusted_loss(logits, labels, uniform), F.cross_entropy(logits, labels, reduction="none")
    )


def test_transition_matrix_normalises_the_given_classes_of_each_predicted_one():
    pairs = np.array([[0, 0, 6], [1, 0, 3], [1, 1, 4]])
    estimate = rrm_core.ContaminationEstimate(0.2, None, 13, 2, "", None, pairs)
    # One more sample for each predicted class, spread over three classes.
    expected = torch.tensor([[19 / 30, 10 / 30, 1 / 30], [1 / 15, 13 / 15, 1 / 15], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(transition_matrix(estimate, 3), expected)


def test_class_shares_are_those_of_kept_labels():
    groups = rrm_core.Groups([0] * 6 + [1] * 4)
    _, plan = rrm_core.reweight(np.arange(10.0), groups=groups, contamination=[0.5, 0.0])
    torch.testing.assert_close(class_shares(groups, plan, 2), torch.tensor([3 / 7, 4 / 7]))
    torch.testing.assert_close(class_shares(groups, None, 3), torch.tensor([6 / 11, 4 / 11, 1 / 11]))


def test_one_logit_per_sample_becomes_two_columns():
    torch.testing.assert_close(as_columns(torch.tensor([1.0, -2.0])), torch.tensor([[0.0, 1.0], [0.0, -2.0]]))
    assert as_columns(torch.ones(2, 3, dtype=torch.bfloat16)).dtype == torch.float32


def train(n_epochs, **settings):
    groups = rrm_core.Groups(estimate_jobs.labels_of(N).numpy(), K)
    rrm = RRM(N, groups=groups, **{"contamination": 0.2, "warmup": 3, **settings})
    for epoch in range(n_epochs):
        estimate_jobs.train_epoch(rrm, epoch, torch.arange(N))
        rrm.step()
    return rrm


def test_prior_adjusted_scores_decide_from_the_first_reweight_on():
    rrm = train(3, rank_by="prior-adjusted")
    logits = estimate_jobs.logits_of_epoch(2, N)
    labels = estimate_jobs.labels_of(N)
    prior = torch.bincount(labels, minlength=K) / N
    scores = prior_adjusted_loss(logits, labels, prior)
    assert rrm.flagged().sort().values.tolist() == scores.topk(120).indices.sort().values.tolist()
    torch.testing.assert_close(rrm.losses, F.cross_entropy(logits, labels, reduction="none"))


def test_noise_aware_scores_decide_after_the_estimate():
    rrm = train(5, rank_by="noise-aware")
    logits = estimate_jobs.logits_of_epoch(4, N)
    labels = estimate_jobs.labels_of(N)
    scores = noise_aware_loss(logits, labels, transition_matrix(rrm.estimate, K).T.log())
    assert rrm.flagged().sort().values.tolist() == scores.topk(120).indices.sort().values.tolist()


def test_first_reweight_of_noise_aware_is_by_losses():
    rrm = train(3, rank_by="noise-aware")
    losses = F.cross_entropy(estimate_jobs.logits_of_epoch(2, N), estimate_jobs.labels_of(N), reduction="none")
    losses[held_out(0, N, 0)] = 0
    expected = losses.topk(int(0.2 * rrm.plan.n)).indices
    assert rrm.flagged().sort().values.tolist() == expected.sort().values.tolist()


@pytest.mark.parametrize("rank_by", ["noise-aware", "prior-adjusted"])
def test_scores_have_a_cap_by_default(rank_by):
    assert train(0, rank_by=rank_by).settings.cap == 0.5
    assert train(0, rank_by=rank_by, cap=0.3).settings.cap == 0.3
    assert train(0, rank_by=rank_by, contamination="auto").settings.cap == 0.5
    assert train(0, rank_by=rank_by, contamination=[0.1] * K).settings.cap is None
    assert train(0).settings.cap is None


@pytest.mark.parametrize("rank_by", ["noise-aware", "prior-adjusted"])
@pytest.mark.parametrize("half", [2, 4])
def test_run_resumed_in_mid_epoch_has_the_same_bits(rank_by, half):
    whole = train(6, rank_by=rank_by, mu=0.5)
    first = train(half, rank_by=rank_by, mu=0.5)
    estimate_jobs.train_epoch(first, half, torch.arange(300))
    second = train(0, rank_by=rank_by, mu=0.5)
    second.load_state_dict(first.state_dict())
    estimate_jobs.train_epoch(second, half, torch.arange(300, N))
    second.step()
    for epoch in range(half + 1, 6):
        estimate_jobs.train_epoch(second, epoch, torch.arange(N))
        second.step()
    assert differences(second.state_dict(), whole.state_dict()) == []


def test_samples_without_a_label_rank_by_their_loss(batch):
    rrm = RRM(N, contamination=0.2, groups=estimate_jobs.labels_of(N), rank_by="prior-adjusted")
    logits, _ = batch
    labels = estimate_jobs.labels_of(N)[:50].clone()
    labels[3] = -100
    losses = torch.rand(50)
    rrm.weighted_mean(losses, torch.arange(50), logits=logits, labels=labels)
    assert rrm._buffer.ranking[3] == losses[3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank_by": "doubt"}, "rank_by must be one of 'loss', 'noise-aware', 'prior-adjusted', got 'doubt'"),
        ({"rank_by": "noise-aware"}, "rank_by='noise-aware' needs groups: the given classes of all samples"),
        ({"rank_by": "prior-adjusted", "groups": [0] * N, "contamination": None, "gamma": 1.0}, "got gamma=1.0"),
        ({"rank_by": "prior-adjusted", "groups": [0] * N, "losses_from": "pass"}, "needs losses_from='training'"),
    ],
)
def test_settings_that_scores_cannot_use_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RRM(N, **{"contamination": 0.2, **settings})


@pytest.mark.parametrize("rank_by", ["noise-aware", "prior-adjusted"])
def test_losses_of_a_pass_have_no_scores(rank_by):
    labels = estimate_jobs.labels_of(N)
    rrm = RRM(N, contamination=0.1, groups=labels, rank_by=rank_by, warmup=1)
    with pytest.raises(ValueError, match=f"rank_by='{rank_by}' ranks by outputs, which losses passed to step"):
        rrm.step(torch.rand(N))
    loader = batches(torch.rand(N, 2), labels, 50, shuffle=False)
    model = torch.nn.Linear(2, K)
    with pytest.raises(ValueError, match=f"score_loader can't be used with rank_by='{rank_by}'"):
        fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), 2, rrm=rrm, score_loader=loader)


def test_outputs_are_needed_throughout():
    rrm = train(5, rank_by="prior-adjusted")
    with pytest.raises(ValueError, match="rank_by='prior-adjusted' needs weighted_mean"):
        rrm.weighted_mean(torch.rand(4), torch.arange(4))
    outputs = {"logits": torch.rand(4, K), "labels": torch.arange(4)}
    outputs["labels"] = estimate_jobs.labels_of(N)[:4]
    with pytest.raises(ValueError, match="give ranking or rank_by, not both"):
        rrm.weighted_mean(torch.rand(4), torch.arange(4), ranking=torch.rand(4), **outputs)
    with pytest.raises(ValueError, match="got 4 groups and logits of 2 classes"):
        rrm.weighted_mean(torch.rand(2), torch.arange(2), logits=torch.rand(2, 2), labels=torch.arange(2))
    outputs["labels"] = (outputs["labels"] + 1) % K
    with pytest.raises(
        ValueError, match=r"needs groups that are the given classes, got group \d and label \d of sample 0"
    ):
        rrm.weighted_mean(torch.rand(4), torch.arange(4), **outputs)
    rrm.weighted_mean(torch.rand(4), torch.arange(4), record=False)
