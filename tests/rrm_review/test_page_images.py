from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rrm_review import thumbnails, write_page
from support.review_pages import decode, encode, make_table, photographs, read_page_data

TEXTS = [f"text {i}" for i in range(6)]


# Kinds


def test_images_of_all_kinds_of_sequences(tmp_path):
    array = np.zeros((4, 3, 5, 3), np.uint8)
    array[:, :, :2] = 255
    files = []
    for i, pixels in enumerate(array):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels).save(files[-1])
    encoded = [file.read_bytes() for file in files]
    names = [str(file) for file in files]
    pictures = [Image.fromarray(pixels) for pixels in array]
    sequences = [
        array,
        array / np.float32(255),
        files,
        encoded,
        pictures,
        list(array),
        pd.Series(files, index=list("abcd")),
    ]
    for samples in sequences:
        write_page(make_table(4), samples, tmp_path / "p.html")
        data = read_page_data(tmp_path / "p.html")
        assert data["kind"] == "images"
        for uri, pixels in zip(data["content"]["images"], array, strict=True):
            np.testing.assert_array_equal(np.asarray(decode(uri)), pixels)
    write_page(make_table(4), names, tmp_path / "p.html", kind="images")
    assert read_page_data(tmp_path / "p.html")["content"]["images"] == data["content"]["images"]
    write_page(make_table(4), names, tmp_path / "p.html")
    assert read_page_data(tmp_path / "p.html")["content"] == {"texts": names}


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 1)])
def test_grey_images_keep_their_values(shape, tmp_path):
    array = np.arange(30, dtype=np.uint8).reshape(shape) * 8
    write_page(make_table(2), array, tmp_path / "p.html")
    for uri, pixels in zip(read_page_data(tmp_path / "p.html")["content"]["images"], array, strict=True):
        np.testing.assert_array_equal(np.asarray(decode(uri)), pixels.reshape(3, 5))


def test_modes_of_files_become_grey_or_rgb(tmp_path):
    transparent = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    deep = Image.fromarray(np.full((4, 4), 65535, np.uint16))
    samples = [transparent, deep, Image.new("1", (4, 4), 1), Image.new("CMYK", (4, 4)), Image.new("P", (4, 4))]
    write_page(make_table(5), samples, tmp_path / "p.html")
    images = [decode(uri) for uri in read_page_data(tmp_path / "p.html")["content"]["images"]]
    assert [image.mode for image in images] == ["RGB", "L", "L", "RGB", "RGB"]
    assert [image.getpixel((0, 0)) for image in images[:3]] == [(255, 255, 255), 255, 255]


def test_photographs_are_turned_as_their_metadata_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    Image.new("RGB", (400, 200)).save(file, "JPEG", exif=exif)
    write_page(make_table(1), [file.getvalue()], tmp_path / "p.html")
    (uri,) = read_page_data(tmp_path / "p.html")["content"]["images"]
    assert decode(uri).size == (80, 160)


def test_tables_keep_numbers_and_name_what_is_missing(tmp_path):
    columns = {
        "size": np.array([0.1, np.nan, 3], np.float32),
        "n": [1, 2, 3],
        "when": np.array(["2026-01-02", "NaT", "2026-01-03"], "M8[D]"),
        "what": np.array(["x", None, 2.5], object),
    }
    for samples in (columns, pd.DataFrame(columns)):
        write_page(make_table(3), samples, tmp_path / "p.html")
        fields = read_page_data(tmp_path / "p.html")["content"]["fields"]
        assert fields["size"] == [0.1, None, 3]
        assert fields["n"] == [1, 2, 3]
        assert fields["what"] == ["x", None, 2.5]
        assert [value and value[:10] for value in fields["when"]] == ["2026-01-02", None, "2026-01-03"]


# Sizes


def test_thousand_thumbnails_take_less_than_10_mb(tmp_path):
    images = np.tile(photographs(20, 160), (50, 1, 1, 1))
    write_page(make_table(1000), images, tmp_path / "p.html")
    assert (tmp_path / "p.html").stat().st_size < 10_000_000
    assert len(read_page_data(tmp_path / "p.html")["content"]["images"]) == 1000


def test_thumbnails_are_reduced_until_they_fit(monkeypatch):
    images = [Image.fromarray(pixels) for pixels in photographs(4, 160)]
    full = thumbnails.encode_thumbnails(images)
    assert {decode(uri).size for uri in full} == {(160, 160)}
    monkeypatch.setattr(thumbnails, "MAX_BYTES", sum(map(len, full)) // 2)
    reduced = thumbnails.encode_thumbnails(images)
    assert sum(map(len, reduced)) <= thumbnails.MAX_BYTES
    # Not smaller than needed.
    assert {decode(uri).size for uri in reduced} != {(48, 48)}
    monkeypatch.setattr(thumbnails, "MAX_BYTES", 1)
    assert {decode(uri).size for uri in thumbnails.encode_thumbnails(images)} == {(48, 48)}


def test_small_images_are_stored_without_loss_and_large_ones_as_jpeg(tmp_path):
    images = [np.zeros((64, 20), np.uint8), np.zeros((65, 20), np.uint8), np.zeros((500, 1000), np.uint8)]
    write_page(make_table(3), images, tmp_path / "p.html")
    uris = read_page_data(tmp_path / "p.html")["content"]["images"]
    assert [decode(uri).format for uri in uris] == ["PNG", "JPEG", "JPEG"]
    assert [decode(uri).size for uri in uris] == [(20, 64), (20, 65), (160, 80)]


# Files that can't be read


def test_broken_images_are_named_once_and_marked_on_the_page(tmp_path):
    whole = encode(Image.new("L", (100, 100)))
    (tmp_path / "cut.png").write_bytes(whole[:60])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "whole.png").write_bytes(whole)
    names = ["none.png", "cut.png", "text.png", "whole.png", "none2.png"]
    samples = [tmp_path / name for name in names]
    with pytest.warns(
        UserWarning, match=r"4 of 5 images can't be read, .*: '.*none.png', .*, \.\.\. \(there"
    ) as warned:
        write_page(make_table(5), samples, tmp_path / "p.html")
    assert len(warned) == 1
    assert warned[0].filename == __file__
    content = read_page_data(tmp_path / "p.html")["content"]
    assert [uri is None for uri in content["images"]] == [True, True, True, False, True]
    assert content["errors"]["0"] == content["errors"]["4"] == "there is no such file"
    assert "cannot identify image file" in content["errors"]["2"]


def test_bytes_that_are_no_image_are_named_by_index(tmp_path):
    with pytest.warns(UserWarning, match=r"1 of 2 images can't be read, .*: samples\[1\] \("):
        write_page(make_table(2), [encode(Image.new("L", (2, 2))), b"no image"], tmp_path / "p.html")


def test_postscript_is_not_executed(tmp_path):
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    path = tmp_path / "0.png"
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="PostScript is a program, which isn't executed"):
        write_page(make_table(2), [content, path], tmp_path / "p.html", kind="images")
    assert read_page_data(tmp_path / "p.html")["content"]["images"] == [None, None]
