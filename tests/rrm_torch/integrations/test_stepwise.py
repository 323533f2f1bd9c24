"""An RRM that counts steps and takes its arguments in epochs."""

from __future__ import annotations

import warnings

import pytest
import torch

from rrm_torch.integrations.settings import read_settings
from rrm_torch.integrations.stepwise import StepwiseRRM

N = 120


def make_rrm(n_steps, epochs, settings=None):
    return StepwiseRRM(
        N, settings or {"contamination": "auto"}, steps_per_epoch=n_steps, epochs=epochs, usage="call it"
    )


@pytest.mark.parametrize("n_steps", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 30])
@pytest.mark.filterwarnings("ignore:the first reweight prunes")
def test_the_warmup_ends_with_the_round_of_a_third_of_the_run_at_the_latest(n_steps, epochs):
    rrm = make_rrm(n_steps, epochs)
    # All labels are 0: nothing is learnt, so that no other rule ends the warm-up before.
    labels = torch.zeros(N, dtype=torch.long)
    length = -(-n_steps // 4)
    end = -(-max(n_steps * epochs / 3, n_steps) // length) * length
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(epochs):
            for index in torch.randperm(N).chunk(n_steps):
                rrm.weighted_mean(torch.rand(len(index)), index, logits=torch.rand(len(index), 3), labels=labels[index])
                rrm.step()
    if end > n_steps * epochs:
        assert rrm.estimate is None
        assert not caught
        return
    assert rrm.estimate.epoch == end
    assert "not clearly more often than by chance" in str(caught[0].message)
    assert rrm.trajectory.rounds[0].epoch == end


def test_the_warmup_ends_in_time_where_epochs_are_a_part_of_the_data():
    n = 1200
    rrm = StepwiseRRM(n, read_settings(None, n), steps_per_epoch=2, epochs=12, usage="")
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        for index in torch.randperm(n, generator=generator)[:200].chunk(2):
            rrm.weighted_mean(torch.rand(100), index, logits=torch.eye(3)[index % 3] * 5, labels=index % 3)
            rrm.step()
    assert rrm.estimate.epoch == 8


@pytest.mark.parametrize(
    ("n_steps", "end", "message"),
    [
        (4, 12, None),
        # The longest warm-up of 2 epochs is 6 steps of 5, in rounds of 2.
        (
            5,
            6,
            r"after step 6 \(in epoch 2\), and .* follows step 6 \(in epoch 2\) at the earliest: no epoch",
        ),
        (
            5,
            5,
            r"after step 5 \(in epoch 1\), and .* follows step 6 \(in epoch 2\) at the earliest: no sample",
        ),
        (1, 1, "after step 1, and the first reweight follows step 1 at the earliest: no epoch"),
    ],
)
def test_a_run_that_ends_before_a_warmup_can_warns(n_steps, end, message):
    rrm = make_rrm(n_steps, -(-end // n_steps))
    if message is None:
        rrm.warn_of_end(end, n_steps)
        return
    with pytest.warns(UserWarning, match=message):
        rrm.warn_of_end(end, n_steps)


def test_a_run_that_ends_with_the_warmup_warns_in_steps_and_epochs():
    rrm = make_rrm(4, 3, {"contamination": 0.2, "warmup": 5})
    message = r"after step 12 \(in epoch 3\), and the first reweight follows step 20 \(in epoch 5\) at the earliest"
    with pytest.warns(UserWarning, match=message):
        rrm.warn_of_end(12, 4)


def test_a_run_without_losses_warns_after_the_first_epoch():
    rrm = make_rrm(3, 9, {"contamination": 0.2, "warmup": 3})
    rrm.step()
    rrm.step()
    with pytest.warns(UserWarning, match="the first epoch has ended, and RRM has no loss of any sample: call it"):
        rrm.step()
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
