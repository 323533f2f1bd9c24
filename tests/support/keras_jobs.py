"""Jobs of the tests of rrm_keras, for one backend: ``KERAS_BACKEND=jax keras_jobs.py FILE`` runs all of them.

The file gets a JSON object with the result of each job, or the traceback of its error.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import rrm_core
from rrm_keras import RRMCallback, RRMDataset
from rrm_keras.losses import SampleLoss
from support.keras_runs import (
    Batches,
    Recorder,
    StopAfter,
    StoppedError,
    fit,
    make_callback,
    make_model,
    noisy_digits,
    parameters,
)

EPOCHS = 6


def backend():
    return keras.backend.backend()


def auto():
    """Train with an estimate; say how well wrong labels are found."""
    x, y, is_wrong = noisy_digits(1000)
    rrm = RRMCallback(RRMDataset(x, y, 32))
    recorder = Recorder(rrm)
    fit(rrm, make_model(hidden=64), 20, [recorder])
    held_out = recorder.weights[0] == 0
    flagged = rrm.flagged()
    return {
        "share_held_out": float(held_out.mean()),
        "mean_weights": [float(weights.mean(dtype=np.float64)) for weights in recorder.weights],
        "estimate": rrm.estimate.contamination,
        "end": rrm.estimate.epoch,
        "is_first_weight_of_held_out_1": bool((recorder.weights[rrm.estimate.epoch - 1][held_out] == 1).all()),
        "precision": float(is_wrong[flagged].mean()),
        "recall": float(is_wrong[flagged].sum() / is_wrong.sum()),
    }


def sample_losses():
    """Return, for each kind of loss, the relative difference of the mean of the samples' losses from that of Keras."""
    rng = np.random.default_rng(0)
    x = rng.random((50, 4)).astype(np.float32)
    classes = rng.integers(0, 3, 50)
    one_hot = np.eye(3, dtype=np.float32)[classes]
    targets = rng.random(50).astype(np.float32)
    losses = keras.losses
    cases = [
        (losses.SparseCategoricalCrossentropy(from_logits=True), None, 3, classes),
        ("sparse_categorical_crossentropy", "softmax", 3, classes),
        (losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), None, 3, one_hot),
        (losses.CategoricalFocalCrossentropy(), "softmax", 3, one_hot),
        (losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2), None, 1, classes % 2),
        ("binary_crossentropy", "sigmoid", 1, classes % 2),
        ("mse", None, 1, targets),
        (losses.Huber(reduction="sum"), None, 2, np.stack([targets, targets], 1)),
        (lambda y_true, y_pred: keras.ops.mean(keras.ops.abs(y_true - y_pred), -1), None, 1, targets),
    ]
    differences = []
    for loss, activation, n_outputs, y in cases:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(n_outputs, activation=activation)])
        model.compile("sgd", loss)
        values = SampleLoss(model.loss)(y, model.predict_on_batch(x), 50)
        total = values.sum(dtype=np.float64)
        if getattr(loss, "reduction", None) != "sum":
            total /= 50
        own = model.evaluate(x, y, batch_size=50, verbose=0)
        differences.append([str(values.dtype), abs(total - own) / own])
    return differences


def unit_weights():
    """Train with weights 1 and without any; return the relative difference of the losses of the epochs."""
    x, y, _ = noisy_digits(300)
    plain = make_model().fit(x, y, 64, 3, shuffle=False, verbose=0).history["loss"]
    data = RRMDataset(x, y, 64, shuffle=False)
    rrm = RRMCallback(data, contamination=0.0, warmup=1)
    weighted = make_model().fit(data, epochs=3, shuffle=False, callbacks=[rrm], verbose=0).history["loss"]
    return [abs(a - b) / b for a, b in zip(weighted, plain, strict=True)]


