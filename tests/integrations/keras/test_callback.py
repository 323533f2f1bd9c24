"""RRMCallback: settings, weights, tables, state, and what it refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rrm_core
from rrm_keras import RRMCallback, RRMDataset
from support.keras_runs import Batches, Recorder, fit, make_callback, make_model, noisy_digits

X = np.linspace(0, 1, 200, dtype=np.float32).reshape(100, 2)
Y = np.arange(100) % 3


def regression(**settings):
    """Return a callback for numbers, and a model."""
    data = RRMDataset(X, X[:, 0])
    return RRMCallback(data, **settings), make_model("mse", 1, 2)


def test_reweights_follow_the_warmup_and_every_other_epoch():
    rrm, model = regression(contamination=0.1, warmup=2, every=2)
    recorder = Recorder(rrm)
    fit(rrm, model, 5, [recorder])
    n_pruned = [int((weights == 0).sum()) for weights in recorder.weights]
    assert n_pruned == [0, 10, 10, 10, 10]
    assert np.array_equal(recorder.weights[1], recorder.weights[2])
    assert rrm.epoch == 5
    assert rrm.plan.n_pruned == 10


def test_weights_are_those_of_reweight():
    rrm, model = regression(contamination=0.1, warmup=1, mu=0.5, redistribute="argmin")
    recorder = Recorder(rrm)
    fit(rrm, model, 3, [recorder])
    expected, plan = rrm_core.reweight(
        rrm.losses, recorder.weights[1], contamination=0.1, mu=0.5, redistribute="argmin"
    )
    np.testing.assert_array_equal(rrm.weights, expected)
    assert rrm.plan == plan
    np.testing.assert_array_equal(rrm.data.weights, expected)


def test_warmup_is_a_third_of_the_run_by_default():
    rrm, model = regression(contamination=0.1)
    recorder = Recorder(rrm)
    fit(rrm, model, 7, [recorder])
    assert [bool((weights == 1).all()) for weights in recorder.weights] == [True, *[False] * 6]


def test_auto_ends_after_a_third_of_a_short_run():
    rrm = make_callback(batch_size=32)
    fit(rrm, epochs=4)
    assert rrm.estimate.epoch == 1


def test_groups_and_a_cap_keep_a_part_of_each_group():
    groups = np.repeat([0, 1], [90, 10])
    data = RRMDataset(X, np.where(groups == 1, 50.0, X[:, 0]))
    rrm = RRMCallback(data, contamination=0.1, warmup=1, groups=groups, cap=0.5)
    fit(rrm, make_model("mse", 1, 2), 2)
    assert np.bincount(groups[rrm.flagged()], minlength=2).tolist()[1] == 5
    assert isinstance(rrm.plan, rrm_core.GroupedPlan)
    shares = RRMCallback(data, contamination=[0.0, 0.5], warmup=1, groups=groups)
    fit(shares, make_model("mse", 1, 2), 2)
    assert groups[shares.flagged()].tolist() == [1] * 5


def test_issues_and_flagged_name_the_same_samples():
    rrm = make_callback(contamination=0.3, warmup=3)
    x, y, _ = noisy_digits()
    model = fit(rrm, epochs=5)
    issues = rrm.issues(labels=y, ids=[f"{k}.png" for k in range(400)], predictions=model.predict(x, verbose=0))
    is_issue = issues["is_label_issue"]
    np.testing.assert_array_equal(issues["index"][is_issue], rrm.flagged())
    assert issues["id"][0] == f"{rrm.flagged()[0]}.png"
    assert set(np.round(issues["share_pruned"] * 3)) <= {0, 1, 2, 3}
    assert len(rrm.flagged()) == 120


def test_before_a_reweight_nothing_is_flagged():
    rrm = make_callback()
    assert len(rrm.flagged()) == 0
    assert (rrm.plan, rrm.estimate, rrm.epoch) == (None, None, 0)
    assert np.isnan(rrm.losses).all()
    assert not rrm.issues()["is_label_issue"].any()


def test_binary_classes_of_one_output_can_be_estimated():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    y = (x[:, 0] > 0) ^ (rng.random(400) < 0.2)
    for loss, activation in ((keras.losses.BinaryCrossentropy(from_logits=True), None), ("bce", "sigmoid")):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, activation=activation)])
        model.compile(keras.optimizers.Adam(0.1), loss)
        rrm = RRMCallback(RRMDataset(x, y.astype(np.float32)))
        fit(rrm, model, 12)
        assert 0.1 < rrm.estimate.contamination < 0.3


def test_random_labels_are_not_pruned():
    rng = np.random.default_rng(0)
    data = RRMDataset(rng.random((300, 4)).astype(np.float32), rng.integers(0, 5, 300))
    rrm = RRMCallback(data)
    with pytest.warns(UserWarning, match="not clearly more often than by chance .*, and no sample is pruned"):
        fit(rrm, make_model(n_outputs=5, n_features=4), 4)
    assert len(rrm.flagged()) == 0


# State


def test_a_state_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "rrm.npz"
    rrm, model = regression(contamination=0.1, warmup=1, state_path=path)
    fit(rrm, model, 2)
    other, _ = regression(contamination=0.2, warmup=1, state_path=path)
    with pytest.raises(ValueError, match="is the state of a run with other settings"):
        fit(other, model, 3, initial_epoch=2)
    path.write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match="is no state of RRMCallback that can be read"):
        fit(rrm, model, 3, initial_epoch=2)


def test_a_run_without_its_state_is_refused():
    rrm, model = regression(contamination=0.1, warmup=1)
    with pytest.raises(ValueError, match=r"fit begins with epoch 4, and RRMCallback has no state of epoch 3"):
        fit(rrm, model, 5, initial_epoch=3)


def test_a_run_goes_on_with_the_same_callback():
    rrm, model = regression(contamination=0.1, warmup=1)
    fit(rrm, model, 3)
    fit(rrm, model, 5, initial_epoch=3)
    assert rrm.epoch == 5
    assert rrm.issues()["share_pruned"].sum() * 5 == pytest.approx(50)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="state_path: there is no folder"):
        regression(contamination=0.1, state_path=tmp_path / "none" / "rrm.npz")


# Errors and warnings


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"contamination": "half"}, ValueError, "contamination must be 'auto' or a share"),
        ({"contamination": 1.5}, ValueError, "contamination"),
        ({"contamination": 0.001}, ValueError, r"100 samples are too few for contamination=0.001"),
        ({"warmup": 0}, ValueError, "warmup must be 'auto' or a number of epochs, at least 1, got 0"),
        ({"warmup": "long"}, ValueError, "warmup must be 'auto' or a number of epochs, got 'long'"),
        ({"every": 0}, ValueError, "every must be a number of epochs, at least 1, got 0"),
        ({"mu": 0}, ValueError, r"mu must lie in \(0, 1\], got 0"),
        ({"redistribute": "all"}, ValueError, "redistribute"),
        ({"cap": 0.5}, ValueError, "cap needs groups"),
        ({"groups": Y}, ValueError, "groups needs a cap, or a contamination for each group"),
        ({"groups": Y[:9], "cap": 0.5}, ValueError, "groups must have one number for each of the 100 samples, got 9"),
        ({"gamma": 0.5}, TypeError, "gamma"),
    ],
)
def test_invalid_settings_raise(settings, error, message):
    with pytest.raises(error, match=message):
        RRMCallback(RRMDataset(X, Y), **settings)


def test_few_samples_are_refused_with_auto():
    with pytest.raises(ValueError, match=r"99 samples are too few for contamination='auto', .* at least 100"):
        RRMCallback(RRMDataset(X[:99], Y[:99]))
    RRMCallback(RRMDataset(X[:99], Y[:99]), contamination=0.1)


def test_another_data_set_is_refused():
    with pytest.raises(TypeError, match=r"data must be an RRMDataset, .* got ndarray"):
        RRMCallback(X)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "the model is compiled without a loss; give RRMCallback"),
        (["mse", "mae"], "compiled with 2 losses"),
        (lambda y_true, y_pred: keras.ops.mean(y_pred), r"must return one number for each of the 32 samples .* \(\)"),
    ],
)
def test_a_loss_without_a_value_per_sample_is_refused(loss, message):
    rrm, model = regression(contamination=0.1, warmup=1)
    model.loss = loss
    rrm.set_model(model)
    with pytest.raises(ValueError, match=message):
        rrm.on_train_begin()


def test_auto_refuses_targets_that_are_no_classes():
    rrm = RRMCallback(RRMDataset(X, X[:, 0]))
    with pytest.raises(ValueError, match=r"contamination='auto' needs targets that are classes"):
        fit(rrm, make_model("mse", 1, 2))
    rrm = RRMCallback(RRMDataset(X, Y))
    with pytest.raises(ValueError, match=r"needs targets in \[0, 2\), as outputs have it, got 2"):
        fit(rrm, make_model("mse", 1, 2))


def test_a_model_that_diverged_is_refused():
    rrm = RRMCallback(RRMDataset(X, np.where(Y == 1, np.nan, X[:, 0])), contamination=0.1, warmup=1)
    with pytest.raises(ValueError, match=r"after epoch 1 the losses of 100 of 100 samples are NaN"):
        fit(rrm, make_model("mse", 1, 2), 2)


def test_a_model_that_is_not_compiled_is_refused():
    rrm, _ = regression(contamination=0.1, warmup=1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="compile"):
        fit(rrm, model)


@pytest.mark.parametrize(("epochs", "message"), [(2, "no sample is ever pruned"), (3, "no epoch is trained with the")])
def test_a_run_too_short_for_a_reweight_warns(epochs, message):
    rrm, model = regression(contamination=0.1, warmup=3)
    with pytest.warns(UserWarning, match=f"the run ends after epoch {epochs}, .* epoch 3 at the earliest: {message}"):
        fit(rrm, model, epochs)


def test_a_run_that_is_stopped_before_a_reweight_warns():
    rrm, model = regression(contamination=0.1, warmup=3)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    with pytest.warns(UserWarning, match="the run has ended after epoch 1 of 9, and the first reweight"):
        fit(rrm, model, 9, [Stop()])


def test_batches_that_change_when_they_are_read_warn():
    class Reshuffled(Batches):
        def __getitem__(self, index):
            rows = np.random.default_rng().integers(0, len(self.x), self.batch_size)
            return self.x[rows], self.y[rows]

    x, y, _ = noisy_digits(128)
    rrm = RRMCallback(RRMDataset(Reshuffled(x, y)), contamination=0.2, warmup=1)
    with pytest.warns(UserWarning, match="first batch of the PyDataset has other targets each time it is read"):
        fit(rrm, epochs=2)


@pytest.mark.parametrize("targets", ["dict", "NaN"])
def test_batches_that_stay_the_same_do_not_warn(targets):
    x, y, _ = noisy_digits(64)
    if targets == "dict":
        y = {"first": y, "second": y}
    else:
        y = np.where(y == 0, np.nan, y)
    batches = DictBatches(x, y)
    assert RRMDataset(batches).keeps_order()
    batches.is_shuffled = True
    assert RRMDataset(batches).keeps_order() == (targets == "NaN")


class DictBatches(keras.utils.PyDataset):
    """One batch, of which the last targets are in another order each time if `is_shuffled`."""

    def __init__(self, x, y):
        super().__init__()
        self.x = x
        self.y = y
        self.is_shuffled = False

    def __len__(self):
        return 1

    def __getitem__(self, index):
        if self.is_shuffled and isinstance(self.y, dict):
            return self.x, {**self.y, "second": np.random.default_rng().permutation(self.y["second"])}
        return self.x, self.y
