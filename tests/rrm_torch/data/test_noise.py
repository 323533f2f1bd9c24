from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from rrm_torch.data.noise import KINDS, NoisyLabels, instance_dependent, pair, redraw, symmetric, transition

K = 10
LABELS = np.arange(1797) % K
FEATURES = np.random.default_rng(5).normal(size=(len(LABELS), 4, 2))
MATRIX = np.full((K, K), 0.3 / (K - 1)) + np.eye(K) * (0.7 - 0.3 / (K - 1))

EVERY_KIND = {
    **{name: lambda labels, rng, kind=kind: kind(labels, 0.3, K, rng=rng) for name, kind in KINDS.items()},
    "transition": lambda labels, rng: transition(labels, MATRIX, rng=rng),
    "instance-dependent": lambda labels, rng: instance_dependent(FEATURES[: len(labels)], labels, 0.3, K, rng=rng),
}
every_kind = pytest.mark.parametrize("make", EVERY_KIND.values(), ids=EVERY_KIND)
exact_kinds = pytest.mark.parametrize("kind", [symmetric, pair])


# Properties of every kind


@every_kind
def test_result_is_complete_and_input_is_unchanged(make):
    labels = LABELS.copy()
    labels.flags.writeable = False
    noisy = make(labels, 0)
    assert_array_equal(labels, LABELS)
    assert not np.shares_memory(noisy.labels, labels)
    assert noisy.labels.dtype == np.int64
    assert noisy.labels.shape == noisy.wrong.shape == LABELS.shape
    assert noisy.labels.min() >= 0
    assert noisy.labels.max() < K
    assert noisy.wrong.dtype == np.bool_
    assert_array_equal(noisy.wrong, noisy.labels != LABELS)
    assert noisy.realised == np.count_nonzero(noisy.wrong) / len(LABELS)
    assert noisy.realised == pytest.approx(0.3, abs=0.05)


@every_kind
def test_same_seed_gives_the_same_noise(make):
    first = make(LABELS, 7)
    assert_array_equal(make(LABELS, 7).labels, first.labels)
    assert_array_equal(make(LABELS, np.int64(7)).labels, first.labels)
    assert_array_equal(make(LABELS, np.random.default_rng(7)).labels, first.labels)
    assert (make(LABELS, 8).labels != first.labels).any()
    generator = np.random.default_rng(7)
    assert (make(LABELS, generator).labels != make(LABELS, generator).labels).any()


@every_kind
def test_global_generator_is_unchanged(make):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make(LABELS, 0)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@every_kind
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "uint64", "list"])
def test_accepts_any_integer_type(make, dtype):
    labels = LABELS.tolist() if dtype == "list" else LABELS.astype(dtype)
    noisy = make(labels, 3)
    assert noisy.labels.dtype == np.int64
    assert_array_equal(noisy.labels, make(LABELS, 3).labels)


@every_kind
def test_result_names_its_kind(make, request):
    assert make(LABELS, 0).kind in request.node.callspec.id


def test_kinds_table():
    assert {"symmetric": symmetric, "redraw": redraw, "pair": pair} == KINDS


def test_str():
    noisy = symmetric(LABELS, 0.3, K, rng=0)
    assert str(noisy) == "symmetric noise: 30.0 % nominal, 29.99 % of 1,797 labels changed"


def test_frozen():
    noisy = NoisyLabels(np.zeros(1, np.int64), np.zeros(1, bool), "none", 0.0)
    with pytest.raises(AttributeError):
        noisy.kind = "other"


# Exact counts


@exact_kinds
@pytest.mark.parametrize(
    ("rate", "n", "wrong"),
    [
        (0.0, 7, 0),
        (0.29, 100, 29),  # 28.999999999999996 in double
        (0.57, 100, 57),  # 56.99999999999999
        (0.07, 100, 7),  # 7.000000000000001
        (0.3, 1797, 539),
        (0.499, 1000, 499),
        (0.2999999, 10, 2),
        (1 / 3, 3, 1),
        (Fraction(1, 3), 3, 1),
        (np.float32(0.5), 5, 2),
        (1, 7, 7),
        (1.0, 1, 1),
        (0.99, 1, 0),
    ],
)
def test_exact_count(kind, rate, n, wrong):
    noisy = kind(LABELS[:n], rate, K, rng=0)
    assert np.count_nonzero(noisy.wrong) == wrong
    assert noisy.nominal == float(rate)


