"""What the recipes load from the real layout, with their full settings; a missing file is refused by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from experiments import registry
from support.image_data import has_colours, save_image
from support.recipe_runs import job_of, module_of

WRITERS = {name: registry.load(name).execute.args[1] if name != "wrench" else None for name in registry.RECIPES}


def write(name, data):
    if name == "wrench":
        wrench = module_of(name)
        wrench.write_wrench(wrench.DATA_SETS, data)
    else:
        WRITERS[name](data)
    return data


def load(name, method, data, seed=0):
    return module_of(name).load(data, job_of(name, method, quick=False).settings, seed)


@pytest.mark.parametrize(
    ("name", "method", "side"),
    [
        ("cifar100n", "ProMix", 32),
        ("clothing1m", "CC", 224),
        ("food101n", "CE", 224),
        ("animal10n", "CC", 64),
        ("webvision", "DivideMix", 227),
        ("medmnist", "pneumoniamnist, symmetric 0.2: CE", 28),
    ],
)
def test_size_of_images(name, method, side, tmp_path):
    data = load(name, method, write(name, tmp_path))
    index = torch.tensor([3, 1])
    view = data.train.weak_view(data.train.inputs[index], data.train.draws(0))
    assert (view.shape, view.dtype) == ((2, 3, side, side), torch.float32)
    other = data.train.weak_view(data.train.inputs[index], data.train.draws(1))
    assert not torch.equal(view, other)
    for test in (data.train, *data.tests.values()):
        _, x, y = next(iter(test.batches(2)))
        assert (x.shape, y.shape) == ((2, 3, side, side), (2,))
        assert float(x.abs().max()) < 10
    if name == "cifar100n":
        assert data.train.strong_view(data.train.inputs[index], data.train.draws(0)).shape == view.shape


def test_images_in_memory_are_standardised_by_the_training_images(tmp_path):
    data = load("animal10n", "CE", write("animal10n", tmp_path))
    _, x, _ = next(iter(data.train.batches(len(data.train))))
    std, mean = torch.std_mean(x, (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(3), atol=1e-5, rtol=0)


def test_animal10n_from_image_files(tmp_path):
    for name in ("training/3_1.jpg", "training/7_2.jpg", "testing/5_1.jpg", "testing/0_1.jpg"):
        save_image(tmp_path / "animal10n" / name, int(Path(name).name[0]), width=64, height=64)
    images = module_of("animal10n").load_pixels(tmp_path / "animal10n")
    assert (images.y_train.tolist(), images.y_test.tolist()) == ([3, 7], [0, 5])
    assert images.x_train.shape == (2, 3, 64, 64)
    assert has_colours(images.x_train, [3, 7])
    assert has_colours(images.x_test, [0, 5])


def test_labels_of_cifar100n_are_the_human_ones(tmp_path):
    data = load("cifar100n", "CE", write("cifar100n", tmp_path))
    true = torch.arange(200) % 100
    assert data.checked.is_wrong.tolist() == (data.train.labels != true).tolist()
    assert int(data.checked.is_wrong.sum()) == 67
    assert data.tests["test"].labels.tolist() == list(range(100))


def test_labels_of_food101n_are_checked_in_part(tmp_path):
    data = load("food101n", "CE", write("food101n", tmp_path))
    assert data.checked.index.tolist() == list(range(150))
    assert data.checked.is_wrong.nonzero()[:, 0].tolist() == list(range(0, 150, 5))


def test_imagenet_is_optional_for_webvision(tmp_path):
    data = write("webvision", tmp_path)
    assert set(load("webvision", "CE", data).tests) == {"test", "imagenet"}
    shutil.rmtree(data / "ilsvrc2012_val")
    assert set(load("webvision", "CE", data).tests) == {"test"}


def test_noise_depends_on_the_seed_only(tmp_path):
    data = write("medmnist", tmp_path)
    first, again, other = (load("medmnist", "pathmnist, symmetric 0.4: CE", data, seed) for seed in (0, 0, 1))
    assert first.train.labels.tolist() == again.train.labels.tolist()
    assert first.train.labels.tolist() != other.train.labels.tolist()
    assert int(first.checked.is_wrong.sum()) == 48


def test_own_labels_of_jigsaw_stay_as_they_are(tmp_path):
    data = write("jigsaw", tmp_path)
    own = load("jigsaw", "own labels: CE", data)
    assert own.checked is None
    assert own.train.labels.tolist() == [int(i % 5 == 0) for i in range(400)]
    noisy = load("jigsaw", "symmetric 0.2: CE", data)
    assert int((noisy.train.labels != own.train.labels).sum()) == 80


def test_features_of_wrench_are_standardised_in_place_of_texts(tmp_path):
    folder = write("wrench", tmp_path) / "wrench" / "yelp"
    for split in ("train", "valid", "test"):
        samples = json.loads((folder / f"{split}.json").read_text())
        for number, sample in enumerate(samples.values()):
            sample["data"] = {"feature": [number, 7.0, sample["label"]]}
        (folder / f"{split}.json").write_text(json.dumps(samples))
    data = load("wrench", "yelp: CE", tmp_path)
    x = data.train.inputs
    assert x.shape == (len(data.train), 3)
    torch.testing.assert_close(x.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.tensor([1.0, 0.0, 1.0]), atol=1e-4, rtol=0)
    assert {name: len(test) for name, test in data.tests.items()} == {"val": 60, "test": 60}


def test_samples_of_wrench_without_a_majority_are_left_out(tmp_path):
    data = load("wrench", "sms: CE", write("wrench", tmp_path))
    assert len(data.train) < 300
    assert len(data.groups) == len(data.train) == len(data.checked.is_wrong)
    assert len(data.group_shares) == data.groups.max() + 1


@pytest.mark.parametrize(
    ("name", "method", "missing"),
    [
        ("cifar100n", "CE", "cifar-100-python/test"),
        ("cifar100n", "CE", "CIFAR-100_human.pt"),
        ("clothing1m", "CE", "clothing1m/clean_val_key_list.txt"),
        ("clothing1m", "CE", "clothing1m/images/4/1/noisy_train,4.jpg"),
        ("food101n", "CE", "Food-101N_release/meta/imagelist.tsv"),
        ("food101n", "CE", "food-101/meta/test.txt"),
        ("animal10n", "CE", "animal10n/test_batch.bin"),
        ("webvision", "CE", "webvision/info/synsets.txt"),
        ("webvision", "CE", "webvision/val_images_256/val000007.jpg"),
        ("medmnist", "pathmnist, pair 0.2: CE", "pathmnist.npz"),
        ("jigsaw", "own labels: CE", "jigsaw/test_labels.csv"),
        ("wrench", "trec: CE", "wrench/trec/label.json"),
    ],
)
def test_missing_file_is_refused_by_its_name(name, method, missing, tmp_path):
    data = write(name, tmp_path)
    (data / missing).unlink()
    with pytest.raises((FileNotFoundError, ValueError), match=Path(missing).name):
        load(name, method, data)


def test_missing_folder_of_reviews_is_refused_by_its_name(tmp_path):
    data = write("imdb", tmp_path)
    shutil.rmtree(data / "aclImdb" / "test" / "pos")
    with pytest.raises(FileNotFoundError, match="test/pos"):
        load("imdb", "symmetric 0.1: CE", data)
