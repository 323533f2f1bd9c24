from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from rrm_torch.data import affine_transform, image_operations
from rrm_torch.data.augmentation import Compose, Cutout, FlipCrop, RandAugment
from rrm_torch.data.rand_augment import OPERATIONS

SHAPES = [(3, 32, 32), (1, 9, 14), (3, 2, 5)]
GREY = (128, 128, 128)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=24, channels=3, height=8, width=8):
    """Random images; the first ones of a single level, of few dark ones, of a narrow range and of two."""
    x = torch.randint(256, (n, channels, height, width), generator=seeded(9), dtype=torch.uint8)
    x[0] = 7
    x[1] = 255
    x[2] //= 64
    x[3] = x[3] // 3 + 100
    x[4] = (x[4] > 128) * 200
    return x


def to_pillow(image):
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])


def from_pillow(image):
    return torch.from_numpy(np.atleast_3d(np.asarray(image)).copy()).permute(2, 0, 1)


def by_pillow(x, operation):
    return torch.stack([from_pillow(operation(to_pillow(image), number)) for number, image in enumerate(x)])


def fill_of(image):
    return GREY[: len(image.getbands())] if len(image.getbands()) > 1 else GREY[0]


def affine(image, numbers):
    return image.transform(image.size, Image.Transform.AFFINE, numbers, fillcolor=fill_of(image))


# The operations against Pillow

LEVELS = [
    ("autocontrast", (), ImageOps.autocontrast),
    ("equalize", (), ImageOps.equalize),
    *(("solarize", (threshold,), lambda p, t=threshold: ImageOps.solarize(p, t)) for threshold in (0, 100, 256)),
    *(("posterize", (bits,), lambda p, b=bits: ImageOps.posterize(p, b)) for bits in (1, 4, 8)),
]
BLENDS = {
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "arguments", "pillow"), LEVELS)
def test_levels_equal_those_of_pillow(name, arguments, pillow, shape):
    x = images(24, *shape)
    before = x.clone()
    changed = getattr(image_operations, name)(x, *arguments)
    assert torch.equal(changed, by_pillow(x, lambda image, _: pillow(image)))
    assert torch.equal(x, before)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BLENDS)
def test_blends_equal_those_of_pillow(name, shape):
    x = images(24, *shape)
    factors = torch.linspace(0, 2.5, 24)
    changed = getattr(image_operations, name)(x, factors)
    expected = by_pillow(x, lambda image, number: BLENDS[name](image).enhance(factors[number].item()))
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_rotations_equal_those_of_pillow(shape):
    x = images(24, *shape)
    degrees = torch.linspace(-47, 53, 24)
    changed = affine_transform.transform(x, affine_transform.rotation(degrees, *shape[1:]), 128)
    expected = by_pillow(x, lambda image, number: image.rotate(degrees[number].item(), fillcolor=fill_of(image)))
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("matrices", "position"),
    [
        (affine_transform.horizontal_shear, 1),
        (affine_transform.vertical_shear, 3),
        (affine_transform.horizontal_shift, 2),
        (affine_transform.vertical_shift, 5),
    ],
)
def test_shears_and_shifts_equal_those_of_pillow(matrices, position, shape):
    x = images(24, *shape)
    values = torch.linspace(-3.7, 4.1, 24, dtype=torch.float64)

    def pillow(image, number):
        numbers = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        numbers[position] = values[number].item()
        return affine(image, numbers)

    assert torch.equal(affine_transform.transform(x, matrices(values), 128), by_pillow(x, pillow))


# RandAugment


def expected_operations(strength, width, height):
    """What each operation does to an image of Pillow, by the table in the docstring."""

    def enhance(kind):
        return lambda image, sign: kind(image).enhance(1 + 0.9 * strength * sign)

    return {
        "identity": lambda image, _: image,
        "autocontrast": lambda image, _: ImageOps.autocontrast(image),
        "equalize": lambda image, _: ImageOps.equalize(image),
        "solarize": lambda image, _: ImageOps.solarize(image, round(256 * (1 - strength))),
        "posterize": lambda image, _: ImageOps.posterize(image, 8 - round(4 * strength)),
        **{name: enhance(kind) for name, kind in BLENDS.items()},
        "rotate": lambda image, sign: image.rotate(30 * strength * sign, fillcolor=GREY),
        "shear_x": lambda image, sign: affine(image, (1, 0.3 * strength * sign, 0, 0, 1, 0)),
        "shear_y": lambda image, sign: affine(image, (1, 0, 0, 0.3 * strength * sign, 1, 0)),
        "translate_x": lambda image, sign: affine(image, (1, 0, 0.3125 * width * strength * sign, 0, 1, 0)),
        "translate_y": lambda image, sign: affine(image, (1, 0, 0, 0, 1, 0.3125 * height * strength * sign)),
    }


@pytest.mark.parametrize("magnitude", [0, 5, 6.5, 10])
def test_operations_have_the_documented_strength(magnitude):
    n = len(OPERATIONS)
    x = images(2 * n, 3, 16, 32)
    drawn = torch.arange(n).repeat(2)[:, None]
    signs = torch.tensor([1, -1]).repeat_interleave(n)[:, None]
    changed = RandAugment(1, magnitude).apply(x, drawn, signs)
    operations = expected_operations(magnitude / 10, 32, 16)
    assert tuple(operations) == OPERATIONS
    for number in range(2 * n):
        name = OPERATIONS[number % n]
        expected = from_pillow(operations[name](to_pillow(x[number]), signs[number].item()))
        assert torch.equal(changed[number], expected), name