@given(hundredths=st.integers(0, 100), n=st.integers(1, 300), n_classes=st.integers(2, 12), seed=st.integers(0, 2**32))
def test_exact_count_of_any_size(hundredths, n, n_classes, seed):
    labels = np.arange(n) % n_classes
    noisy = symmetric(labels, hundredths / 100, n_classes, rng=seed)
    assert np.count_nonzero(noisy.wrong) == hundredths * n // 100
    assert 0 <= noisy.labels.min() <= noisy.labels.max() < n_classes


@pytest.mark.parametrize("name", KINDS)
def test_higher_rate_flips_a_superset(name):
    low, high = (KINDS[name](LABELS, rate, K, rng=11) for rate in (0.2, 0.4))
    assert high.wrong[low.wrong].all()


# The distribution of each kind


def confusion(noisy, labels, n_classes):
    """Share of the samples of each class (rows) that got each label (columns)."""
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (labels, noisy.labels), 1)
    return counts / counts.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (symmetric, np.full((4, 4), 0.1) + 0.6 * np.eye(4)),
        (redraw, np.full((4, 4), 0.075) + 0.7 * np.eye(4)),
        (pair, 0.7 * np.eye(4) + 0.3 * np.roll(np.eye(4), 1, axis=1)),
    ],
)
def test_confusion(kind, expected):
    labels = np.repeat(np.arange(4), 20_000)
    noisy = kind(labels, 0.3, 4, rng=1)
    assert_allclose(confusion(noisy, labels, 4), expected, atol=0.015)  # four standard deviations


def test_two_classes_flip_to_the_other_class():
    labels = np.arange(10) % 2
    for kind in (symmetric, pair):
        assert_array_equal(kind(labels, 1, 2, rng=0).labels, 1 - labels)


def test_redraw_keeps_some_labels():
    noisy = redraw(np.zeros(40_000, int), 0.5, 4, rng=2)
    assert noisy.nominal == 0.5
    assert noisy.realised == pytest.approx(0.5 * 3 / 4, abs=0.01)


def test_pair_wraps_around():
    assert_array_equal(pair([0, 1, 2], 1, 3, rng=0).labels, [1, 2, 0])


def test_transition_matches_its_rows():
    matrix = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.2, 0.1, 0.7]])
    labels = np.repeat([0, 1, 2], [30_000, 10_000, 20_000])
    noisy = transition(labels, matrix, rng=3)
    shares = confusion(noisy, labels, 3)
    assert_allclose(shares, matrix, atol=0.015)
    assert_array_equal(shares[matrix == 0], 0)
    assert noisy.nominal == pytest.approx((30_000 * 0.5 + 20_000 * 0.3) / 60_000)
    assert noisy.realised == pytest.approx(noisy.nominal, abs=0.01)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [(np.eye(3, dtype=int), [0, 1, 2, 0]), (np.roll(np.eye(3), 1, axis=1), [1, 2, 0, 1])],
    ids=["identity", "permutation"],
)
def test_deterministic_transition(matrix, expected):
    assert_array_equal(transition([0, 1, 2, 0], matrix, rng=0).labels, expected)


@pytest.mark.parametrize(
    "matrix",
    [np.full((7, 7), 1 / 7, np.float32), np.full((7, 7), 0.1428571), np.full((7, 7), 0.1428572)],
    ids=["single precision", "rounded down", "rounded up"],
)
def test_transition_accepts_rows_that_almost_sum_to_one(matrix):
    assert matrix.sum(axis=1, dtype=np.float64).max() != 1
    noisy = transition(np.repeat(np.arange(7), 100), matrix, rng=0)
    assert noisy.nominal == pytest.approx(6 / 7, rel=1e-12)


# Noise that depends on the instance


