"""Measuring another checkout in a process of its own, by a program that imports nothing of this one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any


def measure(python: str, program: Path) -> dict[str, Any]:
    """Return the JSON object that a program prints when an interpreter runs it, with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    output = subprocess.run([python, str(program)], env=environment, stdout=subprocess.PIPE, check=True, cwd="/").stdout
    result: dict[str, Any] = json.loads(output)
    return result


def commit_of(folder: Path) -> str:
    """Return the commit of the checkout in which a folder lies."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