def test_operations_of_an_image_follow_each_other():
    x = images(40, 3, 32, 32)
    drawn = torch.randint(len(OPERATIONS), (40, 3), generator=seeded(1))
    signs = 2 * torch.randint(2, (40, 3), generator=seeded(2)) - 1
    changed = RandAugment().apply(x, drawn, signs)
    operations = expected_operations(0.5, 32, 32)
    for number, image in enumerate(x):
        expected = to_pillow(image)
        for operation, sign in zip(drawn[number].tolist(), signs[number].tolist(), strict=True):
            expected = operations[OPERATIONS[operation]](expected, sign)
        assert torch.equal(changed[number], from_pillow(expected))


def test_each_image_draws_operations_of_its_own_uniformly():
    image = images(24, 3, 16, 16)[-1]
    outcomes = [
        RandAugment(1).apply(image[None], torch.tensor([[operation]]), torch.tensor([[sign]]))[0]
        for operation in range(len(OPERATIONS))
        for sign in (1, -1)
    ]
    changed = RandAugment(1)(image.expand(2800, -1, -1, -1), seeded())
    is_outcome = (changed[:, None] == torch.stack(outcomes)).flatten(2).all(2)
    assert bool(is_outcome.any(1).all())
    counts = is_outcome.sum(0).float()
    # The first five operations have no sign.
    expected = torch.tensor([200.0] * 10 + [100.0] * 18)
    assert bool((counts - expected).abs().max() < 60)


def test_probability_of_an_operation():
    image = images(24, 3, 16, 16)[-1]
    changed = RandAugment(1, probability=0.5)(image.expand(2000, -1, -1, -1), seeded())
    share_unchanged = (changed == image).flatten(1).all(1).float().mean().item()
    assert share_unchanged == pytest.approx(0.5 + 0.5 / len(OPERATIONS), abs=0.04)
    assert torch.equal(RandAugment(probability=0.0)(images(), seeded()), images())


@pytest.mark.parametrize("transform", [RandAugment(), Cutout(4), Compose(RandAugment(), FlipCrop(1), Cutout(3))])
def test_transforms_draw_from_the_generator_or_the_global_one(transform):
    x = images()
    before = x.clone()
    torch.manual_seed(0)
    global_state = torch.get_rng_state()
    first = transform(x, seeded(1))
    assert torch.equal(transform(x, seeded(1)), first)
    assert not torch.equal(transform(x, seeded(2)), first)
    assert torch.equal(torch.get_rng_state(), global_state)
    without = transform(x)
    torch.manual_seed(0)
    assert torch.equal(transform(x), without)
    assert torch.equal(x, before)
    assert (first.dtype, first.shape) == (x.dtype, x.shape)
    assert torch.equal(transform(x.contiguous(memory_format=torch.channels_last), seeded(1)), first)
    assert transform(x[:0]).shape == (0, 3, 8, 8)
    assert hash(transform) == hash(transform)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: RandAugment(0), ValueError, "n_ops must be at least 1, got 0"),
        (lambda: RandAugment(1.5), TypeError, r"n_ops must be an integer, got 1\.5"),
        (lambda: RandAugment(magnitude=11), ValueError, r"magnitude must lie in \[0, 10\], got 11"),
        (lambda: RandAugment(magnitude=float("nan")), ValueError, "magnitude must lie"),
        (lambda: RandAugment(probability=-0.1), ValueError, r"probability must lie in \[0, 1\], got -0\.1"),
        (
            lambda: RandAugment(fill=256),
            ValueError,
            r"fill must be an integer in \[0, 255\], a level of bytes, got 256",
        ),
        (lambda: RandAugment(fill=0.5), ValueError, r"fill must be an integer .*, got 0\.5"),
        (
            lambda: RandAugment()(images().float()),
            TypeError,
            r"got torch\.float32; put RandAugment before .* \(255 \* x\)\.to",
        ),
        (lambda: RandAugment()(images()[0]), ValueError, r"x must have shape \(n, C, H, W\), .*, got \(3, 8, 8\)"),
        (lambda: RandAugment()(images(24, 2)), ValueError, r"C = 1 or 3 channels, got \(24, 2, 8, 8\)"),
        (lambda: Cutout(0), ValueError, "size must be at least 1 pixel, got 0"),
        (lambda: Cutout()(images()[0]), ValueError, r"x must have shape \(n, C, H, W\), got \(3, 8, 8\)"),
    ],
)
def test_rejects_bad_arguments(build, error, message):
    with pytest.raises(error, match=message):
        build()


# Cutout


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("size", "fill"), [(1, 0), (3, 7), (4, 0)])
def test_cutout_erases_each_square_uniformly(size, fill, dtype):
    height, width = 5, 6
    image = torch.full((1, 3, height, width), 9, dtype=dtype)
    outcomes = []
    for row in range(height):
        for column in range(width):
            outcome = image[0].clone()
            rows = slice(max(0, row - size // 2), max(0, row - size // 2 + size))
            columns = slice(max(0, column - size // 2), max(0, column - size // 2 + size))
            outcome[:, rows, columns] = fill
            outcomes.append(outcome)
    changed = Cutout(size, fill)(image.expand(3000, -1, -1, -1), seeded())
    assert changed.dtype == dtype
    counts = (changed[:, None] == torch.stack(outcomes)).flatten(2).all(2).sum(0)
    assert int(counts.sum()) == 3000
    assert bool((counts - 100).abs().max() < 50)
