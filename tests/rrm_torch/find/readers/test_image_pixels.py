"""Pixels of images: formats, fit, broken files and limits."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from rrm_torch.find.readers.image_pixels import read_pixels


def encode(image, suffix="png", **arguments):
    file = io.BytesIO()
    image.save(file, suffix, **arguments)
    return file.getvalue()


def plain(colour, mode="RGB", size=(4, 4)):
    return Image.new(mode, size, colour)


def read_one(image, size=4, **arguments):
    pixels, _, _ = read_pixels([encode(image, **arguments)], size)
    return pixels[0]


def test_colours_make_three_channels():
    samples = [encode(plain((255, 0, 10))), encode(plain(7, "L"))]
    pixels, hashes, broken = read_pixels(samples, 4)
    assert (pixels.shape, pixels.dtype, broken) == ((2, 4, 4, 3), np.uint8, {})
    assert pixels[0, 1, 1].tolist() == [255, 0, 10]
    assert pixels[1, 1, 1].tolist() == [7, 7, 7]
    assert len(set(hashes)) == 2


def test_grey_images_make_one_channel():
    pixels, _, _ = read_pixels([encode(plain(7, "L")), encode(plain((9, 9, 9)))], 4)
    assert pixels.shape == (2, 4, 4, 1)
    assert pixels[:, 0, 0, 0].tolist() == [7, 9]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (plain((0, 0, 0, 0), "RGBA"), 255),
        (plain((0, 0, 0, 255), "RGBA"), 0),
        (plain((0, 0), "LA"), 255),
        (plain((40, 255), "LA"), 40),
        (plain(1, "1"), 255),
        (plain(32768, "I;16"), 128),
        (plain((9, 9, 9)).quantize(2), 9),
    ],
    ids=["transparent", "opaque", "transparent grey", "opaque grey", "bits", "16 bits", "palette"],
)
def test_modes(image, expected):
    pixels = read_one(image)
    assert pixels.shape == (4, 4, 1)
    assert (pixels == expected).all()


def test_transparent_palette_and_colour_are_white():
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30])
    assert (read_one(palette, transparency=0) == 255).all()
    assert (read_one(plain((1, 2, 3)), transparency=(1, 2, 3)) == 255).all()
    assert (read_one(plain(5, "L"), transparency=5) == 255).all()


def test_floating_point_tiff():
    image = Image.fromarray(np.array([[-1.0, 0.0], [0.0, 1.0]], np.float32))
    assert read_one(image, size=2, suffix="tiff")[..., 0].tolist() == [[0, 128], [128, 255]]


def test_the_whole_image_is_kept_between_black_bars():
    pixels = read_one(plain(200, "L", (8, 4)), size=8)[..., 0]
    assert (pixels[2:6] == 200).all()
    assert (pixels[:2] == 0).all()
    assert (pixels[6:] == 0).all()


def test_exif_orientation_is_applied():
    image = plain(0, "RGB", (4, 4))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 3  # rotated by 180 degrees
    pixels = read_one(image, exif=exif)
    assert (pixels[3, 3] == 255).all()
    assert (pixels[0, 0] == 0).all()


def test_the_first_frame_is_read():
    frames = [plain(10, "L"), plain(200, "L")]
    pixels = read_one(frames[0], suffix="gif", save_all=True, append_images=frames[1:])
    assert (pixels == 10).all()


def test_equal_pixels_have_equal_hashes(tmp_path):
    image = plain((1, 2, 3))
    (tmp_path / "a.png").write_bytes(encode(image))
    (tmp_path / "b.bmp").write_bytes(encode(image, "bmp"))
    (tmp_path / "c.png").write_bytes(encode(plain((1, 2, 3), size=(4, 8))))
    _, hashes, _ = read_pixels([tmp_path / "a.png", tmp_path / "b.bmp", tmp_path / "c.png"], 4)
    assert hashes[0] == hashes[1] != hashes[2]


def test_hashes_of_reduced_images_differ_if_their_sizes_do():
    samples = [encode(plain(9, "L", (size, size)), "jpeg") for size in (32, 64, 64)]
    _, hashes, _ = read_pixels(samples, 4)
    assert hashes[0] != hashes[1] == hashes[2]


def test_large_jpeg_is_reduced():
    image = Image.effect_noise((400, 200), 50)
    pixels = read_one(image, size=16, suffix="jpeg")
    assert pixels.shape == (16, 16, 1)
    assert abs(pixels[4:12].mean() - np.asarray(image).mean()) < 5


def test_broken_images_are_named_with_the_reason(tmp_path, monkeypatch):
    large = encode(plain(1, "L", (50, 50)))
    too_large = encode(plain(1, "L", (90, 90)))
    whole = encode(Image.effect_noise((30, 30), 50))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n"
    samples = [whole, postscript, b"", whole[:-300], large, too_large]
    calls = []
    pixels, hashes, broken = read_pixels(samples, 4, lambda: calls.append(len(calls)))
    assert list(broken) == [1, 2, 3, 4, 5]
    assert broken[1] == "no image: its content is none of PNG, JPEG, WEBP, BMP, GIF, TIFF, PPM, JPEG2000"
    assert broken[2] == "damaged image: it has no bytes"
    assert broken[3].startswith("damaged image: ")
    assert broken[4] == broken[5] == "image with more pixels than Pillow's limit"
    assert [bool(content_hash) for content_hash in hashes] == [True, False, False, False, False, False]
    assert not pixels[1:].any()
    assert calls == [0, 1, 2, 3, 4, 5]
    _, _, broken = read_pixels([tmp_path / "none.png", whole], 4)
    assert broken == {0: "image file doesn't exist"}


@pytest.mark.parametrize("samples", [[b"text"], []])
def test_no_image_can_be_decoded(samples):
    with pytest.raises(ValueError, match=rf"none of the {len(samples)} images can be decoded: "):
        read_pixels(samples, 4)


def test_arrays_of_bytes_are_returned_unchanged():
    images = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    pixels, hashes, broken = read_pixels(images, 4)
    assert (pixels[..., 0] == images).all()
    assert (len(set(hashes)), broken) == (2, {})
    pixels, _, _ = read_pixels(images[..., None], 4)
    assert (pixels[..., 0] == images).all()
    colours = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    assert (read_pixels(colours, 4)[0] == colours).all()
    assert read_pixels(colours, 8)[0].shape == (2, 8, 8, 3)


def test_transparent_arrays_are_on_white():
    images = np.zeros((1, 4, 4, 4), np.uint8)
    assert (read_pixels(images, 4)[0] == 255).all()


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.0, 1.0, [0, 255]), (0.0, 0.5, [0, 128]), (-1.0, 3.0, [0, 255])]
)
def test_arrays_of_floats_are_scaled(low, high, expected):
    images = np.full((2, 2, 2), low)
    images[1] = high
    pixels, _, _ = read_pixels(images, 2)
    assert pixels[:, 0, 0, 0].tolist() == expected


def test_arrays_with_nan_are_broken():
    images = np.zeros((2, 2, 2), np.float32)
    images[1, 0, 0] = np.nan
    assert read_pixels(images, 2)[2] == {1: "damaged image: it has NaN or infinite pixels"}
