from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods.draws import Draws
from rrm_torch.methods.fmix import FMixMask
from support.torch_defaults import default_dtype

SHAPES = [(32, 32), (31, 17), (8, 1), (1, 8)]


@pytest.mark.parametrize("shape", SHAPES)
def test_area_of_the_mask_is_the_share(shape):
    for seed in range(20):
        fmix = FMixMask.draw(*shape, Draws(seed))
        assert fmix.mask.shape == (1, *shape)
        assert set(fmix.mask.unique().tolist()) <= {0.0, 1.0}
        assert int(fmix.mask.sum()) == round(fmix.share * fmix.mask.numel())


def test_shares_are_uniform_by_default():
    shares = torch.tensor([FMixMask.draw(4, 4, Draws(seed)).share for seed in range(400)])
    quantiles = shares.quantile(torch.tensor([0.1, 0.5, 0.9]))
    assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9]), atol=0.08, rtol=0)


def test_alpha_draws_the_share_towards_one_half():
    assert FMixMask.draw(4, 4, Draws(0), alpha=1e6).share == pytest.approx(0.5, abs=0.01)


def test_mask_has_low_spatial_frequency():
    # Of two neighbours in white noise, half differ.
    differences = []
    for seed in range(20):
        mask = FMixMask.draw(32, 32, Draws(seed), alpha=1e6).mask[0]
        differences.append((mask[1:] != mask[:-1]).float().mean() + (mask[:, 1:] != mask[:, :-1]).float().mean())
    assert torch.stack(differences).mean() / 2 < 0.1


def test_every_pixel_is_kept_in_some_masks_and_replaced_in_others():
    masks = torch.stack([FMixMask.draw(16, 16, Draws(seed), alpha=1e6).mask[0] for seed in range(60)])
    assert_close(masks.mean(0), torch.full((16, 16), 0.5), atol=0.3, rtol=0)


def test_images_keep_their_pixels_in_the_mask_and_get_those_of_their_partner():
    fmix = FMixMask(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), 0.5)
    x = torch.arange(24.0).reshape(3, 2, 2, 2)
    mixed = fmix(x, torch.tensor([2, 0, 1]))
    assert_close(mixed[0, 0], torch.tensor([[0.0, 17.0], [18.0, 3.0]]))
    assert_close(mixed[1, 1], torch.tensor([[12.0, 5.0], [6.0, 15.0]]))


@pytest.mark.parametrize(("share", "kept"), [(1.0, True), (0.0, False)])
def test_a_share_of_0_or_1_takes_whole_images(share, kept):
    class Extreme(Draws):
        def beta(self, alpha):
            return share

    fmix = FMixMask.draw(4, 4, Extreme(0))
    x = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fmix(x, torch.tensor([1, 0])), x if kept else x.flip(0))


def test_masks_are_a_function_of_the_key():
    first, again, other = (FMixMask.draw(16, 16, Draws(*key)) for key in ((1, 2), (1, 2), (1, 3)))
    assert first.share == again.share != other.share
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.mask, other.mask)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_masks_do_not_depend_on_the_default_dtype(dtype):
    expected = FMixMask.draw(16, 16, Draws(0))
    with default_dtype(dtype):
        fmix = FMixMask.draw(16, 16, Draws(0))
    assert fmix.mask.dtype == torch.float32
    assert torch.equal(fmix.mask, expected.mask)


def test_masks_of_one_generator_differ():
    draws = Draws(0)
    assert not torch.equal(*(FMixMask.draw(16, 16, draws, alpha=1e6).mask for _ in range(2)))
