"""Planner: the plan of losses that come in parts is that of all of them, however they are split, counted and merged."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from itertools import pairwise, product

import dask.array
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import rrm_core
from rrm_core import Planner
from rrm_core.backends import cpp
from rrm_core.definition.counting import BINS
from rrm_core.definition.formats import BY_NAME, FLOAT32
from rrm_core.planner.planner import NOWHERE
from rrm_core.planner.rank_search import MAX_KEYS
from support.families import DTYPES, FAMILIES, LARGE, losses, questions, reference
from support.frameworks import FRAMEWORKS, holds, make
from support.tuned import AVAILABLE, tuned

SIZES = (1, 2, 33, 1025, 4097)
# Who counts: a backend, an instruction set, threads.
COUNTERS = (("numpy", None, 1), *(("cpp", name, threads) for name, threads in product(AVAILABLE, (1, 2, 3))))
MOST_ROUNDS = {"float16": 1, "bfloat16": 1, "float32": 2, "float64": 4}


def through_a_file(partial):
    """Return a partial result as it comes back from an npz file."""
    file = io.BytesIO()
    np.savez(file, **partial)
    return np.load(io.BytesIO(file.getvalue()))


def combined(partials):
    """Return what several partial results amount to, by the rules that Planner.partial states."""
    return {
        "question": partials[0]["question"],
        "sums": sum(partial["sums"] for partial in partials),
        "minima": np.minimum.reduce([partial["minima"] for partial in partials]),
        "keys": np.concatenate([partial["keys"] for partial in partials]),
    }


def split(c, rng, parts):
    """Return parts of the losses with the index at which each begins; some are empty."""
    cuts = [0, *np.sort(rng.integers(0, len(c) + 1, parts - 1)).tolist(), len(c)]
    return [(begin, c[begin:end]) for begin, end in pairwise(cuts)]


def merged(planners, rng):
    """Return one planner with what all have counted, merged in some order, one in three through a partial result."""
    while len(planners) > 1:
        rng.shuffle(planners)
        other = planners.pop()
        planners[0].merge(Planner.from_partial(other.partial()) if rng.random() < 0.3 else other)
    return planners[0]


def count_in_parts(c, rng, *, backend=None, threads=None, **rule):
    """Return a planner that is done with the losses, after several have counted parts of them in each round."""
    planner = Planner(backend=backend, threads=threads, **rule)
    while not planner.done:
        question = through_a_file(planner.partial()) if rng.random() < 0.3 else planner.partial()
        planners = [Planner.from_partial(question, backend=backend, threads=threads) for _ in range(rng.integers(3))]
        planners.append(planner)
        parts = split(c, rng, rng.integers(1, 7))
        for i in rng.permutation(len(parts)):
            begin, part = parts[i]
            planners[rng.integers(len(planners))].update(part, offset=begin)
        planner = merged(planners, rng)
        planner.advance()
    return planner


def plan_of(parts, **rule):
    """Return the plan that one planner makes of some parts, and the rounds that it took."""
    planner = Planner(**rule)
    while not planner.done:
        for part in parts:
            planner.update(part)
        planner.advance()
    return planner.plan, planner.round


def planner_in_round_two(c, **rule):
    planner = Planner(**rule)
    planner.update(c)
    planner.advance()
    assert (planner.round, planner.done) == (2, False)
    return planner


# The plan


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_rule_however_losses_are_split(family, dtype):
    rng = np.random.default_rng(len(family))
    for place, n in enumerate(SIZES):
        c, answers = losses(family, n, dtype), reference(family, n, dtype)
        for i, ((rule, _, _), (_, expected)) in enumerate(zip(questions(family), answers, strict=True)):
            backend, name, threads = COUNTERS[(i + i // len(COUNTERS) + place) % len(COUNTERS)]
            with tuned(name):
                planner = count_in_parts(c, rng, backend=backend, threads=threads, **rule)
            assert planner.plan == expected, f"{n=} {rule=} {backend=} {name=} {threads=}"
            assert planner.round <= MOST_ROUNDS[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_many_losses_by_everyone_who_counts(family, dtype):
    c, rng = losses(family, LARGE, dtype), np.random.default_rng(1)
    rules = [rule for i, (rule, _, _) in enumerate(questions(family)) if i % 16 == len(family) % 16]
    for i, rule in enumerate(rules):
        expected = rrm_core.plan(c, backend="numpy", **rule)
        for backend, name, threads in COUNTERS[i % 3 :: 3]:
            with tuned(name):
                planner = count_in_parts(c, rng, backend=backend, threads=threads, **rule)
            assert planner.plan == expected, f"{rule=} {backend=} {name=} {threads=}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["exponential", "NaN", "capped", "zeros of both signs", "same leading bits"])
def test_partial_results_combine_as_documented(family, dtype):
    c, rng = losses(family, 30_011, dtype), np.random.default_rng(2)
    for rule, _, _ in list(questions(family))[::8]:
        planner = Planner(**rule)
        while not planner.done:
            counted = []
            for begin, part in split(c, rng, 4):
                own = Planner.from_partial(planner.partial())
                own.update(part, offset=begin)
                counted.append(own.partial())
            planner = Planner.from_partial(combined(counted))
            planner.advance()
        assert planner.plan == rrm_core.plan(c, **rule), rule


BITS = {"float16": 16, "float32": 32, "float64": 64}


@st.composite
def vectors(draw):
    """Make a few losses of any bits but those of -inf, at least one of them finite; many tie."""
    dtype = draw(st.sampled_from(sorted(BITS)))
    width = BITS[dtype]
    fixed = [0.0, -0.0, 1.0, 1.5, np.nan, np.inf, float(np.finfo(dtype).tiny), -float(np.finfo(dtype).max)]
    numbers = np.array(fixed, dtype)
    chosen = st.sampled_from([*numbers.view(f"u{width // 8}").tolist(), 1, 2, (1 << width - 1) + 1])
    bits = draw(st.lists(chosen | st.integers(0, (1 << width) - 1), min_size=1, max_size=40))
    c = np.array(bits, f"u{width // 8}").view(dtype)
    c[c == -np.inf] = 1.5
    c[draw(st.integers(0, len(c) - 1))] = draw(st.sampled_from([0.5, 1.0, -1.0]))
    return c


SHARES = st.integers(0, 99).map(lambda percent: percent / 100)
RULES = st.one_of(
    st.builds(lambda x, ties: {"contamination": x, "ties": ties}, SHARES, st.sampled_from(["keep", "share"])),
    st.builds(lambda x: {"gamma": x}, st.sampled_from([0.0, 0.5, 1e30, math.inf]) | st.floats(0, 1e6)),
)
RECEIVERS = st.sampled_from(["argmin", "kept", "drop", 0.1, 0.5, 1.0])


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@given(c=vectors(), rule=RULES, redistribute=RECEIVERS, seed=st.integers(0, 2**32 - 1))
def test_the_order_of_updates_and_merges_does_not_matter(backend, c, rule, redistribute, seed):
    rule = rule | {"redistribute": redistribute, "nan": "prune"}
    with np.errstate(all="ignore"):
        expected = rrm_core.plan(c, backend="numpy", **rule)
    assert count_in_parts(c, np.random.default_rng(seed), backend=backend, **rule).plan == expected


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormals_count_where_torch_flushes_them(dtype, backend):
    c = losses("subnormal", 1000, dtype)
    for rule in (
        {"contamination": 0.3},
        {"contamination": 0.3, "redistribute": 0.29},
        {"gamma": 0.0},
        {"gamma": 0.7, "redistribute": 0.3},
    ):
        expected = rrm_core.plan(c, backend="numpy", **rule)
        assert torch.set_flush_denormal(True)
        try:
            plan, _ = plan_of([c[:300], c[300:]], backend=backend, **rule)
        finally:
            torch.set_flush_denormal(False)
        assert plan == expected, rule


# Rounds


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("family", "rounds"),
    [
        ("exponential", {"float32": 2, "float64": 2}),  # few losses in a bin are taken as they are
        ("constant", {"float32": 2, "float64": 4}),
        ("same leading bits", {"float32": 2, "float64": 4}),
        ("capped", {"float32": 2, "float64": 4}),
    ],
)
def test_rounds(family, rounds, dtype):
    c = losses(family, 2 * MAX_KEYS + 1000, dtype)
    plan, taken = plan_of([c[:10], c[10:]], contamination=0.2)
    assert taken == rounds.get(dtype, 1)
    assert plan == rrm_core.plan(c, contamination=0.2)


@pytest.mark.parametrize(("n", "rounds"), [(MAX_KEYS, 2), (MAX_KEYS + 1, 4)])
def test_as_many_keys_are_taken_as_there_are_counts(n, rounds):
    c = np.full(n, 0.7)
    plan, taken = plan_of([c], contamination=0.2)
    assert (taken, plan) == (rounds, rrm_core.plan(c, contamination=0.2))


def test_two_intervals_take_as_many_keys_together():
    rng = np.random.default_rng(0)
    c = np.concatenate([1 + 1e-4 * rng.random(MAX_KEYS), 1.6 + 1e-4 * rng.random(MAX_KEYS // 2), np.full(10, 3.0)])
    rule = {"contamination": 10 / len(c), "redistribute": 0.4}
    assert plan_of([c[: MAX_KEYS // 2], c[MAX_KEYS // 2 :]], **rule)[0] == rrm_core.plan(c, **rule)
    planner = planner_in_round_two(c, **rule)
    assert len(planner._intervals) == 2
    planner.update(c)
    assert len(planner.partial()["sums"]) > 2 * BINS  # counted
    planner.advance()
    planner.update(c)
    assert len(planner.partial()["sums"]) < BINS  # taken


def test_a_round_that_takes_keys_holds_no_more_memory_than_these():
    c = np.concatenate([np.linspace(0.5, 0.501, 50_000), np.linspace(2.0, 3.0, 50_000)])
    planner = planner_in_round_two(c, contamination=0.75)
    for part in np.array_split(c, 100):
        planner.update(part)
    assert sum((key if key.base is None else key.base).nbytes for key in planner._keys) <= 8 * 50_000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "rule",
    [
        {"contamination": 0.3, "redistribute": 0.69},  # both thresholds in one bin
        {"contamination": 0.3, "redistribute": 0.7},  # at the same loss
        {"contamination": 0.3, "redistribute": 0.71},  # the fraction above
        {"contamination": 0.3, "redistribute": 0.01},
        {"contamination": 0.0, "redistribute": 1.0},
        {"gamma": 0.1, "redistribute": 0.9},  # the fraction lies above
        {"gamma": 1.0, "redistribute": 0.001},  # and below
        {"gamma": 0.0, "redistribute": 1.0},
    ],
    ids=lambda rule: ", ".join(f"{name} {value}" for name, value in rule.items()),
)
def test_recipients_by_fraction(rule, dtype):
    rng = np.random.default_rng(4)
    for c in (rng.exponential(size=5000), 1 + 1e-3 * rng.random(200_000)):  # in many bins, in one
        values = c.astype(dtype)
        assert plan_of(np.array_split(values, 3), **rule)[0] == rrm_core.plan(values, **rule)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_counts_beyond_32_bits(dtype):
    copies = 2**34
    c = np.array([0.5, 1.0, 1.0, 2.0, 3.0], dtype)
    rule = {"contamination": 0.3, "redistribute": 0.5}
    planner = Planner(**rule)
    while not planner.done:
        planner.update(c)
        partial = planner.partial()
        partial["sums"] *= copies  # as if so many had counted the same
        if len(partial["keys"]):
            raise AssertionError("no memory holds these keys")
        planner = Planner.from_partial(partial)
        planner.advance()
    plan, single = planner.plan, rrm_core.plan(np.tile(c, 2), **rule)
    assert (plan.n, plan.n_pruned, plan.n_tied) == (5 * copies, copies, copies)
    assert plan.n_recipients == 3 * copies
    assert (plan.threshold, plan.levels) == (2.0, single.levels)


# What is wrong with losses


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ([1.0, np.nan, 2.0, np.nan], "raise"),
        ([1.0, 2.0, -np.inf, -np.inf], "raise"),
        ([1.0, 2.0, -np.inf, np.nan], "prune"),
        ([np.nan, np.nan], "prune"),
        ([np.inf, np.inf, np.inf], "raise"),
        ([np.inf, np.nan], "prune"),
    ],
    ids=["NaN", "-inf", "-inf and NaN", "NaN only", "inf only", "inf and NaN"],
)
def test_losses_that_can_not_be_reweighted(values, policy, dtype, backend):
    c = np.array(values, DTYPES[dtype])
    with pytest.raises(ValueError, match=r"^losses contain") as expected:
        rrm_core.plan(c, contamination=0.2, nan=policy, backend=backend)
    one, other = (Planner(contamination=0.2, nan=policy, backend=backend) for _ in range(2))
    for i in reversed(range(len(c))):
        (one, other)[i % 2].update(c[i : i + 1], offset=i)
    one.merge(Planner.from_partial(through_a_file(other.partial())))
    for _ in range(2):  # and nothing has changed by the first
        with pytest.raises(ValueError, match=r"^losses contain") as raised:
            one.advance()
        assert str(raised.value) == str(expected.value)
    assert (one.round, one.n, one.done) == (1, len(c), False)


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_the_first_nan_by_offsets(backend):
    good, bad = np.ones(100, np.float32), np.array([1.0, np.nan], np.float32)

    def first(*parts):
        planner = Planner(contamination=0.2, backend=backend)
        for part, offset in parts:
            planner.update(part, offset=offset)
        with pytest.raises(ValueError, match="NaN") as raised:
            planner.advance()
        return int(str(raised.value).partition("the first at index ")[2].partition(";")[0])

    assert first((good, None), (bad, None)) == 101  # by default after what has been counted
    assert first((bad, 700), (good, None), (bad, 10**13), (bad, np.int64(300))) == 301
    assert first((bad, 0)) == 1


def test_no_losses():
    planner = Planner(contamination=0.2)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^no losses were counted; at least one sample is needed$"):
            planner.advance()
        planner.update(np.empty(0, np.float32))
    planner.update(np.ones(3, np.float32))
    planner.advance()
    assert planner.round == 2


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"contamination": 0.2, "gamma": 1.0},
        {"contamination": 1.0},
        {"gamma": -1.0},
        {"gamma": 1.0, "ties": "share"},
    ],
)
def test_rules_are_refused_as_by_reweight(rule):
    with pytest.raises(ValueError, match=r"contamination|gamma") as expected:
        rrm_core.plan([1.0], **rule)
    with pytest.raises(ValueError, match=r"contamination|gamma") as raised:
        Planner(**rule)
    assert str(raised.value) == str(expected.value)


def test_backends_and_threads_are_checked():
    partial = Planner(contamination=0.2).partial()
    for make_one in (
        lambda **who: Planner(contamination=0.2, **who),
        lambda **who: Planner.from_partial(partial, **who),
    ):
        with pytest.raises(ValueError, match=r"^backend must be one of 'cpp', 'numpy' or None, got 'numba'$"):
            make_one(backend="numba")
        with pytest.raises(ValueError, match=r"^threads must be a whole number, at least 1, or None, got 0$"):
            make_one(threads=0)


# What is given to update


@pytest.mark.parametrize(("framework", "dtype"), [asked for asked in product(FRAMEWORKS, DTYPES) if holds(*asked)])
def test_arrays_of_any_framework(framework, dtype):
    c = losses("exponential", 999, dtype)
    parts = [make(framework, part) for part in (c[:500], c[:0], c[500:])]
    assert plan_of(parts, contamination=0.2)[0] == rrm_core.plan(c, contamination=0.2)


def test_a_tensor_that_wants_a_gradient_and_a_parameter():
    c = torch.rand(99, requires_grad=True)
    expected = rrm_core.plan(c.detach(), contamination=0.2)
    assert plan_of([c], contamination=0.2)[0] == expected
    assert plan_of([torch.nn.Parameter(c.detach())], contamination=0.2)[0] == expected


def test_a_dask_array_is_computed():
    c = losses("exponential", 999, "float32")
    blocks = dask.array.from_array(c, chunks=100)
    assert plan_of([blocks[:300], blocks[:0], blocks[300:]], contamination=0.2)[0] == rrm_core.plan(
        c, contamination=0.2
    )


SHARDED = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, numpy, rrm_core
from jax.sharding import Mesh, NamedSharding, PartitionSpec
c = numpy.arange(8, dtype="float32")
over_two = NamedSharding(Mesh(numpy.array(jax.devices()), ("x",)), PartitionSpec("x"))
planner = rrm_core.Planner(contamination=0.2)
while not planner.done:
    planner.update(jax.device_put(c, over_two))
    planner.advance()
assert planner.plan == rrm_core.plan(c, contamination=0.2)
"""


