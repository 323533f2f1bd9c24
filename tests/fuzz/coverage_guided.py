"""Fuzz the readers of untrusted input, guided by the coverage of our Python code (Atheris, which uses libFuzzer).

``python -m fuzz.coverage_guided npy --seconds 60`` (with tests/ on the path) fuzzes one target for a minute, starting
from valid inputs. The exit code is 0 unless an input led to an undocumented error, to a result that can't be right, or
to more than `MEMORY_MB`; that input is kept in the folder of ``--keep``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import atheris
import numpy as np

# Before the packages below, so that only these are instrumented.
import pyarrow.parquet  # noqa: F401
import torch  # noqa: F401

PACKAGES = ("rrm_core", "rrm_torch")


class SourceLoaders(MetaPathFinder):
    """Finds the modules of an editable installation with plain loaders: Atheris can't instrument those of its own."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Return the spec of a module of `PACKAGES`, by the finders after this one."""
        if name.split(".")[0] not in PACKAGES:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.origin is not None and spec.origin.endswith(".py"):
                    spec.loader = SourceFileLoader(spec.name, spec.origin)
                return spec
        return None


sys.meta_path.insert(0, SourceLoaders())
with atheris.instrument_imports(include=list(PACKAGES)):
    from rrm_torch.training import checkpoint_file

from fuzz import damaged_checkpoints, damaged_files  # noqa: E402
from support import forged_partials  # noqa: E402
from support.run_state import make_checkpoint  # noqa: E402

MEMORY_MB = 2048
# Atheris does not free the results of comparisons of arrays.
LEAK_MB_PER_SECOND = 10
EDITS = 4  # alterations of a partial result


def fuzz_partial(data: bytes) -> None:
    """Alter some numbers of a genuine partial result; the plan that comes of it must be possible."""
    provider = atheris.FuzzedDataProvider(data)
    c, partial = PARTIALS[provider.ConsumeIntInRange(0, len(PARTIALS) - 1)]
    partial = {name: array.copy() for name, array in partial.items()}
    for _ in range(provider.ConsumeIntInRange(1, EDITS)):
        array = partial[("state", "sums", "minima", "keys")[provider.ConsumeIntInRange(0, 3)]]
        if array.size:
            # Mostly the numbers beside the histograms.
            last = min(len(array), 30) if provider.ConsumeIntInRange(0, 3) else len(array)
            array[provider.ConsumeIntInRange(0, last - 1)] = provider.ConsumeIntInRange(-(2**63), 2**63 - 1)
    plan = forged_partials.drive(np.random.default_rng(len(data)), c, partial)
    if plan is not None:
        absurdity = forged_partials.absurdity(plan)
        assert absurdity is None, absurdity


def checkpoint_seeds() -> list[bytes]:
    """Return archives of checkpoints, as `damaged_checkpoints.read_archive` takes them."""
    path = damaged_files.scratch() / "seed.pt"
    seeds = []
    for steps in range(3):
        make_checkpoint(path, steps=steps).save(steps)
        seeds.append(path.read_bytes()[: -checkpoint_file.TAIL_BYTES])
    return seeds


def partial_seeds() -> list[bytes]:
    """Return bytes that choose different partial results."""
    return [bytes([i]) * 64 for i in range(8)]


def file_seeds(kind: str) -> list[bytes]:
    """Return valid files of a format."""
    return [content for found, content in damaged_files.seeds() if found == kind]


PARTIALS = [(c, partial) for c, partial in forged_partials.genuine_partials() if len(c) < 1000]
TARGETS: dict[str, tuple[Callable[[bytes], object], Callable[[], list[bytes]]]] = {
    **{kind: (reader, lambda kind=kind: file_seeds(kind)) for kind, reader in damaged_files.READERS.items()},
    "partial": (fuzz_partial, partial_seeds),
    "checkpoint": (damaged_checkpoints.read_archive, checkpoint_seeds),
}


def fuzz_any(data: bytes) -> None:
    """Fuzz the target that the first byte chooses."""
    function, _ = list(TARGETS.values())[data[0] % len(TARGETS) if data else 0]
    function(data[1:])


def any_seeds() -> list[bytes]:
    """Return the valid inputs of all targets."""
    return [bytes([i]) + content for i, (_, seeds) in enumerate(TARGETS.values()) for content in seeds()]


def main() -> int:
    """Fuzz a target in a child process, which libFuzzer ends; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=[*TARGETS, "any"], help="what to fuzz; any: all of them in turn")
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path.cwd(), help="folder for an input that fails")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as corpus:
        # Forked, so that what was imported above is not imported again.
        child = multiprocessing.get_context("fork").Process(target=fuzz, args=(options, corpus))
        child.start()
        child.join()
    assert child.exitcode is not None
    return child.exitcode


def fuzz(options: argparse.Namespace, corpus: str) -> None:
    """Fuzz a target from its valid inputs, which are written to the folder `corpus`."""
    function, seeds = (TARGETS | {"any": (fuzz_any, any_seeds)})[options.target]
    for i, content in enumerate(seeds()):
        Path(corpus, f"seed{i}").write_bytes(content)

    def run(data: bytes) -> None:
        function(data)

    arguments = {
        "max_total_time": options.seconds,
        "seed": options.seed,
        "rss_limit_mb": MEMORY_MB + LEAK_MB_PER_SECOND * options.seconds,
        "artifact_prefix": f"{options.keep}/{options.target}-",
        "print_final_stats": 1,
    }
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in arguments.items()), corpus], run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
