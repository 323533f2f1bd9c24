"""Images reduced to thumbnails, as data URIs within a total size. The only module that needs Pillow."""

from __future__ import annotations

import base64
import os
import warnings
from collections.abc import Iterable
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 9_000_000  # of all data URIs
PNG_MARK = b"\x89PNG"
PROGRAMS = frozenset({"EPS"})  # formats for which Pillow runs an interpreter
SMALL = 64  # pixels: images up to this size are stored without loss


class Size(NamedTuple):
    """The longer side of thumbnails in pixels, and their JPEG quality; None for PNG of small images."""

    side: int
    quality: int
    small_as_png: bool


SIZES = (
    Size(160, 80, True),
    Size(160, 65, True),
    Size(128, 65, True),
    Size(96, 60, True),
    Size(72, 50, False),
    Size(48, 40, False),
)


class UnreadableImage(NamedTuple):
    """An image file that is missing or damaged, and why it can't be read."""

    reason: str


def check_pillow() -> None:
    """Raise a ModuleNotFoundError that says what to install, if Pillow isn't."""
    try:
        import PIL.Image  # noqa: F401
    except ModuleNotFoundError as error:
        message = "write_page needs Pillow for images, which is not installed: pip install pillow"
        raise ModuleNotFoundError(message) from error


def read_image(item: Any, number: int) -> Image | UnreadableImage:
    """Return a sample as an image of at most the largest size, in grey or RGB.

    Raises
    ------
    TypeError, ValueError
        It is no image, or an array of another shape or other values.
    """
    from PIL import Image, ImageOps

    if isinstance(item, (str, PurePath, bytes)):
        return _read_file(item)
    if hasattr(item, "thumbnail"):
        image: Image.Image = item.copy()
    else:
        image = Image.fromarray(_as_pixels(np.asarray(item), number))
    image.thumbnail((SIZES[0].side, SIZES[0].side))
    return _as_grey_or_rgb(ImageOps.exif_transpose(image))


def encode_thumbnails(images: Iterable[Image | None]) -> list[str | None]:
    """Return images as data URIs, at the first of `SIZES` with which all of them fit into `MAX_BYTES`.

    With the last size they may take more. Images are read one at a time and kept compressed.
    """
    largest = [None if image is None else _encode(image, SIZES[0]) for image in images]
    contents = largest
    for size in SIZES[1:]:
        if 4 / 3 * sum(len(content) for content in contents if content is not None) <= MAX_BYTES:
            break
        contents = [None if content is None else _encode(_decode(content), size) for content in largest]
    return [None if content is None else _as_uri(content) for content in contents]


def _read_file(item: str | PurePath | bytes) -> Image | UnreadableImage:
    from PIL import Image, ImageOps

    source: Any = BytesIO(item) if isinstance(item, bytes) else os.fspath(item)
    try:
        with warnings.catch_warnings():
            # Pillow warns about large images and about damage that it can read past.
            warnings.simplefilter("ignore")
            with Image.open(source) as image:
                if image.format in PROGRAMS:
                    return UnreadableImage("PostScript is a program, which isn't executed")
                image.thumbnail((SIZES[0].side, SIZES[0].side))
                return _as_grey_or_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        return UnreadableImage("there is no such file")
    # Pillow raises errors of many types about damaged files.
    except Exception as error:
        return UnreadableImage(f"{type(error).__name__}: {error}".partition("\n")[0][:200])


def _as_pixels(array: npt.NDArray[Any], number: int) -> npt.NDArray[np.uint8]:
    """Return an array of an image as uint8, shape (height, width) or (height, width, 3)."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] != 3):
        raise ValueError(
            f"images must have shape (height, width) or (height, width, 1 or 3), got {array.shape} at index {number}; "
            "move the channels to the end"
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        raise TypeError(f"images must be uint8 or floating-point numbers in [0, 1], got {array.dtype}")
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            f"images of floating-point numbers must lie in [0, 1], got {array.min():.3g} to {array.max():.3g} at index "
            f"{number}; undo the normalization"
        )
    pixels: npt.NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
    return pixels


def _as_grey_or_rgb(image: Image) -> Image:
    from PIL import Image

    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("L" if image.mode == "1" else "RGB")


def _encode(image: Image, size: Size) -> bytes:
    small = max(image.size) <= SMALL
    if max(image.size) > size.side:
        image = image.copy()
        image.thumbnail((size.side, size.side))
    file = BytesIO()
    if small and size.small_as_png:
        image.save(file, "PNG", optimize=True)
    else:
        image.save(file, "JPEG", quality=size.quality, optimize=True)
    return file.getvalue()


def _decode(content: bytes) -> Image:
    from PIL import Image

    image = Image.open(BytesIO(content))
    image.load()
    return image


def _as_uri(content: bytes) -> str:
    kind = "png" if content.startswith(PNG_MARK) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
