"""`RRMNet`: losses and weights against those of skorch and of a loop of one's own; clones, grids, saved runs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, EpochScoring, LoadInitState
from skorch.dataset import ValidSplit
from skorch.helper import predefined_split
from torch import nn

from rrm_torch import RRM
from rrm_torch.integrations.skorch import RRMNet
from support.noisy_digits import make_network, noisy_digits

SHARE = {"contamination": 0.3, "warmup": 2}
PLAIN = {"contamination": 0.3, "warmup": 100, "epochs": 101}
"""Settings of a run that ends before the first reweight."""

DIGITS = noisy_digits(150)
X = DIGITS.x.numpy()
Y = DIGITS.y.numpy()


class Probabilities(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = make_network()

    def forward(self, x):
        return self.network(x).softmax(1)


def make_net(cls=RRMNet, *, module=make_network, **options):
    """Return a net that shuffles the same way whenever it is made."""
    defaults = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer": torch.optim.Adam,
        "lr": 3e-3,
        "max_epochs": 4,
        "batch_size": 32,
        "iterator_train__shuffle": True,
        "iterator_train__generator": torch.Generator().manual_seed(0),
        "train_split": None,
        "verbose": 0,
    }
    return cls(module, **{**defaults, **options})


def parameters(net):
    return torch.cat([parameter.detach().flatten() for parameter in net.module_.parameters()])


@pytest.mark.parametrize(
    "options", [{}, {"module": Probabilities, "criterion": nn.NLLLoss}], ids=["logits", "probabilities"]
)
def test_with_unit_weights_the_losses_are_those_of_skorch(options):
    net = make_net(rrm=PLAIN, **options).fit(X, Y)
    plain = make_net(NeuralNetClassifier, **options).fit(X, Y)
    assert net.history[:, "train_loss"] == pytest.approx(plain.history[:, "train_loss"], rel=1e-6)
    torch.testing.assert_close(parameters(net), parameters(plain), rtol=1e-4, atol=1e-6)


def test_the_weights_are_those_of_a_loop_of_ones_own():
    net = make_net(rrm=SHARE).fit(X, Y)
    rrm = RRM(150, contamination=0.3, warmup=2)
    model = make_network()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    own = make_net(NeuralNetClassifier).initialize()
    loader = own.get_iterator(torch.utils.data.TensorDataset(torch.arange(150), DIGITS.x, DIGITS.y), training=True)
    for _ in range(4):
        for index, x, y in loader:
            losses = F.cross_entropy(model(x), y, reduction="none")
            optimizer.zero_grad()
            rrm.weighted_mean(losses, index).backward()
            optimizer.step()
        rrm.step()
    assert net.rrm_.weights.equal(rrm.weights)
    assert net.rrm_.flagged().equal(rrm.flagged())
    assert parameters(net).equal(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))


@pytest.mark.parametrize(
    "options", [{}, {"module": Probabilities, "criterion": nn.NLLLoss}], ids=["logits", "probabilities"]
)
def test_the_contamination_is_estimated_by_default(options):
    digits = noisy_digits(1000)
    net = make_net(max_epochs=20, **options).fit(digits.x.numpy(), digits.y.numpy())
    assert 0.2 < net.rrm_.estimate.contamination < 0.4
    assert float(digits.is_wrong[net.rrm_.flagged()].float().mean()) > 0.9


def test_rows_of_the_validation_split_keep_their_weight():
    net = make_net(rrm=SHARE, train_split=ValidSplit(5), callbacks=[EpochScoring("accuracy", on_train=True)]).fit(X, Y)
    trained, validated = net.get_split_datasets(X, Y)
    assert len(trained) == 120
    rows = torch.as_tensor(np.asarray(validated.indices))
    assert len(rows) == 30
    assert bool((net.rrm_.weights[rows] == 1).all())
    assert not set(rows.tolist()) & set(net.rrm_.flagged().tolist())
    assert net.rrm_.plan.n_pruned == 36


def test_validation_has_the_loss_of_skorch():
    options = {"train_split": ValidSplit(5)}
    net = make_net(rrm=PLAIN, **options).fit(X, Y)
    plain = make_net(NeuralNetClassifier, **options).fit(X, Y)
    assert net.history[:, "valid_loss"] == pytest.approx(plain.history[:, "valid_loss"], rel=1e-6)
    assert net.history[:, "valid_acc"] == plain.history[:, "valid_acc"]


def test_a_loader_that_drops_the_last_batch_is_no_error():
    net = make_net(rrm=SHARE, iterator_train__drop_last=True).fit(X, Y)
    assert net.rrm_.plan.n_pruned > 30


def test_fit_begins_anew_and_partial_fit_goes_on():
    net = make_net(rrm=SHARE).fit(X, Y)
    first = net.rrm_
    net.partial_fit(X, Y)
    assert net.rrm_ is first
    assert first.epoch == 8
    net.fit(X, Y)
    assert net.rrm_ is not first
    assert net.rrm_.epoch == 4
    with pytest.raises(ValueError, match="X must have the 150 rows that the run began with, got 100"):
        net.partial_fit(X[:100], Y[:100])


def test_a_clone_has_settings_and_no_state():
    net = make_net(rrm=SHARE).fit(X, Y)
    copy = clone(net)
    assert copy.rrm == SHARE
    assert not hasattr(copy, "rrm_")
    assert copy.get_params()["rrm"] == SHARE


def test_every_fold_of_a_grid_search_begins_anew():
    grid = {"rrm": [{"contamination": share, "warmup": 1} for share in (0.1, 0.3)]}
    search = GridSearchCV(make_net(), grid, cv=3, error_score="raise").fit(X, Y)
    net = search.best_estimator_
    assert net.rrm_.epoch == 4
    assert net.rrm_.n == 150


@pytest.mark.parametrize("splits", ["none", "predefined"])
def test_a_subset_as_x_is_numbered_by_its_own_rows(splits):
    dataset = torch.utils.data.TensorDataset(DIGITS.x, DIGITS.y)
    trained, validated = torch.utils.data.random_split(dataset, [120, 30], torch.Generator().manual_seed(0))
    net = make_net(rrm=SHARE, train_split=predefined_split(validated) if splits == "predefined" else None)
    net.fit(trained, y=None)
    assert net.rrm_.n == 120
    rows = np.asarray(trained.indices)
    arrays = make_net(rrm=SHARE).fit(X[rows], Y[rows])
    assert net.rrm_.weights.equal(arrays.rrm_.weights)


def test_the_validation_loss_is_the_mean_of_the_criterion():
    options = {"train_split": ValidSplit(5), "criterion__weight": torch.linspace(1, 9, 10)}
    net = make_net(rrm=PLAIN, max_epochs=1, **options).fit(X, Y)
    with torch.no_grad():
        _, validated = net.get_split_datasets(X, Y)
        rows = np.asarray(validated.indices)
        expected = F.cross_entropy(net.module_(DIGITS.x[rows]), DIGITS.y[rows], weight=torch.linspace(1, 9, 10))
    assert net.history[-1, "valid_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_training_can_be_scored_without_a_cache():
    callbacks = [EpochScoring("accuracy", on_train=True, use_caching=False, name="train_acc")]
    net = make_net(rrm=SHARE, train_split=ValidSplit(5), callbacks=callbacks).fit(X, Y)
    assert 0 < net.history[-1, "train_acc"] <= 1


def test_without_a_warmup_it_is_a_third_of_max_epochs():
    assert make_net(rrm={"contamination": 0.3}, max_epochs=6).fit(X, Y).rrm_.settings.warmup == 2
    assert make_net(rrm={"contamination": 0.3}, max_epochs=60).fit(X[:32], Y[:32]).rrm_.settings.warmup == 10


def test_logits_of_a_module_that_returns_probabilities_are_their_logarithms():
    net = make_net(module=Probabilities, criterion=nn.NLLLoss, rrm={"contamination": 0.1, "warmup": "auto"})
    net.set_params(max_epochs=1)
    seen = []

    class Spy(RRM):
        def weighted_mean(self, losses, index, **options):
            seen.append(options["logits"].detach().logsumexp(1))
            return super().weighted_mean(losses, index, **options)

    net.initialize()
    net.rrm_ = Spy(150, contamination=0.1, warmup="auto")
    net.partial_fit(X, Y)
    assert torch.cat(seen).abs().max() < 1e-5


def test_settings_can_be_set_by_name():
    named = make_net(rrm__contamination=0.1, rrm__warmup=1).fit(X, Y)
    assert named.rrm_.plan.n_pruned == 15
    named.set_params(rrm__contamination=0.2)
    assert named.fit(X, Y).rrm_.plan.n_pruned == 30
    net = make_net(rrm=SHARE)
    net.set_params(rrm__contamination=0.1)
    net.fit(X, Y)
    assert net.rrm_.plan.n_pruned == 15
    search = GridSearchCV(make_net(rrm=SHARE), {"rrm__contamination": [0.1, 0.3]}, cv=2, error_score="raise").fit(X, Y)
    assert search.best_estimator_.rrm_.settings.contamination == search.best_params_["rrm__contamination"]


def test_a_pipeline_ends_with_a_net():
    pipeline = make_pipeline(StandardScaler(), make_net(rrm=SHARE)).fit(X, Y)
    assert pipeline.predict(X).shape == (150,)


def test_a_pickled_net_has_its_weights():
    net = make_net(rrm=SHARE).fit(X, Y)
    copy = pickle.loads(pickle.dumps(net))
    assert copy.rrm_.weights.equal(net.rrm_.weights)
    copy.partial_fit(X, Y)
    assert copy.rrm_.epoch == 8


@pytest.mark.parametrize("rrm", [SHARE, {"contamination": "auto", "epochs": 6}], ids=["share", "auto"])
@pytest.mark.parametrize("n_epochs", [1, 2, 3, 4, 5])
def test_a_run_resumed_after_any_epoch_ends_with_the_same_bits(tmp_path, rrm, n_epochs):
    # The same order in each epoch: skorch saves no generator.
    options = {"rrm": rrm, "iterator_train__shuffle": False}
    whole = make_net(max_epochs=6, **options).fit(X, Y)
    saving = Checkpoint(monitor=None, dirname=tmp_path, f_rrm="rrm.pt")
    make_net(max_epochs=n_epochs, callbacks=[saving], **options).fit(X, Y)
    resumed = make_net(max_epochs=6 - n_epochs, callbacks=[LoadInitState(saving)], **options).fit(X, Y)
    assert parameters(resumed).equal(parameters(whole))
    assert resumed.rrm_.weights.equal(whole.rrm_.weights)
    assert resumed.rrm_.ranking().equal(whole.rrm_.ranking())
    assert repr(resumed.rrm_.estimate) == repr(whole.rrm_.estimate)


def test_a_state_is_loaded_into_a_net_that_was_not_fitted(tmp_path):
    net = make_net(rrm=SHARE).fit(X, Y)
    net.save_params(tmp_path / "module.pt", f_rrm=tmp_path / "rrm.pt")
    other = make_net(rrm=SHARE).initialize()
    other.load_params(tmp_path / "module.pt", f_rrm=tmp_path / "rrm.pt")
    other.partial_fit(X, Y)
    assert other.rrm_.epoch == 8


# Wrong arguments


def test_an_rrm_is_refused():
    with pytest.raises(TypeError, match=r"rrm must be a dict of RRM's arguments.*got RRM"):
        make_net(rrm=RRM(150, contamination=0.3)).fit(X, Y)


def test_a_net_that_bypasses_the_losses_warns_after_the_first_epoch():
    class Own(RRMNet):
        def get_loss(self, y_pred, y_true, X=None, training=False):  # noqa: N803
            return nn.functional.cross_entropy(y_pred, y_true)

    net = make_net(Own, rrm=SHARE, max_epochs=1)
    with pytest.warns(UserWarning, match="an override of get_loss must call that of RRMNet"):
        net.fit(X, Y)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="contamination must lie in"):
        make_net(rrm={"contamination": 1.2}).fit(X, Y)


def test_a_criterion_without_reduction_is_refused():
    class Mean(nn.Module):
        def forward(self, outputs, y):
            return F.cross_entropy(outputs, y)

    with pytest.raises(TypeError, match="criterion must have an argument reduction"):
        make_net(criterion=Mean).fit(X, Y)
