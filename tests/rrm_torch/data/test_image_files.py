from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import torch

from rrm_torch.data import batches
from rrm_torch.data.image_files import ImageFiles
from rrm_torch.data.path_list import PathList
from support.image_data import has_colours, save_image

Image = pytest.importorskip("PIL.Image")


def smooth(width, height, seed=0):
    """An image of smooth colours, which JPEG keeps nearly as they are."""
    pixels = np.random.default_rng(seed).integers(256, size=(3, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def scale_and_crop(image, size, resize):
    """The whole image scaled, then cropped, as float of shape (3, size, size)."""
    width, height = image.size
    shorter = min(width, height)
    scaled = (resize * width // shorter, resize * height // shorter)
    left, top = (round((side - size) / 2) for side in scaled)
    cropped = image.resize(scaled, Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return np.asarray(cropped).transpose(2, 0, 1).astype(float)


@pytest.fixture
def colours(tmp_path):
    """Five files of different colours, and their paths."""
    paths = [tmp_path / f"{number}.jpg" for number in range(5)]
    for number, path in enumerate(paths):
        save_image(path, number)
    return paths


# Pixels


@pytest.mark.parametrize("shape", [(60, 40), (40, 61), (50, 50), (9, 200), (12, 10)], ids=str)
@pytest.mark.parametrize(("size", "resize"), [(24, 27), (24, 24), (7, 30)])
def test_images_are_scaled_and_cropped(tmp_path, shape, size, resize):
    image = smooth(*shape)
    image.save(tmp_path / "image.png")
    pixels = ImageFiles([tmp_path / "image.png"], size, resize=resize)[0]
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, size, size)
    assert abs(pixels.numpy() - scale_and_crop(image, size, resize)).max() <= 1


@pytest.mark.parametrize(("size", "resize"), [(224, 256), (28, 32), (32, 36), (1, 1)])
def test_default_resize(size, resize):
    assert ImageFiles([], size).resize == resize


def test_large_jpeg_is_decoded_at_a_part_of_its_size(tmp_path, monkeypatch):
    sizes = []
    draft = Image.Image.draft

    def spy(image, mode, size):
        result = jpeg_draft(image, mode, size)
        sizes.append(image.size)
        return result

    jpeg_plugin = pytest.importorskip("PIL.JpegImagePlugin")
    jpeg_draft = jpeg_plugin.JpegImageFile.draft
    assert jpeg_draft is not draft
    monkeypatch.setattr(jpeg_plugin.JpegImageFile, "draft", spy)
    for name, shape in (("large", (800, 600)), ("small", (199, 300))):
        smooth(*shape).save(tmp_path / f"{name}.jpg", quality=95, subsampling=0)
    large, small = ImageFiles([tmp_path / "large.jpg", tmp_path / "small.jpg"], 40, resize=50, threads=1)[:]
    assert sizes == [(200, 150), (199, 300)]
    assert abs(large.numpy() - scale_and_crop(smooth(800, 600), 40, 50)).mean() < 1.5
    assert abs(small.numpy() - scale_and_crop(smooth(199, 300), 40, 50)).max() <= 4


@pytest.mark.parametrize(
    ("mode", "content", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("1", 1, (255, 255, 255)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
    ],
)
def test_images_of_other_modes_become_rgb(tmp_path, mode, content, expected):
    Image.new(mode, (10, 10), content).save(tmp_path / "image.tif")
    pixels = ImageFiles([tmp_path / "image.tif"], 4)[0]
    assert pixels[:, 1, 1].tolist() == list(expected)


def test_transparent_colour_of_a_palette_becomes_white(tmp_path):
    image = Image.new("P", (10, 10), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.save(tmp_path / "image.png", transparency=b"\xff\x00")
    assert ImageFiles([tmp_path / "image.png"], 4)[0].unique().tolist() == [255]


def test_orientation_is_not_applied(tmp_path):
    image = smooth(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by a quarter
    image.save(tmp_path / "image.png", exif=exif)
    pixels = ImageFiles([tmp_path / "image.png"], 20, resize=20)[0]
    assert abs(pixels.numpy() - scale_and_crop(image, 20, 20)).max() <= 1


# Indices


@pytest.mark.parametrize(
    ("index", "numbers"),
    [
        (torch.tensor([3, 0, 3]), [3, 0, 3]),
        (torch.tensor([1], dtype=torch.int32), [1]),
        (np.array([4, -1, -5]), [4, 4, 0]),
        (np.array([2], np.uint8), [2]),
        ([2, 1], [2, 1]),
        ([], []),
        (torch.tensor([], dtype=torch.int64), []),
        (slice(1, None, 2), [1, 3]),
        (slice(4, 1, -1), [4, 3, 2]),
    ],
    ids=str,
)
@pytest.mark.parametrize("threads", [1, 3])
def test_images_are_in_the_order_of_the_index(colours, index, numbers, threads):
    pixels = ImageFiles(colours, 8, threads=threads)[index]
    assert pixels.shape == (len(numbers), 3, 8, 8)
    assert has_colours(pixels, numbers)


@pytest.mark.parametrize("index", [2, -3, np.int64(2), torch.tensor(2)])
def test_single_index_returns_one_image(colours, index):
    pixels = ImageFiles(colours, 8)[index]
    assert pixels.shape == (3, 8, 8)
    assert has_colours(pixels[None], [2])


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ([0, 5], IndexError, r"index must lie in \[-5, 5\), got 5"),
        (torch.tensor([-6, 9]), IndexError, r"index must lie in \[-5, 5\), got -6"),
        (5, IndexError, r"index must lie in \[-5, 5\), got 5"),
        (
            torch.ones(5, dtype=torch.bool),
            TypeError,
            r"must be of integers, got bool; convert a mask with .nonzero\(\)",
        ),
        ([0.0, 1.0], TypeError, "must be of integers, got float64"),
        (torch.zeros(1, 2, dtype=torch.int64), ValueError, r"of shape \(batch,\), got shape \(1, 2\)"),
    ],
)
def test_invalid_index_raises(colours, index, error, message):
    with pytest.raises(error, match=message):
        ImageFiles(colours, 8)[index]


def test_shape_is_known_without_opening_files():
    images = ImageFiles(["nowhere.jpg"] * 7, 16)
    assert len(images) == 7
    assert images.shape == (7, 3, 16, 16)
    assert (images.ndim, images.dtype, images.device) == (4, torch.uint8, torch.device("cpu"))


def test_path_list_is_not_copied():
    paths = PathList(["a.jpg"])
    assert ImageFiles(paths, 8).paths is paths


def test_pickled_images_are_the_same(colours):
    images = pickle.loads(pickle.dumps(ImageFiles(colours, 8, resize=9, threads=2)))
    assert (images.size, images.resize, images.threads) == (8, 9, 2)
    assert has_colours(images[:], range(5))


def test_loader_of_batches_takes_image_files(colours):
    loader = batches(ImageFiles(colours, 8), torch.arange(5), 2, shuffle=True, generator=torch.Generator())
    for index, x, y in loader:
        assert has_colours(x, y.tolist())
        assert torch.equal(index, y)


# Errors


def test_missing_file_raises_with_its_name(colours):
    colours[3].unlink()
    with pytest.raises(FileNotFoundError, match=r"image file '.*3\.jpg' doesn't exist"):
        ImageFiles(colours, 8)[:]


def enormous(content):
    """A JPEG file whose header states 65,535 x 65,535 pixels."""
    sizes = content.index(b"\xff\xc0") + 5  # after the marker, the segment's length and the precision
    return content[:sizes] + b"\xff" * 4 + content[sizes + 4 :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "cannot identify"),
        (lambda content: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "cannot identify"),
        (lambda content: content[:-20], "[Tt]runcated"),
        (enormous, "decompression bomb"),
    ],
    ids=["empty", "PostScript", "cut off", "bomb"],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_unreadable_image_raises_with_its_name(colours, damage, reason, threads):
    colours[3].write_bytes(damage(colours[3].read_bytes()))
    images = ImageFiles(colours, 8, threads=threads)
    with pytest.raises(
        ValueError, match=rf"3\.jpg' can't be read as an image: .*{reason}.*; copy it again or leave it"
    ):
        images[[0, 3, 1]]
    assert has_colours(images[[0, 1]], [0, 1])


def test_without_pillow_raises_with_remedy(colours, monkeypatch):
    images = ImageFiles(colours, 8)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="image files need Pillow, which is not installed: pip install pillow"):
        images[0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 0}, ValueError, "size must be a whole number of pixels, at least 1, got 0"),
        ({"size": True}, ValueError, "size must be a whole number .* got True"),
        ({"resize": 7}, ValueError, "resize must be a whole number of pixels, at least size=8, got 7"),
        ({"resize": 9.5}, ValueError, "resize must be .* got 9.5"),
        ({"threads": 0}, ValueError, "threads must be a whole number, at least 1, got 0"),
        ({"paths": "a.jpg"}, TypeError, "paths must be a list of paths, got the single path 'a.jpg'"),
    ],
)
def test_invalid_arguments_raise(arguments, error, message):
    with pytest.raises(error, match=message):
        ImageFiles(**({"paths": ["a.jpg"], "size": 8} | arguments))