@pytest.mark.skipif("jax" not in FRAMEWORKS, reason="JAX has no release for this Python")
def test_an_array_over_several_devices():
    subprocess.run(
        [sys.executable, "-W", "error", "-c", SHARDED], check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}
    )


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_of_any_layout(dtype, backend):
    c = losses("exponential", 3001, dtype)
    expected = rrm_core.plan(c, contamination=0.2, backend="numpy")
    read_only = c.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"x" + c.tobytes(), np.uint8)[1:].view(c.dtype)
    twice = np.repeat(c, 2)
    layouts = {"reversed": c[::-1], "strided": twice[::2], "read-only": read_only, "unaligned": unaligned}
    if dtype != "bfloat16":
        layouts["byte-swapped"] = c.astype(c.dtype.newbyteorder())
    for name, array in layouts.items():
        assert plan_of([array[:7], array[7:]], contamination=0.2, backend=backend)[0] == expected, name
    if dtype == "float64":
        assert (
            plan_of([c[:1000].tolist(), (), tuple(c[1000:].tolist()), []], contamination=0.2, backend=backend)[0]
            == expected
        )


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.ones(3, np.int32), TypeError, "losses must be float16, bfloat16, float32 or float64, got int32"),
        (np.empty(0, np.int32), TypeError, "losses must be float16, bfloat16, float32 or float64, got int32"),
        (np.ones((2, 2)), ValueError, r"losses must be one-dimensional, got shape \(2, 2\)"),
        (np.ones((0, 2)), ValueError, r"losses must be one-dimensional, got shape \(0, 2\)"),
        (np.float64(1.0), ValueError, r"losses must be one-dimensional, got shape \(\)"),
        ("text", TypeError, "losses must be an array"),
        (["a"], TypeError, "losses must be an array or a flat list of numbers"),
        (None, TypeError, "losses must be an array"),
        (np.ma.masked_array([1.0, 2.0]), TypeError, "losses is a masked array"),
        (np.ones(3), TypeError, "losses must be float32, as those before, got float64"),
        (np.empty(0), TypeError, "losses must be float32, as those before, got float64"),
    ],
    ids=[
        "integers",
        "no integers",
        "matrix",
        "empty matrix",
        "scalar",
        "text",
        "texts",
        "None",
        "masked",
        "type",
        "empty type",
    ],
)
@pytest.mark.parametrize("round", [1, 2])
def test_losses_that_are_refused_and_not_counted(round, given, error, message):
    c = losses("exponential", 100, "float32")
    planner = Planner(contamination=0.2) if round == 1 else planner_in_round_two(c, contamination=0.2)
    planner.update(c[:60])
    before = planner.partial()
    with pytest.raises(error, match=f"^{message}"):
        planner.update(given)
    for name, array in planner.partial().items():
        assert_array_equal(array, before[name])
    planner.update(c[60:])
    planner.advance()


