"""Ordered parallel map: threads, order of requests and results, errors."""

from __future__ import annotations

import threading

import pytest

from rrm_core.stream.source import Chunk, Job
from rrm_core.stream.thread_pool import map_ordered

CHUNK = Chunk(0, 0, lambda *_: None)


def jobs(n, exclusive=False):
    return (Job(i, i + 1, CHUNK, None, None, False, exclusive) for i in range(n))


def test_jobs_run_in_parallel():
    barrier = threading.Barrier(3)  # broken unless three threads reach it
    map_ordered(jobs(9), lambda job, workspace: barrier.wait(60), lambda *_: None, "abcd")


@pytest.mark.parametrize("workspaces", ["a", "abc"], ids=["one workspace", "three workspaces"])
def test_caller_requests_jobs_and_handles_results_in_order(workspaces):
    caller = threading.get_ident()
    results = []
    used = set()

    def request():
        for job in jobs(50):
            assert threading.get_ident() == caller
            yield job

    def process(job, workspace):
        assert workspace not in used
        used.add(workspace)
        return job.start, workspace

    def on_result(job, result):
        assert threading.get_ident() == caller
        start, workspace = result
        used.remove(workspace)
        results.append(start)

    map_ordered(request(), process, on_result, workspaces)
    assert results == list(range(50))


def test_exclusive_job_completes_before_the_next_request():
    events = []

    def request():
        for job in jobs(20, exclusive=True):
            events.append(("request", job.start))
            yield job

    map_ordered(
        request(),
        lambda job, _: events.append(("process", job.start)),
        lambda job, _: events.append(("result", job.start)),
        "abc",
    )
    assert events == [(what, i) for i in range(20) for what in ("request", "process", "result")]


def test_first_error_in_order_is_raised_after_all_threads_end():
    both, ended = threading.Barrier(2), []

    def process(job, _):
        if job.start < 2:
            both.wait(60)
        if job.start == 1:
            raise ValueError("the second")
        if job.start == 0:
            ended.append(0)
            raise ValueError("the first")

    with pytest.raises(ValueError, match="the first"):
        map_ordered(jobs(9), process, lambda *_: None, "abc")
    assert ended == [0]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rrm_core.stream")]
