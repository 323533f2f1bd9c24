"""Image operations of RandAugment on batches of bytes that don't move pixels: colours and tables of levels.

Every function takes images of shape (n, C, H, W), uint8, with one channel or three (red, green, blue), and returns new
ones. They compute what the operations of Pillow's ``ImageOps`` and ``ImageEnhance`` do.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Pillow's integer weights of luminance, ITU-R 601-2, in units of 2 ** -16.
RED = 19595
GREEN = 38470
BLUE = 7471

LEVELS = 256


def autocontrast(x: Tensor) -> Tensor:
    """Stretch the levels of each channel to the range from 0 to 255."""
    low, high = x.flatten(2).aminmax(dim=2, keepdim=True)
    low = low.double()
    # Computed as in Pillow, so that truncation returns the same levels: 255 / x would be the reciprocal times 255.
    scale = torch.full_like(low, 255) / (high.double() - low)
    table = _levels(x).double() * scale + (-low * scale)
    # A channel of a single level is left as it is: its scale is infinite.
    return look_up(x, torch.where(scale.isfinite(), table, _levels(x).double()).clamp(0, 255).byte())


def equalize(x: Tensor) -> Tensor:
    """Make the histogram of each channel as uniform as possible."""
    n, channels, height, width = x.shape
    counts = torch.zeros(n, channels, LEVELS, dtype=torch.int64, device=x.device)
    counts.scatter_add_(2, x.flatten(2).long(), counts.new_ones(()).expand(n, channels, height * width))
    last = x.flatten(2).amax(2, keepdim=True).long()
    step = (height * width - counts.gather(2, last)) // (LEVELS - 1)
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    return look_up(x, torch.where(step > 0, table, _levels(x)).byte())


def solarize(x: Tensor, threshold: int) -> Tensor:
    """Invert the levels from a threshold on, which is at most 256."""
    if threshold == LEVELS:
        # Compared with bytes, it would be 0.
        return x.clone()
    # 255 - x is the exclusive or of x and 255. Several times faster than torch.where, which isn't vectorised for bytes.
    return x ^ (x >= threshold).byte().mul_(255)


def posterize(x: Tensor, bits: int) -> Tensor:
    """Keep the highest bits of each level, 0 to 8 of them."""
    return x & (LEVELS - (1 << (8 - bits)))


def color(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its luminance: grey for a factor of 0, the image itself for 1; shape (n,)."""
    return blend(luminance(x), x, factor)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its mean luminance, rounded."""
    grey = luminance(x)
    n_pixels = grey.shape[2] * grey.shape[3]
    sums = grey.sum((1, 2, 3), dtype=torch.float64)
    return blend((sums / n_pixels + 0.5).floor().float()[:, None, None, None], x, factor)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with black."""
    return blend(x.new_zeros((), dtype=torch.float32), x, factor)


def sharpness(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with a smoothed one, of which the outermost pixels are those of the image."""
    values = x.float()
    smooth = values.clone()
    if min(x.shape[2:]) > 2:
        rows = values[:, :, :-2] + values[:, :, 1:-1] + values[:, :, 2:]
        box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
        inner = values[:, :, 1:-1, 1:-1]
        # The mean with weight 5 for the pixel and 1 for each neighbour. A half never occurs, since 13 is odd.
        smooth[:, :, 1:-1, 1:-1] = ((box + 4 * inner + 6.5) / 13).floor()
    return blend(smooth, x, factor)


def luminance(x: Tensor) -> Tensor:
    """Return the luminance of each pixel: float32, shape (n, 1, H, W), whole numbers from 0 to 255."""
    values = x.float()
    if x.shape[1] == 1:
        return values
    # Whole numbers below 2 ** 24, so that float32 is exact.
    weighted = values[:, 0:1] * RED + values[:, 1:2] * GREEN + values[:, 2:3] * BLUE
    return ((weighted + 2**15) / 2**16).floor()


def blend(background: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    """Return ``background + factor * (x - background)``, cut off at 0 and 255 and truncated.

    Parameters
    ----------
    background : Tensor of float32
        Broadcast to the shape of `x`.
    x : Tensor of uint8, shape (n, C, H, W)
    factor : Tensor of float32, shape (n,)
        Above 1 the image differs more from the background.
    """
    difference = x - background
    return difference.mul_(factor[:, None, None, None]).add_(background).clamp_(0, 255).byte()


def look_up(x: Tensor, table: Tensor) -> Tensor:
    """Replace the levels of each channel by those of its table, uint8, shape (n, C, 256)."""
    return table.gather(2, x.flatten(2).long()).view(x.shape)


def _levels(x: Tensor) -> Tensor:
    return torch.arange(LEVELS, device=x.device)
