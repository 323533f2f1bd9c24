"""Provenance of a result: the commit of the code, the processor, the versions of the packages.

The experiments and the benchmarks record it with every result.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from rrm_core._cli import installed_version

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("rrm_core", "python", "csrc", "bindings", "experiments")
PACKAGES = ("rrm-core", "torch", "numpy")
DIRTY = "-dirty"


def commit(checkout: Path = CHECKOUT) -> str | None:
    """Return the commit of the code, followed by ``-dirty`` if the sources have uncommitted changes.

    Parameters
    ----------
    checkout : Path
        Root of the checkout; by default that of this package.

    Returns
    -------
    str or None
        None if `checkout` is not the root of a git checkout, or git cannot be run.
    """
    try:
        # A virtual environment may lie inside the checkout of another project, whose commit would be misleading.
        if not Path(_git(checkout, "rev-parse", "--show-toplevel")).samefile(checkout):
            return None
        head = _git(checkout, "rev-parse", "HEAD")
        changes = uncommitted_changes(SOURCES, checkout)
    except (OSError, subprocess.CalledProcessError):
        return None
    if changes:
        return head + DIRTY
    return head


def uncommitted_changes(sources: Sequence[str], checkout: Path = CHECKOUT) -> str:
    """Return the uncommitted changes in the sources as ``git status`` lists them, one a line; empty if there are none.

    Parameters
    ----------
    sources : sequence of str
        Pathspecs of git, relative to the checkout.
    checkout : Path
        Root of the checkout; by default that of this package.

    Raises
    ------
    OSError, subprocess.CalledProcessError
        Git cannot be run, or `checkout` is not part of a git checkout.
    """
    return _git(checkout, "status", "--porcelain", "--", *sources)


def machine() -> dict[str, str | int | None]:
    """Return the processor's model name, the number of its cores, and the operating system."""
    return {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()}


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of the given packages, except those that are not installed."""
    installed = {name: number for name in packages if (number := installed_version(name)) is not None}
    return {"python": platform.python_version(), **installed}


def today() -> str:
    """Return the date in UTC, as YYYY-MM-DD."""
    return datetime.now(timezone.utc).date().isoformat()


def _git(folder: Path, *arguments: str) -> str:
    # Without optional locks: `git status` would otherwise lock the index and make a concurrent git command fail.
    command = ["git", "--no-optional-locks", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
