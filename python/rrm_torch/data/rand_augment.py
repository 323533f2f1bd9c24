"""RandAugment: random operations on images, drawn for each image by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._checks import check_count
from . import affine_transform as affine
from . import image_operations as operations

LARGEST_MAGNITUDE = 10.0
OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "solarize",
    "posterize",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
"""The names of the operations. The last five are affine transforms."""

N_AFFINE = 5


@dataclass(frozen=True)
class RandAugment:
    """Random operations on each image, all of one magnitude [1]_.

    Each image draws its own `n_ops` operations, with repetition, from the 14 below; most have a random sign. For the
    magnitude m, as ``s = m / 10``:

    ====================================== ================================================== ===============
    operation                              what it does                                       range for m = 5
    ====================================== ================================================== ===============
    identity, autocontrast, equalize       independent of the magnitude
    rotate                                 by ``+-30 s`` degrees about the centre             +-15 degrees
    shear_x, shear_y                       by a factor ``+-0.3 s``                            +-0.15
    translate_x, translate_y               by ``+-0.3125 s`` of the width or height           +-5 of 32 pixels
    solarize                               inverts levels from ``round(256 (1 - s))`` on      128
    posterize                              keeps ``8 - round(4 s)`` bits                      6 bits
    color, contrast, brightness, sharpness by a factor ``1 +- 0.9 s``                         0.55 or 1.45
    ====================================== ================================================== ===============

    Parameters
    ----------
    n_ops : int, default 3
        Operations of each image, one after the other.
    magnitude : float in [0, 10], default 5
        With 0 only autocontrast and equalize change an image.
    probability : float in [0, 1], default 1
        The probability with which a drawn operation is applied. ProMix has 0.5, with 3 operations of magnitude 5.
    fill : int in [0, 255], default 128
        The level of pixels that an affine transform moves in from outside.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, or is outside its range.

    Notes
    -----
    The operations return what those of Pillow return, affine transforms with the nearest pixel. In the code of
    AutoAugment, which ProMix uses with magnitude 5, the strength of some operations doesn't rise with the magnitude:
    there color, contrast, brightness and sharpness have the factor ``0.1 + 1.8 s``, which is 1 for m = 5, and posterize
    keeps ``4 s`` bits.

    References
    ----------
    .. [1] Cubuk, Zoph, Shlens, Le, "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space",
       CVPR workshops 2020.
    """

    n_ops: int = 3
    magnitude: float = 5.0
    probability: float = 1.0
    fill: int = 128

    def __post_init__(self) -> None:
        check_count("n_ops", self.n_ops)
        if not 0 <= self.magnitude <= LARGEST_MAGNITUDE:
            raise ValueError(f"magnitude must lie in [0, 10], got {self.magnitude}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], got {self.probability}")
        fill: object = self.fill
        if not isinstance(fill, int) or not 0 <= fill <= 255:
            raise ValueError(f"fill must be an integer in [0, 255], a level of bytes, got {self.fill!r}")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the batch with operations drawn for each image.

        Parameters
        ----------
        x : torch.Tensor of uint8, shape (n, C, H, W)
            Images with one channel or three.
        generator : torch.Generator, optional
            By default torch's global generator.

        Returns
        -------
        torch.Tensor of uint8, shape (n, C, H, W)

        Raises
        ------
        TypeError
            `x` isn't in bytes.
        ValueError
            `x` has the wrong shape.
        """
        _check_bytes(x)
        shape = (len(x), self.n_ops)
        drawn = torch.randint(len(OPERATIONS), shape, generator=generator, device=x.device)
        signs = 2 * torch.randint(2, shape, generator=generator, device=x.device) - 1
        if self.probability < 1:
            is_applied = torch.rand(shape, generator=generator, device=x.device) < self.probability
            drawn = drawn * is_applied
        return self.apply(x, drawn, signs)

    def apply(self, x: Tensor, drawn: Tensor, signs: Tensor) -> Tensor:
        """Return the batch after operations that have been drawn.

        Parameters
        ----------
        x : torch.Tensor of uint8, shape (n, C, H, W)
        drawn : torch.Tensor of int64, shape (n, n_ops)
            The operations of each image, as positions in `OPERATIONS`.
        signs : torch.Tensor of int64, shape (n, n_ops)
            1 or -1.

        Returns
        -------
        torch.Tensor of uint8, shape (n, C, H, W)
        """
        for column, column_signs in zip(drawn.unbind(1), signs.unbind(1), strict=True):
            # In the order of the operations, so that each changes a slice: writing to scattered images is slower.
            order = column.argsort()
            counts = (column[:, None] == torch.arange(len(OPERATIONS), device=x.device)).sum(0).tolist()
            changed = self._apply_in_order(x.index_select(0, order), column_signs[order], counts)
            x = changed.index_select(0, order.argsort())
        return x

    def _apply_in_order(self, x: Tensor, signs: Tensor, counts: list[int]) -> Tensor:
        """Return images that are in the order of their operations, after these; `counts` has the images of each."""
        parts = torch.split(x, counts)
        part_signs = torch.split(signs, counts)
        changed = [
            self._change_levels(name, part, of_part) if len(part) else part
            for name, part, of_part in zip(OPERATIONS[:-N_AFFINE], parts, part_signs, strict=False)
        ]
        moved = torch.cat(parts[-N_AFFINE:])
        if len(moved):
            matrices = self._matrices(part_signs[-N_AFFINE:], x.shape[2], x.shape[3])
            moved = affine.transform(moved, matrices, self.fill)
        return torch.cat([*changed, moved])

    @property
    def _strength(self) -> float:
        return self.magnitude / LARGEST_MAGNITUDE

    def _change_levels(self, name: str, x: Tensor, signs: Tensor) -> Tensor:
        """Return images after one of the operations that don't move pixels."""
        if name == "identity":
            return x
        if name == "autocontrast":
            return operations.autocontrast(x)
        if name == "equalize":
            return operations.equalize(x)
        if name == "solarize":
            return operations.solarize(x, round(256 * (1 - self._strength)))
        if name == "posterize":
            return operations.posterize(x, 8 - round(4 * self._strength))
        blend = {
            "color": operations.color,
            "contrast": operations.contrast,
            "brightness": operations.brightness,
            "sharpness": operations.sharpness,
        }[name]
        return blend(x, 1 + 0.9 * self._strength * signs.float())

    def _matrices(self, signs: Sequence[Tensor], height: int, width: int) -> Tensor:
        """Return the matrices of the affine transforms, of images in the order of these: shape (n_images, 6)."""
        rotate, shear_x, shear_y, translate_x, translate_y = (each.double() * self._strength for each in signs)
        return torch.cat(
            [
                affine.rotation(30 * rotate, height, width),
                affine.horizontal_shear(0.3 * shear_x),
                affine.vertical_shear(0.3 * shear_y),
                affine.horizontal_shift(0.3125 * width * translate_x),
                affine.vertical_shift(0.3125 * height * translate_y),
            ]
        )


def _check_bytes(x: Tensor) -> None:
    if x.dtype != torch.uint8:
        raise TypeError(
            f"x must be images in bytes, uint8, got {x.dtype}; put RandAugment before Standardise, and pass images as "
            "bytes, such as (255 * x).to(torch.uint8)"
        )
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"x must have shape (n, C, H, W), with C = 1 or 3 channels, got {tuple(x.shape)}")
