"""Pixels of images: each is decoded once, and fitted to a square."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...data.image_files import FORMATS
from .optional_packages import import_optional

N_THREADS = 2
WHITE = 255.0


class _Pixels(NamedTuple):
    """An image as (size, size) or (size, size, 3), and the hash of its content."""

    array: npt.NDArray[np.uint8]
    content_hash: str


class Pictures(Sequence[Any]):
    """An array of images as a person looks at them: of mode L or RGB, in full size, each made when it is needed.

    Parameters
    ----------
    images : array of uint8 or floating-point, shape (n, H, W) or (n, H, W, C)
        Black and white are the same values as in `read_pixels`.
    """

    def __init__(self, images: npt.NDArray[Any]) -> None:
        self._images = images
        self._low, self._high = _value_range(images)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        return _as_image(self._images[index], self._low, self._high)


def read_pixels(
    samples: list[Path] | list[bytes] | npt.NDArray[Any],
    size: int,
    on_sample: Callable[[], None] | None = None,
) -> tuple[npt.NDArray[np.uint8], list[str], dict[int, str]]:
    """Decode images and fit them to squares of one size.

    Parameters
    ----------
    samples : list of Path, list of bytes, or array of uint8 or floating-point, shape (n, H, W) or (n, H, W, C)
        Files, encoded images, or pixels. Floating-point pixels are expected in [0, 1]; of others the smallest value
        becomes black and the largest white.
    size : int
        Width and height of the result, in pixels.
    on_sample : callable, optional
        Called without arguments after each image, in the caller's thread.

    Returns
    -------
    pixels : np.ndarray of uint8, shape (n, size, size, C)
        C is 1 if all images are grey, otherwise 3. Broken images are black.
    hashes : list of str, length n
        Equal for images with equal pixels; empty for a broken image.
    broken : dict of int to str
        Why an image can't be decoded, by its position.

    Raises
    ------
    ValueError
        No image can be decoded.
    ImportError
        Pillow isn't installed.

    Notes
    -----
    The whole image is kept: its longer side becomes `size`, and black bars fill the rest of the square on both sides.
    The orientation in its EXIF data is applied, transparent pixels become white, and of several frames the first is
    read. Large JPEGs are decoded at a half, a quarter or an eighth of their size, if that is at least twice `size`;
    their hashes are of those pixels. An image with more pixels than Pillow's limit (`PIL.Image.MAX_IMAGE_PIXELS`) is
    broken.
    """
    image_module = import_optional("PIL.Image", "images")
    read: Callable[[Any], _Pixels | str]
    if isinstance(samples, np.ndarray):
        low, high = _value_range(samples)
        read = partial(_try, partial(_fit_array, size=size, low=low, high=high))
    else:
        read = partial(_try, partial(_decode, size=size))
    n = len(samples)
    result = np.zeros((n, size, size, 3), np.uint8)
    hashes: list[str] = []
    broken: dict[int, str] = {}
    all_grey = True
    # Pillow warns of odd metadata; of an image beyond its limit it warns or raises, by the size.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", image_module.DecompressionBombWarning)
        for index, image in enumerate(_map(read, samples)):
            if isinstance(image, str):
                broken[index] = image
                hashes.append("")
            else:
                array = image.array
                all_grey = all_grey and (array.ndim == 2 or _is_grey(array))
                result[index] = array[:, :, None] if array.ndim == 2 else array
                hashes.append(image.content_hash)
            if on_sample is not None:
                on_sample()
    if len(broken) == n:
        raise ValueError(f"none of the {n:,} images can be decoded: {broken.get(0, 'there are none')}")
    if all_grey:
        result = np.ascontiguousarray(result[..., :1])
    return result, hashes, broken


def _map(read: Callable[[Any], _Pixels | str], samples: Any) -> Iterator[_Pixels | str]:
    """Yield results in the order of the samples, with at most a block of them in memory."""
    block = 256
    with ThreadPoolExecutor(N_THREADS) as executor:
        for start in range(0, len(samples), block):
            yield from executor.map(read, samples[start : start + block])


def _try(decode: Callable[[Any], _Pixels], sample: Any) -> _Pixels | str:
    """Return an image, or why there is none."""
    try:
        return decode(sample)
    # Pillow's decoders raise many kinds of errors where a file is damaged.
    except Exception as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    name = type(error).__name__
    if name == "UnidentifiedImageError":
        return f"no image: its content is none of {', '.join(FORMATS)}"
    if name.startswith("DecompressionBomb"):
        return "image with more pixels than Pillow's limit"
    if isinstance(error, FileNotFoundError):
        return "image file doesn't exist"
    return f"damaged image: {' '.join(str(error).split()) or name}"


def _decode(sample: Path | bytes, size: int) -> _Pixels:
    from PIL import Image, ImageOps

    if isinstance(sample, bytes) and not sample:
        raise ValueError("it has no bytes")
    source = io.BytesIO(sample) if isinstance(sample, bytes) else sample
    with Image.open(source, formats=FORMATS) as opened:
        full_size = opened.size
        opened.draft(None, (2 * size, 2 * size))
        opened.load()
        image = _flatten(ImageOps.exif_transpose(opened))
    digest = hashlib.blake2b(f"{full_size} {image.size} {image.mode}".encode(), digest_size=16)
    digest.update(image.tobytes())
    return _Pixels(_fit(image, size), digest.hexdigest())


def _flatten(image: Any) -> Any:
    """Return an image of mode L or RGB: on white where it is transparent."""
    from PIL import Image

    is_transparent = image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info
    if image.mode in ("L", "RGB") and not is_transparent:
        return image
    if image.mode[0] in "IF":
        return Image.fromarray(_to_bytes(np.asarray(image, np.float32), *_range_of_mode(image)))
    if image.mode == "1" and not is_transparent:
        return image.convert("L")
    if is_transparent:
        is_grey = image.mode in ("L", "LA", "La")
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image)
        return image.convert("L" if is_grey else "RGB")
    return image.convert("RGB")


def _range_of_mode(image: Any) -> tuple[float, float]:
    """Return the values of black and white in an image of integers of more than 8 bits, or of floats."""
    low, high = image.getextrema()
    if image.mode[0] == "F":
        return float(low), float(high)
    return 0.0, (WHITE if high <= WHITE else 65535.0)


def _fit(image: Any, size: int) -> npt.NDArray[np.uint8]:
    """Return an image of mode L or RGB, scaled and centred in a square."""
    from PIL import Image, ImageOps

    if image.size != (size, size):
        image = ImageOps.pad(image, (size, size), method=Image.Resampling.BILINEAR)
    return np.asarray(image)


def _fit_array(pixels: npt.NDArray[Any], size: int, low: float, high: float) -> _Pixels:
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("it has NaN or infinite pixels")
    content_hash = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
    return _Pixels(_fit(_as_image(pixels, low, high), size), content_hash)


def _as_image(pixels: npt.NDArray[Any], low: float, high: float) -> Any:
    """Return an array as an image of mode L or RGB."""
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8:
        pixels = _to_bytes(pixels, low, high)
    return _flatten(Image.fromarray(np.ascontiguousarray(pixels)))


def _value_range(images: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the values of black and white in an array of images."""
    if images.dtype == np.uint8:
        return 0.0, WHITE
    low = float(np.min(images, where=np.isfinite(images), initial=np.inf))
    high = float(np.max(images, where=np.isfinite(images), initial=-np.inf))
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high


def _to_bytes(pixels: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    scale = WHITE / (high - low) if high > low else 0.0
    return np.rint(np.clip((pixels - low) * scale, 0, WHITE)).astype(np.uint8)


def _is_grey(array: npt.NDArray[np.uint8]) -> bool:
    return bool((array[..., 0] == array[..., 1]).all() and (array[..., 1] == array[..., 2]).all())
