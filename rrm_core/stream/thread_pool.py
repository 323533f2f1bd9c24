"""An ordered parallel map."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .source import Job

Workspace = TypeVar("Workspace")
Result = TypeVar("Result")


def map_ordered(
    jobs: Iterable[Job],
    process: Callable[[Job, Workspace], Result],
    on_result: Callable[[Job, Result], None],
    workspaces: Sequence[Workspace],
) -> None:
    """Process jobs in parallel, and handle their results in order.

    The calling thread requests the jobs and handles the results, so that sources, sinks and callbacks of the user never
    run in another thread. The first error in the order of the jobs is raised, after all threads have ended.

    Parameters
    ----------
    jobs : iterable of Job
    process : callable
        ``process(job, workspace)`` runs in a worker thread. The workspace is reserved until `on_result` returns.
    on_result : callable
        ``on_result(job, result)`` handles the return value of `process`.
    workspaces : sequence
        One workspace per worker plus one for the job being read ahead; with a single workspace everything runs in the
        calling thread.
    """
    if len(workspaces) == 1:
        for job in jobs:
            on_result(job, process(job, workspaces[0]))
        return
    available = list(workspaces)
    pending: deque[tuple[Job, Workspace, Future[Result]]] = deque()

    def complete_first() -> None:
        job, workspace, future = pending.popleft()
        on_result(job, future.result())
        available.append(workspace)

    pool = ThreadPoolExecutor(len(workspaces) - 1, thread_name_prefix="rrm_core.stream")
    try:
        for job in jobs:
            # No other job could run meanwhile, so that a worker thread gains nothing.
            if job.exclusive and not pending:
                on_result(job, process(job, available[0]))
                continue
            workspace = available.pop()
            pending.append((job, workspace, pool.submit(process, job, workspace)))
            while pending and (job.exclusive or not available):
                complete_first()
        while pending:
            complete_first()
    finally:
        pool.shutdown(cancel_futures=True)
