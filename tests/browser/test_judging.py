"""Judging samples by keys and buttons, the export, and what a reload keeps."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from playwright.sync_api import expect

from support.review_pages import make_table

N = 12
CLASSES = ["cat", "dog", "eel"]
TEXTS = [f"text {i}" for i in range(N)]


def press(page, keys):
    for key in keys.split():
        page.keyboard.press(key)


def download(page, name):
    """Return the path of an exported file."""
    page.keyboard.press("e")
    with page.expect_download() as event:
        page.get_by_role("button", name=name).click()
    page.keyboard.press("Escape")
    assert event.value.suggested_filename == name
    return event.value.path()


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def selected(page):
    return page.locator("[role=option][aria-selected=true]").get_attribute("data-row")


def test_ten_samples_are_judged_by_keys_and_exported(open_page):
    page = open_page(make_table(N, id=[f"n{i}" for i in range(N)]), TEXTS, classes=CLASSES)
    press(page, "k p d u 1 2 3 k p")
    expect(page.locator("#status")).to_have_text("kept, 3 left")
    page.keyboard.press("l")
    page.keyboard.type("ee")
    page.keyboard.press("Enter")
    expect(page.locator("#progress-text")).to_have_text("10 of 12 judged")
    expected = [
        ["n0", "0", "keep", "0"],
        ["n1", "1", "relabel", "2"],
        ["n2", "2", "drop", ""],
        ["n3", "0", "unsure", ""],
        ["n4", "1", "relabel", "0"],
        ["n5", "2", "relabel", "1"],
        ["n6", "0", "relabel", "2"],
        ["n7", "1", "keep", "1"],
        ["n8", "2", "keep", "2"],
        ["n9", "0", "relabel", "2"],
    ]
    assert read_csv(download(page, "corrections.csv")) == [["id", "given_label", "decision", "label"], *expected]
    file = json.loads(download(page, "corrections.json").read_text())
    assert (file["format"], file["version"]) == ("rrm corrections", 1)
    assert file["decisions"][1] == {"id": "n1", "given_label": 1, "decision": "relabel", "label": 2}
    assert file["decisions"][2] == {"id": "n2", "given_label": 2, "decision": "drop", "label": None}


def test_decisions_survive_a_reload_and_undo(open_page):
    page = open_page(make_table(N), TEXTS, classes=CLASSES)
    press(page, "k p d z")
    expect(page.locator("#progress-text")).to_have_text("2 of 12 judged")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    expect(page.locator("#progress-text")).to_have_text("2 of 12 judged")
    assert [row[2] for row in read_csv(download(page, "corrections.csv"))[1:]] == ["keep", "relabel"]
    # The first sample without a decision is selected.
    press(page, "d z Home c")
    expect(page.locator("#progress-text")).to_have_text("1 of 12 judged")
    press(page, "z z y")
    assert [row[2] for row in read_csv(download(page, "corrections.csv"))[1:]] == ["relabel"]


def test_buttons_decide_as_keys_do(open_page):
    page = open_page(make_table(N), TEXTS, classes=CLASSES)
    for name in ("Keep cat", "Relabel eel", "Drop", "Unsure"):
        page.get_by_role("button", name=name, exact=True).click()
    page.locator("#digit-buttons").get_by_role("button", name="eel").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Redo").click()
    decisions = [row[2:] for row in read_csv(download(page, "corrections.csv"))[1:]]
    assert decisions == [["keep", "0"], ["relabel", "2"], ["drop", ""], ["unsure", ""], ["relabel", "2"]]
    page.get_by_role("checkbox", name="Go on after a decision").uncheck()
    page.get_by_role("button", name="Drop", exact=True).click()
    assert page.get_by_role("button", name="Drop", exact=True).get_attribute("aria-pressed") == "true"
    assert selected(page) == "4"


def test_filters_list_samples_and_are_cleared(open_page):
    page = open_page(make_table(N, duplicates=[""] * 11 + ["same as 3"]), TEXTS, classes=CLASSES)
    matches = page.locator("#match-count")
    page.locator("#filter-state").select_option("undecided")
    page.locator("#grid").focus()
    press(page, "d d k")
    expect(matches).to_have_text("9 of 12 samples match")
    assert selected(page) == "3"
    page.locator("#filter-state").select_option("drop")
    expect(matches).to_have_text("2 of 12 samples match")
    page.get_by_role("button", name="Clear filters").click()
    for name, value, count in [("text", "text 11", 1), ("quality", "0.5", 6)]:
        page.locator(f"#filter-{name}").fill(value)
        expect(matches).to_have_text(f"{count} of 12 samples match")
        page.get_by_role("button", name="Clear filters").click()
        expect(matches).to_have_text("12 samples")
    page.locator("#filter-given").select_option("1")
    page.get_by_role("checkbox", name="Flagged").check()
    expect(matches).to_have_text("2 of 12 samples match")
    assert page.get_by_role("option").filter(has_text="text").count() == 2
    page.get_by_role("checkbox", name="Duplicates").check()
    expect(page.get_by_text("No samples match these filters.")).to_be_visible()
    press(page, "Escape k p 1 l Enter")
    assert page.locator("#progress-text").text_content() == "3 of 12 judged"


def test_keys_have_no_effect_in_fields_dialogs_and_with_modifiers(open_page):
    page = open_page(make_table(N), TEXTS, classes=CLASSES)
    progress = page.locator("#progress-text")
    press(page, "f")
    page.keyboard.type("kpdu123z?")
    assert page.get_by_role("searchbox").input_value() == "kpdu123z?"
    page.get_by_role("searchbox").fill("")
    press(page, "Escape Control+k Alt+k Meta+k Control+d ? k d Escape")
    expect(progress).to_have_text("0 of 12 judged")
    assert page.evaluate("document.activeElement.id") == "grid"
    press(page, "l k Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(progress).to_have_text("0 of 12 judged")
    press(page, "k")
    expect(progress).to_have_text("1 of 12 judged")


def test_type_ahead_finds_a_class_among_400(open_page):
    names = [f"species {i:03}" for i in range(400)]
    page = open_page(make_table(N, 400), TEXTS, classes=names)
    press(page, "/")
    box = page.get_by_role("combobox", name="Class")
    expect(box).to_be_focused()
    expect(page.locator("#choose-note")).to_have_text("The first 50 of 400 classes")
    page.keyboard.type("37")
    expect(page.locator("#choose-list [role=option]")).to_have_text(
        [name for name in names if "37" in name], use_inner_text=True
    )
    press(page, "ArrowDown ArrowDown ArrowUp")
    active = page.locator(f"#{box.get_attribute('aria-activedescendant')}")
    assert active.get_attribute("aria-selected") == "true"
    press(page, "Enter")
    expect(page.locator("#status")).to_have_text(f"relabelled as {names[137]}, 11 left")
    press(page, "l")
    page.get_by_role("option", name="species 002", exact=True).click()
    assert [row[3] for row in read_csv(download(page, "corrections.csv"))[1:]] == ["137", "2"]


def test_single_view_moves_judges_and_returns(open_page):
    table = make_table(N, note=["a remark"] * N, loss=np.full(N, 0.12345678))
    page = open_page(table, TEXTS, classes=CLASSES, pruned=np.arange(8 * N).reshape(8, N) % 5 == 0)
    press(page, "ArrowDown Enter")
    expect(page.get_by_role("region", name="Sample")).to_have_text("text 1")
    expect(page.get_by_role("row", name="loss 0.1235")).to_be_visible()
    expect(page.get_by_role("row", name="note a remark")).to_be_visible()
    assert page.get_by_role("img", name="pruned by 2 of 8 reweights").count() == 1
    press(page, "k")
    expect(page.get_by_role("region", name="Sample")).to_have_text("text 2")
    press(page, "ArrowLeft")
    expect(page.locator("#single .badge")).to_have_text("✓ Keep")
    page.get_by_role("button", name="Next sample").click()
    press(page, "Escape")
    assert selected(page) == "2"
    page.locator(".card").first.dblclick()
    expect(page.get_by_role("region", name="Sample")).to_have_text("text 0")


@pytest.mark.parametrize("n_classes", [3, 30])
def test_pair_of_the_matrix_lists_its_samples(n_classes, open_page):
    names = [f"class {i}" for i in range(n_classes)]
    page = open_page(make_table(60, n_classes), [""] * 60, classes=names)
    press(page, "m")
    cell = page.get_by_role("button", name="given class 1, predicted class 2:")
    count = cell.text_content()
    cell.focus()
    press(page, "Enter")
    expect(page.locator("#match-count")).to_have_text(f"{count} of 60 samples match")
    expect(page.locator("#grid")).to_be_visible()
    assert page.locator("#filter-given").input_value() == "1"
    press(page, "m Escape")
    expect(page.locator("#matrix")).to_be_hidden()


def test_earlier_decisions_are_marked_counted_and_changeable(open_page):
    corrections = {"id": [0, 1, 3, 8], "decision": ["keep", "relabel", "drop", "drop"], "label": ["", "2", "", ""]}
    page = open_page(make_table(4), TEXTS[:4], classes=CLASSES, corrections=corrections)
    expect(page.locator("#progress-text")).to_have_text("3 of 4 judged")
    expect(page.locator(".badge em")).to_have_text(["earlier round"] * 3)
    press(page, "Home c ArrowDown k")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    expect(page.locator(".badge em")).to_have_count(1)
    rows = read_csv(download(page, "corrections.csv"))[1:]
    assert rows == [["1", "1", "keep", "1"], ["3", "0", "drop", ""], ["8", "", "drop", ""]]


def test_file_of_corrections_is_imported_as_one_step(open_page, tmp_path):
    page = open_page(make_table(N), TEXTS, classes=CLASSES)
    press(page, "k p d")
    exported = download(page, "corrections.json")
    press(page, "z z z e")
    page.locator("#import-file").set_input_files(exported)
    expect(page.locator("#import-message")).to_have_text("3 decisions read, 3 of them new here.")
    (tmp_path / "bad.csv").write_text("id,given_label,decision,label\nx,0,keep,0\n")
    page.locator("#import-file").set_input_files(tmp_path / "bad.csv")
    expect(page.locator("#import-message")).to_have_text(
        'Nothing was imported: 1 ids are no samples of this page: "x".'
    )
    press(page, "Escape")
    expect(page.locator("#progress-text")).to_have_text("3 of 12 judged")
    press(page, "z")
    expect(page.locator("#progress-text")).to_have_text("0 of 12 judged")


def test_large_integers_are_exported_and_imported_whole(open_page):
    page = open_page(make_table(3, id=np.array([2**64 - 1, 2**53 + 1, 5], np.uint64)), TEXTS[:3], classes=CLASSES)
    press(page, "k k k")
    exported = download(page, "corrections.json")
    assert [item["id"] for item in json.loads(exported.read_text())["decisions"]] == [2**64 - 1, 2**53 + 1, 5]
    press(page, "z z z e")
    page.locator("#import-file").set_input_files(exported)
    expect(page.locator("#import-message")).to_have_text("3 decisions read, 3 of them new here.")


def test_two_tabs_share_decisions(open_page, open_file, tmp_path):
    first = open_page(make_table(N), TEXTS, classes=CLASSES)
    second = open_file(tmp_path / "review.html", context=first.context)
    press(first, "k d")
    expect(second.locator("#progress-text")).to_have_text("2 of 12 judged")
    second.bring_to_front()
    press(second, "End u")
    expect(first.locator("#progress-text")).to_have_text("3 of 12 judged")
    press(first, "z")
    expect(second.locator("#progress-text")).to_have_text("2 of 12 judged")


NO_STORAGE = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden'); }});"
FULL_STORAGE = (
    "Storage.prototype.setItem = function (name) {"
    "  if (!name.endsWith('test')) throw new DOMException('full', 'QuotaExceededError'); };"
)


@pytest.mark.parametrize("script", [NO_STORAGE, FULL_STORAGE])
def test_decisions_that_cannot_be_stored_are_told_and_guarded(script, open_page):
    page = open_page(make_table(N), TEXTS, {"script": script}, classes=CLASSES)
    questions = []
    page.on("dialog", lambda dialog: (questions.append(dialog.type), dialog.accept()))
    press(page, "k")
    expect(page.get_by_role("alert")).to_contain_text("Decisions can't be stored in this browser")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert questions == ["beforeunload"]
    press(page, "k")
    download(page, "corrections.csv")
    page.reload()
    assert questions == ["beforeunload"]


def test_stored_decisions_ask_nothing_on_leaving(open_page):
    page = open_page(make_table(N), TEXTS, classes=CLASSES)
    page.on("dialog", lambda dialog: pytest.fail(dialog.type))
    press(page, "k")
    page.reload()
    expect(page.get_by_role("alert")).to_be_hidden()