@pytest.mark.parametrize("offset", [-1, 1.0, "2", 2**62, 2**70], ids=str)
def test_offsets_that_are_none(offset):
    planner = Planner(contamination=0.2)
    with pytest.raises(ValueError, match=r"^offset must be a whole number, at least 0, or None, got"):
        planner.update(np.ones(3, np.float32), offset=offset)
    assert planner.n == 0
    planner.update(np.ones(3))  # of another type: nothing is known yet


def test_a_kernel_that_fails_counts_nothing(monkeypatch):
    def fail(*_):
        raise MemoryError

    planner = Planner(contamination=0.2, backend="cpp")
    with monkeypatch.context() as patched:
        patched.setattr(cpp, "count_first_pass", fail)
        with pytest.raises(MemoryError):
            planner.update(np.ones(3, np.float32))
    c = losses("exponential", 100, "float64")  # of another type
    planner.update(c)
    planner.advance()
    with monkeypatch.context() as patched:
        patched.setattr(cpp, "count_pass", fail)
        with pytest.raises(MemoryError):
            planner.update(c)
    assert planner.n == 0
    planner.update(c)
    planner.advance()
    assert planner.plan == rrm_core.plan(c, contamination=0.2)


# States


def test_what_a_planner_says_on_its_way():
    c = losses("exponential", 1000, "float32")
    planner = Planner(contamination=0.2, redistribute=0.5)
    assert (planner.n, planner.round, planner.done, planner.checksum) == (0, 1, False, 0)
    assert planner.rule == rrm_core.plan(c, contamination=0.2, redistribute=0.5).rule
    planner.update(c[:400])
    assert planner.n == 400
    assert repr(planner) == f"Planner({planner.rule}; round=1, n=400)"
    with pytest.raises(ValueError, match=r"^the plan isn't there yet: round 1 is under way; advance\(\) ends it$"):
        planner.plan  # noqa: B018
    planner.update(c[400:])
    planner.advance()
    assert planner.checksum == cpp.checksum(c)
    assert (planner.n, planner.round, planner.done) == (0, 2, False)
    with pytest.raises(ValueError, match=r"^the plan isn't there yet: round 2"):
        planner.plan  # noqa: B018
    planner.update(c)
    planner.advance()
    assert (planner.round, planner.done, planner.checksum) == (2, True, cpp.checksum(c))
    assert repr(planner) == f"Planner({planner.rule}; plan={planner.plan})"


