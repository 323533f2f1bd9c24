"""All backends give the bits of the numpy backend for losses with groups."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import rrm_core
from rrm_core.definition.formats import BY_NAME
from support.families import DTYPES
from support.groups import LAYOUTS, group_numbers, rules

BACKENDS = ("cpp", "numba", "array_api")
FAMILIES = ("exponential", "with ties", "all tied", "NaN and inf")


def draw(family, n, dtype):
    rng = np.random.default_rng(n)
    values = {
        "exponential": lambda: rng.exponential(size=n),
        "with ties": lambda: rng.integers(-4, 8, n) / 4,
        "all tied": lambda: np.full(n, 0.5),
        "NaN and inf": lambda: rng.choice([0.1, 0.5, 2.0, np.inf, np.nan], n, p=[0.3, 0.3, 0.3, 0.05, 0.05]),
    }[family]()
    return values.astype(DTYPES[dtype])


def outcome(losses, old, mu, groups, rule, backend):
    """Return the bits of the weights and the plan, or the error."""
    fields = {name: getattr(rule, name) for name in rule.__dataclass_fields__}
    try:
        weights, plan = rrm_core.reweight(losses, old, mu=mu, groups=groups, backend=backend, **fields)
    except ValueError as error:
        return str(error), None
    return weights.tobytes(), plan


def cases():
    return [
        (layout, family, dtype)
        for layout in LAYOUTS
        for family in FAMILIES
        for dtype in DTYPES
        # float16 and bfloat16 are widened alike; each is tried with every other layout.
        if dtype in ("float32", "float64") or (list(LAYOUTS).index(layout) % 2 == (dtype == "float16"))
    ]


def test_number_of_cases():
    assert len(cases()) * len(rules(1)) * len(BACKENDS) > 5_000


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("layout", "family", "dtype"), cases())
def test_bits_of_the_reference(layout, family, dtype, backend, references):
    numbers = group_numbers(layout)
    n_groups = LAYOUTS[layout][1]
    losses = draw(family, len(numbers), dtype)
    old = np.random.default_rng(1).exponential(size=len(numbers)).astype("f8" if dtype == "float64" else "f4")
    groups = rrm_core.Groups(numbers, n_groups)
    nan = "prune" if family == "NaN and inf" else "raise"
    for i, rule in enumerate(rules(n_groups, nan)):
        mu = (1.0, 0.3)[i % 2]
        key = (layout, family, dtype, i)
        if key not in references:
            references[key] = outcome(losses, old, mu, groups, rule, "numpy")
        weights, plan = references[key]
        assert outcome(losses, old, mu, groups, rule, backend) == (weights, plan), rule
        if plan is not None:
            again = rrm_core.apply(plan, losses, old, mu=mu, groups=numbers, backend=backend)
            assert again.tobytes() == weights, rule


@pytest.fixture(scope="module")
def references():
    """Results of the numpy backend, computed once for all others."""
    return {}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("family", ["exponential", "NaN and inf"])
@pytest.mark.parametrize("n_groups", [3, 16])
def test_groups_that_vector_instructions_look_up(n_groups, family, dtype):
    extension = pytest.importorskip("rrm_core._cpu")
    if not extension.can_look_up(BY_NAME[dtype].code, 1 << 15, n_groups):
        pytest.skip("this processor has no such instructions")
    # More samples than in the other tests, whose losses are sorted by group.
    n = (1 << 15) + 70
    numbers = np.random.default_rng(n_groups).integers(0, n_groups - 1, n)
    losses = draw(family, n, dtype)
    old = np.random.default_rng(1).exponential(size=n).astype(np.float32)
    groups = rrm_core.Groups(numbers, n_groups)
    for i, rule in enumerate(rules(n_groups, "prune")):
        mu = (1.0, 0.3)[i // 2 % 2]
        weights, plan = outcome(losses, old, mu, groups, rule, "cpp")
        assert (weights, plan) == outcome(losses, old, mu, groups, rule, "numpy"), rule
    if family == "exponential":
        # What the look-up does not find, such as one of many equal losses, is found among sorted losses.
        assert "order" not in groups.prepared


@pytest.mark.parametrize("n_groups", [5, 20], ids=["looked up", "sorted"])
def test_threads_do_not_change_the_bits(n_groups):
    rng = np.random.default_rng(0)
    losses = rng.exponential(size=1_200_000).astype(np.float32)
    groups = rrm_core.Groups(rng.integers(0, n_groups, len(losses)))
    rule = {"groups": groups, "contamination": np.linspace(0, 0.5, n_groups), "mass": "group"}
    expected, reference = rrm_core.reweight(losses, backend="numpy", **rule)
    for threads in (1, 2, 3):
        weights, plan = rrm_core.reweight(losses, backend="cpp", threads=threads, **rule)
        assert weights.tobytes() == expected.tobytes()
        assert plan == reference


@pytest.mark.parametrize("framework", ["torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("native", [False, True])
def test_frameworks(framework, native):
    module = pytest.importorskip({"jax": "jax.numpy"}.get(framework, framework))
    numbers = group_numbers("ten")
    losses = draw("with ties", len(numbers), "float32")
    shares = np.linspace(0, 0.5, 10)
    expected, reference = rrm_core.reweight(losses, groups=numbers, contamination=shares, backend="numpy")
    backend = "array_api" if native or framework == "array_api_strict" else None
    for groups in (numbers, module.asarray(numbers), rrm_core.Groups(module.asarray(numbers))):
        weights, plan = rrm_core.reweight(module.asarray(losses), groups=groups, contamination=shares, backend=backend)
        assert type(weights).__module__.partition(".")[0] == type(module.asarray(losses)).__module__.partition(".")[0]
        assert np.from_dlpack(weights).tobytes() == expected.tobytes()
        assert plan == reference


def test_bfloat16_of_torch():
    torch = pytest.importorskip("torch")
    numbers = group_numbers("ten")
    losses = draw("exponential", len(numbers), "bfloat16")
    assert losses.dtype == ml_dtypes.bfloat16
    tensor = torch.from_numpy(losses.astype(np.float32)).bfloat16()
    expected, reference = rrm_core.reweight(losses, groups=numbers, contamination=0.3, cap=0.4)
    weights, plan = rrm_core.reweight(tensor, groups=torch.from_numpy(numbers), contamination=0.3, cap=0.4)
    assert weights.numpy().tobytes() == expected.tobytes()
    assert plan == reference
