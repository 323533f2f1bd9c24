from __future__ import annotations

import re
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rrm_review import page_assembly, page_samples, thumbnails, write_page
from support.review_pages import HOSTILE, make_table, parse_page, read_page_data

TEXTS = [f"text {i}" for i in range(6)]


def encode(image, kind="PNG"):
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue()


def decode(uri):
    import base64

    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def photographs(n, side):
    """Return smooth images with noise, which JPEG compresses about as much as photographs."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, 8, 8, 3)).astype(np.uint8)
    images = coarse.repeat(side // 8, 1).repeat(side // 8, 2).astype(np.int16)
    return (images + rng.integers(-12, 13, images.shape)).clip(0, 255).astype(np.uint8)


# What is on the page


def test_page_holds_the_table_and_the_texts(tmp_path):
    path = tmp_path / "p.html"
    table = make_table(4, id=["d", "c", "b", "a"], loss=np.array([0.5, np.nan, np.inf, 0.1], np.float32))
    assert write_page(table, TEXTS[:4], path, classes=["cat", "dog", "eel"], title="Pets", notes=["a note"]) == 4
    data = read_page_data(path)
    assert data["ids"] == ["d", "c", "b", "a"]
    assert data["content"] == {"texts": TEXTS[:4]}
    assert (data["title"], data["notes"], data["kind"], data["total"]) == ("Pets", ["a note"], "texts", 4)
    assert data["given"] == [0, 1, 2, 0]
    assert data["predicted"] == [1, 2, 2, 0]
    assert data["names"] == ["cat", "dog", "eel"]
    assert data["values"] == ["0", "1", "2"]
    assert data["integers"] == {"id": False, "label": True}
    assert data["columns"]["loss"] == [0.5, None, "∞", 0.1]
    assert data["columns"]["is_label_issue"] == [True, True, False, False]
    assert sorted(data["columns"]) == ["is_label_issue", "label_quality", "loss"]


def test_rows_are_sorted_by_quality_then_index(tmp_path):
    table = make_table(6, label_quality=np.array([0.5, 0.2, np.nan, 0.2, 1.0, 0.1]))
    shuffled = {name: column[[3, 0, 5, 1, 4, 2]] for name, column in table.items()}
    write_page(shuffled, TEXTS, tmp_path / "p.html")
    data = read_page_data(tmp_path / "p.html")
    assert data["index"] == [5, 1, 3, 0, 4, 2]
    assert data["content"]["texts"] == [TEXTS[i] for i in data["index"]]
    assert data["ids"] == [str(i) for i in data["index"]]


def test_some_rows_of_a_table_are_enough(tmp_path):
    table = {name: column[[4, 2]] for name, column in make_table(6).items()}
    assert write_page(table, TEXTS, tmp_path / "p.html") == 2
    assert read_page_data(tmp_path / "p.html")["content"]["texts"] == ["text 2", "text 4"]


def test_data_frame_of_issues_gives_the_same_page(tmp_path):
    table = make_table(6, id=list("abcdef"), remark=list("ghijkl"))
    write_page(table, TEXTS, tmp_path / "a.html")
    write_page(pd.DataFrame(table), TEXTS, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_table_without_rows_is_a_page_without_samples(tmp_path):
    table = {name: column[:0] for name, column in make_table(6).items()}
    assert write_page(table, TEXTS, tmp_path / "p.html") == 0


def test_limit_keeps_the_most_suspicious(tmp_path, monkeypatch):
    path = tmp_path / "p.html"
    assert write_page(make_table(6), TEXTS, path, limit=2) == 2
    data = read_page_data(path)
    assert (data["index"], data["total"]) == ([0, 1], 6)
    assert write_page(make_table(1200), np.zeros((1200, 1, 1), np.uint8), path) == 1000
    assert write_page(make_table(1200), [""] * 1200, path) == 1200


def test_large_integers_are_strings(tmp_path):
    ids = np.array([2**64 - 1, 2**53 + 1, 5], np.uint64)
    write_page(make_table(3, id=ids, big=ids), TEXTS[:3], tmp_path / "p.html")
    data = read_page_data(tmp_path / "p.html")
    assert data["ids"] == data["columns"]["big"] == ["18446744073709551615", "9007199254740993", "5"]
    assert data["integers"]["id"] is True


def test_history_is_stored_by_sample(tmp_path):
    pruned = np.random.default_rng(0).random((11, 6)) < 0.5
    table = make_table(6, label_quality=np.arange(6)[::-1] / 5)
    write_page(table, TEXTS, tmp_path / "p.html", pruned=pruned)
    history = read_page_data(tmp_path / "p.html")["pruned"]
    bits = [[int(bit) for bit in f"{int(digits, 16):016b}"[:11]] for digits in history["bits"]]
    assert history["n"] == 11
    np.testing.assert_array_equal(bits, pruned.T[::-1])


def test_decisions_of_an_earlier_round_are_on_the_page_and_those_on_other_samples_kept_for_its_exports(tmp_path):
    corrections = {
        "id": [9, 0, 1, 3],
        "given_label": [0, 0, 1, 0],
        "decision": ["drop", "keep", "relabel", "unsure"],
        "label": ["", "", "2", ""],
    }
    write_page(make_table(4), TEXTS[:4], tmp_path / "p.html", limit=3, corrections=corrections)
    data = read_page_data(tmp_path / "p.html")
    assert data["index"] == [0, 1, 2]
    assert data["decisions"] == ["keep", "relabel", ""]
    assert data["labels"] == [None, 2, None]
    assert data["others"] == [
        {"id": "9", "given_label": "0", "decision": "drop", "label": None},
        {"id": "3", "given_label": "0", "decision": "unsure", "label": None},
    ]


def test_a_correction_to_a_label_that_is_no_class_is_refused(tmp_path):
    corrections = {"id": [0], "decision": ["relabel"], "label": ["x"]}
    with pytest.raises(ValueError, match="row 0: the label of '0' must be a class, got 'x'; name it in classes"):
        write_page(make_table(4), TEXTS[:4], tmp_path / "p.html", corrections=corrections)


@pytest.mark.parametrize(
    ("corrections", "message"),
    [
        (
            [{"id": [0], "decision": [word], "label": [""]} for word in ("drop", "unsure")],
            "row 0: '0' is unsure, but drop in corrections, row 0",
        ),
        (
            {"id": [0], "given_label": [1], "decision": ["keep"], "label": [1]},
            "row 0: '0' had the label '1' when it was judged, and has '0' now",
        ),
    ],
)
def test_corrections_that_contradict_each_other_or_the_given_labels_are_refused(tmp_path, corrections, message):
    with pytest.raises(ValueError, match=message):
        write_page(make_table(4), TEXTS[:4], tmp_path / "p.html", corrections=corrections)
    assert not (tmp_path / "p.html").exists()


def test_key_depends_on_samples_and_given_labels_only(tmp_path):
    path = tmp_path / "p.html"

    def key(table, kind="texts", **options):
        write_page(table, TEXTS if kind == "texts" else photographs(6, 8), path, **options)
        return read_page_data(path)["key"]

    table = make_table(6)
    first = key(table)
    assert re.fullmatch("[0-9a-f]{64}", first)
    reverse = {name: column[::-1] for name, column in table.items()}
    assert key(reverse, limit=2, title="other") == first
    assert key(table | {"predicted_label": table["given_label"]}) == first
    others = [table | {"given_label": table["given_label"][::-1]}, table | {"id": list("abcdef")}]
    assert len({first, *map(key, others), key(table, kind="images")}) == 4


def test_same_input_gives_the_same_bytes(tmp_path):
    images = photographs(3, 80)
    for name in ("a.html", "b.html"):
        write_page(make_table(3), images, tmp_path / name, pruned=np.eye(3, dtype=bool))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


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


# Data stays data


def test_hostile_strings_stay_data(tmp_path):
    path = tmp_path / "p.html"
    n = len(HOSTILE)
    columns = {"id": HOSTILE, "remark": HOSTILE, "duplicates": HOSTILE, "a</script>": HOSTILE}
    table = make_table(n, **columns, given_label=HOSTILE, predicted_label=HOSTILE[::-1])
    write_page(table, HOSTILE, path, title=HOSTILE[0], notes=HOSTILE)
    data = read_page_data(path)
    assert data["ids"] == data["notes"] == data["content"]["texts"] == HOSTILE
    assert [data["names"][label] for label in data["given"]] == HOSTILE
    assert data["columns"]["a</script>"] == data["columns"]["remark"] == HOSTILE
    assert data["title"] == HOSTILE[0]

    assert not set("<>&\u2028\u2029") & set(parse_page(path).sources["application/json"])
    write_page(make_table(6), TEXTS, tmp_path / "plain.html")
    assert parse_page(path).elements == parse_page(tmp_path / "plain.html").elements
    write_page(make_table(n), {"c</script>": HOSTILE}, path, kind="table")
    assert read_page_data(path)["content"]["fields"] == {"c</script>": HOSTILE}


def test_policy_allows_the_script_and_the_style_and_nothing_else(tmp_path):
    write_page(make_table(6), TEXTS, tmp_path / "p.html")
    page = parse_page(tmp_path / "p.html")
    policies = [attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes]
    script = page_assembly.hash_source(page.sources["module"])
    style = page_assembly.hash_source(page.sources["style"])
    rest = "img-src data:; base-uri 'none'; form-action 'none'"
    assert policies == [f"default-src 'none'; script-src '{script}'; style-src '{style}'; {rest}"]
    assert page_assembly.hash_source("a") == "sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs="


def test_page_has_no_handlers_styles_or_addresses_in_its_elements(tmp_path):
    write_page(make_table(6), TEXTS, tmp_path / "p.html")
    page = parse_page(tmp_path / "p.html")
    attributes = [(name, value) for _, pairs in page.elements for name, value in pairs.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("style", "src", "action")]
    assert [value for name, value in attributes if name == "href"] == ["data:,"]
    source = page.sources["module"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|fetch\(", source)
    assert re.findall(r"https?://\S+", source) == ['http://www.w3.org/2000/svg",']


# Modules of the script


def test_modules_define_distinct_names():
    pattern = re.compile(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)
    modules = sorted(page_assembly.ASSETS.glob("*.mjs"))
    names = [name for module in modules for name in pattern.findall(module.read_text("utf-8"))]
    assert len(names) > 50
    assert sorted(names) == sorted(set(names))


def test_modules_use_only_imports_and_exports_that_are_joined():
    modules = sorted(page_assembly.ASSETS.glob("*.mjs"))
    for module in modules:
        source = module.read_text("utf-8")
        lines = [line for line in source.splitlines() if line.startswith(("import", "export"))]
        joined = [*page_assembly.IMPORT.finditer(source), *page_assembly.EXPORT.finditer(source)]
        assert len(lines) == len(joined), module.name
        for line in lines:
            if line.startswith("import"):
                names, _, imported = line.removeprefix("import { ").partition(" } from ")
                exported = (page_assembly.ASSETS / imported.strip('";./')).read_text("utf-8")
                assert not [
                    name for name in names.split(", ") if not re.search(rf"^export .*\b{name}\b", exported, re.M)
                ]
        assert len(source.splitlines()) <= 200, module.name
    assert not re.search(r"</script|<!--", page_assembly.join_modules("app.mjs"), re.IGNORECASE)
    script = page_assembly.join_modules("app.mjs")
    assert all(module.read_text("utf-8").splitlines()[0] in script for module in modules)


# Refusals


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"index": None}, ValueError, "issues must have a column 'index', got "),
        ({"predicted_label": None}, ValueError, "issues must have a column 'predicted_label'"),
        ({"index": [0, 1, 2, 3, 4, 4]}, ValueError, "index of issues must be distinct, got 4 2 times"),
        ({"index": [0, 1, 2, 3, 4, -1]}, ValueError, "index of issues must be at least 0, got -1"),
        ({"index": [0, 1, 2, 3, 4, 6]}, ValueError, "samples must hold all samples, by index: got 6, but .* index 6"),
        ({"index": np.arange(6.0)}, ValueError, "index of issues must be integers"),
        ({"id": list("aabcde")}, ValueError, "id of issues must be distinct, got 'a' 2 times"),
        ({"id": list("ab")}, ValueError, r"id of issues must have shape \(6,\)"),
        ({"given_label": list("abcdef")}, TypeError, "must both be integers or both be strings"),
        ({"given_label": np.ones(6)}, TypeError, "given_label of issues must be integers or strings, got float64"),
        (
            {"given_label": [7, 0, 0, 9, 0, 0]},
            ValueError,
            r"must lie in \[0, 3\), as there are 3 classes, got 7, 9; name",
        ),
        ({"confidence": np.full(6, 1.5)}, ValueError, r"confidence of issues must be numbers in \[0, 1\]"),
        ({"duplicates": np.zeros(6)}, TypeError, "duplicates of issues must be strings, got float64"),
        ({"label_quality": list("abcdef")}, TypeError, "label_quality of issues must be numbers"),
        ({"loss": np.ones((6, 2))}, ValueError, r"must have shape \(6,\), as index has, got \(6, 2\) for 'loss'"),
        ({"loss": np.ones(6, complex)}, TypeError, "loss of issues must be integers or strings, got complex128"),
    ],
)
def test_wrong_tables_are_refused_and_the_file_is_unchanged(change, error, message, tmp_path):
    path = tmp_path / "p.html"
    path.write_text("old")
    table = {name: column for name, column in (make_table(6) | change).items() if column is not None}
    with pytest.raises(error, match=message):
        write_page(table, TEXTS, path, classes=list("abc"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("samples", "options", "error", "message"),
    [
        (TEXTS, {"kind": "sounds"}, ValueError, "kind must be 'images', 'texts' or 'table', got 'sounds'"),
        (TEXTS, {"limit": 0}, ValueError, "limit must be a whole number, at least 1, or None, got 0"),
        (TEXTS, {"title": 3}, TypeError, "title must be a string, got 3"),
        (TEXTS, {"notes": "one"}, TypeError, "notes must be a sequence of strings, got one string; put it into a list"),
        (TEXTS, {"notes": [1]}, TypeError, "notes must be strings, got 1"),
        (TEXTS, {"classes": "abc"}, TypeError, "classes must be a sequence of strings, got 'abc'"),
        (TEXTS, {"classes": list("aab")}, ValueError, "classes must be distinct, got 'a' 2 times"),
        (
            TEXTS,
            {"pruned": np.ones((2, 5), bool)},
            ValueError,
            r"pruned must be booleans of .*, got bool of shape \(2, 5\)",
        ),
        (TEXTS, {"pruned": np.ones((2, 6))}, ValueError, "pruned must be booleans of shape .*, got float64"),
        (TEXTS[:5], {}, ValueError, "samples must hold all samples, by index: got 5, but issues have index 5"),
        ("abcdef", {}, TypeError, "samples must be .*, got str; kind= says"),
        ("abcdef", {"kind": "texts"}, TypeError, "samples must be a sequence of strings, got str"),
        ([*TEXTS[:5], 3], {}, TypeError, "samples must be strings, got int at index 5"),
        (3, {}, TypeError, "samples must be an array of images, .*, got int"),
        ({}, {}, ValueError, "samples must have at least one column, got none"),
        ({"a": np.ones((6, 2))}, {}, ValueError, r"columns of samples must have shape \(n,\), got \(6, 2\) for 'a'"),
        ({"a": [1, 2]}, {}, ValueError, "samples must hold all samples, by index: got 2"),
        (np.zeros((6, 3, 8, 8), np.uint8), {}, ValueError, r"got \(3, 8, 8\) at index 0; move the channels to the end"),
        (
            np.full((6, 8, 8), 2.0),
            {},
            ValueError,
            r"must lie in \[0, 1\], got 2 to 2 at index 0; undo the normalization",
        ),
        (np.full((6, 8, 8), np.nan), {}, ValueError, r"must lie in \[0, 1\], got nan to nan"),
        (np.zeros((6, 8, 8), int), {}, TypeError, "images must be uint8 or floating-point numbers .*, got int64"),
    ],
)
def test_wrong_samples_and_options_are_refused(samples, options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        write_page(make_table(6), samples, tmp_path / "p.html", **options)
    assert not list(tmp_path.iterdir())


def test_string_labels_must_be_among_the_classes(tmp_path):
    table = make_table(3, given_label=list("abx"), predicted_label=list("aba"))
    with pytest.raises(ValueError, match="labels of issues must be among classes, got 'x'; name all classes"):
        write_page(table, TEXTS[:3], tmp_path / "p.html", classes=["a", "b"])
    write_page(table, TEXTS[:3], tmp_path / "p.html", classes=["y", "x", "b", "a"])
    data = read_page_data(tmp_path / "p.html")
    assert (data["values"], data["given"]) == (["y", "x", "b", "a"], [3, 2, 1])


def test_images_without_pillow_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ModuleNotFoundError, match=r"write_page needs Pillow for images, .*: pip install pillow"):
        write_page(make_table(2), np.zeros((2, 4, 4), np.uint8), tmp_path / "p.html")
    assert write_page(make_table(6), TEXTS, tmp_path / "p.html") == 6


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.html"
    path.write_text("old")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_page(make_table(6), TEXTS, tmp_path / "none" / "p.html")

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match=r"No space left on device; .*p.html was not written"):
        write_page(make_table(6), TEXTS, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_kind_is_inferred_from_samples():
    kinds = {
        "images": [np.zeros((1, 2, 2)), [Path("a.png")], [b"x"], [Image.new("L", (1, 1))], [np.zeros((2, 2))]],
        "texts": [["a"], np.array(["a"]), pd.Series(["a"]), []],
        "table": [{"a": [1]}, pd.DataFrame({"a": [1]})],
    }
    for kind, samples in kinds.items():
        assert [page_samples.infer_kind(item) for item in samples] == [kind] * len(samples)


def test_postscript_is_not_executed(tmp_path):
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    path = tmp_path / "0.png"
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="PostScript is a program, which isn't executed"):
        write_page(make_table(2), [content, path], tmp_path / "p.html", kind="images")
    assert read_page_data(tmp_path / "p.html")["content"]["images"] == [None, None]
