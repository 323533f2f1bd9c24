"""A model of Keras, on the framework of its process."""

from __future__ import annotations

import keras

from rrm_keras import RRMCallback, RRMDataset  # RRM

from .digits_run import BATCH_SIZE, EPOCHS, HIDDEN, LEARNING_RATE, Array, Fitted, Settings


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Train with RRM, or without if there are no settings."""
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(HIDDEN, activation="relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((64,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss)
    rrm = None
    if settings is None:
        model.fit(x, y, BATCH_SIZE, EPOCHS, verbose=0)
    else:
        data = RRMDataset(x, y, BATCH_SIZE, seed=seed)  # RRM
        rrm = RRMCallback(data, **settings)  # RRM
        model.fit(data, epochs=EPOCHS, callbacks=[rrm], verbose=0)  # RRM
    return Fitted(lambda images: model.predict(images, verbose=0).argmax(1), rrm)