def test_instance_dependent_rate_zero_flips_no_label():
    assert not instance_dependent(FEATURES, LABELS, 0, K, rng=0).wrong.any()


@pytest.mark.parametrize(("rate", "expected"), [(0.1, 0.1288), (0.4, 0.4), (0.9, 0.8712), (1.0, 0.9202)])
def test_instance_dependent_share_is_the_mean_of_the_truncated_normal(rate, expected):
    # Means of a normal distribution (rate, 0.1) truncated to [0, 1], from scipy.stats.truncnorm.
    labels = np.arange(40_000) % 3
    noisy = instance_dependent(np.random.default_rng(0).normal(size=(40_000, 2)), labels, rate, 3, rng=4)
    assert noisy.nominal == rate
    assert noisy.realised == pytest.approx(expected, abs=0.01)


def test_instance_dependent_targets_follow_a_softmax():
    # With one feature, standardised to -1 and 1, target j has probability exp(-w_j) / Z in one half of a class and
    # exp(w_j) / Z' in the other: for the targets of a class, the product of both is constant.
    labels = np.repeat(np.arange(4), 100_000)
    x = np.tile([3.0, 5.0], len(labels) // 2)
    noisy = instance_dependent(x, labels, 0.8, 4, rng=6)
    halves = []
    for value in (3.0, 5.0):
        half = NoisyLabels(noisy.labels[x == value], noisy.wrong[x == value], "", 0.8)
        halves.append(confusion(half, labels[x == value], 4)[~np.eye(4, dtype=bool)].reshape(4, 3))
    assert (abs(halves[0] - halves[1]).max(axis=1) > 0.05).all()  # depends on the instance, in every class
    products = halves[0] * halves[1]
    assert_allclose(products / products.mean(axis=1, keepdims=True), 1, atol=0.1)


def test_instance_dependent_gives_equal_samples_equal_noise():
    # 400 features make the softmax all but certain; 5 distinct images per class then go to few classes each.
    images = np.random.default_rng(9).normal(size=(5, 20, 20))
    labels = np.arange(50_000) % K
    which = np.arange(50_000) // K % 5
    noisy = instance_dependent(images[which], labels, 0.5, K, rng=0)
    commonest = [
        np.bincount(noisy.labels[noisy.wrong & (labels == k) & (which == i)]).max() for k in range(K) for i in range(5)
    ]
    assert sum(commonest) > 0.8 * np.count_nonzero(noisy.wrong)


@pytest.mark.parametrize(
    "change", [lambda x: 64 * x, lambda x: x + 8, lambda x: x.reshape(len(x), -1), lambda x: x.tolist()]
)
def test_instance_dependent_ignores_unit_and_shape(change):
    features = np.round(FEATURES * 64) / 64  # so that the changes are exact
    expected = instance_dependent(features, LABELS, 0.3, K, rng=1)
    assert_array_equal(instance_dependent(change(features), LABELS, 0.3, K, rng=1).labels, expected.labels)


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((100, 3)),
        np.ones(100),
        np.arange(100, dtype=np.uint8),
        np.arange(100) > 50,
        np.linspace(0, 1, 100, dtype=np.float16),
    ],
    ids=["constant zero", "constant one", "uint8", "bool", "float16"],
)
def test_instance_dependent_accepts_any_real_features(features):
    before = features.copy()
    noisy = instance_dependent(features, np.arange(100) % 4, 0.5, 4, rng=0)
    assert 25 < np.count_nonzero(noisy.wrong) < 75
    assert_array_equal(features, before)


# Errors


