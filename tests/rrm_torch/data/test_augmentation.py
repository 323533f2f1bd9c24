from __future__ import annotations

from functools import partial

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from rrm_torch.data.augmentation import Compose, FlipCrop, GaussianNoise, Standardise

DTYPES = [torch.uint8, torch.float32, torch.float64, torch.bfloat16]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=64, channels=3, height=6, width=5, dtype=torch.uint8):
    """Images without zeros, so that padding can be recognised."""
    return torch.randint(1, 256, (n, channels, height, width), generator=seeded(9), dtype=torch.uint8).to(dtype)


def windows(image, padding, flip, fill):
    """Every outcome for one image, by padding, cropping and flipping."""
    mode = {"zeros": "constant", "reflect": "reflect"}[fill]
    padded = torch.nn.functional.pad(image[None].double(), (padding,) * 4, mode=mode)[0]
    _, height, width = image.shape
    cut = [
        padded[:, top : top + height, left : left + width]
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    ]
    return torch.stack(cut + [window.flip(2) for window in cut] if flip else cut)


# Properties of all transforms

ALL = [
    FlipCrop(2),
    FlipCrop(2, fill="reflect"),
    FlipCrop(0),
    GaussianNoise(0.5),
    Standardise([100, 110, 120], [50, 60, 70]),
    Compose(FlipCrop(1), GaussianNoise(1.0)),
]


@pytest.mark.parametrize("transform", ALL, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_leaves_the_input_unchanged(transform, channels_last):
    x = images(dtype=torch.float32)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    before = x.clone()
    changed = transform(x, seeded())
    assert torch.equal(x, before)
    assert changed.data_ptr() != x.data_ptr()
    assert (changed.shape, changed.dtype, changed.device) == (x.shape, x.dtype, x.device)
    assert not torch.equal(changed, x)
    assert torch.equal(changed, transform(x.contiguous(), seeded()))  # for any memory layout


@pytest.mark.parametrize("transform", [t for t in ALL if not isinstance(t, Standardise)], ids=str)
def test_random_numbers_come_from_the_generator_or_the_global_one(transform):
    x = images(dtype=torch.float32)
    torch.manual_seed(0)
    global_state = torch.get_rng_state()
    first = transform(x, seeded(1))
    again = transform(x, seeded(1))
    other = transform(x, seeded(2))
    assert torch.equal(torch.get_rng_state(), global_state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    without = transform(x)
    assert not torch.equal(torch.get_rng_state(), global_state)
    torch.manual_seed(0)
    assert torch.equal(transform(x), without)
    assert torch.equal(partial(transform, generator=seeded(1))(x), first)


@pytest.mark.parametrize("transform", ALL, ids=str)
@pytest.mark.parametrize("n", [0, 1])
def test_small_batches(transform, n):
    assert transform(images(n, dtype=torch.float32)).shape == (n, 3, 6, 5)


@pytest.mark.parametrize("transform", ALL, ids=str)
def test_transforms_are_hashable_and_comparable(transform):
    assert hash(transform) == hash(transform)
    assert transform == transform
    assert transform != FlipCrop(3)


@pytest.mark.parametrize("transform", [FlipCrop(1), Standardise([0.5] * 3, [0.5] * 3)], ids=str)
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(3, 6, 5), ValueError, r"x must have shape \(n, C, H, W\), got \(3, 6, 5\)"),
        (torch.zeros(2, 3, 6, 5, dtype=torch.int64), TypeError, "x must be uint8 or floating-point, got torch.int64"),
    ],
)
def test_rejects_bad_batches(transform, x, error, message):
    with pytest.raises(error, match=message):
        transform(x)


