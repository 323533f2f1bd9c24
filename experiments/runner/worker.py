"""Execution of jobs: `run_job` executes one, `serve` is the main loop of a worker process."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import asdict
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeAlias

from rrm_core._atomic_write import atomic_write

from . import environment
from .directory_lock import DirectoryLock
from .jobs import Execute, Job, OnEpoch
from .run_directory import Progress, RunDirectory, write_json

Pipe: TypeAlias = "connection.Connection[Any, Any]"


def run_job(
    execute: Execute,
    job: Job,
    data: Path,
    directory: RunDirectory,
    *,
    commit: str | None,
    workers: int = 1,
    on_epoch: OnEpoch = lambda _done, _total: None,
) -> float:
    """Execute a job in this process, from its checkpoint if there is one, and write its result.

    Parameters
    ----------
    execute : callable
        See `Experiment`.
    job : Job
    data : Path
        The data folder.
    directory : RunDirectory
        Must exist.
    commit : str or None
        Commit of the code that this process has loaded.
    workers : int
        Number of jobs that run at the same time, recorded because the time depends on it.
    on_epoch : callable, optional
        Called as ``on_epoch(done, total)`` after each epoch.

    Returns
    -------
    float
        Time in seconds, including that before the checkpoint.

    Raises
    ------
    Exception
        Any error of `execute`; ValueError or TypeError if its result is not JSON. The traceback is written to the
        job's error file.
    """
    previous = directory.read_progress(job)
    commits = list(dict.fromkeys([*(previous.commits or []), commit]))
    start = time.perf_counter()

    def elapsed() -> float:
        return previous.seconds + time.perf_counter() - start

    def write_progress(done: int, total: int) -> None:
        progress = Progress(elapsed(), commits, done, total)
        with atomic_write(directory.progress_path(job), durable=False) as file:
            file.write(json.dumps(asdict(progress)).encode())

    def after_epoch(done: int, total: int) -> None:
        write_progress(done, total)
        on_epoch(done, total)

    try:
        directory.error_path(job).unlink(missing_ok=True)
        # Note this commit before the first checkpoint that its code writes.
        write_progress(previous.done, previous.total)
        result = execute(job, data, directory.checkpoint_path(job), after_epoch)
        seconds = elapsed()
        content = {
            "run": asdict(job),
            "result": result,
            "seconds": seconds,
            "workers": workers,
            "commit": "+".join(map(str, commits)) if any(commits) else None,
            "versions": environment.versions(),
            "machine": environment.machine(),
            "date": environment.today(),
        }
        write_json(directory.result_path(job), content)
    except Exception:
        # A name of a file that is not UTF-8 may be part of it.
        text = traceback.format_exc().encode(errors="backslashreplace")
        with atomic_write(directory.error_path(job), durable=False) as file:
            file.write(text)
        raise
    directory.remove_unfinished(job)
    return seconds


def serve(
    pipe: Pipe,
    lock: DirectoryLock | None,  # noqa: ARG001
    execute: Execute,
    data: Path,
    directory: RunDirectory,
    workers: int,
) -> None:
    """Execute the jobs received through `pipe` until None arrives; the main function of a worker process.

    It sends ``("epoch", {"done": ..., "total": ...})`` after each epoch, then ``("done", {"seconds": ...})`` or
    ``("failed", {"error": ...})``.

    Parameters
    ----------
    pipe : multiprocessing.Connection
    lock : DirectoryLock
        Not used, but held for the life of the process.
    execute, data, directory, workers
        See `run_job`.
    """
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch = sys.modules.get("torch")  # imported by the experiment, if it uses it
    if workers > 1 and torch is not None:
        torch.set_num_threads(1)
    commit = environment.commit()  # of the code that is loaded now; the checkout may change during a job

    def send(kind: str, **values: Any) -> None:
        try:
            pipe.send((kind, values))
        except OSError:
            # The parent is gone. That is not an error of the job: exit without writing one.
            os._exit(1)

    def send_epoch(done: int, total: int) -> None:
        send("epoch", done=done, total=total)

    def attempt(job: Job) -> None:
        try:
            seconds = run_job(execute, job, data, directory, commit=commit, workers=workers, on_epoch=send_epoch)
        except Exception as error:
            message = " ".join(str(error).split())
            name = type(error).__name__
            send("failed", error=f"{name}: {message}" if message else name)
        else:
            send("done", seconds=seconds)

    # The parent is gone; the connection is reset if it had not read all messages.
    with suppress(EOFError, ConnectionResetError):
        while (job := pipe.recv()) is not None:
            attempt(job)


def _exit_with_parent() -> None:
    """Wait for the end of the parent process, then end this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
