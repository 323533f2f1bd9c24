from __future__ import annotations

import pytest
import torch

from rrm_torch import RRM
from rrm_torch.weighting.loss_buffer import EpochLossBuffer
from support.weighting import FIVE, INDEX, LOSSES, N, assert_identical, epoch_of_steps, one_epoch


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_losses_of_up_to_32_bits_are_stored_as_float32(dtype):
    rrm = RRM(5, contamination=0.2, warmup=1)
    one_epoch(rrm, FIVE.to(dtype))
    assert_identical(rrm.losses, FIVE.to(dtype).float())


def test_out_of_range_error_shows_index_of_this_batch():
    rrm = RRM(5, contamination=0.2)
    for index in (7, 9):
        with pytest.raises(IndexError, match=f"the first {index};"):
            rrm.weighted_mean(torch.ones(1), torch.tensor([index]))


def test_step_buffer_keeps_latest_loss():
    rrm = RRM(N, contamination=0.3, warmup=2, every=1, unit="step")
    epoch_of_steps(rrm, LOSSES)
    rrm.weighted_mean(LOSSES[:5] + 10, INDEX[:5])
    rrm.step()
    assert_identical(rrm.losses, torch.cat([LOSSES[:5] + 10, LOSSES[5:]]))


@pytest.mark.parametrize("times", [255, 256, 257])
def test_step_buffer_counts_beyond_255(times):
    rrm = RRM(N, contamination=0.3, warmup=times, unit="step")
    plans = [(rrm.weighted_mean(LOSSES, INDEX), rrm.step())[1] for _ in range(times)]
    assert plans[-1] is not None


def test_sample_recorded_256_times_counts_as_repeated():
    rrm = RRM(N, contamination=0.3, warmup=1)
    for _ in range(256):
        rrm.weighted_mean(LOSSES, INDEX)
    with pytest.raises(ValueError, match="10 seen more than once") as caught:
        rrm.step()
    assert "missing" not in str(caught.value)


def test_count_of_a_gpu_does_not_wrap_around_on_the_host():
    class OnDevice(torch.Tensor):
        """On the host, but says that it isn't."""

        @property
        def device(self):
            return torch.device("meta")

    buffer = EpochLossBuffer(0, 2).to(torch.device("meta"))
    buffer._losses = torch.zeros(buffer._losses.shape).as_subclass(OnDevice)
    buffer._marks = torch.full(buffer._marks.shape, 256, dtype=buffer._marks.dtype)
    assert bool((buffer.to(torch.device("cpu")).marks > 1).all())
