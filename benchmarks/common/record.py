"""Records in benchmarks/results/: where they lie, and the provenance that each contains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.runner import environment
from rrm_core._atomic_write import atomic_write

ROOT = environment.CHECKOUT
RESULTS = ROOT / "benchmarks" / "results"
PROGRAMS = (":(glob)benchmarks/**/*.py", ":(glob)benchmarks/**/*.cpp")


def provenance(*packages: str, draft: bool = False) -> dict[str, Any]:
    """Return commit, date, machine, and the versions of Python and of the packages.

    Parameters
    ----------
    *packages : str
        Names of the packages that determine the result.
    draft : bool
        Accept uncommitted changes; the draft then names no commit.

    Raises
    ------
    SystemExit
        The sources have uncommitted changes, and it is not a draft.
    """
    changes = environment.uncommitted_changes((*environment.SOURCES, *PROGRAMS))
    if changes and not draft:
        raise SystemExit(f"commit first: a record names the commit that it was made with, and these differ\n{changes}")
    return {
        "commit": "uncommitted changes" if changes else environment.commit(),
        "date": environment.today(),
        "machine": environment.machine(),
        "versions": environment.versions(packages),
    }


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record."""
    with atomic_write(path) as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())