@pytest.mark.parametrize("kind", [*KINDS.values(), lambda *args, **kw: instance_dependent([1.0, 2.0], *args, **kw)])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rate": 1.5}, ValueError, r"rate must lie in \[0, 1\], got 1\.5"),
        ({"rate": -0.1}, ValueError, r"rate must lie in \[0, 1\], got -0\.1"),
        ({"rate": float("nan")}, ValueError, r"rate must lie in \[0, 1\], got nan"),
        ({"rate": "0.3"}, TypeError, "rate must be a number, got '0.3' of type str"),
        ({"rate": True}, TypeError, "rate must be a number, got True of type bool"),
        ({"n_classes": 1}, ValueError, "n_classes must be at least 2, got 1"),
        ({"n_classes": 2.0}, TypeError, "n_classes must be an integer, got 2.0 of type float"),
        ({"n_classes": True}, TypeError, "n_classes must be an integer, got True of type bool"),
        ({"labels": [0, 2]}, ValueError, r"labels must lie in \[0, 2\), got 2"),
        ({"labels": [1, -1]}, ValueError, r"labels must lie in \[0, 2\), got -1"),
        (
            {"labels": [0.0, 1.0]},
            TypeError,
            r"labels must be integers, got float64; convert with labels\.astype\(int\)",
        ),
        ({"labels": [True, False]}, TypeError, "labels must be integers, got bool"),
        ({"labels": [[0], [1]]}, ValueError, r"labels must be 1-D, .* got shape \(2, 1\); .* labels\[:, 0\]"),
        ({"labels": 1}, ValueError, r"labels must be 1-D, .* got shape \(\)"),
        ({"labels": []}, ValueError, "labels must contain at least one label, got an empty array"),
        ({"rng": None}, TypeError, r"rng must be a numpy\.random\.Generator or an integer seed, got None"),
        ({"rng": True}, TypeError, r"rng must be a numpy\.random\.Generator or an integer seed, got True"),
        ({"rng": -3}, ValueError, "rng, as a seed, must be at least 0, got -3"),
    ],
)
def test_rejects_bad_arguments(kind, change, error, message):
    arguments = {"labels": [0, 1], "rate": 0.3, "n_classes": 2, "rng": 0} | change
    with pytest.raises(error, match=message):
        kind(arguments["labels"], arguments["rate"], arguments["n_classes"], rng=arguments["rng"])


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        ([0.5, 0.5], ValueError, r"matrix must have shape \(K, K\) with K >= 2, got \(2,\)"),
        ([[0.5, 0.5]], ValueError, r"matrix must have shape \(K, K\) with K >= 2, got \(1, 2\)"),
        ([[1.0]], ValueError, r"matrix must have shape \(K, K\) with K >= 2, got \(1, 1\)"),
        ([[1.0, 0.0], [1.5, -0.5]], ValueError, r"matrix must contain probabilities, got -0\.5 at \[1, 1\]"),
        ([[np.nan, 0.0], [0.0, 1.0]], ValueError, r"matrix must contain probabilities, got nan at \[0, 0\]"),
        ([[1.0, 0.0], [np.inf, 0.0]], ValueError, "matrix must have rows that sum to 1, got inf in row 1"),
        ([[1.0, 0.0], [0.4, 0.5]], ValueError, r"matrix must have rows that sum to 1, got 0\.9 in row 1; divide"),
        ([["1", "0"], ["0", "1"]], TypeError, "matrix must contain real numbers, got <U1"),
    ],
)
def test_transition_rejects_bad_matrix(matrix, error, message):
    with pytest.raises(error, match=message):
        transition([0, 1], matrix, rng=0)


def test_transition_rejects_labels_beyond_the_matrix():
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 10\), got 10"):
        transition([0, 10], MATRIX, rng=0)


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (np.ones((3, 2)), ValueError, r"features must have shape \(n, \.\.\.\) .* each of 2 labels, got \(3, 2\)"),
        (1.0, ValueError, r"features must have shape .* got \(\)"),
        (np.ones((2, 0)), ValueError, r"features must contain at least one number per sample, got shape \(2, 0\)"),
        ([[1.0, np.nan], [np.inf, 0.0]], ValueError, "features must be finite, got 2 NaN or infinities"),
        (["a", "b"], TypeError, "features must be real numbers, got <U1"),
        ([1j, 2j], TypeError, "features must be real numbers, got complex128"),
    ],
)
def test_instance_dependent_rejects_bad_features(features, error, message):
    with pytest.raises(error, match=message):
        instance_dependent(features, [0, 1], 0.3, 2, rng=0)
