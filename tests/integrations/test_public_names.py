"""The public names of the adapters and of rrm_keras, against a record.

After a change that is meant, ``python tests/integrations/test_public_names.py`` writes a new record.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, str(Path(__file__).parents[1]))

from support.public_names import changes, read_names, write_record

RECORD = Path(__file__).parents[1] / "support" / "public_names_integrations.json"
MODULES = ("huggingface", "lightning", "skorch", "trl")
PACKAGES = ("rrm_keras", *(f"rrm_torch.integrations.{name}" for name in MODULES))


def test_public_names_are_those_recorded():
    lines = changes(json.loads(RECORD.read_text("utf-8")), read_names(PACKAGES))
    assert not lines, "\n".join(["public names differ from tests/support/public_names_integrations.json:", *lines])


if __name__ == "__main__":
    write_record(RECORD, read_names(PACKAGES))
