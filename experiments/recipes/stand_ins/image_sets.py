"""Stand-ins for Clothing1M, Food-101N and WebVision: image files and lists of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .pictures import noisy, save_picture, write_lines

CLOTHES = 14
DISHES = 101
SYNSETS = 50


def write_clothing1m(data: Path) -> None:
    """Write 112 training images, 38 % of them wrongly labelled, 28 for validation and 28 for testing."""
    folder = data / "clothing1m"
    rng = np.random.default_rng(0)
    keys = {}
    labels = {}
    for part, n in (("noisy_train", 112), ("clean_train", 14), ("clean_val", 28), ("clean_test", 28)):
        keys[part] = [f"images/{i % 10}/{i % 3}/{part},{i}.jpg" for i in range(n)]
        true = np.arange(n) % CLOTHES
        part_labels = true
        if part == "noisy_train":
            part_labels = noisy(true, 1 / 3, CLOTHES)
        labels[part] = [f"{key} {label}" for key, label in zip(keys[part], part_labels, strict=True)]
        write_lines(folder / f"{part}_key_list.txt", keys[part])
        for key, label in zip(keys[part], true.tolist(), strict=True):
            save_picture(folder / key, label, CLOTHES, rng)
    write_lines(folder / "noisy_label_kv.txt", labels["noisy_train"])
    write_lines(folder / "clean_label_kv.txt", [*labels["clean_train"], *labels["clean_val"], *labels["clean_test"]])
    write_lines(folder / "category_names_eng.txt", [f"Clothes {number}" for number in range(CLOTHES)])


def write_food101n(data: Path) -> None:
    """Write two training images of each dish, a fifth of them wrongly labelled, and one for testing."""
    folder = data / "Food-101N_release"
    test_folder = data / "food-101"
    rng = np.random.default_rng(0)
    names = [f"dish_{number:03}" for number in range(DISHES)]
    true = np.arange(2 * DISHES) % DISHES
    noisy_labels = noisy(true, 0.2, DISHES)
    keys = [f"{names[label]}/{number:032x}.jpg" for number, label in enumerate(noisy_labels)]
    for key, label in zip(keys, true.tolist(), strict=True):
        save_picture(folder / "images" / key, label, DISHES, rng)
    verified = [f"{key}\t{int(right)}" for key, right in zip(keys, true == noisy_labels, strict=True)]
    write_lines(folder / "meta" / "classes.txt", ["class_name", *names])
    write_lines(folder / "meta" / "imagelist.tsv", ["class_name/key", *keys])
    for name, lines in (("verified_train", verified[:150]), ("verified_val", verified[150:])):
        write_lines(folder / "meta" / f"{name}.tsv", ["class_name/key\tverification_label", *lines])
    tests = [f"{name}/{number}" for number, name in enumerate(names)]
    for label, key in enumerate(tests):
        save_picture(test_folder / "images" / f"{key}.jpg", label, DISHES, rng)
    write_lines(test_folder / "meta" / "classes.txt", names)
    write_lines(test_folder / "meta" / "test.txt", tests)


def write_webvision(data: Path) -> None:
    """Write two training images of each class, a fifth of them wrongly labelled, and one for each validation set."""
    folder = data / "webvision"
    rng = np.random.default_rng(0)
    synsets = [f"n{number:08}" for number in range(SYNSETS)]
    true = np.arange(2 * SYNSETS) % SYNSETS
    noisy_labels = noisy(true, 0.2, SYNSETS)
    train = [f"google/q{label:04}/{number}.jpg" for number, label in enumerate(noisy_labels)]
    val = [f"val{number:06}.jpg" for number in range(SYNSETS)]
    for name, label in zip(train, true.tolist(), strict=True):
        save_picture(folder / name, label, SYNSETS, rng)
    for label, name in enumerate(val):
        save_picture(folder / "val_images_256" / name, label, SYNSETS, rng)
        save_picture(data / "ilsvrc2012_val" / synsets[label] / f"{label}.JPEG", label, SYNSETS, rng)
    write_lines(folder / "info" / "synsets.txt", [f"{synset} class {synset}" for synset in synsets])
    lines = [f"{name} {label}" for name, label in zip(train, noisy_labels, strict=True)]
    write_lines(folder / "info" / "train_filelist_google.txt", lines)
    write_lines(folder / "info" / "val_filelist.txt", [f"{name} {label}" for label, name in enumerate(val)])
