"""Threads that work on one job after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .source import Job

Desk = TypeVar("Desk")
Result = TypeVar("Result")


def carry_out(
    jobs: Iterable[Job],
    work: Callable[[Job, Desk], Result],
    done: Callable[[Job, Result], None],
    desks: Sequence[Desk],
) -> None:
    """Do all jobs.

    Jobs are asked for, and handed to `done`, in their order and by the thread of the caller, so that nobody else's code
    meets a thread that it doesn't know. The first error in that order is raised, after all threads have ended.

    Parameters
    ----------
    jobs : iterable of Job
    work : callable
        ``work(job, desk)`` does a job, and has the desk to itself until `done` returns.
    done : callable
        ``done(job, result)`` takes what `work` has returned.
    desks : sequence
        One for each thread, and one more, at which the next job waits. A single one is that of the caller's thread.
    """
    if len(desks) == 1:
        for job in jobs:
            done(job, work(job, desks[0]))
        return
    free = list(desks)
    pending: deque[tuple[Job, Desk, Future[Result]]] = deque()

    def finish_first() -> None:
        job, desk, future = pending.popleft()
        done(job, future.result())
        free.append(desk)

    pool = ThreadPoolExecutor(len(desks) - 1, thread_name_prefix="rrm_core.stream")
    try:
        for job in jobs:
            if job.last_look and not pending:  # nobody could work on another meanwhile
                done(job, work(job, free[0]))
                continue
            desk = free.pop()
            pending.append((job, desk, pool.submit(work, job, desk)))
            while pending and (job.last_look or not free):
                finish_first()
        while pending:
            finish_first()
    finally:
        pool.shutdown(cancel_futures=True)
