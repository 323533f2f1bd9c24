"""Weights and plans equal the recorded ones, to the bit, for every backend and every way of passing the losses.

The other tests compare backends with the reference, which may change with them; this one compares all of them with what
was once recorded. The losses are made of hashes and exact operations, so that they are the same on every machine. After
a change that is meant, ``python tests/test_recorded_bits.py`` writes a new record, computed by the reference.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import rrm_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RECORD = Path(__file__).parent / "support" / "recorded_bits.json"
DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
SMALL, LARGE = (1, 33, 1025), 100_003
EVERY_FEW = 23  # slow backends run one case in 23, starting at another one for each family and type

Case = tuple[dict[str, Any], float]
Result = tuple[Any, rrm_core.Plan]

# Losses


def random_bits(n: int, *seed: object) -> np.ndarray:
    """Return n random numbers of 64 bits, which depend on nothing but n and the seed."""
    return np.frombuffer(hashlib.shake_128(repr((n, *seed)).encode()).digest(8 * n), "<u8").astype(np.uint64)


def spread(bits: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return positive numbers over nine binades, from 1/64 to 8."""
    unsigned, mantissa = np.dtype(f"u{dtype.itemsize}"), ml_dtypes.finfo(dtype).nmant
    one = int(np.ones((), dtype).view(unsigned))
    binade, fraction = bits % 9, (bits >> np.uint64(8)) & np.uint64((1 << mantissa) - 1)
    return (one + ((binade.astype(np.int64) - 6) << mantissa) + fraction.astype(np.int64)).astype(unsigned).view(dtype)


def constants(dtype: np.dtype, *values: float) -> np.ndarray:
    return np.array(values, np.float64).astype(dtype)


