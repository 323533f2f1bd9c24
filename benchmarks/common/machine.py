"""Where and with what a benchmark ran: what a recorded number means nothing without."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = (":(glob)benchmarks/**/*.py", ":(glob)benchmarks/**/*.cpp")
SOURCES = ("rrm_core", "python", "csrc", "bindings", "experiments", *PROGRAMS)


def describe(*packages: str, draft: bool = False) -> dict[str, Any]:
    """Return commit, date, machine, and the versions of Python and the packages; leave if there are changes.

    A draft, which isn't for the record, may have changes, and then names no commit.
    """
    changed = _git("status", "--porcelain", "--", *SOURCES)
    if changed and not draft:
        raise SystemExit(f"commit first: a record names the commit that it was made with, and these differ\n{changed}")
    return {
        "commit": "uncommitted changes" if changed else _git("rev-parse", "HEAD"),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
