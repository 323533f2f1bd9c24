"""Tasks with sources of labels and with rare classes."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.grouped_tasks import ANNOTATORS, annotators, long_tail, rules

N = 1200


@pytest.fixture
def data(tmp_path):
    """Return a folder with random images under the name of Fashion-MNIST."""
    images = np.random.default_rng(0).integers(0, 256, (2000, 28, 28), np.uint8)
    y = np.arange(2000) % 10
    np.savez(tmp_path / "fashion_mnist.npz", x_train=images, y_train=y, x_test=images[:10], y_test=y[:10])
    return tmp_path


def test_a_quarter_of_the_rules_is_wrong_throughout(data):
    task = rules(data, N, 0)
    assert len(task.true_shares) == 20
    assert sorted(set(task.true_shares.round(2))) == [0, 1]
    assert (task.true_shares > 0.5).sum() == 5
    assert (task.true_shares < 1).all()
    np.testing.assert_array_equal(task.checked_shares, task.true_shares)
    sizes = np.bincount(task.groups)
    assert abs(sizes[::2] - sizes[1::2]).max() <= 1


@pytest.mark.parametrize(("name", "share"), [("annotators", 0.475), ("better annotators", 0.304)])
def test_annotators_are_wrong_by_increasing_shares(name, share, data):
    shares = ANNOTATORS[name]
    task = annotators(data, shares, N, 0)
    assert (shares[0], shares[-1]) == pytest.approx((0.05, 0.9))
    assert np.corrcoef(task.true_shares, shares)[0, 1] > 0.9
    assert abs(task.task.wrong.mean() - share) < 0.05
    assert set(np.round(10 * task.checked_shares, 6)) <= set(range(11))


def test_wrong_labels_are_the_next_class(data):
    task = annotators(data, ANNOTATORS["annotators"], N, 0)
    clean = rules(data, N, 0).task
    original = (clean.labels.numpy() - clean.wrong) % 10
    np.testing.assert_array_equal(task.task.labels.numpy(), (original + task.task.wrong) % 10)


@pytest.mark.parametrize("imbalance", [10, 50])
def test_sizes_of_classes_decrease_exponentially(imbalance, data):
    task = long_tail(data, imbalance, "clean", N, 0)
    sizes = np.bincount(task.task.labels)
    assert sizes[0] / sizes[-1] == pytest.approx(imbalance, rel=0.25)
    assert (np.diff(sizes) <= 0).all()
    noisy = long_tail(data, imbalance, "symmetric 0.2", N, 0)
    assert noisy.task.wrong.sum() == int(0.2 * sizes.sum())
    np.testing.assert_array_equal(noisy.groups, noisy.task.labels)
