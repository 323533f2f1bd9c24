"""The processes that an experiment's runs are carried out by.

The parent hands out runs and hears of epochs; the workers write the results. They ignore Ctrl-C, which is the parent's
business, and end when it does, however that comes about. The folder is locked until the last of them is gone.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, reduction, resource_tracker
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal, TypeAlias

from . import environment as origin
from .jobs import Execute, Experiment, Folder, Run, carry_out, located, planned

Pipe: TypeAlias = "connection.Connection[Any, Any]"
PATIENCE = 60.0  # seconds for the workers of a parent that was killed to notice it
CLEMENCY = 5.0  # seconds for a worker to end when told to


@dataclass(frozen=True)
class Event:
    """What has happened to a run.

    Attributes
    ----------
    kind : {"started", "epoch", "done", "failed"}
    run : Run
    worker : int
        Which of the workers has it, from 0.
    done, total : int
        Epochs, if kind is "epoch".
    seconds : float
        Time that the run took, if kind is "done".
    error : str
        Why it failed, in one line, if kind is "failed".
    """

    kind: Literal["started", "epoch", "done", "failed"]
    run: Run
    worker: int
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    error: str = ""


def work(
    experiment: Experiment,
    seeds: int,
    data: Path,
    folder: Path,
    workers: int,
    on_progress: Callable[[Event], None] = lambda _: None,
    only: Sequence[str] = (),
) -> dict[str, str]:
    """Carry out the runs that have no result yet.

    Killed at any moment, the next call goes on where this one was.

    Parameters
    ----------
    experiment : Experiment
    seeds : int
        How often each run is repeated.
    data : Path
        The data folder.
    folder : Path
        For results and checkpoints; made if it isn't there.
    workers : int
        Processes, each with one run at a time. If there are several, torch gets one thread in each.
    on_progress : callable, optional
        Called for every `Event`, in this process.
    only : sequence of str, optional
        Parts of the methods to work at; by default all.

    Returns
    -------
    dict of str to str
        The keys of the runs that failed, and why. They don't keep the others from being done.

    Raises
    ------
    ValueError
        Data are missing, the folder can't be written or another process is at work in it, a file there is damaged.
    KeyboardInterrupt
        Ctrl-C; the workers have ended.
    """
    runs = planned(experiment, seeds, only)
    check_data(experiment, data)
    with _locked(folder) as lock:
        kept = Folder(folder)
        waiting: deque[Run] = deque()
        for run in runs:
            if kept.finished(run) is None:
                waiting.append(run)
            else:
                kept.forget(run)  # a former call may have been killed between the two
        crew = _Crew(experiment.execute, data, kept, workers, lock, on_progress)
        try:
            return crew.work(waiting)
        finally:
            crew.dismiss()


def check_data(experiment: Experiment, data: Path | None) -> None:
    """Raise a ValueError that says what is missing, if a file that the experiment needs isn't in the folder."""
    needs = ", ".join(name.replace("|", " or ") for name in experiment.data)
    if not experiment.data:
        return
    if data is None:
        raise ValueError(f"{experiment.name} needs --data, a folder that holds {needs}")
    if not data.is_dir():
        what = "is a file" if data.exists() else "doesn't exist"
        raise ValueError(f"data folder {str(data)!r} {what}; it should be a folder that holds {needs}")
    missing = [name.replace("|", " or ") for name in experiment.data if located(data, name) is None]
    if missing:
        raise ValueError(f"data folder {str(data)!r} lacks {', '.join(missing)}; it should hold {needs}")


@dataclass
class _Worker:
    number: int
    process: SpawnProcess
    run: Run


