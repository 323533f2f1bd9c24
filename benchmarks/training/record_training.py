"""Run ``python -m rrm_torch train ...`` and record its results, with the command and the provenance.

    python -m benchmarks.training.record_training fashion --data fashion_mnist.npz --noise 0.3 --epochs 40 \
        --batch-size 128 --hidden 512 512 --threads 1

writes benchmarks/results/train_fashion.json, and the figures that a page shows to docs/images/.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common.record import RESULTS, ROOT, provenance, write_record
from rrm_core._cli import run


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    name = sys.argv[1]
    arguments = sys.argv[2:]
    command = "demo" if name == "demo" else "train"
    origin = provenance("rrm-core", "torch", "numpy")  # before the run, during which the commit may change
    with tempfile.TemporaryDirectory() as folder:
        code = subprocess.run(
            [sys.executable, "-m", "rrm_torch", command, *arguments, "--report", folder], check=False
        ).returncode
        if code:
            return code
        results = json.loads((Path(folder) / "results.json").read_text())
        pages = "".join(page.read_text() for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
        for figure in Path(folder).glob("*.png"):
            if f"{name}_{figure.name}" in pages:
                shutil.copy(figure, ROOT / "docs" / "images" / f"{name}_{figure.name}")
    # Only the name of the data file is recorded, without its folder.
    recorded_arguments = [Path(a).name if Path(a).exists() else a for a in arguments]
    record = {
        "command": " ".join(["python -m rrm_torch", command, *recorded_arguments]),
        **results,
        **origin,
    }
    path = RESULTS / f"train_{name}.json"
    write_record(path, record)
    print(f"recorded in {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.training.record_training", main))