def test_a_planner_that_is_done():
    c = losses("exponential", 100, "float16")
    planner = Planner(contamination=0.2)
    planner.update(c)
    planner.advance()
    for act in (lambda: planner.update(c), planner.advance, lambda: planner.merge(Planner(contamination=0.2))):
        with pytest.raises(ValueError, match=r"^the planner is done; make a new one for other losses$"):
            act()
    copy = Planner.from_partial(through_a_file(planner.partial()))
    assert copy.done
    assert copy.plan == planner.plan == rrm_core.plan(c, contamination=0.2)
    with pytest.raises(ValueError, match=r"^other is done; begin each round from this planner's partial\(\)$"):
        Planner(contamination=0.2).merge(planner)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_partial_result_of_a_done_planner_carries_the_plan(dtype):
    for family, rule in (
        ("exponential", {"gamma": 0.5}),
        ("NaN", {"contamination": 0.3, "redistribute": 0.1, "nan": "prune"}),
    ):
        c = losses(family, 1000, dtype)
        planner = count_in_parts(c, np.random.default_rng(0), **rule)
        partial = planner.partial()
        assert sum(array.nbytes for array in partial.values()) < 1000
        assert Planner.from_partial(partial).plan == rrm_core.plan(c, **rule)
        assert Planner.from_partial({"question": partial["question"]}).plan == planner.plan


