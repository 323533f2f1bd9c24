"""The digits of scikit-learn in the file of Fashion-MNIST's images, for experiments in small."""

from __future__ import annotations

import numpy as np

from rrm_torch.data.images import load_digits


def write_digits(folder):
    """Write digits, as large as the images of Fashion-MNIST and under their name."""
    digits = load_digits()
    parts = {}
    for part, x, y in (("train", digits.x_train, digits.y_train), ("test", digits.x_test, digits.y_test)):
        small = (x[:, 0].numpy() - digits.black) / (digits.white - digits.black) * 255
        large = small.round().astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
        parts |= {f"x_{part}": np.pad(large, ((0, 0), (2, 2), (2, 2))), f"y_{part}": y.numpy()}
    np.savez(folder / "fashion_mnist.npz", **parts)
