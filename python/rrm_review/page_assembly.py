"""The HTML file of a page: style, modules and data in one document, under a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).with_name("page_assets")
MAIN = "app.mjs"

IMPORT = re.compile(r'^import \{ [\w, ]+ \} from "\./([\w.]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) )", re.MULTILINE)
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
# As "</script>" would end the element, and U+2028 and a lone surrogate aren't allowed everywhere.
ESCAPED = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def assemble_page(data: Mapping[str, Any]) -> bytes:
    """Return the HTML file with this data."""
    style = _read_asset("style.css")
    script = join_modules(MAIN)
    policy = (
        f"default-src 'none'; script-src '{hash_source(script)}'; style-src '{hash_source(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "style": style, "script": script, "data": as_script_data(data)}
    return PLACEHOLDER.sub(lambda match: parts[match[1]], _read_asset("index.html")).encode()


def as_script_data(data: Mapping[str, Any]) -> str:
    r"""Return data as JSON for a script element: what HTML or JavaScript may read otherwise is written as \uXXXX."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def join_modules(main: str) -> str:
    """Return a module and those that it imports as one script, each after the modules that it imports."""
    sources: dict[str, str] = {}

    def add(name: str) -> None:
        if name in sources:
            return
        source = _read_asset(name)
        for imported in IMPORT.findall(source):
            add(imported)
        sources[name] = EXPORT.sub("", IMPORT.sub("", source))

    add(main)
    return "\n".join(sources.values())


def hash_source(text: str) -> str:
    """Return the hash of an inline script or style for a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read_asset(name: str) -> str:
    return (ASSETS / name).read_text("utf-8")