# Standardise


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_standardise_matches_its_definition(dtype):
    mean = [0.4, 0.5, 0.6]
    std = [0.1, 0.2, 0.4]
    x = images()
    unit = x.double() / 255
    expected = (unit - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    of_bytes = Standardise(mean, std)(x)
    assert of_bytes.dtype == torch.float32
    assert_allclose(of_bytes, expected, atol=1e-5)
    of_floats = Standardise(mean, std)(unit.to(dtype))
    assert of_floats.dtype == dtype
    assert_allclose(of_floats, expected, atol=1e-5)


def test_standardise_with_the_moments_of_the_images():
    x = images()
    std, mean = torch.std_mean(x / 255, (0, 2, 3))
    y = Standardise(mean.tolist(), std.tolist())(x)
    assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-5)
    assert_allclose(y.std((0, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.5], [0.5, 0.5], "one value per channel, got 1 and 2 values"),
        ([], [], "one value per channel, got 0 and 0 values"),
        ([0.5, float("nan")], [1, 1], r"mean must be finite, got \(0\.5, nan\)"),
        ([0.5], [0], r"std must be positive and finite, got \(0\.0,\)"),
        ([0.5], [float("inf")], "std must be positive and finite"),
    ],
)
def test_standardise_rejects_bad_moments(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Standardise(mean, std)


def test_standardise_rejects_other_channels():
    with pytest.raises(ValueError, match="x must have 3 channels, one for each mean, got 1"):
        Standardise([0.5] * 3, [0.5] * 3)(images(channels=1))


# FlipCrop


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fill", ["zeros", "reflect"])
@pytest.mark.parametrize(("padding", "flip"), [(1, True), (1, False), (2, True), (0, True)])
def test_flip_crop_draws_every_window_uniformly(dtype, fill, padding, flip):
    image = images(1, height=8, width=7, dtype=dtype)[0]  # large enough for all windows to differ
    outcomes = windows(image, padding, flip, fill)
    changed = FlipCrop(padding, flip, fill)(image.expand(2000, -1, -1, -1), seeded())
    assert changed.dtype == dtype
    same = (changed.double()[:, None] == outcomes).flatten(2).all(2)
    assert bool((same.sum(1) == 1).all())
    counts = same.sum(0)
    expected = 2000 / len(outcomes)
    assert bool((counts - expected).abs().max() < 5 * expected**0.5)


def test_flip_crop_draws_for_each_image():
    x = images(256)
    changed = FlipCrop(1)(x, seeded())
    chosen = []
    for before, after in zip(x, changed, strict=True):
        same = (windows(before, 1, True, "zeros") == after).flatten(1).all(1)
        chosen += same.nonzero().flatten().tolist()
    assert len(chosen) == len(x)
    assert len(set(chosen)) == 18


def test_flip_crop_identity():
    x = images()
    assert torch.equal(FlipCrop(0, flip=False)(x), x)


def test_flip_crop_with_padding_beyond_the_image():
    changed = FlipCrop(20, flip=False)(images(256), seeded())
    dark = (changed == 0).flatten(1).all(1).float().mean()
    assert dark == pytest.approx(1 - (11 / 41) * (9 / 41), abs=0.1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FlipCrop(-1), "padding must be at least 0, got -1"),
        (lambda: FlipCrop(fill="edge"), "fill must be 'zeros' or 'reflect', got 'edge'"),
        (
            lambda: FlipCrop(5, fill="reflect")(images()),
            "padding must be smaller than the images to reflect them, got 5 for 6x5",
        ),
        (lambda: GaussianNoise(-0.1), r"std must be at least 0 and finite, got -0\.1"),
        (lambda: GaussianNoise(float("nan")), "std must be at least 0 and finite, got nan"),
    ],
)
def test_rejects_bad_settings(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# GaussianNoise


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian_noise_standard_deviation(dtype):
    x = images(200, dtype=dtype)
    noise = GaussianNoise(0.3)(x, seeded()) - x
    assert noise.dtype == dtype
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert noise.flatten().unique().numel() > 0.9 * noise.numel()  # for each value its own


def test_gaussian_noise_of_zero():
    x = images(dtype=torch.float32)
    assert torch.equal(GaussianNoise(0.0)(x), x)


def test_gaussian_noise_rejects_bytes():
    with pytest.raises(TypeError, match=r"floating-point to add noise, got torch\.uint8; put Standardise before"):
        GaussianNoise(0.1)(images())


# Compose


def test_compose_applies_in_sequence():
    standardise = Standardise([0.5] * 3, [0.2] * 3)
    x = images()
    by_hand = seeded()
    both = Compose(FlipCrop(1), standardise, GaussianNoise(0.1))(x, seeded())
    expected = GaussianNoise(0.1)(standardise(FlipCrop(1)(x, by_hand)), by_hand)
    assert_array_equal(both, expected)


def test_compose_nests_and_may_be_empty():
    x = images()
    nested = Compose(Compose(FlipCrop(1)), Compose(), FlipCrop(2))
    assert torch.equal(nested(x, seeded()), Compose(FlipCrop(1), FlipCrop(2))(x, seeded()))
    assert Compose()(x) is x
