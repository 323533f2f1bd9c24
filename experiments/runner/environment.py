"""Where and with what a run was made: what a recorded number means nothing without."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("rrm_core", "python", "csrc", "bindings", "experiments")
PACKAGES = ("rrm-core", "torch", "numpy")
DIRTY = "-dirty"


def commit(checkout: Path = CHECKOUT) -> str | None:
    """Return the commit of the code, with ``-dirty`` at its end if the sources differ from it.

    Parameters
    ----------
    checkout : Path
        The folder that would be the root of the checkout; by default the one that this package lies in.

    Returns
    -------
    str or None
        None if the folder isn't a git checkout: the package is installed elsewhere, or git can't be asked.
    """
    try:
        # A virtual environment may lie in some project's checkout, whose commits say nothing about this package.
        if not Path(_git(checkout, "rev-parse", "--show-toplevel")).samefile(checkout):
            return None
        head = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain", "--", *SOURCES)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + DIRTY if changed else head


def machine() -> dict[str, str | int | None]:
    """Return the processor's model name, the number of its cores, and the operating system."""
    return {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result, of those that are installed."""
    found = {name: number for name in PACKAGES if (number := _version(name)) is not None}
    return {"python": platform.python_version(), **found}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str:
    # Without optional locks, so that someone else's git in the same checkout is never refused because of this one.
    command = ["git", "--no-optional-locks", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
