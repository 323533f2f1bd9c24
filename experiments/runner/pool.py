"""The worker processes that execute an experiment's jobs.

The parent assigns jobs and receives progress; the workers write the results. Workers ignore Ctrl-C, which the parent
handles, and exit when the parent ends in any way.

A pool of our own, because a worker that dies must fail its job only, with its signal or exit code:
`concurrent.futures` and joblib then fail every pending job without the exit code, and `multiprocessing.Pool` hangs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal

from .directory_lock import DirectoryLock, lock_directory
from .jobs import Execute, Experiment, Job, check_data, plan_jobs
from .run_directory import RunDirectory
from .worker import Pipe, serve

TERMINATE_TIMEOUT = 5.0  # seconds between asking a worker to end and killing it


@dataclass(frozen=True)
class Event:
    """Progress of a job.

    Attributes
    ----------
    kind : {"started", "epoch", "done", "failed"}
    job : Job
    worker : int
        Number of the worker that executes the job, from 0.
    done, total : int
        Epochs, if kind is "epoch".
    seconds : float
        Time of the job, if kind is "done".
    error : str
        Reason in one line, if kind is "failed".
    """

    kind: Literal["started", "epoch", "done", "failed"]
    job: Job
    worker: int
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    error: str = ""


def run_experiment(
    experiment: Experiment,
    seeds: int,
    data: Path,
    path: Path,
    workers: int,
    on_event: Callable[[Event], None] = lambda _: None,
    only: Sequence[str] = (),
) -> dict[str, str]:
    """Execute an experiment's jobs that have no result yet.

    If it is interrupted or killed, the next call resumes the unfinished jobs from their checkpoints.

    Parameters
    ----------
    experiment : Experiment
    seeds : int
        Number of repetitions of each method.
    data : Path
        The data folder.
    path : Path
        Directory for results and checkpoints; created if it does not exist.
    workers : int
        Number of processes, each of which executes one job at a time. With more than one, torch uses one thread in
        each.
    on_event : callable, optional
        Called with every `Event`, in this process.
    only : sequence of str, optional
        See `plan_jobs`.

    Returns
    -------
    dict of str to str
        Keys of the failed jobs, and the reason in one line. The other jobs are executed nevertheless.

    Raises
    ------
    ValueError
        Data are missing, the directory cannot be written or is in use by another process, or a result is damaged.
    KeyboardInterrupt
        Ctrl-C was pressed; the workers have ended.
    """
    jobs = plan_jobs(experiment, seeds, only)
    check_data(experiment, data)
    with lock_directory(path) as lock:
        directory = RunDirectory(path)
        queue: deque[Job] = deque()
        for job in jobs:
            if directory.read_result(job) is None:
                queue.append(job)
            else:
                # A previous call may have been killed between writing the result and removing these.
                directory.remove_unfinished(job)
        pool = WorkerPool(experiment.execute, data, directory, workers, lock, on_event)
        try:
            return pool.run(queue)
        finally:
            pool.terminate()


@dataclass
class Worker:
    """A worker process and the job that it executes."""

    number: int
    process: SpawnProcess
    job: Job


class WorkerPool:
    """Worker processes, each connected by a pipe.

    Parameters
    ----------
    execute : callable
        See `Experiment`.
    data : Path
        The data folder.
    directory : RunDirectory
    size : int
        Number of processes.
    lock : DirectoryLock
        Lock on the directory, which the workers hold as well.
    on_event : callable
        Called with every `Event`.
    """

    def __init__(
        self,
        execute: Execute,
        data: Path,
        directory: RunDirectory,
        size: int,
        lock: DirectoryLock | None,
        on_event: Callable[[Event], None],
    ) -> None:
        self.directory = directory
        self.size = size
        self.on_event = on_event
        self.workers: dict[Pipe, Worker] = {}
        self.errors: dict[str, str] = {}
        self._arguments = (lock, execute, data.absolute(), RunDirectory(directory.path.absolute()), size)

    def run(self, queue: deque[Job]) -> dict[str, str]:
        """Execute the queued jobs; return the errors of those that failed, by key."""
        while queue or self.workers:
            while queue and len(self.workers) < self.size:
                worker = self._start(queue.popleft())
                self.on_event(Event("started", worker.job, worker.number))
            for pipe in connection.wait(list(self.workers)):
                self._receive(pipe, queue)  # type: ignore[arg-type]  # one of self.workers
        return self.errors

    def terminate(self) -> None:
        """End all workers immediately."""
        with _defer_interrupts():
            for worker in self.workers.values():
                worker.process.terminate()
            for pipe, worker in self.workers.items():
                _join_or_kill(worker.process)
                pipe.close()
            self.workers.clear()

    def _start(self, job: Job) -> Worker:
        number = min(set(range(self.size)) - {worker.number for worker in self.workers.values()})
        spawn = multiprocessing.get_context("spawn")
        parent_end, worker_end = spawn.Pipe()
        process = spawn.Process(target=serve, args=(worker_end, *self._arguments), name=f"worker {number}")
        worker = Worker(number, process, job)
        # This process's copy of the worker's end is closed, so that the pipe reports EOF when the worker dies.
        with _defer_interrupts(), worker_end:
            # multiprocessing unblocks SIGINT when it starts its resource tracker, so start that before blocking it.
            resource_tracker.ensure_running()
            with _blocked_interrupts(), _one_openmp_thread(self.size > 1):
                process.start()
            self.workers[parent_end] = worker
        _send(parent_end, job)
        return worker

    def _receive(self, pipe: Pipe, queue: deque[Job]) -> None:
        """Handle one message of a worker, or its death."""
        worker = self.workers[pipe]
        try:
            kind, values = pipe.recv()
        except (EOFError, OSError):  # OSError: the message was cut off
            kind, values = self._remove_dead(pipe)
        if kind == "failed":
            self.errors[worker.job.key] = values["error"]
        self.on_event(Event(kind, worker.job, worker.number, **values))
        if kind != "epoch" and pipe in self.workers:
            self._assign_next(pipe, queue)

    def _remove_dead(self, pipe: Pipe) -> tuple[Any, dict[str, Any]]:
        """Remove a worker that has died; return the message that it could not send."""
        worker = self.workers[pipe]
        worker.process.join()
        self._remove(pipe)
        result = self.directory.read_result(worker.job)
        if result is not None:
            return "done", {"seconds": result["seconds"]}
        return "failed", {"error": _exit_reason(worker.process.exitcode)}

    def _assign_next(self, pipe: Pipe, queue: deque[Job]) -> None:
        """Give a worker the next job, or end it if there is none."""
        worker = self.workers[pipe]
        if queue:
            worker.job = queue.popleft()
            _send(pipe, worker.job)
            self.on_event(Event("started", worker.job, worker.number))
        else:
            _send(pipe, None)
            _join_or_kill(worker.process)
            self._remove(pipe)

    def _remove(self, pipe: Pipe) -> None:
        del self.workers[pipe]
        pipe.close()


def _send(pipe: Pipe, job: Job | None) -> None:
    with suppress(OSError):  # the worker is dead: the next receive reports it
        pipe.send(job)


@contextmanager
def _defer_interrupts() -> Iterator[None]:
    """Defer Ctrl-C to the end of the context, so that no worker is left half started or half ended."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread receives KeyboardInterrupt, and only it may set a handler.
        yield
        return
    # A handler rather than a blocked signal: another thread, such as that of a progress bar, would receive it.
    received: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if received:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Block SIGINT, so that a process started in the context ignores it from its first instruction on."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextmanager
def _one_openmp_thread(limit: bool) -> Iterator[None]:
    """Limit processes started in the context to one OpenMP thread, which is read when OpenMP is loaded."""
    previous = os.environ.get("OMP_NUM_THREADS")
    try:
        if limit:
            os.environ["OMP_NUM_THREADS"] = "1"
        yield
    finally:
        if previous is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = previous


def _join_or_kill(process: SpawnProcess) -> None:
    """Join `process`; kill it after TERMINATE_TIMEOUT seconds."""
    process.join(TERMINATE_TIMEOUT)
    if process.is_alive():
        process.kill()
        process.join()


def _exit_reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