def test_the_question_alone_is_enough_to_count():
    c = losses("exponential", 1000, "float64")
    planner = Planner(gamma=0.5, redistribute=0.3)
    while not planner.done:
        question = planner.partial()["question"]
        assert question.nbytes < 1000
        for part in (c[:1], c[1:]):
            other = Planner.from_partial({"question": question})
            other.update(part)
            planner.merge(other)
        planner.advance()
    assert planner.plan == rrm_core.plan(c, gamma=0.5, redistribute=0.3)


def test_merging_leaves_the_other_as_it_is():
    one, other = Planner(contamination=0.2), Planner(contamination=0.2)
    one.update(np.ones(3, np.float32))
    other.update(np.zeros(2, np.float32))
    before = other.partial()
    one.merge(other)
    one.update(np.ones(5, np.float32))
    assert (one.n, other.n) == (10, 2)
    for name, array in other.partial().items():
        assert_array_equal(array, before[name])


def test_partial_results_are_copies():
    planner = Planner(contamination=0.2)
    planner.update(np.ones(3, np.float32))
    partial = planner.partial()
    copy = Planner.from_partial(partial)
    partial["sums"][:] = 7
    partial["minima"][:] = 7
    assert (planner.n, copy.n) == (3, 3)
    assert_array_equal(copy.partial()["minima"], planner.partial()["minima"])