class _Crew:
    def __init__(
        self,
        execute: Execute,
        data: Path,
        folder: Folder,
        size: int,
        lock: _Lock,
        on_progress: Callable[[Event], None],
    ) -> None:
        self.arguments = (lock, execute, data.absolute(), Folder(folder.path.absolute()), size)
        self.folder, self.size, self.on_progress = folder, size, on_progress
        self.members: dict[Pipe, _Worker] = {}
        self.failed: dict[str, str] = {}

    def work(self, waiting: deque[Run]) -> dict[str, str]:
        while waiting or self.members:
            while waiting and len(self.members) < self.size:
                worker = self._hire(waiting.popleft())
                self.on_progress(Event("started", worker.run, worker.number))
            for pipe in connection.wait(list(self.members)):
                self._listen(pipe, waiting)  # type: ignore[arg-type]  # what wait() was given
        return self.failed

    def dismiss(self) -> None:
        """End all workers, at once."""
        with _interrupts_deferred():
            for worker in self.members.values():
                worker.process.terminate()
            for pipe, worker in self.members.items():
                _bury(worker.process)
                pipe.close()
            self.members.clear()

    def _hire(self, run: Run) -> _Worker:
        number = min(set(range(self.size)) - {worker.number for worker in self.members.values()})
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(theirs, *self.arguments), name=f"worker {number}")
        worker = _Worker(number, process, run)
        with (
            _interrupts_deferred(),
            theirs,
        ):  # closed here, so that the worker's end is the only one: its death is heard
            # The start of multiprocessing's own tracker unblocks Ctrl-C, so that comes first.
            resource_tracker.ensure_running()
            former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # and so in the worker, from the start
            threads = os.environ.get("OMP_NUM_THREADS")
            try:
                if self.size > 1:  # read when OpenMP is loaded, before any line of ours could set it
                    os.environ["OMP_NUM_THREADS"] = "1"
                process.start()
                self.members[ours] = worker
            finally:
                if threads is not None:
                    os.environ["OMP_NUM_THREADS"] = threads
                else:
                    os.environ.pop("OMP_NUM_THREADS", None)
                signal.pthread_sigmask(signal.SIG_SETMASK, former)
        self._give(ours, run)
        return worker

    def _give(self, pipe: Pipe, run: Run | None) -> None:
        with suppress(OSError):  # it is dead; _listen will hear of it
            pipe.send(run)

    def _listen(self, pipe: Pipe, waiting: deque[Run]) -> None:
        worker = self.members[pipe]
        try:
            kind, values = pipe.recv()
        except (EOFError, OSError):  # a message that was cut off raises the latter
            kind, values = "gone", {}
        if kind == "gone":
            worker.process.join()
            self._remove(pipe)
            if (finished := self.folder.finished(worker.run)) is not None:  # it had only no time to say so
                kind, values = "done", {"seconds": finished["seconds"]}
            else:
                kind, values = "failed", {"error": _epitaph(worker.process.exitcode)}
        if kind == "failed":
            self.failed[worker.run.key] = values["error"]
        self.on_progress(Event(kind, worker.run, worker.number, **values))
        if kind == "epoch" or pipe not in self.members:
            return
        if waiting:
            worker.run = waiting.popleft()
            self._give(pipe, worker.run)
            self.on_progress(Event("started", worker.run, worker.number))
        else:
            self._give(pipe, None)
            _bury(worker.process)
            self._remove(pipe)

    def _remove(self, pipe: Pipe) -> None:
        del self.members[pipe]
        pipe.close()


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C wait, so that no worker is ever half started or half ended."""
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted, and may say so
        yield
        return
    # Blocking the signal isn't enough: another thread, such as that of a progress bar, would receive it.
    came: list[int] = []
    former = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
        if came:
            signal.raise_signal(signal.SIGINT)


def _bury(process: SpawnProcess) -> None:
    """Wait for a process that is about to end, but not for ever."""
    process.join(CLEMENCY)
    if process.is_alive():
        process.kill()
        process.join()


def _epitaph(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


def _serve(pipe: Pipe, lock: _Lock, execute: Execute, data: Path, folder: Folder, workers: int) -> None:  # noqa: ARG001
    """Do one run after the other, in a process of its own; `lock` is held as long as it lives."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch = sys.modules.get("torch")  # which the experiment has imported, if it uses it
    if workers > 1 and torch is not None:
        torch.set_num_threads(1)
    commit = origin.commit()  # of the code as this process has loaded it, not as it will be when a run is done

    def tell(kind: str, **values: Any) -> None:
        try:
            pipe.send((kind, values))
        except OSError:  # nobody listens any more; in no case a failure of the run
            os._exit(1)

    def after(done: int, total: int) -> None:
        tell("epoch", done=done, total=total)

    def attempt(run: Run) -> None:
        try:
            seconds = carry_out(execute, run, data, folder, commit=commit, workers=workers, on_epoch=after)
        except Exception as error:
            what = " ".join(str(error).split())
            tell("failed", error=f"{type(error).__name__}: {what}" if what else type(error).__name__)
        else:
            tell("done", seconds=seconds)

    with suppress(EOFError):  # without a parent there is nothing left to do
        while (run := pipe.recv()) is not None:
            attempt(run)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Lock:
    """A lock on a folder, held as long as any process has the open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], _Lock], tuple[Any]]:
        return _take, (reduction.DupFd(self.descriptor),)  # only while a process is being started


def _take(descriptor: Any) -> _Lock:
    return _Lock(descriptor.detach())


@contextmanager
def _locked(folder: Path) -> Iterator[_Lock]:
    """Keep other processes out of the folder, which is made if it isn't there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ValueError(f"work folder {str(folder)!r} can't be written: {error.strerror}; choose another") from error
    try:
        enough = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace")
                # Killed, and its workers are about to notice it; or just beginning, and about to write its number.
                if time.monotonic() > enough or _lives(holder):
                    raise ValueError(
                        f"another process ({holder or 'unknown'}) is at work in {str(folder)!r}; wait for it, or "
                        "choose another folder"
                    ) from None
                time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield _Lock(descriptor)
    finally:
        os.close(descriptor)  # and no unlocking, which would count for a worker that is still alive


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # someone else's
        pass
    return True
