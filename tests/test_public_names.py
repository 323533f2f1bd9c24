"""The public names, what they are and how they are called, against a record: no change of them goes unnoticed.

After a change that is meant, ``python tests/test_public_names.py`` writes a new record.
"""

from __future__ import annotations

import inspect
import json
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import get_type_hints

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.public_names import changes, public, read_names, write_record

RECORD = Path(__file__).parent / "support" / "public_names.json"
# JAX has no release for Python 3.10.
WITH_JAX = ("rrm_core.jax",) if find_spec("jax") else ()
PACKAGES = ("rrm_core", "rrm_core.stream", *WITH_JAX, "rrm_review", "rrm_sklearn", "rrm_torch")


def test_public_names_are_those_recorded():
    recorded = json.loads(RECORD.read_text("utf-8"))
    if not WITH_JAX:
        recorded = {name: entry for name, entry in recorded.items() if not name.startswith("rrm_core.jax.")}
    lines = changes(recorded, read_names(PACKAGES))
    assert not lines, "\n".join(["public names differ from tests/support/public_names.json:", *lines])


def public_classes() -> list[type]:
    """Return the public classes of all packages, each once."""
    packages = [import_module(path) for path in (*PACKAGES, "rrm_torch.adversarial", "rrm_torch.losses")]
    packages += [import_module("rrm_torch.distributed"), import_module("rrm_torch.methods")]
    members = [getattr(package, name) for package in packages for name in public(package)]
    return list(dict.fromkeys(member for member in members if inspect.isclass(member)))


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_annotations_of_public_classes_can_be_evaluated(kind):
    """They are evaluated in the package that `__module__` names, where names of the class's file are unknown."""
    get_type_hints(kind)
    for member in vars(kind).values():
        if inspect.isfunction(member):
            get_type_hints(member)


def test_every_change_is_told():
    plain = {"kind": "function", "module": "m", "signature": "(a)"}
    then, now = {"f": plain, "g": plain, "h": plain}, {"f": plain | {"signature": "(b)"}, "g": plain, "i": plain}
    assert changes(then, now) == [
        "changed f: signature was (a), is (b)",
        "removed h: function m (a)",
        "added   i: function m (a)",
    ]


if __name__ == "__main__":
    write_record(RECORD, read_names(PACKAGES))
