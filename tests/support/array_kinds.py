"""What holds for arrays of every kind outside the array API, in every function that takes arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import rrm_core
from support.families import assert_same_bits, losses, old_weights

N = 60
RULE = {"contamination": 0.3, "redistribute": 0.1}
GROUPS = np.arange(N, dtype=np.int32) % 3


def assert_result_is_in_kind(
    make: Callable[[np.ndarray], Any],
    to_numpy: Callable[[Any], np.ndarray],
    dtype: str,
    *,
    backends: tuple[str | None, ...] = (None, "numpy", "array_api"),
    n: int = N,
) -> None:
    """Assert that arrays which `make` returns give the same plan as NumPy's, and weights of their own kind, bit by bit.

    Parameters
    ----------
    make, to_numpy : callable
        From a NumPy array, which may have ml_dtypes' bfloat16, and back.
    dtype : str
        Type of the losses.
    """
    c = losses("few distinct", n, dtype)
    w = old_weights(n, dtype)
    expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, backend="numpy", **RULE)
    given = make(c)
    old = make(w)
    for backend in backends:
        weights, plan = rrm_core.reweight(given, old, mu=0.3, backend=backend, **RULE)
        assert plan == expected_plan
        for result in (weights, rrm_core.apply(plan, given, old, mu=0.3, backend=backend)):
            assert type(result) is type(old)
            assert_same_bits(to_numpy(result), expected)
        assert rrm_core.plan(given, backend=backend, **RULE) == expected_plan
    without, _ = rrm_core.reweight(given, **RULE)
    assert type(without) is type(old)
    assert_same_bits(to_numpy(without), rrm_core.reweight(c, **RULE)[0])
    assert rrm_core.objective(given, 0.5) == rrm_core.objective(c, 0.5)
    assert_same_bits(to_numpy(given), c)
    assert_same_bits(to_numpy(old), w)


def assert_parts_and_groups_are_read(make: Callable[[np.ndarray], Any], to_numpy: Callable[[Any], np.ndarray]) -> None:
    """Assert that Planner, streams, groups and the estimate read arrays which `make` returns."""
    c = losses("few distinct", N, "float32")
    given = make(c)
    expected, plan = rrm_core.reweight(c, **RULE)
    planner = rrm_core.Planner(**RULE)
    while not planner.done:
        planner.update(make(c[:7]))
        planner.update(make(c[:0]))
        planner.update(make(c[7:]))
        planner.advance()
    assert planner.plan == plan
    for source in (given, [make(c[:7]), make(c[7:])]):
        parts: list[np.ndarray] = []
        result = rrm_core.stream.reweight(source, lambda part, parts=parts: parts.append(part.copy()), **RULE)
        assert result == plan
        assert_same_bits(np.concatenate(parts), expected)
    quotas = {"contamination": [0.1, 0.2, 0.3], "mass": "group"}
    expected, grouped_plan = rrm_core.reweight(c, groups=GROUPS, **quotas)
    weights, plan_in_kind = rrm_core.reweight(given, groups=make(GROUPS), **quotas)
    assert plan_in_kind == grouped_plan
    assert_same_bits(to_numpy(weights), expected)
    assert rrm_core.Groups(make(GROUPS)).numbers.tolist() == GROUPS.tolist()
    confidence = np.linspace(0, 1, N, dtype=np.float32)
    held_out = np.arange(N) % 4 == 0
    predicted = np.where(np.arange(N) % 7 == 0, 0, GROUPS).astype(np.int32)
    arrays = (GROUPS, predicted, confidence, held_out)
    share = rrm_core.estimate_contamination(*arrays, groups=GROUPS)
    in_kind = rrm_core.estimate_contamination(*map(make, arrays), groups=make(GROUPS))
    assert in_kind.contamination == share.contamination
    assert in_kind.by_group == share.by_group
