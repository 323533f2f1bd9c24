"""The cuda backend for losses with groups, on the stand-in for the CUDA runtime: the bits of the reference."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import rrm_core
from cuda_model.cudart.stand_in import needs_nvcc
from support.families import DTYPES
from support.groups import rules

pytestmark = needs_nvcc

N = 150
LAYOUTS = {
    "one group": lambda rng: (np.zeros(N, np.int32), 1),
    "two groups": lambda rng: (rng.integers(0, 2, N), 2),
    "ten groups": lambda rng: (rng.integers(0, 10, N), 10),
    "one per sample": lambda rng: (rng.permutation(N), N),
    "empty groups": lambda rng: (3 * rng.integers(0, 100, N), 300),
    "one large group": lambda rng: (np.where(rng.random(N) < 0.9, 2, rng.integers(0, 5, N)), 5),
}
FAMILIES = {
    "exponential": lambda rng: rng.exponential(size=N),
    "with ties": lambda rng: rng.integers(-4, 8, N) / 4,
    "all tied": lambda rng: np.full(N, 0.5),
    "NaN and inf": lambda rng: rng.choice([0.1, 0.5, 2.0, np.inf, np.nan], N, p=[0.3, 0.3, 0.3, 0.05, 0.05]),
}


@pytest.fixture
def quick(gpu):
    """Return the framework with a tuning that runs fast on the model."""
    gpu.stand_in.tune(threads=32, sample_size=64, blocks_per_processor=1, sort_digit_bits=4)
    return gpu


def draw(layout, family, dtype):
    """Return losses, old weights, group numbers, the number of groups and the NaN policy."""
    rng = np.random.default_rng([*layout.encode(), *family.encode()])
    numbers, n_groups = LAYOUTS[layout](rng)
    losses = FAMILIES[family](rng).astype(DTYPES[dtype])
    old = rng.exponential(size=N).astype(np.float64 if dtype == "float64" else np.float32)
    return losses, old, numbers, n_groups, "prune" if family == "NaN and inf" else "raise"


def call(function, *args, **options):
    """Return the bits of the weights and the plan, or the error."""
    try:
        weights, plan = function(*args, **options)
    except ValueError as error:
        return str(error), None
    return np.asarray(weights.get() if hasattr(weights, "get") else weights).tobytes(), plan


# float16 and bfloat16 differ in the conversion of keys only; each is tried with every other layout.
CASES = [
    (layout, family, dtype)
    for i, layout in enumerate(LAYOUTS)
    for family in FAMILIES
    for dtype in ("float32", "float64", ("float16", "bfloat16")[i % 2])
]


@pytest.mark.parametrize(("layout", "family", "dtype"), CASES)
def test_bits_of_the_reference(quick, layout, family, dtype):
    losses, old, numbers, n_groups, nan = draw(layout, family, dtype)
    first = [*LAYOUTS].index(layout) + [*FAMILIES].index(family) + 2 * [*DTYPES].index(dtype)
    on_gpu = quick.asarray(losses)
    groups = rrm_core.Groups(numbers, n_groups)
    # A rule of each way to redistribute; every rule is tried with several layouts, families and types.
    for i, rule in list(enumerate(rules(n_groups, nan)))[first % 14 :: 14]:
        options = arguments(rule) | {"mu": (1.0, 0.3)[(i // 14 + first // 2) % 2], "groups": groups}
        expected, plan = call(rrm_core.reweight, losses, old, backend="numpy", **options)
        assert call(rrm_core.reweight, on_gpu, quick.asarray(old), **options) == (expected, plan), rule
    if plan is not None:
        again = rrm_core.apply(plan, on_gpu, quick.asarray(old), mu=options["mu"], groups=groups)
        assert again.get().tobytes() == expected


def arguments(rule):
    return {name: getattr(rule, name) for name in rule.__dataclass_fields__}


# Losses with several passes over the digits of the groups, and rules that need every step of the policy.

MANY = 70_000
C = np.random.default_rng(1).exponential(size=200).astype(np.float32)
W = np.random.default_rng(2).exponential(size=200).astype(np.float32)
G = np.random.default_rng(3).integers(0, 6, 200).astype(np.int32)
RULE = {"contamination": 0.3, "cap": 0.4, "redistribute": 0.2}


@pytest.mark.parametrize("gpu", [{"order": "random", "seed": 3}], indirect=True)
def test_group_numbers_of_three_bytes(quick):
    groups = rrm_core.Groups(np.random.default_rng(0).integers(0, MANY, len(C)), MANY)
    expected, plan = rrm_core.reweight(C, W, mu=0.3, groups=groups, backend="numpy", **RULE)
    weights, found = rrm_core.reweight(quick.asarray(C), quick.asarray(W), mu=0.3, groups=groups, **RULE)
    assert found == plan
    assert weights.get().tobytes() == expected.tobytes()


def log_of(gpu, n, n_groups, rule, mu):
    """Return the calls of the CUDA runtime in a reweight."""
    rng = np.random.default_rng(0)
    groups = rrm_core.Groups(rng.integers(0, n_groups, n), n_groups)
    losses, old = gpu.asarray(rng.exponential(size=n).astype(np.float32)), gpu.asarray(np.ones(n, np.float32))
    rrm_core.plan(losses, groups=groups, gamma=1.0)  # copies the group numbers
    gpu.stand_in.log()
    rrm_core.reweight(losses, old, mu=mu, groups=groups, **rule)
    return [entry.what for entry in gpu.stand_in.log()]


@pytest.mark.parametrize(
    ("rule", "n_synchronizations"),
    [({"gamma": 0.5, "mass": "group"}, 4), ({"contamination": 0.2}, 6), (RULE, 7)],
    ids=str,
)
def test_launches_and_synchronizations_depend_on_the_rule_only(gpu, rule, n_synchronizations):
    gpu.stand_in.tune(threads=32, sample_size=64, blocks_per_processor=1)
    # A group number has one digit. More losses than the sample without groups holds take more launches.
    logs = [log_of(gpu, n, n_groups, rule, 0.3) for n, n_groups in ((100, 2), (1_000, 2), (1_000, 200))]
    assert logs[0] == logs[1] == logs[2]
    assert logs[0].count("synchronize") == n_synchronizations
    assert logs[0].count("launch") < 40


def test_memory_comes_from_the_framework_and_group_numbers_are_copied_once(quick):
    losses = quick.asarray(C)
    groups = rrm_core.Groups(G)
    del quick.allocated[:]
    rrm_core.reweight(losses, groups=groups, **RULE)
    n_allocated = len(quick.allocated)
    rrm_core.reweight(losses, groups=groups, **RULE)
    assert len(quick.allocated) == 2 * n_allocated - 1
    assert not [entry for entry in quick.stand_in.log() if entry.what == "allocate"]


@pytest.mark.parametrize("gpu", [{"order": "random", "seed": seed} for seed in range(3)], indirect=True)
def test_streams_and_devices(quick):
    expected, plan = rrm_core.reweight(C, W, mu=0.3, groups=G, backend="numpy", **RULE)
    groups = rrm_core.Groups(G)
    for device in (0, 1, 1):
        producer, framework = quick.stream(device), quick.stream(device)
        with quick.on(producer, device):
            losses, old, numbers = (quick.asarray(x, device=device) for x in (C, W, G))
            by_device = rrm_core.Groups(numbers)
        for array in (losses, old, by_device.numbers):
            array.exports = producer
        for either in (groups, by_device):
            with quick.on(framework, device):
                quick.stand_in.log()
                weights, found = rrm_core.reweight(losses, old, mu=0.3, groups=either, **RULE)
                log = quick.stand_in.log()
                assert weights.get().tobytes() == expected.tobytes()
            assert found == plan
            assert {(entry.device, entry.stream) for entry in log if entry.what == "launch"} == {(device, producer)}
    with pytest.raises(ValueError, match="groups lies on CUDA device 1, but losses lie on 0; move it to that device"):
        rrm_core.reweight(quick.asarray(C), groups=by_device, **RULE)


@pytest.mark.parametrize("of_out", [{}, {"step": 2}, {"step": -1}, {"offset": 4}], ids=str)
def test_layouts_in_memory(quick, of_out):
    expected, plan = rrm_core.reweight(C, W, mu=0.3, groups=G, backend="numpy", **RULE)
    losses, old, out = quick.asarray(C, step=3), quick.asarray(W, step=-1), quick.asarray(W * 7, **of_out)
    for call in (
        lambda: rrm_core.reweight(losses, old, mu=0.3, groups=G, out=out, **RULE)[0],
        lambda: rrm_core.apply(plan, losses, old, mu=0.3, groups=G, out=out),
    ):
        assert call() is out
        assert out.get().tobytes() == expected.tobytes()
        out[...] = W


@pytest.mark.parametrize("target", ["new", "in place", "other"])
def test_invalid_old_weights(quick, target):
    old = W.copy()
    old[[7, 150]] = -0.5, np.nan
    on_gpu = quick.asarray(old)
    out = {"new": None, "in place": on_gpu, "other": quick.asarray(W)}[target]
    message = "weights must be finite and at least 0, but 2 of 200 are not, the first -0.5 at index 7"
    with pytest.raises(ValueError, match=message) as caught:
        rrm_core.reweight(quick.asarray(C), on_gpu, mu=0.3, groups=G, out=out, **RULE)
    assert str(caught.value).endswith("out has been written") == (target != "new")


def test_losses_that_cannot_be_reweighted(quick):
    wrong = C.copy()
    wrong[[20, 60]] = np.nan
    infinite = np.where(G == 3, np.inf, C).astype(np.float32)
    infinite[np.flatnonzero(G == 3)[0]] = np.nan
    negative = C.copy()
    negative[[30, 199]] = -np.inf
    out = quick.asarray(W)
    for losses, options in ((wrong, {}), (negative, {}), (infinite, {"nan": "prune"}), (C, {"mass": "group"})):
        rule = {"contamination": 0.3} | options
        if options == {"mass": "group"}:
            losses = np.where(G == 1, losses + 10, losses).astype(np.float32)
        with pytest.raises(ValueError) as expected:
            rrm_core.plan(losses, groups=G, backend="numpy", **rule)
        with pytest.raises(ValueError) as found:
            rrm_core.reweight(quick.asarray(losses), groups=G, out=out, **rule)
        assert str(found.value) == str(expected.value)
    assert out.get().tobytes() == W.tobytes()


def test_apply_rejects_losses_of_another_plan(quick):
    plan = rrm_core.plan(C, groups=rrm_core.Groups(np.where(G == 5, 4, G), 6), contamination=0.2)
    other = C.copy()
    other[0] = -1.0
    other[1] = np.nan
    groups = np.where(G == 5, 4, G).astype(np.int32)
    groups[2] = 5  # empty in the plan
    out = quick.asarray(W)
    with pytest.raises(ValueError, match="losses contain 3 values that the planned ones can't have contained"):
        rrm_core.apply(plan, quick.asarray(other), groups=groups, out=out)
    assert out.get().tobytes() == W.tobytes()


@pytest.mark.parametrize("nth", [1, 9, 20])
def test_launch_failure(quick, nth):
    losses, out = quick.asarray(C), quick.asarray(W)
    quick.stand_in.fail("cudaLaunchKernel", nth)
    with pytest.raises(RuntimeError, match=r"^CUDA failed with cudaErrorLaunchFailure"):
        rrm_core.reweight(losses, groups=G, out=out, **RULE)
    quick.stand_in.fail("cudaLaunchKernel", 10**6)
    weights, _ = rrm_core.reweight(losses, groups=G, **RULE)
    assert weights.get().tobytes() == rrm_core.reweight(C, groups=G, **RULE)[0].tobytes()


def test_a_copy_of_prepared_groups_has_no_memory_of_a_device(quick):
    groups = rrm_core.Groups(G)
    rrm_core.reweight(quick.asarray(C), groups=groups, **RULE)
    for copied in (copy.deepcopy(groups), pickle.loads(pickle.dumps(groups))):
        assert copied.prepared == {}
        assert copied.numbers.tobytes() == G.tobytes()
        assert copied.n_groups == groups.n_groups
