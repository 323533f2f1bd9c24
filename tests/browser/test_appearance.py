"""Samples of all kinds, hostile data, many samples, small windows, themes and names for screen readers."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from playwright.sync_api import expect

from rrm_review import write_page
from support.review_pages import HOSTILE, make_table

MAX_CARDS = 60
CONTRAST = """
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const read = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (node) => {
    for (; node; node = node.parentElement) {
      const before = read(getComputedStyle(node, "::before").backgroundColor);
      if (node.classList.contains("card") && before[3] === 255) return before;
      const own = read(getComputedStyle(node).backgroundColor);
      if (own[3] === 255) return own;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim() !== "");
    if (!hasText || !node.checkVisibility() || node.closest(":disabled, script, .unreadable, option")) continue;
    const [a, b] = [luminance(read(getComputedStyle(node).color)), luminance(background(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${node.textContent.trim().slice(0, 20)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}
"""
ATTACK = """
() => {
  window.broken = [];
  addEventListener("securitypolicyviolation", (event) => broken.push(event.violatedDirective));
  const script = document.createElement("script");
  script.textContent = "window.ran = true";
  document.body.append(script);
  new Image().src = "http://127.0.0.1:9/x.png";
}
"""
UNNAMED = """
() => [...document.querySelectorAll("button, input, select, summary, [role=option], [role=listbox], dialog, progress")]
  .filter((node) => {
    const labels = [...(node.labels ?? [])].map((label) => label.textContent);
    const by = document.getElementById(node.getAttribute("aria-labelledby"))?.textContent ?? "";
    const own = node.matches("button, summary, [role=option]") ? node.textContent : "";
    return [node.getAttribute("aria-label") ?? "", by, own, ...labels].join("").trim() === "";
  })
  .map((node) => node.outerHTML.slice(0, 80))
"""


def fill(kind, n):
    rng = np.random.default_rng(0)
    if kind == "images":
        return rng.integers(0, 256, (n, 80, 60, 3)).astype(np.uint8)
    if kind == "texts":
        return ["a long text " * 50] * n
    return {f"column {i}": rng.random(n) for i in range(9)}


def open_demo(open_page, kind, **browser_options):
    table = make_table(40, confidence=np.linspace(0, 1, 40), duplicates=["", "same as 2"] * 20)
    judged = [row for row in range(40) if row % 4 < 3]
    corrections = {"id": judged, "decision": ["keep", "drop", "unsure"] * 10, "label": [""] * 30}
    pruned = np.random.default_rng(0).random((20, 40)) < 0.5
    classes = ["a class with a very long name indeed", "dog", "eel"]
    return open_page(
        table,
        fill(kind, 40),
        browser_options,
        classes=classes,
        pruned=pruned,
        notes=["a note"],
        title="A title " * 20,
        corrections=corrections,
    )


def test_long_names_do_not_widen_a_phone_and_help_opens_at_its_title(open_page):
    names = ["class_" + letter * 60 for letter in "abc"]
    table = make_table(6, id=[f"{'x' * 150}{number}" for number in range(6)])
    page = open_page(table, ["unbroken" * 80] * 6, {"viewport": {"width": 390, "height": 700}}, classes=names)
    for keys in ("Enter", "p", "Escape", "m"):
        page.keyboard.press(keys)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.keyboard.press("?")
    assert page.locator("#help-dialog").evaluate("dialog => dialog.scrollTop") == 0


@pytest.mark.parametrize("kind", ["images", "texts", "table"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_view_scrolls_sideways(kind, width, open_page):
    page = open_demo(open_page, kind, viewport={"width": width, "height": 740}, has_touch=width == 360)
    for view in ("grid", "single", "matrix", "grid"):
        page.locator(f"#view-{view}").click()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        outside = "node => [...node.children].filter(c => c.getBoundingClientRect().right > innerWidth + 1).length"
        for area in ("header", "main", "#decisions", ".tools", ".views"):
            if page.locator(area).is_visible():
                assert page.locator(area).evaluate(outside) == 0, (view, area)
    for key in ("?", "e", "l"):
        page.locator("#grid").focus()
        page.keyboard.press(key)
        box = page.locator("dialog[open]").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        page.keyboard.press("Escape")


@pytest.mark.parametrize("kind", ["images", "texts"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(kind, scheme, open_page):
    page = open_demo(open_page, kind, color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == (scheme == "dark")
    for key in ("k", "Enter", "m", "m", "?", "Escape", "e", "Escape", "l"):
        page.keyboard.press(key)
        assert page.evaluate(CONTRAST) == []


def test_theme_is_switched_and_kept(open_page):
    page = open_demo(open_page, "texts", color_scheme="light")
    page.get_by_role("button", name="Light or dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_controls_have_names_and_landmarks_exist(open_page):
    page = open_demo(open_page, "images")
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate("document.documentElement.lang") == "en"
    for role, name in [("banner", None), ("main", None), ("search", "Filters"), ("region", "Decision")]:
        assert page.get_by_role(role, name=name).count() == 1, role
    box = page.get_by_role("listbox", name="Samples")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    active = page.locator(f"#{box.get_attribute('aria-activedescendant')}")
    assert active.get_attribute("aria-selected") == "true"
    assert active.get_attribute("aria-posinset") == "2"
    assert active.get_attribute("aria-setsize") == "40"
    snapshot = page.locator("body").aria_snapshot()
    assert 'option "1: given dog, predicted eel, drop" [selected]' in snapshot
    page.keyboard.press("Enter")
    assert page.evaluate(UNNAMED) == []
    page.keyboard.press("m")
    assert page.evaluate(UNNAMED) == []
    expect(page.get_by_role("table", name="Samples by given label")).to_be_visible()


def test_focus_is_visible_on_every_control(open_page):
    page = open_demo(open_page, "texts")
    # The grid shows the focus on its selected card; behind the last control the focus leaves the document.
    names = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "[document.activeElement.id || document.activeElement.className, "
            "getComputedStyle(document.activeElement).outlineStyle]"
        )
        names.add(name)
        assert outline != "none" or name in ("grid", "texts"), name
    assert {"grid", "filter-text", "export", "advance", "decide keep"} <= names


def test_hostile_data_stays_text(open_page, tmp_path):
    n = len(HOSTILE)
    table = make_table(n, id=HOSTILE, given_label=HOSTILE, predicted_label=HOSTILE[::-1], remark=HOSTILE)
    dialogs = []
    page = open_page(table, HOSTILE, title=HOSTILE[0], notes=HOSTILE)
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.get_by_text("About this data").click()
    assert page.locator("h1").text_content() == HOSTILE[0]
    assert page.locator("main img, main script, bdi *").count() == 0
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    for text in HOSTILE:
        if "\udcff" not in text:
            assert page.locator(".stage .text").evaluate("node => node.textContent") == text
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    for _ in range(n):
        page.keyboard.press("k")
    page.keyboard.press("e")
    with page.expect_download() as event:
        page.get_by_role("button", name="corrections.csv").click()
    with event.value.path().open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))[1:]
    guarded = [f"'{text}" if text in ("=1+1", "''=1+1") else text for text in HOSTILE]
    assert [row[0] for row in rows] == guarded
    assert [row[3] for row in rows] == guarded
    page.reload()
    page.wait_for_selector("html[data-ready]")
    expect(page.locator("#progress-text")).to_have_text(f"{n} of {n} judged")
    assert dialogs == []


def test_inline_script_from_elsewhere_is_blocked(open_file, tmp_path):
    path = tmp_path / "p.html"
    write_page(make_table(3), ["a", "b", "c"], path)
    page = open_file(path, watched=False)
    page.evaluate(ATTACK)
    page.wait_for_function("window.broken.length >= 2")
    assert sorted(page.evaluate("window.broken")) == ["img-src", "script-src-elem"]
    assert page.evaluate("window.ran") is None


def test_images_are_shown_and_missing_ones_say_so(open_page):
    samples = [np.full((20, 20), 200, np.uint8), np.zeros((200, 100, 3), np.uint8), b"no image"]
    with pytest.warns(UserWarning, match="1 of 3 images can't be read"):
        page = open_page(make_table(3), samples)
    images = page.locator(".card img")
    assert images.evaluate_all("nodes => nodes.map(node => [node.naturalWidth, node.naturalHeight])") == [
        [20, 20],
        [80, 160],
    ]
    rendering = "nodes => nodes.map(node => getComputedStyle(node).imageRendering)"
    assert images.evaluate_all(rendering) == ["pixelated", "auto"]
    expect(page.locator(".card").nth(2)).to_contain_text("This image can't be read")


def test_hundred_thousand_texts_render_few_cards(open_page):
    n = 100_000
    page = open_page(make_table(n), [f"text {i}" for i in range(n)])
    cards = page.get_by_role("option").filter(has_text="text")
    count_nodes = "document.querySelectorAll('#grid *').length"
    page.keyboard.press("k")
    page.keyboard.press("End")
    expect(page.locator("[aria-selected=true].card")).to_contain_text("text 99999")
    page.locator("#grid").evaluate("node => node.scrollTo(0, node.scrollHeight / 2)")
    expect(cards.filter(has_text="text 50000")).to_have_count(1)
    assert cards.count() <= MAX_CARDS
    assert page.evaluate(count_nodes) <= MAX_CARDS * 30
    page.get_by_role("searchbox").fill("text 9999")
    expect(page.locator("#match-count")).to_have_text("11 of 100,000 samples match")
    page.locator("#filter-state").select_option("keep")
    expect(page.locator("#match-count")).to_have_text("0 of 100,000 samples match")


def test_long_text_is_cut_in_the_grid_and_whole_in_the_single_view(open_page):
    text = "\n".join(f"line {i}" for i in range(2000))
    page = open_page(make_table(2), [text, "short"])
    assert len(page.locator(".card .text").first.text_content()) <= 600
    page.keyboard.press("Enter")
    stage = page.get_by_role("region", name="Sample")
    assert stage.text_content() == text
    assert stage.evaluate("node => node.scrollHeight > node.clientHeight")
