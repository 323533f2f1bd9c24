"""Run examples/sources.py and record what it prints, with the provenance.

python -m benchmarks.training.record_sources fashion_mnist.npz
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.common.record import RESULTS, ROOT, provenance, write_record
from rrm_core._cli import run

RULES = re.compile(r"(?P<labels>\d+) labels of (?P<rules>\d+) rules, (?P<wrong>[\d.]+) % of them wrong")
METHOD = re.compile(r"(?P<name>.*): test accuracy (?P<last>[\d.]+) %, best epoch (?P<best>[\d.]+) %")


def main() -> int:
    """Run, print, record."""
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    origin = provenance("rrm-core", "torch", "numpy")
    source = sys.argv[1]
    command = [sys.executable, str(ROOT / "examples" / "sources.py"), source]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(output, end="")
    first, *lines = output.splitlines()
    rules = RULES.fullmatch(first)
    methods = [METHOD.fullmatch(line) for line in lines]
    if rules is None or None in methods:
        raise RuntimeError(f"examples/sources.py printed something else than expected:\n{output}")
    record = {
        "command": f"python examples/sources.py {Path(source).name}",
        "labels": int(rules["labels"]),
        "rules": int(rules["rules"]),
        "% wrong": float(rules["wrong"]),
        "test accuracy, %": {m["name"]: {"last": float(m["last"]), "best": float(m["best"])} for m in methods if m},
        **origin,
    }
    write_record(RESULTS / "sources.json", record)
    return 0


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.training.record_sources", main))