def with_finite(made: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Set one loss to a finite value."""
    made[int(bits[-1]) % len(made)] = 0.5
    return made


def infinities(bits: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return with_finite(np.where(bits >> np.uint64(62) == 0, constants(dtype, np.inf), spread(bits, dtype)), bits)


def not_numbers(bits: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return losses of which some are NaN, of either sign, and some infinite."""
    kinds = constants(dtype, np.nan, np.nan, np.inf)
    unsigned = kinds.view(f"u{dtype.itemsize}")
    unsigned[1] ^= unsigned.dtype.type(1 << (8 * dtype.itemsize - 1))
    kind = (bits >> np.uint64(60)).astype(np.intp)
    return with_finite(np.where(kind < 3, kinds[np.minimum(kind, 2)], spread(bits, dtype)), bits)


def subnormal(bits: np.ndarray, dtype: np.dtype) -> np.ndarray:
    unsigned, mantissa = np.dtype(f"u{dtype.itemsize}"), ml_dtypes.finfo(dtype).nmant
    sign = (bits >> np.uint64(63)) << np.uint64(8 * dtype.itemsize - 1)
    return (sign | (bits & np.uint64((1 << mantissa) - 1))).astype(unsigned).view(dtype)


def all_bit_patterns(bits: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return finite numbers of every size and either sign."""
    unsigned = bits.astype(f"u{dtype.itemsize}")
    infinity = constants(dtype, np.inf).view(unsigned.dtype)[0]
    return np.where(unsigned & infinity == infinity, unsigned & ~infinity, unsigned).view(dtype)


def one_huge(bits: np.ndarray, dtype: np.dtype) -> np.ndarray:
    made = spread(bits, dtype).copy()
    made[int(bits[0]) % len(made)] = ml_dtypes.finfo(dtype).max
    return made


FAMILIES: dict[str, Callable[[np.ndarray, np.dtype], np.ndarray]] = {
    "spread": spread,
    "negative": lambda bits, dtype: -spread(bits, dtype),
    "ascending": lambda bits, dtype: np.sort(spread(bits, dtype)),
    "constant": lambda bits, dtype: np.full(len(bits), 0.75, dtype),
    "few distinct": lambda bits, dtype: constants(dtype, -1.5, 0.25, 0.3125, 2.0)[bits % 4],
    "minimum repeated": lambda bits, dtype: np.maximum(spread(bits, dtype), constants(dtype, 0.125)),
    "capped": lambda bits, dtype: np.minimum(spread(bits, dtype), constants(dtype, 0.625)),
    "one huge": one_huge,
    "infinities": infinities,
    "NaN": not_numbers,
    "zeros of both signs": lambda bits, dtype: constants(dtype, -0.0, 0.0, 0.0, -0.0, 1.0, 1.0, 1.0, -1.0)[bits % 8],
    "subnormal": subnormal,
    "all bit patterns": all_bit_patterns,
}
COMBINATIONS = list(product(FAMILIES, DTYPES))


@lru_cache(maxsize=8)
def inputs(family: str, dtype: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return losses, and old weights in sixteenths."""
    c = FAMILIES[family](random_bits(n, family, dtype), DTYPES[dtype])
    assert (c.dtype, c.shape) == (DTYPES[dtype], (n,))
    w = (random_bits(n, "weights") % 64).astype(np.float64 if dtype == "float64" else np.float32) / 16
    return c, w


# Cases and results

THRESHOLDS: tuple[dict[str, Any], ...] = (
    *({"contamination": c, "ties": ties} for c, ties in product((0.0, 0.1, 0.29, 0.97), ("keep", "share"))),
    *({"gamma": gamma} for gamma in (0.0, 0.7, float("inf"))),
)
RULES = [rule | {"redistribute": who} for rule, who in product(THRESHOLDS, ("argmin", 0.1, 1.0, "kept", "drop"))]


def cases(family: str, dtype: str, every: int) -> list[Case]:
    """Return rules, as keywords of `reweight`, with a step mu; where it is below 1, there are old weights."""
    policy = {"nan": "prune"} if family == "NaN" else {}
    first = COMBINATIONS.index((family, dtype)) % every
    return [(rule | policy, mu) for rule, mu in product(RULES, (1.0, 0.3))][first::every]


def digest(results: Iterable[Result]) -> str:
    """Return a hash of weights and of all fields of their plans."""
    hashed = hashlib.blake2b(digest_size=8)
    for weights, plan in results:
        array = np.ascontiguousarray(weights)
        assert array.dtype == (np.float64 if plan.dtype == "float64" else np.float32)
        hashed.update(plan_text(plan).encode())
        hashed.update(array.data)
    return hashed.hexdigest()


def plan_text(plan: rrm_core.Plan) -> str:
    numbers = [plan.loss_min, plan.threshold, plan.recipient_threshold, *plan.levels]
    numbers += [plan.gamma, plan.total_variation, plan.largest_weight, plan.effective_sample_size]
    counts = [plan.n, plan.n_pruned, plan.n_tied, plan.n_recipients, plan.n_nan, plan.removed]
    rule = plan.rule
    settings = [rule.contamination, rule.gamma, rule.redistribute, rule.ties, rule.nan]
    assert [type(count) for count in counts] == [int] * 6
    return repr((plan.dtype, [(number + 0.0).hex() for number in numbers], counts, settings))  # -0.0 equals 0.0


def results(family: str, dtype: str, n: int, every: int, call: Callable[..., Result]) -> str:
    """Return the hash of the results of ``call(c, w, mu, **rule)`` in all cases; w is None where mu is 1."""
    c, w = inputs(family, dtype, n)
    return digest(call(c, None if mu == 1 else w, mu, **rule) for rule, mu in cases(family, dtype, every))


# Ways to compute


def backend(name: str, **options: Any) -> Callable[..., Result]:
    def call(c, w, mu, **rule):
        return rrm_core.reweight(c, w, mu=mu, backend=name, **options, **rule)

    return call


def in_place(c, w, mu, **rule):
    out = np.ones(len(c), np.float64 if c.dtype == np.float64 else np.float32) if w is None else w.copy()
    weights, plan = rrm_core.reweight(c, None if w is None else out, mu=mu, out=out, **rule)
    assert weights is out
    return out, plan


def in_two_calls(c, w, mu, **rule):
    plan = rrm_core.plan(c, **rule)
    return rrm_core.apply(plan, c, w, mu=mu), plan


def tensor(array: np.ndarray) -> Any:
    import torch

    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def of_tensors(c, w, mu, **rule):
    weights, plan = rrm_core.reweight(tensor(c), None if w is None else tensor(w), mu=mu, **rule)
    return weights.numpy(), plan


def cut(array: np.ndarray) -> list[np.ndarray]:
    """Return uneven parts, one of them empty."""
    n = len(array)
    return np.split(array, [n // 7, n // 7, n // 7 + 1, n // 2])


def in_parts(c, w, mu, **rule):
    """Let one planner count all parts."""
    planner = rrm_core.Planner(**rule)
    while not planner.done:
        for part in cut(c):
            planner.update(part)
        planner.advance()
    return rrm_core.apply(planner.plan, c, w, mu=mu), planner.plan


def merged(c, w, mu, **rule):
    """Let several planners count, and merge them, the last part first, some of them as arrays."""
    planner = rrm_core.Planner(**rule)
    while not planner.done:
        state = planner.partial()["state"]
        for i, part in reversed(list(enumerate(cut(c)))):
            other = rrm_core.Planner.from_partial({"state": state}, backend=("cpp", "numpy")[i % 2])
            other.update(part)
            planner.merge(other if i % 3 else rrm_core.Planner.from_partial(other.partial()))
        planner.advance()
    return rrm_core.apply(planner.plan, c, w, mu=mu), planner.plan


def of_chunks(c, w, mu, **rule):
    found: list[np.ndarray] = []
    plan = rrm_core.stream.reweight(cut(c), found.append, weights=w, mu=mu, **rule)
    return np.concatenate(found), plan


def of_dask_arrays(c, w, mu, **rule):
    import dask.array as da

    sizes = tuple(map(len, cut(c)))
    old = None if w is None else da.from_array(w, chunks=-1)
    weights, plan = rrm_core.reweight(da.from_array(c, chunks=(sizes,)), old, mu=mu, **rule)
    return weights.compute(scheduler="synchronous"), plan


class Files:
    """Asks with files, of which those of losses are written once."""

    def __init__(self, folder: Path, end: str) -> None:
        self.folder, self.end, self.held = folder, end, None

    def __call__(self, c, w, mu, **rule):
        out = self.folder / f"weights.{self.end}"
        source = self.folder / f"losses.{self.end}"
        if self.held is not c:
            self.write(source, c)
            self.held = c
        if w is not None:
            self.write(out, w)
        plan = rrm_core.stream.reweight(source, out, weights=None if w is None else out, mu=mu, **rule)
        return self.read(out), plan

    def write(self, path: Path, array: np.ndarray) -> None:
        if self.end == "npy":
            np.save(path, array)
        else:
            import pyarrow
            import pyarrow.parquet

            table = pyarrow.table({"value": pyarrow.array(array, from_pandas=False)})
            pyarrow.parquet.write_table(table, path, row_group_size=700)

    def read(self, path: Path) -> np.ndarray:
        if self.end == "npy":
            return np.load(path)
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).column("sample_weight").to_numpy()


SOME = {
    "cpp, three threads": backend("cpp", threads=3),
    "numba": backend("numba"),
    "numpy": backend("numpy"),
    "array_api": backend("array_api"),
    "in place": in_place,
    "plan and apply": in_two_calls,
    "torch tensors": of_tensors,
    "Planner": in_parts,
    "Planners, merged": merged,
    "chunks": of_chunks,
}


def recorded() -> dict[str, str]:
    return json.loads(RECORD.read_text("utf-8"))


def differing(
    call: Callable[..., Result], sizes: Iterable[int], every: int, dtypes: Iterable[str] = DTYPES
) -> list[str]:
    """Return the names of the cases whose results differ from the recorded ones."""
    then = recorded()
    inputs_of = [(family, dtype, n) for family, dtype, n in product(FAMILIES, dtypes, sizes)]
    return [name(*case, every) for case in inputs_of if results(*case, every, call) != then[name(*case, every)]]


def name(family: str, dtype: str, n: int, every: int) -> str:
    return f"{family}, {dtype}, n={n}" + ("" if every == 1 else ", some")


@pytest.mark.parametrize(("who", "sizes"), [("cpp", (*SMALL, LARGE)), ("numpy", SMALL)])
def test_all_cases(who, sizes):
    assert differing(backend(who), sizes, 1) == []


@pytest.mark.parametrize("who", SOME)
def test_some_cases(who):
    assert differing(SOME[who], [1025, LARGE], EVERY_FEW) == []


@pytest.mark.parametrize("end", ["npy", "parquet"])
def test_files(end, tmp_path):
    assert differing(Files(tmp_path, end), [1025], EVERY_FEW, [dtype for dtype in DTYPES if dtype != "bfloat16"]) == []


def test_dask_arrays():
    assert differing(of_dask_arrays, [1025], EVERY_FEW) == []


def over_ranks(n: int, every: int) -> list[list[Result]]:
    """Compute all cases on a rank: return the weights of its part, and the plan."""
    from torch.distributed import get_rank

    from rrm_torch import distributed

    found, rank = [], get_rank()
    for family, dtype in COMBINATIONS:
        c, w = (tensor(array[: n // 3] if rank == 0 else array[n // 3 :]) for array in inputs(family, dtype, n))
        given = [
            distributed.reweight(c, None if mu == 1 else w, mu=mu, **rule) for rule, mu in cases(family, dtype, every)
        ]
        found.append([(weights.numpy(), plan) for weights, plan in given])
    return found


def test_ranks():
    from support.rank_jobs import on_ranks

    first, second = on_ranks(2, over_ranks, 1025, EVERY_FEW)
    then = recorded()
    for case, upper, lower in zip(COMBINATIONS, first, second, strict=True):
        assert [plan for _, plan in upper] == [plan for _, plan in lower]
        whole = [(np.concatenate([a, b]), plan) for (a, plan), (b, _) in zip(upper, lower, strict=True)]
        assert digest(whole) == then[name(*case, 1025, EVERY_FEW)], case


@pytest.mark.parametrize("what", ["a weight", "a count", "a level"])
def test_the_least_difference_is_noticed(what):
    from dataclasses import replace

    def call(c, w, mu, **rule):
        weights, plan = rrm_core.reweight(c, w, mu=mu, **rule)
        if what == "a weight":
            weights[-1] = np.nextafter(weights[-1], np.inf)
        elif what == "a count":
            plan = replace(plan, n_tied=plan.n_tied + 1)
        else:
            plan = replace(plan, levels=plan.levels._replace(kept=np.nextafter(plan.levels.kept, np.inf)))
        return weights, plan

    then = recorded()
    assert all(results(*case, 1025, EVERY_FEW, call) != then[name(*case, 1025, EVERY_FEW)] for case in COMBINATIONS)


def record() -> None:
    """Write the record, a hash a line, by the reference."""
    cases = [
        (*case, n, every)
        for case in COMBINATIONS
        for n, every in (*product(SMALL, [1]), (1025, EVERY_FEW), (LARGE, 1), (LARGE, EVERY_FEW))
    ]
    hashes = {name(*case): results(*case, backend("numpy")) for case in cases}
    lines = [f"  {json.dumps(case)}: {json.dumps(hash)}" for case, hash in hashes.items()]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    record()
