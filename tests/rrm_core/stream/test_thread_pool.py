"""Who works on what, and when."""

from __future__ import annotations

import threading

import pytest

from rrm_core.stream.source import Job, Part
from rrm_core.stream.thread_pool import carry_out

PART = Part(0, 0, lambda *_: None)


def jobs(n, last_look=False):
    return (Job(i, i + 1, PART, None, False, last_look) for i in range(n))


def test_several_threads_work_at_a_time():
    meeting = threading.Barrier(3)  # broken, if they don't come together
    carry_out(jobs(9), lambda job, desk: meeting.wait(60), lambda *_: None, "abcd")


@pytest.mark.parametrize("desks", ["a", "abc"], ids=["one desk", "three desks"])
def test_the_caller_asks_and_takes_in_order(desks):
    me, seen, used = threading.get_ident(), [], set()

    def asked():
        for job in jobs(50):
            assert threading.get_ident() == me
            yield job

    def work(job, desk):
        assert desk not in used
        used.add(desk)
        return job.start, desk

    def done(job, result):
        assert threading.get_ident() == me
        start, desk = result
        used.remove(desk)
        seen.append(start)

    carry_out(asked(), work, done, desks)
    assert seen == list(range(50))


def test_nothing_is_asked_for_before_the_last_look_at_a_job():
    course = []

    def asked():
        for job in jobs(20, last_look=True):
            course.append(("asked", job.start))
            yield job

    carry_out(
        asked(),
        lambda job, _: course.append(("work", job.start)),
        lambda job, _: course.append(("done", job.start)),
        "abc",
    )
    assert course == [(what, i) for i in range(20) for what in ("asked", "work", "done")]


def test_the_first_error_in_order_is_raised_once_all_have_ended():
    both, ended = threading.Barrier(2), []

    def work(job, _):
        if job.start < 2:
            both.wait(60)
        if job.start == 1:
            raise ValueError("the second")
        if job.start == 0:
            ended.append(0)
            raise ValueError("the first")

    with pytest.raises(ValueError, match="the first"):
        carry_out(jobs(9), work, lambda *_: None, "abc")
    assert ended == [0]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rrm_core.stream")]
