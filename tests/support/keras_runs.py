"""Data, models and runs of the tests of rrm_keras, on the backend of this process."""

from __future__ import annotations

import keras
import numpy as np
from sklearn.datasets import load_digits

from rrm_keras import RRMCallback, RRMDataset


class StoppedError(Exception):
    """Stands for the end of a process in the middle of a run."""


class StopAfter(keras.callbacks.Callback):
    """Ends a run after an epoch, counted from 1."""

    def __init__(self, epoch):
        super().__init__()
        self.last = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.last:
            raise StoppedError


class Recorder(keras.callbacks.Callback):
    """Records the weights after each epoch."""

    def __init__(self, rrm):
        super().__init__()
        self.rrm = rrm
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.rrm.weights.copy())


class Batches(keras.utils.PyDataset):
    """Fixed batches, as those of a PyDataset that reads files."""

    def __init__(self, x, y, batch_size=32, **options):
        super().__init__(**options)
        self.x = x
        self.y = y
        self.batch_size = batch_size

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index):
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.x[rows], self.y[rows]


def noisy_digits(n=400, seed=0):
    """Return images, given labels, of which 30 % are wrong, and which are."""
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))[:n]
    x = (images[rows] / 16).astype(np.float32)
    y = labels[rows].astype(np.int64)
    is_wrong = rng.random(n) < 0.3
    return x, np.where(is_wrong, (y + rng.integers(1, 10, n)) % 10, y), is_wrong


def make_model(loss=None, n_outputs=10, n_features=64, seed=0, hidden=32, **options):
    """Return a compiled network."""
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(hidden, activation="relu"), keras.layers.Dense(n_outputs)]
    model = keras.Sequential([keras.Input((n_features,)), *layers])
    if loss is None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, **options)
    return model


def fit(rrm, model=None, epochs=6, callbacks=(), **options):
    """Train a model with a callback, and return it."""
    model = make_model() if model is None else model
    model.fit(rrm.data, epochs=epochs, callbacks=[rrm, *callbacks], verbose=0, **options)
    return model


def parameters(model):
    """Return the trained parameters as one array."""
    return np.concatenate([weights.ravel() for weights in model.get_weights()])


def make_callback(n=400, batch_size=64, **settings):
    """Return a callback for noisy digits."""
    x, y, _ = noisy_digits(n)
    return RRMCallback(RRMDataset(x, y, batch_size), **settings)
