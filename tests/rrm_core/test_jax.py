"""rrm_core.jax.reweight: the bits of rrm_core.reweight, also in functions that JAX transforms."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rrm_core
from support.families import DTYPES, assert_same_bits, losses, old_weights

jax = pytest.importorskip("jax", reason="no JAX for this Python") if sys.version_info < (3, 11) else __import__("jax")

import jax.numpy as jnp  # noqa: E402

import rrm_core.jax  # noqa: E402

N = 60
RULE = {"contamination": 0.3, "redistribute": 0.1}
RULES = {
    "contamination": RULE,
    "gamma": {"gamma": 0.7},
    "kept": {"contamination": 0.25, "redistribute": "kept", "ties": "share"},
    "drop": {"contamination": 0.25, "redistribute": "drop"},
    "NaN": {"contamination": 0.25, "nan": "prune"},
}
GROUPS = np.arange(N, dtype=np.int32) % 3
# JAX logs the traceback of a callback that raises.
quiet = pytest.mark.usefixtures("without_log")


@pytest.fixture
def without_log(caplog):
    caplog.set_level("CRITICAL", logger="jax._src.callback")


def assert_equals(result, expected):
    """Assert that weights and numbers of the plan are those of `rrm_core.reweight`, bit by bit."""
    weights, numbers = result
    expected_weights, plan = expected
    assert isinstance(weights, jax.Array)
    assert_same_bits(np.asarray(weights), expected_weights)
    assert isinstance(numbers, rrm_core.jax.PlanArrays)
    assert numbers.threshold.dtype == weights.dtype
    for name, number in numbers._asdict().items():
        assert isinstance(number, jax.Array)
        assert number.dtype == (weights.dtype if name == "threshold" else np.int32)
        np.testing.assert_array_equal(np.asarray(number, np.float64), np.asarray(getattr(plan, name), np.float64))


TRANSFORMS = {
    "none": lambda f: f,
    "jit": jax.jit,
    "jit of jit": lambda f: jax.jit(jax.jit(f)),
    "vmap": lambda f: lambda *arrays: jax.tree.map(lambda x: x[0], jax.vmap(f)(*(x[None] for x in arrays))),
    "jit of vmap": lambda f: (
        lambda *arrays: jax.tree.map(lambda x: x[0], jax.jit(jax.vmap(f))(*(x[None] for x in arrays)))
    ),
    "remat": jax.checkpoint,
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_those_of_reweight(dtype, transform):
    for family in ("few distinct", "exponential", "infinities", "subnormal"):
        c = losses(family, N, dtype)
        w = old_weights(N, dtype)
        with jax.enable_x64(dtype == "float64"):
            for rule in RULES.values():
                expected = rrm_core.reweight(c, w, mu=0.3, **rule)
                call = TRANSFORMS[transform](lambda c, w, rule=rule: rrm_core.jax.reweight(c, w, mu=0.3, **rule))
                assert_equals(call(jnp.asarray(c), jnp.asarray(w)), expected)
                without = TRANSFORMS[transform](lambda c, rule=rule: rrm_core.jax.reweight(c, **rule))
                assert_equals(without(jnp.asarray(c)), rrm_core.reweight(c, **rule))


def test_nan_is_pruned():
    c = losses("NaN", N, "float32")
    call = jax.jit(lambda c: rrm_core.jax.reweight(c, **RULES["NaN"]))
    assert_equals(call(c), rrm_core.reweight(c, **RULES["NaN"]))


@pytest.mark.parametrize(("of_losses", "of_weights"), [("float64", "float32"), ("float32", "float64")])
def test_weights_of_the_other_type(of_losses, of_weights):
    c = losses("exponential", N, of_losses)
    w = old_weights(N, "float32").astype(of_weights)
    with jax.enable_x64(True):
        call = jax.jit(lambda c, w: rrm_core.jax.reweight(c, w, mu=0.3, **RULE))
        assert_equals(call(c, w), rrm_core.reweight(c, w, mu=0.3, **RULE))


@pytest.mark.parametrize("backend", ["cpp", "numba", "numpy", "array_api"])
def test_backends_and_threads(backend):
    c = losses("exponential", N, "float32")
    call = jax.jit(lambda c: rrm_core.jax.reweight(c, backend=backend, threads=2, **RULE))
    assert_equals(call(c), rrm_core.reweight(c, **RULE))


def test_large_losses_do_not_wait_for_the_thread_that_runs_the_callback():
    c = np.random.default_rng(0).exponential(size=2_000_000).astype(np.float32)
    call = jax.jit(lambda c: rrm_core.jax.reweight(c * 1, **RULE)[0] * 1)
    expected, _ = rrm_core.reweight(c, **RULE)
    for _ in range(5):
        assert_same_bits(np.asarray(call(c)), expected)


PROGRAM = """
import sys
import rrm_core
assert "jax" not in sys.modules
assert not hasattr(rrm_core, "another")
assert rrm_core.jax.reweight is sys.modules["rrm_core.jax"].reweight
assert rrm_core.jax.jax is sys.modules["jax"]
"""


def test_module_is_imported_on_first_use_and_does_not_shadow_jax():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, cwd=Path(__file__).anchor)


# Gradients


def weighted_mean(c, w=None):
    return jnp.mean(rrm_core.jax.reweight(c, w, mu=1.0 if w is None else 0.3, **RULE)[0] * c)


@pytest.mark.parametrize("of", ["value_and_grad", "jit of grad", "grad of jit", "jacfwd", "hessian"])
def test_weights_are_constants_to_differentiation(of):
    c = losses("exponential", N, "float32")
    weights, _ = rrm_core.reweight(c, **RULE)
    gradient = {
        "value_and_grad": lambda c: jax.value_and_grad(weighted_mean)(c)[1],
        "jit of grad": jax.jit(jax.grad(weighted_mean)),
        "grad of jit": jax.grad(jax.jit(weighted_mean)),
        "jacfwd": jax.jacfwd(weighted_mean),
        "hessian": lambda c: jax.grad(weighted_mean)(c) + jax.hessian(weighted_mean)(c).sum(0),
    }[of](jnp.asarray(c))
    expected = jax.grad(lambda c: jnp.mean(jnp.asarray(weights) * c))(jnp.asarray(c))
    assert_same_bits(np.asarray(gradient), np.asarray(expected))


def test_no_gradient_passes_to_old_weights():
    c = losses("exponential", N, "float32")
    gradient = jax.grad(weighted_mean, argnums=1)(jnp.asarray(c), jnp.ones(N))
    assert not np.asarray(gradient).any()


def test_training_loop_in_a_scan():
    x = jnp.linspace(0, 1, N)
    y = jnp.where(jnp.arange(N) < 12, 5.0, 2 * x)

    def objective(slope, weights):
        c = (slope * x - y) ** 2
        return jnp.mean(weights * c), c

    def epoch(state, _):
        slope, weights = state
        gradient, c = jax.grad(objective, has_aux=True)(slope, weights)
        weights, plan = rrm_core.jax.reweight(c, weights, mu=0.5, contamination=0.2)
        return (slope - 0.5 * gradient, weights), plan

    start = (jnp.float32(0), jnp.ones(N))
    (slope, weights), plans = jax.lax.scan(epoch, start, length=100)
    assert plans.n_pruned.shape == (100,)
    assert (plans.n_pruned == 12).all()
    assert abs(float(slope) - 2) < 1e-3
    assert (np.asarray(weights)[:12] < 1e-9).all()


# vmap


def test_each_vector_of_a_batch_has_a_plan_of_its_own():
    batch = np.stack([losses("exponential", N, "float32"), losses("few distinct", N, "float32")])
    for call in (jax.vmap, lambda f: jax.jit(jax.vmap(f))):
        weights, plans = call(lambda c: rrm_core.jax.reweight(c, **RULE))(batch)
        for i, c in enumerate(batch):
            assert_equals((weights[i], jax.tree.map(lambda x, i=i: x[i], plans)), rrm_core.reweight(c, **RULE))


# Groups


@pytest.mark.parametrize(
    "rule",
    [
        {"contamination": [0.1, 0.2, 0.3], "mass": "group"},
        {"contamination": 0.3, "cap": [0.2, 0.3, 0.4]},
        {"contamination": np.array([0.1, 0.2, 0.3, 0.4])},
    ],
    ids=["quotas", "caps", "an empty group"],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_traced_groups(rule, dtype):
    c = losses("exponential", N, dtype)
    expected = rrm_core.reweight(c, groups=GROUPS, **rule)
    call = jax.jit(lambda c, groups: rrm_core.jax.reweight(c, groups=groups, **rule))
    assert_equals(call(c, GROUPS), expected)
    prepared = rrm_core.Groups(GROUPS, len(expected[1].threshold))
    for groups in (GROUPS, jnp.asarray(GROUPS), prepared):
        assert_equals(rrm_core.jax.reweight(c, groups=groups, **rule), expected)
        assert_equals(jax.jit(lambda c, groups=groups: rrm_core.jax.reweight(c, groups=groups, **rule))(c), expected)


def test_concrete_groups_tell_their_number():
    c = losses("exponential", N, "float32")
    expected = rrm_core.reweight(c, groups=GROUPS, contamination=0.3, cap=0.5)
    for groups in (GROUPS, GROUPS.tolist(), rrm_core.Groups(GROUPS)):
        call = jax.jit(lambda c, groups=groups: rrm_core.jax.reweight(c, groups=groups, contamination=0.3, cap=0.5))
        assert_equals(call(c), expected)


# Errors


@quiet
@pytest.mark.parametrize(
    ("c", "w", "message"),
    [
        ([0.5, np.nan, 2.0], None, "losses contain 1 NaN among 3, the first at index 1; pass nan='prune'"),
        ([0.5, -np.inf, 2.0], None, "losses contain 1 values of -inf among 3, the first at index 1"),
        (
            [0.5, 1.0, 2.0],
            [1, -1, 1],
            "weights must be finite and at least 0, but 1 of 3 are not, the first -1 at",
        ),
    ],
)
def test_values_are_checked_when_the_function_runs(c, w, message):
    c = np.array(c, np.float32)
    w = w if w is None else np.array(w, np.float32)

    def call(c, w):
        return rrm_core.jax.reweight(c, w, mu=0.5, **RULE)[0]

    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call(c, w)
    with pytest.raises(jax.errors.JaxRuntimeError, match=re.escape(message)):
        jax.block_until_ready(jax.jit(call)(c, w))
    # The next call is not affected.
    assert np.asarray(jax.jit(call)(np.ones(3, np.float32), None)).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: rrm_core.jax.reweight(c), ValueError, "give exactly one of contamination and gamma, got neither"),
        (lambda c: rrm_core.jax.reweight(c, contamination=2), ValueError, "contamination must lie in [0, 1), got 2"),
        (lambda c: rrm_core.jax.reweight(c, mu=0, **RULE), ValueError, "mu must lie in (0, 1], got 0"),
        (
            lambda c: rrm_core.jax.reweight(c[:, None], **RULE),
            ValueError,
            "losses must be one-dimensional, got shape (60,",
        ),
        (lambda c: rrm_core.jax.reweight(c[:0], **RULE), ValueError, "losses is empty; at least one sample is needed"),
        (
            lambda c: rrm_core.jax.reweight(c > 1, **RULE),
            TypeError,
            "losses must be float16, bfloat16, float32 or float64",
        ),
        (
            lambda c: rrm_core.jax.reweight(c, c.astype(jnp.float16), **RULE),
            TypeError,
            "weights must be float32 for float32 losses, got float16",
        ),
        (
            lambda c: rrm_core.jax.reweight(c, c[:5], **RULE),
            ValueError,
            "weights must have one entry per loss, got 5 for 60 losses",
        ),
        (
            lambda c: rrm_core.jax.reweight(c, groups=jnp.arange(5), contamination=[0.1, 0.2]),
            ValueError,
            "groups must have the shape of losses, got (5,) for (60,)",
        ),
        (
            lambda c: rrm_core.jax.reweight(c, contamination=c[0]),
            TypeError,
            "contamination is being traced by JAX, but must be known when the function is compiled; pass a Python",
        ),
        (lambda c: rrm_core.jax.reweight(c, gamma=c[0]), TypeError, "gamma is being traced by JAX"),
        (lambda c: rrm_core.jax.reweight(c, mu=c[0], **RULE), TypeError, "mu is being traced by JAX"),
        (lambda c: rrm_core.jax.reweight(c, backend="cuda", **RULE), ValueError, "backend='cuda' needs losses in the"),
        (
            lambda c: rrm_core.reweight(c, **RULE),
            TypeError,
            "losses is being traced by JAX; use rrm_core.jax.reweight within jit, grad and vmap",
        ),
    ],
)
def test_invalid_arguments_are_refused_while_a_function_is_traced(call, error, message):
    c = jnp.asarray(losses("exponential", N, "float32"))
    for transform in (jax.jit, lambda f: jax.grad(lambda c: jnp.sum(f(c)[0]))):
        with pytest.raises(error, match=re.escape(message)):
            transform(call)(c)


def test_traced_groups_of_an_unknown_number_are_refused():
    message = (
        "groups are being traced by JAX, so that their number must be known; pass contamination or cap as an array"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        jax.jit(lambda c, g: rrm_core.jax.reweight(c, groups=g, contamination=0.1, cap=0.2))(np.ones(N), GROUPS)


# Compilation


def test_equal_calls_are_compiled_once():
    n_traced = 0

    @jax.jit
    def call(c):
        nonlocal n_traced
        n_traced += 1
        return rrm_core.jax.reweight(c, **RULE)[0]

    for seed in range(5):
        call(np.random.default_rng(seed).exponential(size=N).astype(np.float32))
    assert n_traced == 1


def test_transforms_outside_jit_compile_equal_calls_once():
    batch = jnp.asarray(np.random.default_rng(0).exponential(size=(2, N)).astype(np.float32))
    events = []

    def call(contamination):
        weights = jax.vmap(lambda c: rrm_core.jax.reweight(c, contamination=contamination)[0])(batch)
        return weights, jax.grad(lambda c: rrm_core.jax.reweight(c, contamination=contamination)[0].sum())(batch[0])

    call(0.21)
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: events.append(name))
    try:
        call(0.21)
        assert not [name for name in events if "compile" in name]
        call(0.22)
        assert [name for name in events if "compile" in name]
    finally:
        jax.monitoring.clear_event_listeners()


def test_donated_losses_and_weights():
    c = losses("exponential", N, "float32")
    w = old_weights(N, "float32")
    call = jax.jit(lambda c, w: rrm_core.jax.reweight(c, w, mu=0.3, **RULE)[0], donate_argnums=1)
    expected = w
    on_device = jnp.asarray(w)
    for _ in range(5):
        expected, _ = rrm_core.reweight(c, expected, mu=0.3, **RULE)
        given = on_device
        on_device = call(c, given)
        assert given.is_deleted()
    assert_same_bits(np.asarray(on_device), expected)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, rrm_core, rrm_core.jax
from jax.sharding import NamedSharding, PartitionSpec
assert jax.device_count() == 2
mesh = jax.make_mesh((2,), ("d",))
rule = {"contamination": 0.3, "redistribute": 0.1}
c = np.random.default_rng(0).exponential(size=60).astype(np.float32)
sharded = jax.device_put(c, NamedSharding(mesh, PartitionSpec("d")))
call = lambda c: rrm_core.jax.reweight(c, **rule)[0]
whole = rrm_core.reweight(c, **rule)[0]
halves = np.concatenate([rrm_core.reweight(half, **rule)[0] for half in np.split(c, 2)])
np.testing.assert_array_equal(np.asarray(jax.jit(call)(sharded)), whole)
shards = jax.shard_map(call, mesh=mesh, in_specs=PartitionSpec("d"), out_specs=PartitionSpec("d"))
np.testing.assert_array_equal(np.asarray(jax.jit(shards)(sharded)), halves)
"""


def test_sharded_losses_have_one_plan_under_jit_and_one_per_shard_in_shard_map():
    run = subprocess.run(
        [sys.executable, "-c", SHARDED],
        capture_output=True,
        text=True,
        check=False,
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu", "PATH": ""},
    )
    assert run.returncode == 0, run.stderr