def refused_merges():
    c = losses("exponential", 100, "float32")
    d = c + np.float32(100)
    counted = Planner(contamination=0.2)
    counted.update(np.ones(3))
    yield "no planner", Planner(contamination=0.2), 3, TypeError, "other must be a Planner, got int; from_partial"
    yield "rule", Planner(contamination=0.2), Planner(gamma=0.2), ValueError, "other has another rule: Rule"
    yield (
        "round",
        Planner(contamination=0.2),
        planner_in_round_two(c, contamination=0.2),
        ValueError,
        "other is in round 2",
    )
    yield (
        "old round",
        planner_in_round_two(c, contamination=0.2),
        Planner(contamination=0.2),
        ValueError,
        "other is in round 1",
    )
    yield (
        "losses",
        *(planner_in_round_two(x, contamination=0.2) for x in (c, d)),
        ValueError,
        "other is in round 2 of ano",
    )
    same_points = (planner_in_round_two(x, gamma=0.0) for x in (np.array([1, 2, 3.5]), np.array([1, 2, 3.25])))
    yield "losses of the same minimum", *same_points, ValueError, "other is in round 2 of another"
    typed = Planner(contamination=0.2)
    typed.update(c)
    yield "type", typed, counted, TypeError, "losses must be float32, as those before, got float64"
    yield "itself", typed, typed, ValueError, "other is this planner itself, whose losses would be counted twice"


