from __future__ import annotations

import re

from rrm_review import page_assembly, write_page
from support.review_pages import HOSTILE, make_table, parse_page, read_page_data

TEXTS = [f"text {i}" for i in range(6)]


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
