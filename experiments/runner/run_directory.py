"""The files of an experiment's jobs: results, checkpoints, progress, errors.

A job with key K has a result ``K.json``. Until it is finished it has a checkpoint ``K.pt``, its progress
``K.progress``, and, if its last attempt failed, the traceback ``K.error``. Files are replaced atomically, so that the
directory is consistent whenever a process is killed.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rrm_core._atomic_write import atomic_write

from .jobs import Job

NUMBERS = re.compile(r"\[((?:[-+.,eE\d\s]|null)*)\]")


@dataclass(frozen=True)
class Progress:
    """Progress and cost of an unfinished job.

    Attributes
    ----------
    seconds : float
        Time up to the checkpoint, summed over all processes that worked on the job.
    commits : list of str or None
        Commits of the code that executed it.
    done, total : int
        Epochs.
    """

    seconds: float = 0.0
    commits: list[str | None] | None = None
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class RunDirectory:
    """The directory that holds the files of an experiment's jobs.

    Attributes
    ----------
    path : Path
    """

    path: Path

    def result_path(self, job: Job) -> Path:
        """Return the path of the job's result."""
        return self.path / f"{job.key}.json"

    def checkpoint_path(self, job: Job) -> Path:
        """Return the path of the unfinished job's checkpoint."""
        return self.path / f"{job.key}.pt"

    def progress_path(self, job: Job) -> Path:
        """Return the path of the unfinished job's progress."""
        return self.path / f"{job.key}.progress"

    def error_path(self, job: Job) -> Path:
        """Return the path of the failed job's traceback."""
        return self.path / f"{job.key}.error"

    def read_result(self, job: Job) -> dict[str, Any] | None:
        """Return the content of the job's result file, which `run_job` wrote, or None if the job is not finished.

        Raises
        ------
        ValueError
            The file is damaged, or describes another job.
        """
        path = self.result_path(job)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise ValueError(f"{path.name} in {str(self.path)!r} is damaged; remove it to repeat the run") from error
        # The job goes through JSON too, which turns tuples into lists.
        if not isinstance(content, dict) or content.get("run") != json.loads(json.dumps(asdict(job))):
            raise ValueError(f"{path.name} in {str(self.path)!r} isn't about its run; remove it to repeat the run")
        return content

    def read_progress(self, job: Job) -> Progress:
        """Return the progress of the unfinished job; all zero if it has no checkpoint to resume from."""
        if not self.checkpoint_path(job).exists():
            return Progress()
        try:
            return Progress(**json.loads(self.progress_path(job).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            # Not written durably: a power cut may lose it, and the checkpoint is good without.
            return Progress()

    def remove_unfinished(self, job: Job) -> None:
        """Remove the job's files except its result, including temporary files of a killed process."""
        for path in self.path.glob(f"{job.key}.*"):
            if path != self.result_path(job):
                path.unlink(missing_ok=True)

    def status(self, job: Job) -> str:
        """Return the job's status in a few words: done, missing, failed, or its epoch."""
        if self.read_result(job) is not None:
            return "done"
        progress = self.read_progress(job)
        epoch = f"epoch {progress.done} of {progress.total}" if progress.done else ""
        if self.error_path(job).exists():
            return f"failed after {epoch}" if epoch else "failed"
        return epoch or "missing"


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically.

    Raises
    ------
    ValueError, TypeError
        The content is not JSON, which has no NaN; the file is unchanged.
    """
    text = json.dumps(content, indent=1, allow_nan=False)
    # A list of numbers, such as a curve, goes on one line.
    text = NUMBERS.sub(lambda match: "[" + " ".join(match[1].split()) + "]", text)
    with atomic_write(path) as file:
        file.write(f"{text}\n".encode())