@pytest.mark.parametrize("case", range(8), ids=lambda i: f"case {i}")
def test_merges_that_are_refused_change_nothing(case):
    _, one, other, error, message = list(refused_merges())[case]
    before = one.partial()
    with pytest.raises(error, match=f"^{message}"):
        one.merge(other)
    for name, array in one.partial().items():
        assert_array_equal(array, before[name])


# Losses that change


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("rule", [{"contamination": 0.2}, {"gamma": 0.5}], ids=["contamination", "gamma"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "keeps"), [(1000, True), (300_000, False)], ids=["keys", "counts"])
def test_losses_that_change_between_rounds(n, keeps, dtype, rule, backend):
    c = np.full(n, 0.7, dtype) if not keeps else losses("exponential", n, dtype)
    c[:2] = 0.1, 0.2

    def second_round(*parts):
        planner = planner_in_round_two(c, backend=backend, **rule)
        for part in parts:
            planner.update(part)
        before = planner.partial()
        try:
            planner.advance()
        except ValueError:
            for name, array in planner.partial().items():
                assert_array_equal(array, before[name])
            raise
        return planner

    assert second_round(c[::-1].copy()).round in (2, 3)  # where they lie doesn't matter
    swapped = c.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    second_round(swapped)
    for parts, count in (([c[1:]], n - 1), ([c, c[-1:]], n + 1), ([], 0), ([c, c], 2 * n)):
        with pytest.raises(
            ValueError, match=rf"^{count:_} losses were counted in round 2, but {n:_} in the first; give"
        ):
            second_round(*parts)
    within_the_bin = c.copy()
    within_the_bin[5] = np.nextafter(within_the_bin[5], within_the_bin.dtype.type(9))
    out_of_it = c.copy()
    out_of_it[n // 2] = -7.0
    last = c.copy()
    last[-1] = 5.0
    for changed in (within_the_bin, out_of_it, last):
        with pytest.raises(
            ValueError, match=r"^other losses were counted in round 2 than in the first; give every loss"
        ):
            second_round(changed)


def test_a_forgotten_part_may_be_given_later():
    c = losses("exponential", 1000, "float32")
    planner = planner_in_round_two(c, contamination=0.2)
    planner.update(c[:700])
    with pytest.raises(ValueError, match=r"^700 losses were counted"):
        planner.advance()
    planner.update(c[700:])
    planner.advance()
    assert planner.plan == rrm_core.plan(c, contamination=0.2)


@pytest.mark.parametrize("round", [1, 2])
def test_counts_that_contradict_each_other(round):
    c = np.full(MAX_KEYS + 1, 0.7)
    planner = Planner(contamination=0.2) if round == 1 else planner_in_round_two(c, contamination=0.2)
    planner.update(c)
    partial = planner.partial()
    partial["sums"][-BINS:] *= 2  # but not the number of losses
    planner = Planner.from_partial(partial)
    with pytest.raises(ValueError, match=r"^the counts contradict each other: .*; begin the round again$"):
        planner.advance()


def test_keys_that_were_lost():
    c = losses("exponential", 10_000, "float32")
    planner = planner_in_round_two(c, contamination=0.2)
    planner.update(c)
    partial = planner.partial()
    assert len(partial["keys"]) > 1
    planner = Planner.from_partial(partial | {"keys": partial["keys"][1:]})
    with pytest.raises(ValueError, match=r"^the counts contradict each other"):
        planner.advance()


# Partial results that are none


def broken(partial):
    """Yield what is wrong with a partial result, and the result."""
    question = partial["question"]
    for name in ("question", "sums", "minima", "keys"):
        yield f"it lacks '{name}'", {key: array for key, array in partial.items() if key != name}
    yield "arrays of another length", partial | {"sums": partial["sums"][1:]}
    yield "arrays of another length", partial | {"minima": partial["minima"][:3]}
    yield "an array of 2 dimensions", partial | {"keys": np.zeros((2, 2), np.int64)}
    yield "an array of 0 dimensions", partial | {"question": np.int64(1)}
    yield "an array of 1 dimensions and float64", partial | {"sums": partial["sums"] + 0.5}
    yield "an array of 1 dimensions and <U1", partial | {"question": np.array(["a"])}
    yield "version none, not 1", partial | {"question": question[:0]}
    yield "version 2, not 1", partial | {"question": np.concatenate([[2], question[1:]])}
    yield "a question of 24 numbers", partial | {"question": question[:-1]}
    yield "losses of types", partial | {"minima": np.where(np.arange(5) == 3, 17, partial["minima"])}
    # What each number of the question may not be: the way to redistribute, the round, the format, n, the searches.
    for place, number in ((3, 4), (3, -1), (2, -1), (7, 0), (7, -3), (8, 4), (9, -1), (13, 3), (18, 17), (18, 64)):
        yield "", partial | {"question": np.where(np.arange(len(question)) == place, number, question)}


@pytest.mark.parametrize("round", [1, 2])
def test_partial_results_that_are_none(round):
    c = losses("exponential", 100, "float32")
    planner = Planner(contamination=0.2) if round == 1 else planner_in_round_two(c, contamination=0.2)
    planner.update(c)
    for what, partial in broken(planner.partial()):
        with pytest.raises(
            ValueError, match=rf"^partial isn't what Planner.partial\(\) returns in this version: .*{what}"
        ):
            Planner.from_partial(partial)


@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 4), max_size=24), cut=st.integers(0, 25))
def test_questions_of_garbage(numbers, cut):
    question = planner_in_round_two(losses("exponential", 100, "float32"), contamination=0.2).partial()["question"]
    question[cut : cut + len(numbers)] = numbers[: len(question[cut:])]
    try:
        planner = Planner.from_partial({"question": question})
    except ValueError as error:
        assert str(error).startswith("partial isn't what Planner.partial() returns in this version: ")  # noqa: PT017
    else:
        assert_array_equal(planner.partial()["question"], question)


