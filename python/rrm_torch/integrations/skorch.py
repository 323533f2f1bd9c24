"""`RRMNet`: the classifier of skorch with sample weights. Needs the extra ``skorch``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from skorch import NeuralNetClassifier
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ..data.batch import INDEX_KEY
from ..weighting.rrm import RRM
from .settings import read_settings, with_warmup

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
        Made anew by `fit`, and kept by `partial_fit`, for the rows of X. Those of skorch's validation split keep weight
        1, and take no part. ``f_rrm`` saves it with `save_params` and skorch's `Checkpoint`.

    Raises
    ------
    TypeError, ValueError
        When fitted: an argument of RRM is invalid, or the criterion has no `reduction`.

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
        self.criterion_.reduction = "none"
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: N803
        """Make RRM for the rows of X, unless an earlier run is continued."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        n = len(self.get_dataset(X, y))
        settings = self.rrm
        if isinstance(settings, Mapping) and self.get_params_for("rrm"):
            settings = {**settings, **self.get_params_for("rrm")}
        settings = read_settings(settings, n)
        if self.rrm_ is None:
            arguments = {"epochs": self.max_epochs, **settings}
            self.rrm_ = RRM(n, **with_warmup(arguments, arguments["epochs"]))
            self.rrm_.warn_of_end(self.max_epochs)
        elif self.rrm_.n != n:
            raise ValueError(
                f"X must have the {self.rrm_.n} rows that the run began with, got {n}; fit begins a new run"
            )

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> Any:  # noqa: N803
        """Return the training set, whose inputs have the samples' indices, and the validation set."""
        train, valid = super().get_split_datasets(X, y, **fit_params)
        return _IndexedInputs(train), valid

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Return the module's outputs."""
        if isinstance(x, Mapping) and INDEX_KEY in x:
            x = x[INPUTS_KEY]
        return super().infer(x, **fit_params)

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Tensor:  # noqa: N803
        """Return the weighted mean of a training batch, which is recorded; otherwise the mean."""
        losses = super().get_loss(y_pred, y_true, X=X, training=training)
        if not training:
            return losses.mean()
        logits = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        if isinstance(self.criterion_, torch.nn.NLLLoss):
            # Probabilities, of which skorch takes the logarithm.
            logits = logits.log()
        assert self.rrm_ is not None
        return self.rrm_.weighted_mean(losses, X[INDEX_KEY], logits=logits, labels=torch.as_tensor(y_true))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End an epoch of RRM."""
        assert self.rrm_ is not None
        self.rrm_.step()
        super().on_epoch_end(net, **kwargs)


class _IndexedInputs(Dataset[Any]):
    """A data set of (inputs, y) whose inputs have the index of their row in X."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        inputs, y = self.dataset[position]
        index = position
        if isinstance(self.dataset, Subset):
            # Rows of X that skorch's split trains on.
            index = int(self.dataset.indices[position])
        return {INPUTS_KEY: inputs, INDEX_KEY: index}, y
