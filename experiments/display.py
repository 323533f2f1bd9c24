"""Progress of an experiment on the console."""

from __future__ import annotations

import math

from rich.console import Console
from rich.progress import TaskID

from rrm_core._cli import progress_bar

from .runner.pool import Event


class ProgressDisplay:
    """On a terminal one progress bar for all jobs and one for each worker; elsewhere a line for each finished job.

    The remaining time is estimated from the completed epochs, as if all jobs took equally long.

    Parameters
    ----------
    console : rich.console.Console
    name : str
        Name of the experiment.
    total : int
        Number of jobs.
    n_done : int
        Number of jobs that are done already.

    Attributes
    ----------
    n_done : int
        Number of jobs that are done.
    """

    def __init__(self, console: Console, name: str, total: int, n_done: int) -> None:
        self.console = console
        self.total = total
        self.n_done = n_done
        self.progress = progress_bar(console, count=["{task.fields[detail]}"])
        self.progress.disable = not console.is_terminal
        # An epoch may take minutes: estimate the speed from the start rather than from the last half minute.
        self.progress.speed_estimate_period = math.inf
        self._overall = self.progress.add_task(name, total=total, completed=n_done, detail=self._count())
        self._worker_tasks: dict[int, TaskID] = {}
        self._shares: dict[str, float] = {}  # completed share of each job, by key

    def __enter__(self) -> None:
        self.progress.start()

    def __exit__(self, *_: object) -> None:
        for task in self._worker_tasks.values():
            self.progress.remove_task(task)
        self.progress.stop()

    def show(self, event: Event) -> None:
        """Show an event."""
        if event.kind == "started":
            self._remove_worker_task(event.worker)
            self._worker_tasks[event.worker] = self.progress.add_task(
                f"  {event.job.key}", total=None, detail="starting"
            )
        elif event.kind == "epoch":
            task = self._worker_tasks[event.worker]
            detail = f"epoch {event.done} of {event.total}"
            self.progress.update(task, completed=event.done, total=event.total, detail=detail)
            if event.job.key not in self._shares:
                # A resumed job: its earlier epochs took no time in this run.
                self._skip(event.job.key, (event.done - 1) / event.total)
            self._advance(event.job.key, event.done / event.total)
        else:
            self._remove_worker_task(event.worker)
            if event.kind == "done":
                self._show_done(event)
                self._advance(event.job.key, 1.0)
            else:
                self._skip(event.job.key, 1.0)
            self.progress.update(self._overall, detail=self._count())

    def _advance(self, key: str, share: float) -> None:
        """Count a job as completed up to `share`."""
        self.progress.update(self._overall, advance=share - self._shares.get(key, 0.0))
        self._shares[key] = share

    def _skip(self, key: str, share: float) -> None:
        """Count a job as completed up to `share`, without an effect on the speed from which the time is estimated."""
        overall = self.progress.tasks[0]
        overall.completed += share - self._shares.get(key, 0.0)
        self._shares[key] = share

    def _show_done(self, event: Event) -> None:
        self.n_done += 1
        if not self.console.is_terminal:
            self.console.print(f"{self.n_done} of {self.total}: {event.job.key}, {event.seconds:.1f} s")

    def _count(self) -> str:
        return f"{self.n_done} of {self.total} runs"

    def _remove_worker_task(self, worker: int) -> None:
        task = self._worker_tasks.pop(worker, None)
        if task is not None:
            self.progress.remove_task(task)
