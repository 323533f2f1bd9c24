"""What tests of the review page share: tables of label issues, images, and the data of a page that was written."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from PIL import Image

HOSTILE = [
    "</script><script>alert(1)</script>",
    "</script x",
    "<!--<script>",
    "<!-- <script ",
    "<img src=x onerror=alert(1)>",
    "a\u2028b\u2029c",
    "\udcff\udcfe.png",
    "nul\0inside",
    "\u202eright to left",
    "=1+1",
    "''=1+1",
    "\"quoted\", 'too'",
    "{{data}} {{script}}",
    "&lt;b&gt; &amp;",
]


class PageParser(HTMLParser):
    """Collects the elements of a page and the texts of those that hold source text."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.sources = {}
        self._open = None

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag in ("script", "style"):
            self._open = attributes.get("type", tag)
            self.sources[self._open] = ""

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._open = None

    def handle_data(self, data):
        if self._open is not None:
            self.sources[self._open] += data


def parse_page(path):
    """Return the parser of a page that was written, after it has read the page."""
    parser = PageParser()
    parser.feed(path.read_text("utf-8"))
    parser.close()
    return parser


def read_page_data(path):
    """Return the JSON data of a page."""
    return json.loads(parse_page(path).sources["application/json"])


def make_table(n, n_classes=3, **columns):
    """Return a table of label issues: the sample of index 0 is the most suspicious."""
    index = np.arange(n)
    given_label = index % n_classes
    return {
        "index": index,
        "is_label_issue": index < n // 2,
        "label_quality": ((index + 1) / n).astype(np.float32),
        "given_label": given_label,
        "predicted_label": np.where(index < n // 2, (given_label + 1) % n_classes, given_label),
    } | columns


def encode(image, kind="PNG"):
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue()


def decode(uri):
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def photographs(n, side):
    """Return smooth images with noise, which JPEG compresses about as much as photographs."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, 8, 8, 3)).astype(np.uint8)
    images = coarse.repeat(side // 8, 1).repeat(side // 8, 2).astype(np.int16)
    return (images + rng.integers(-12, 13, images.shape)).clip(0, 255).astype(np.uint8)
