"""Tasks have the labels and the noise that their names say."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import cifar10n, noisy_tasks
from experiments.noisy_tasks import DATA_SETS, add_noise, task
from rrm_torch.data import noise
from rrm_torch.data.images import load_digits
from rrm_torch.training.pipeline import Recipe

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def grey_images(tmp_path):
    """Return a folder with random images under the names of MNIST and Fashion-MNIST, and their labels."""
    images = np.random.default_rng(0).integers(0, 256, (400, 28, 28), np.uint8)
    y = np.arange(400) % 10
    for name in ("mnist", "fashion_mnist"):
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=y, x_test=images[:10], y_test=y[:10])
    return tmp_path, torch.from_numpy(y)


@pytest.fixture
def cifar(monkeypatch):
    """Replace the files of CIFAR-10N by a few random images and labels; return both."""
    rng = np.random.default_rng(0)
    clean = torch.arange(50) % 10
    labels = {key: torch.from_numpy(rng.integers(0, 10, 50)) for key, _ in cifar10n.LABELS.values()}
    labels["clean_label"] = clean
    images = torch.from_numpy(rng.integers(0, 256, (50, 3, 32, 32), np.uint8))
    loaded = cifar10n.Cifar(images, clean, images[:5], clean[:5], list("0123456789"))
    monkeypatch.setattr(cifar10n, "_images", lambda path: loaded)
    for module in (cifar10n, noisy_tasks):
        monkeypatch.setattr(module, "load_cifar_n", lambda path: labels)
    return images, labels


@pytest.mark.parametrize("name", ["mnist", "fashion"])
@pytest.mark.parametrize(("kind", "n_wrong"), [("clean", 0), ("symmetric 0.2", 20), ("pair 0.3", 30)])
def test_task_has_the_named_noise(name, kind, n_wrong, grey_images):
    folder, y = grey_images
    here = task(folder, name, kind, 100, 3)
    clean = y[np.random.default_rng(3).permutation(400)[:100]]
    assert here.wrong.sum() == n_wrong
    np.testing.assert_array_equal(here.labels != clean, here.wrong)
    if kind.startswith("pair"):
        assert torch.equal(here.labels[here.wrong], (clean[here.wrong] + 1) % 10)
    assert here.model()(here.x_train[:2]).shape == (2, 10)


def test_instance_noise_depends_on_the_features(grey_images):
    folder, y = grey_images
    here = task(folder, "fashion", "instance 0.3", 100, 3)
    clean = y[np.random.default_rng(3).permutation(400)[:100]].numpy()
    expected = noise.instance_dependent(here.x_train.flatten(1).numpy(), clean, 0.3, 10, rng=3)
    np.testing.assert_array_equal(here.labels, expected.labels)
    np.testing.assert_array_equal(here.wrong, expected.wrong)


def test_digits_are_all_taken_without_samples():
    digits = load_digits()
    here = task(Path(), "digits", "symmetric 0.3", None, 1)
    assert torch.equal(here.x_train, digits.x_train)
    np.testing.assert_array_equal(here.labels != digits.y_train, here.wrong)
    assert here.wrong.sum() == int(0.3 * len(digits.y_train))
    assert len(task(Path(), "digits", "clean", 50, 1).labels) == 50


@pytest.mark.parametrize("labels", cifar10n.LABELS)
def test_cifar_task_with_human_labels_is_that_of_cifar10n(labels, cifar):
    here = task(Path(), "cifar10n", labels, 20, 3)
    expected = cifar10n.task(Path(), labels, 20, 3)
    assert torch.equal(here.labels, expected.labels)
    np.testing.assert_array_equal(here.wrong, expected.wrong)


@pytest.mark.parametrize(("kind", "n_wrong"), [("clean", 0), ("symmetric 0.2", 4)])
def test_cifar_task_with_synthetic_noise_starts_from_clean_labels(kind, n_wrong, cifar):
    images, labels = cifar
    here = task(Path(), "cifar10n", kind, 20, 3)
    chosen = np.random.default_rng(3).permutation(50)[:20]
    assert here.wrong.sum() == n_wrong
    np.testing.assert_array_equal(here.labels != labels["clean_label"][chosen], here.wrong)
    assert torch.equal(here.x_train, images[chosen])
    assert here.augment is not None


def test_texts(tmp_path):
    pytest.importorskip("sklearn")
    words = ["good", "bad", "dull", "great"]
    with lzma.open(tmp_path / "imdb.jsonl.xz", "wt", encoding="utf-8") as file:
        for i in range(80):
            row = {"split": ("train", "test")[i // 40], "label": i % 2, "text": f"{words[i % 4]} film {words[i % 3]}"}
            file.write(json.dumps(row) + "\n")
    with lzma.open(tmp_path / "banking77.tsv.xz", "wt", encoding="utf-8") as file:
        file.write("split\tlabel\ttext\n")
        file.writelines(f"{('train', 'test')[i // 40]}\t{'abc'[i % 3]}\tmy {words[i % 3]} card\n" for i in range(80))
    reviews = task(tmp_path, "imdb", "symmetric 0.2", 30, 0)
    assert len(reviews.labels) == len(reviews.y_test) == 30
    assert reviews.wrong.sum() == 6
    assert torch.equal(reviews.x_train, task(tmp_path, "imdb", "clean", 30, 1).x_train)
    questions = task(tmp_path, "banking77", "pair 0.3", None, 0)
    assert questions.labels.tolist() != [i % 3 for i in range(40)]
    assert questions.wrong.sum() == 12
    assert questions.model()(questions.x_train).shape == (40, 3)


@pytest.mark.parametrize("kind", ["symmetric", "pair x", "redraw 0.2", "worst", ""])
def test_add_noise_rejects_unknown_noise(kind):
    with pytest.raises(ValueError, match=rf"noise must be 'clean' or a kind of .*, got '{kind}'; human labels"):
        add_noise(task(Path(), "digits", "clean", 20, 0), kind, 0)


def test_task_rejects_unknown_data_set():
    with pytest.raises(ValueError, match=r"name must be one of cifar10n, fashion, .*, got 'x'"):
        task(Path(), "x", "clean", None, 0)


def test_recipes_are_valid_and_json():
    for data_set in DATA_SETS.values():
        assert Recipe(**json.loads(json.dumps(data_set.recipe))).epochs in (40, 60)


def test_real_texts_have_256_features():
    pytest.importorskip("sklearn")
    if not (SHARED / "banking77.tsv.xz").is_file():
        pytest.skip(f"needs the real data in {SHARED}")
    here = task(SHARED, "banking77", "symmetric 0.2", None, 0)
    assert here.x_train.shape == (10_003, 256)
    assert here.x_test.shape == (3_080, 256)
    assert here.wrong.sum() == 2_000
    assert here.labels.max() == 76