@pytest.mark.parametrize("round", [1, 2])
def test_partial_results_of_mixed_types(round):
    partials = []
    for dtype in ("float32", "float64"):
        c = losses("exponential", 100, dtype)
        planner = Planner(contamination=0.2) if round == 1 else planner_in_round_two(c, contamination=0.2)
        planner.update(c)
        partials.append(planner.partial())
    if round == 2:
        partials = [partials[0], {name: partials[i][name] for name, i in zip(partials[0], (0, 0, 1, 0), strict=True)}]
    with pytest.raises(TypeError, match=r"^losses must be float32, as those before, got float64$"):
        Planner.from_partial(combined(partials))
    nothing = Planner(contamination=0.2).partial()  # has no type, and agrees with all
    if round == 1:
        assert Planner.from_partial(combined([nothing, partials[1]])).n == 100


def test_layout_of_minima():
    planner = Planner(contamination=0.2, nan="prune")
    assert planner.partial()["minima"].tolist() == [NOWHERE] * 5
    planner.update(np.array([np.nan, 2.0, np.nan], np.float32), offset=10)
    lowest, *rest = planner.partial()["minima"].tolist()
    assert rest == [10, NOWHERE, FLOAT32.code, -FLOAT32.code]
    assert lowest + 2**63 == FLOAT32.key(2.0)
    assert {format.code for format in BY_NAME.values()} == {0, 1, 2, 3}


def test_instruction_sets_that_are_wrong_count_nothing():
    call = """if True:
        import numpy as np, os, rrm_core
        planner = rrm_core.Planner(contamination=0.2, threads=3)
        os.environ["RRM_CPU"] = "v5"
        try:
            planner.update(np.ones(2_000_000, np.float32))
        except ValueError:
            raise SystemExit(planner.n)
        raise SystemExit("no error")"""
    subprocess.run([sys.executable, "-c", call], check=True)
