"""`RRMNet`: the classifier of skorch with sample weights. Needs the extra ``skorch``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

try:
    from skorch import NeuralNetClassifier
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "rrm_torch.integrations.skorch needs skorch: install rrm-core with the extra skorch"
    ) from error

from ..data.batch import INDEX_KEY
from ..weighting.rrm import RRM
from .settings import read_settings, with_warmup
from .stepwise import warn_if_unused

__all__ = ["RRMNet"]

INPUTS_KEY = "inputs"


class RRMNet(NeuralNetClassifier):
    """`skorch.NeuralNetClassifier` with sample weights.

    Parameters
    ----------
    module, *args, **kwargs
        Those of the classifier. The criterion needs an argument `reduction`, as torch's losses have it, which is set to
        ``"none"``; with `torch.nn.NLLLoss`, skorch's default, the module returns probabilities.
    rrm : dict, optional
        Arguments of `rrm_torch.RRM`; by default ``dict(contamination="auto")``. Without a warm-up it is ``"auto"`` with
        ``contamination="auto"``, and otherwise a third of `max_epochs`, at most 10 epochs. ``unseen`` is ``"latest"``
        by default.
    rrm__contamination, rrm__warmup, ... : optional
        The same arguments one by one, as for a grid search.

    Attributes
    ----------
    rrm_ : RRM
        Made anew by `fit`, unless ``warm_start=True``, and kept by `partial_fit`, for the rows of X. Those of skorch's
        validation split keep weight 1, and take no part. ``f_rrm`` saves it with `save_params` and skorch's
        `Checkpoint`, and restores it with `load_params` and `LoadInitState`.

    Raises
    ------
    TypeError, ValueError
        When fitted: an argument of RRM is invalid, or the criterion has no `reduction`.

    Warns
    -----
    UserWarning
        The run ends before the first reweight; after the first epoch, if an override of `get_loss` has kept the losses
        from RRM; and as `rrm_torch.RRM`.

    Examples
    --------
    >>> from torch import nn
    >>> from rrm_torch.integrations.skorch import RRMNet
    >>> net = RRMNet(nn.Linear, module__in_features=2, module__out_features=2, criterion=nn.CrossEntropyLoss)
    """

    prefixes_ = [*NeuralNetClassifier.prefixes_, "rrm"]  # noqa: RUF012, a list as in skorch

    def __init__(self, module: Any, *args: Any, rrm: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self.rrm = rrm
        super().__init__(module, *args, **kwargs)

    def initialize(self) -> RRMNet:
        """Initialize the net; the next run makes an RRM."""
        self.rrm_: RRM | None = None
        self._rrm_state: dict[str, Any] | None = None
        super().initialize()
        return self

    def initialize_criterion(self) -> RRMNet:
        """Initialize the criterion, which returns one loss per sample."""
        super().initialize_criterion()
        if not hasattr(self.criterion_, "reduction"):
            raise TypeError(
                "criterion must have an argument reduction, as torch.nn.CrossEntropyLoss has it, got "
                f"{self.criterion_!r}"
            )
        self._reduction = self.criterion_.reduction
        self.criterion_.reduction = "none"
        return self

    def set_params(self, **kwargs: Any) -> RRMNet:
        """Set parameters; those of RRM hold from the next run on."""
        settings = {name: kwargs.pop(name) for name in list(kwargs) if name == "rrm" or name.startswith("rrm__")}
        if not getattr(self, "initialized_", False):
            kwargs |= settings
            settings = {}
        for name, value in settings.items():
            setattr(self, name, value)
        super().set_params(**kwargs)
        return self

    def load_params(self, *args: Any, f_rrm: Any = None, **kwargs: Any) -> None:
        """Load parameters; the state of RRM before a run is kept until it begins."""
        if f_rrm is not None and self.rrm_ is None:
            self._rrm_state = torch.load(f_rrm, weights_only=True)
        elif f_rrm is not None:
            kwargs["f_rrm"] = f_rrm
        super().load_params(*args, **kwargs)

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: N803
        """Make RRM for the rows of X, unless an earlier run is continued."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        n = len(self.get_dataset(X, y))
        settings = self.rrm
        named = self.get_params_for("rrm")
        if named and (settings is None or isinstance(settings, Mapping)):
            settings = {**(settings or {}), **named}
        settings = read_settings(settings, n)
        if self.rrm_ is None:
            arguments = {"epochs": self.max_epochs, **settings}
            self.rrm_ = RRM(n, **with_warmup(arguments, arguments["epochs"]))
            self.rrm_.warn_of_end(self.max_epochs)
            if self._rrm_state is not None:
                self.rrm_.load_state_dict(self._rrm_state)
                self._rrm_state = None
        elif self.rrm_.n != n:
            raise ValueError(
                f"X must have the {self.rrm_.n} rows that the run began with, got {n}; fit begins a new run"
            )

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> Any:  # noqa: N803
        """Return the training set and the validation set, and note which rows of X the former has."""
        dataset = self.get_dataset(X, y)
        train, valid = super().get_split_datasets(dataset, y, **fit_params)
        self._train_dataset = train
        self._rows = None
        if isinstance(train, Subset) and train.dataset is dataset:
            self._rows = train.indices
        return train, valid

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return a loader; that of the training set yields inputs with the samples' indices."""
        if training and dataset is getattr(self, "_train_dataset", None):
            dataset = _IndexedInputs(dataset, self._rows)
        return super().get_iterator(dataset, training=training)

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Return the module's outputs."""
        if isinstance(x, Mapping) and INDEX_KEY in x:
            x = x[INPUTS_KEY]
        return super().infer(x, **fit_params)

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Tensor:  # noqa: N803
        """Return the weighted mean of a training batch, which is recorded; otherwise the criterion's own loss."""
        if not training:
            return self._validation_loss(y_pred, y_true, X)
        losses = super().get_loss(y_pred, y_true, X=X, training=training)
        logits = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        if isinstance(self.criterion_, torch.nn.NLLLoss):
            # Probabilities, of which skorch takes the logarithm.
            logits = logits.log()
        assert self.rrm_ is not None
        labels = torch.as_tensor(y_true).to(logits.device)
        return self.rrm_.weighted_mean(losses, X[INDEX_KEY], logits=logits, labels=labels)

    def _validation_loss(self, y_pred: Any, y_true: Any, X: Any) -> Tensor:  # noqa: N803
        """Return the loss of the criterion as the user made it."""
        self.criterion_.reduction = self._reduction
        try:
            return super().get_loss(y_pred, y_true, X=X, training=False)
        finally:
            self.criterion_.reduction = "none"

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End an epoch of RRM."""
        assert self.rrm_ is not None
        if self.rrm_.epoch == 0:
            warn_if_unused(self.rrm_, "an override of get_loss must call that of RRMNet, and return what it returns")
        self.rrm_.step()
        super().on_epoch_end(net, **kwargs)


class _IndexedInputs(Dataset[Any]):
    """A data set of (inputs, y) whose inputs have the index of their row in X."""

    def __init__(self, dataset: Any, rows: Any) -> None:
        self.dataset = dataset
        self.rows = rows

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        inputs, y = self.dataset[position]
        index = position if self.rows is None else int(self.rows[position])
        return {INPUTS_KEY: inputs, INDEX_KEY: index}, y
