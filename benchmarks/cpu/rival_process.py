"""A NumPy rival in a child process in which NumPy's AVX-512 code is disabled."""

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
    """Return NumPy's names of the instruction sets wider than AVX2 that this processor has."""
    umath = np._core._multiarray_umath if hasattr(np, "_core") else np.core._multiarray_umath
    has = umath.__cpu_features__
    return [f for f in umath.__cpu_dispatch__ if has.get(f) and (f == "X86_V4" or f.startswith("AVX512"))]


class Child:
    """A Python process that constructs and times rivals on request. It draws the losses itself, with the same seed."""

    def __init__(self, features: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cpu.rival_process"],
            env={**os.environ, DISABLE: " ".join(features)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def request(self, **message: Any) -> Any:
        stdin = cast("IO[str]", self.process.stdin)
        stdout = cast("IO[str]", self.process.stdout)
        stdin.write(json.dumps(message) + "\n")
        stdin.flush()
        reply = json.loads(stdout.readline() or '{"error": "the child process died"}')
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["answer"]

    def close(self) -> None:
        cast("IO[str]", self.process.stdin).close()
        self.process.wait()


class RivalInChild(Rival):
    """A rival that the child process executes."""

    def __init__(self, what: Losses, losses: Array, weights: Array, mu: float, *, child: Child, name: str) -> None:
        super().__init__(what, losses, weights, mu)
        self.child = child
        self.name = name
        self.answer = Answer(**child.request(make=name, what=asdict(what), mu=mu))

    def check(self, answer: Answer) -> None:
        assert self.answer == answer, f"{self.answer} instead of {answer}"  # the child compares the weights

    def seconds(self, calls: int) -> float:
        return float(self.child.request(time=self.name, calls=calls))


class Server:
    """The child's side: rivals by name, all with the same losses."""

    def __init__(self) -> None:
        self.rivals: dict[str, Rival] = {}
        self.drawn: tuple[Losses, Array, Answer] | None = None

    def handle(self, message: dict[str, Any]) -> Any:
        if "make" in message:
            what = Losses(**message["what"])
            if self.drawn is None or self.drawn[0] != what:
                self.clear()
                losses = what.draw()
                self.drawn = what, losses, Answer.compute(losses, what.rank)
            _, losses, answer = self.drawn
            weights = np.ones(what.n, what.weights_type)
            rival = PYTHON_RIVALS[message["make"]](what, losses, weights, message["mu"])
            rival.check(answer)
            self.rivals[message["make"]] = rival
            return asdict(answer)
        if "time" in message:
            return self.rivals[message["time"]].seconds(message["calls"])
        return self.clear()

    def clear(self) -> None:
        self.rivals = {}
        self.drawn = None


def serve() -> None:
    """Handle the parent's requests until it closes the pipe."""
    one_thread()
    server = Server()
    for text in sys.stdin:
        try:
            reply = {"answer": server.handle(json.loads(text))}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve()