def resumed():
    """Stop runs after each epoch, resume them, and compare with a run that was not stopped."""
    settings = {"warmup": "auto", "contamination": 0.3, "mu": 0.7}
    whole = make_callback(**settings)
    expected = parameters(fit(whole, epochs=EPOCHS))
    results = []
    # What was saved last when the process ended: of the epoch's model and state, only one may have been.
    for last, order in (
        (1, "model only"),
        (2, "state only"),
        (3, "state first"),
        (4, "model only"),
        (5, "model first"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            for stopped_after in (last, None):
                rrm = make_callback(**settings, state_path=Path(folder) / "rrm.npz")
                backup = keras.callbacks.BackupAndRestore(Path(folder) / "backup", delete_checkpoint=False)
                callbacks = [rrm, backup] if order.startswith("state") else [backup, rrm]
                if stopped_after is not None:
                    callbacks.insert(1 if order.endswith("only") else 2, StopAfter(stopped_after))
                model = make_model()
                try:
                    model.fit(rrm.data, epochs=EPOCHS, callbacks=callbacks, verbose=0)
                except StoppedError:
                    continue
        is_equal = (
            np.array_equal(parameters(model), expected)
            and np.array_equal(rrm.weights, whole.weights)
            and np.array_equal(rrm.losses, whole.losses)
            and np.array_equal(rrm.flagged(), whole.flagged())
            and rrm.plan == whole.plan
            and repr(rrm.estimate) == repr(whole.estimate)
        )
        results.append([last, order, is_equal])
    return results


class _PruneInPlace(keras.callbacks.Callback):
    """Sets all weights to 0 after the first epoch."""

    def __init__(self, weights):
        super().__init__()
        self.array = weights

    def on_epoch_end(self, epoch, logs=None):
        self.array[:] = 0


def changed_weights():
    """Set all weights to 0 after an epoch; say whether the parameters still change in the next one."""
    x, y, _ = noisy_digits(128)
    results = {}
    for kind in ("array", "data set"):
        parts = []
        for epochs in (1, 2):
            keras.utils.set_random_seed(0)
            model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
            model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            if kind == "array":
                weights = np.ones(len(x), np.float32)
                callbacks = [_PruneInPlace(weights)]
                model.fit(x, y, sample_weight=weights, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=0)
            else:
                data = RRMDataset(x, y)
                model.fit(data, epochs=epochs, callbacks=[_PruneInPlace(data.weights)], verbose=0)
            parts.append(parameters(model))
        results[kind] = bool(np.array_equal(*parts))
    return results


def same_whatever_else():
    """Return what does not change weights and parameters."""
    x, y, _ = noisy_digits()
    settings = {"contamination": 0.3, "warmup": 2}
    first = make_callback(**settings)
    expected = parameters(fit(first))
    results = {}
    rrm = make_callback(**settings)
    model = fit(rrm, validation_data=(x[:100], y[:100]))
    results["validation"] = _same(rrm, model, first, expected)
    rrm = make_callback(**settings)
    model = make_model()
    keras.utils.set_random_seed(5)
    fit(rrm, model)
    results["global seeds"] = _same(rrm, model, first, expected)
    model = make_model()
    fit(rrm, model)
    results["the callback's second run"] = _same(rrm, model, first, expected)
    other = RRMCallback(RRMDataset(x, y, 64, seed=1), **settings)
    model = fit(other)
    results["another seed"] = _same(other, model, first, expected)
    return results


def _same(rrm, model, first, expected):
    return bool(np.array_equal(rrm.weights, first.weights) and np.array_equal(parameters(model), expected))


def kinds_of_runs():
    """Return, for runs of other kinds, the number of pruned samples and that of all."""
    x, y, _ = noisy_digits(250)
    settings = {"contamination": 0.2, "warmup": 1}
    runs = {}
    rrm = RRMCallback(RRMDataset(x, y, 32), **settings)
    fit(rrm, epochs=4, steps_per_epoch=3)
    runs["steps_per_epoch"] = rrm
    rrm = RRMCallback(RRMDataset(x, y, 32, workers=2, max_queue_size=3), **settings)
    fit(rrm, epochs=3)
    runs["workers"] = rrm
    rrm = RRMCallback(RRMDataset(Batches(x, y)), **settings)
    fit(rrm, epochs=3)
    runs["batches"] = rrm
    rrm = RRMCallback(RRMDataset(x, x[:, :1] + 1), loss="mae", **settings)
    fit(rrm, make_model("mse", n_outputs=1), epochs=3)
    runs["regression"] = rrm
    return {name: [len(rrm.flagged()), rrm.data.n, float(rrm.weights.mean())] for name, rrm in runs.items()}


def mixed_precision():
    """Train in half precision; compare the losses with those of the outputs in float32."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        rrm = make_callback(200, contamination=0.2, warmup=2)
        model = fit(rrm, epochs=3)
    finally:
        keras.config.set_dtype_policy(policy)
    x, y, _ = noisy_digits(200)
    batches = [slice(first, first + 64) for first in range(0, 200, 64)]
    outputs = [np.asarray(model.predict_on_batch(x[rows])) for rows in batches]
    logits = np.concatenate(outputs).astype(np.float64)
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(200), y]
    return {
        "outputs": str(outputs[0].dtype),
        "losses": str(rrm.losses.dtype),
        "error": float(np.abs(rrm.losses - expected).max()),
        "is_plan_of_losses": bool(
            np.array_equal(rrm.weights, rrm_core.reweight(rrm.losses, contamination=0.2, redistribute="kept")[0])
        ),
    }


def not_the_data_set():
    """Return the message where fit is given other data than the callback."""
    x, y, _ = noisy_digits(100)
    rrm = RRMCallback(RRMDataset(x, y), contamination=0.2, warmup=1)
    try:
        make_model().fit(x, y, epochs=2, callbacks=[rrm], verbose=0)
    except ValueError as error:
        return str(error)
    return None


JOBS = (
    backend,
    auto,
    sample_losses,
    unit_weights,
    resumed,
    changed_weights,
    same_whatever_else,
    kinds_of_runs,
    mixed_precision,
    not_the_data_set,
)


def run(job):
    """Return the result of a job, or the traceback of its error."""
    try:
        return job()
    except Exception:
        return {"error": traceback.format_exc()}


def main(file):
    warnings.filterwarnings("error", module="rrm_keras")
    results = {}
    for job in JOBS:
        results[job.__name__] = run(job)
    Path(file).write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
