"""Interrupt a call at each of its bytecode instructions, as Ctrl-C can, and look at what it leaves behind."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

import rrm_core
import rrm_torch

T = TypeVar("T")

PACKAGES = tuple(str(Path(package.__file__ or "").parent) for package in (rrm_core, rrm_torch))


LAST = 10  # a call changes the state shortly before its end


class Interrupt(KeyboardInterrupt):
    """Stands for Ctrl-C; a class of its own, so that a real one still ends the tests."""


def count_instructions(call: Callable[[], Any]) -> int:
    """Return how many instructions of the two packages a call executes."""
    return _Tracer(None).run(call)


def interrupted(
    make: Callable[[], T],
    call: Callable[[T], Any],
    *,
    samples: int | None = None,
    seed: int = 0,
    last: int | None = None,
) -> Iterator[tuple[int, T]]:
    """Interrupt ``call(make())`` at its first instruction, another at its second, and so on to the last.

    Only instructions of rrm_core and rrm_torch count: what they call (torch, NumPy, kernels) handles signals between
    calls. This is stricter than CPython, which raises KeyboardInterrupt at some instructions only.

    Parameters
    ----------
    make : callable
        Returns a new object in the old state.
    call : callable
        Changes it.
    samples : int, optional
        Try this many instructions, chosen at random, and the last few, rather than each one.
    seed : int
    last : int, optional
        Try only the last so many instructions.

    Yields
    ------
    int, T
        The number of the instruction, and the object after the interrupt.
    """
    first = make()
    total = count_instructions(lambda: call(first))
    points = range(max(1, total - (last or total) + 1), total + 1)
    if samples is not None and samples < len(points):
        points = sorted({*random.Random(seed).sample(points, samples), *points[-LAST:]})
    for point in points:
        subject = make()
        try:
            _Tracer(point).run(lambda: call(subject))  # noqa: B023
        except Interrupt:
            yield point, subject


class _Tracer:
    """Counts the instructions of a call, and raises `Interrupt` before the one numbered `stop`."""

    def __init__(self, stop: int | None) -> None:
        self.stop = stop
        self.count = 0
        self._traced: dict[CodeType, bool] = {}

    def run(self, call: Callable[[], Any]) -> int:
        """Make the call; return the number of instructions."""
        previous = sys.gettrace()
        collects = gc.isenabled()
        gc.disable()  # a finalizer would run at a moment of its own
        sys.settrace(self._trace_call)
        try:
            call()
        finally:
            sys.settrace(previous)
            if collects:
                gc.enable()
        return self.count

    def _trace_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        traced = self._traced.get(code)
        if traced is None:
            traced = self._traced[code] = code.co_filename.startswith(PACKAGES)
        if not traced:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._trace_instruction

    def _trace_instruction(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self.count += 1
            if self.count == self.stop:
                sys.settrace(None)
                raise Interrupt
        return self._trace_instruction
