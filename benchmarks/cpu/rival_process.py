"""A rival in a process of its own, whose NumPy was told to leave AVX-512 alone. It takes turns with those at home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from benchmarks.common.losses import Answer, Array, Losses
from benchmarks.cpu.rivals import PYTHON_RIVALS, Rival, one_thread

DISABLE = "NPY_DISABLE_CPU_FEATURES"


def wide_features() -> list[str]:
    """Return the names by which this NumPy, on this processor, knows what is wider than AVX2."""
    umath = np._core._multiarray_umath if hasattr(np, "_core") else np.core._multiarray_umath
    has = umath.__cpu_features__
    return [f for f in umath.__cpu_dispatch__ if has.get(f) and (f == "X86_V4" or f.startswith("AVX512"))]


class Child:
    """A Python process that makes a rival and times it on request. It draws the losses itself, from the same seed."""

    def __init__(self, features: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cpu.rival_process"],
            env={**os.environ, DISABLE: " ".join(features)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def ask(self, **question: Any) -> Any:
        to = cast("IO[str]", self.process.stdin)
        back = cast("IO[str]", self.process.stdout)
        to.write(json.dumps(question) + "\n")
        to.flush()
        reply = json.loads(back.readline() or '{"error": "the child process died"}')
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["answer"]

    def close(self) -> None:
        cast("IO[str]", self.process.stdin).close()
        self.process.wait()


class Elsewhere(Rival):
    """A rival in the child process."""

    def __init__(self, what: Losses, losses: Array, weights: Array, mu: float, *, child: Child, name: str) -> None:
        super().__init__(what, losses, weights, mu)
        self.child = child
        self.name = name
        self.found = Answer(**child.ask(make=name, what=asdict(what), mu=mu))

    def prove(self, answer: Answer) -> None:
        assert self.found == answer, f"{self.found} instead of {answer}"  # the child has compared the weights

    def seconds(self, calls: int) -> float:
        return float(self.child.ask(time=self.name, calls=calls))


class Servant:
    """The child's side: rivals by name, all for the same losses."""

    def __init__(self) -> None:
        self.rivals: dict[str, Rival] = {}
        self.drawn: tuple[Losses, Array, Answer] | None = None

    def answer(self, question: dict[str, Any]) -> Any:
        if "make" in question:
            what = Losses(**question["what"])
            if self.drawn is None or self.drawn[0] != what:
                self.forget()
                losses = what.draw()
                self.drawn = what, losses, Answer.find(losses, what.rank)
            _, losses, answer = self.drawn
            weights = np.ones(what.n, what.weights_type)
            rival = PYTHON_RIVALS[question["make"]](what, losses, weights, question["mu"])
            rival.prove(answer)
            self.rivals[question["make"]] = rival
            return asdict(answer)
        if "time" in question:
            return self.rivals[question["time"]].seconds(question["calls"])
        return self.forget()

    def forget(self) -> None:
        self.rivals = {}
        self.drawn = None


def serve() -> None:
    """Answer the parent's questions until it closes the pipe."""
    one_thread()
    servant = Servant()
    for text in sys.stdin:
        try:
            reply = {"answer": servant.answer(json.loads(text))}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve()
