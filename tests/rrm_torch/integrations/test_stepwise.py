"""An RRM that counts steps and takes its arguments in epochs."""

from __future__ import annotations

import warnings

import pytest
import torch

from rrm_torch.integrations.settings import read_settings
from rrm_torch.integrations.stepwise import StepwiseRRM

N = 120


def make_rrm(n_steps, epochs, settings=None, **options):
    return StepwiseRRM(N, settings or {"contamination": "auto"}, steps_per_epoch=n_steps, epochs=epochs, **options)


def train(rrm, epochs, *, n_steps=None, index_of=None):
    """Record losses of a model that agrees with nine labels of ten; `index_of` says how a batch is numbered."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % 3
    for _ in range(epochs):
        batches = torch.randperm(N, generator=generator).chunk(rrm.steps_per_epoch)
        for index in batches[:n_steps]:
            is_right = torch.rand(len(index), generator=generator) < 0.9
            logits = torch.nn.functional.one_hot(labels[index] + ~is_right, 4) * 5.0
            given = index if index_of is None else index_of(index)
            losses = torch.rand(len(index), generator=generator)
            rrm.weighted_mean(losses, given, logits=logits, labels=labels[index])
            rrm.step()
    return rrm


@pytest.mark.parametrize("n_steps", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("epochs", [3, 5, 30])
@pytest.mark.filterwarnings("ignore:the first reweight prunes")
def test_the_warmup_ends_after_a_third_of_the_run_at_the_latest(n_steps, epochs):
    # Nothing is learnt, so that no other rule ends the warm-up before.
    rrm = make_rrm(n_steps, epochs, usage="")
    labels = torch.zeros(N, dtype=torch.long)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(epochs):
            for index in torch.randperm(N).chunk(n_steps):
                rrm.weighted_mean(torch.rand(len(index)), index, logits=torch.rand(len(index), 3), labels=labels[index])
                rrm.step()
    assert "hardly more often than by chance" in str(caught[0].message)
    third = -(-n_steps * epochs // 3)
    # The round that is under way is a quarter of an epoch at most.
    assert max(third, n_steps) <= rrm.estimate.epoch < max(third, n_steps) + max(n_steps / 4, 1) + 1
    assert rrm.trajectory.rounds


def test_the_warmup_ends_in_time_where_epochs_are_a_part_of_the_data():
    n = 1200
    rrm = StepwiseRRM(n, read_settings(None, n), steps_per_epoch=2, epochs=12, usage="")
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        for index in torch.randperm(n, generator=generator)[:200].chunk(2):
            rrm.weighted_mean(torch.rand(100), index, logits=torch.eye(3)[index % 3] * 5, labels=index % 3)
            rrm.step()
    # A third of the run is 8 steps, and a round has 3.
    assert rrm.estimate.epoch == 9


def test_a_run_that_ends_with_the_warmup_warns_in_steps_and_epochs():
    rrm = make_rrm(4, 3, {"contamination": 0.2, "warmup": 5}, usage="")
    with pytest.warns(
        UserWarning, match=r"step 12 \(in epoch 3\), and the first reweight follows step 20 \(in epoch 5\)"
    ):
        rrm.warn_of_end(12, 4)


def test_batches_that_are_numbered_from_0_warn_after_the_first_epoch():
    rrm = make_rrm(6, 9, {"contamination": 0.2, "warmup": 3}, usage="")
    with pytest.warns(UserWarning, match="6 steps recorded losses of only 20 of 120 samples: index must number"):
        train(rrm, 1, index_of=lambda index: torch.arange(len(index)))


def test_batches_of_other_samples_do_not_warn():
    train(make_rrm(6, 9, {"contamination": 0.2, "warmup": 3}, usage=""), 1)
    # So few batches can't tell.
    train(make_rrm(2, 9, {"contamination": 0.2, "warmup": 3}, usage=""), 1, index_of=lambda index: index % 60)


def test_a_run_without_losses_ends_after_the_first_epoch():
    rrm = make_rrm(3, 9, {"contamination": 0.2, "warmup": 3}, usage="call it")
    rrm.step()
    rrm.step()
    with pytest.raises(ValueError, match="the first epoch has ended, and RRM has no loss of any sample: call it"):
        rrm.step()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"contaminaton": 0.2}, "got 'contaminaton'; did you mean contamination"),
        ({"contamination": 0.2, "warmpup": 2}, "got 'warmpup'; did you mean warmup"),
        ({"contamination": 0.2, "frequency": 2}, "got 'frequency'; RRM has cap, contamination, "),
    ],
)
def test_an_argument_that_rrm_does_not_have_is_named(settings, message):
    with pytest.raises(TypeError, match=message):
        read_settings(settings, N)
