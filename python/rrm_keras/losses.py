"""SampleLoss: the loss of each sample, by the loss that a model is compiled with or by another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from .settings import Floats

REMEDY = (
    "give RRMCallback(..., loss=), the name of a loss, a keras.losses.Loss, or a function of (y_true, y_pred) that "
    "returns one number per sample"
)


class SampleLoss:
    """The loss of each sample: what a model's loss computes before it is reduced to a mean.

    Parameters
    ----------
    loss : str, keras.losses.Loss or callable
        As in ``model.compile``. A function gets tensors, float32.

    Attributes
    ----------
    from_logits : bool or None
        Whether outputs are logits; None if the loss doesn't say.

    Raises
    ------
    ValueError
        The loss is unknown, or there are several.
    """

    def __init__(self, loss: Any) -> None:
        while isinstance(loss, (list, tuple)) and len(loss) == 1:
            (loss,) = loss
        if isinstance(loss, (list, tuple, Mapping)):
            raise ValueError(
                f"the model is compiled with {len(loss)} losses, which make no loss of each sample; {REMEDY}"
            )
        if loss is None:
            raise ValueError(f"the model is compiled without a loss; {REMEDY}")
        self._loss = keras.losses.get(loss)
        self._name = getattr(self._loss, "name", None) or getattr(self._loss, "__name__", type(self._loss).__name__)
        self.from_logits: bool | None = None
        if isinstance(self._loss, keras.losses.Loss):
            self.from_logits = self._loss.get_config().get("from_logits")
        elif isinstance(loss, str):
            # The default of the losses that have a name.
            self.from_logits = False

    def __call__(self, y_true: Any, y_pred: Any, n: int) -> Floats:
        """Return the losses of a batch of n samples: float32, shape (n,).

        Raises
        ------
        ValueError
            The loss has another number of values than the batch has samples.
        """
        # In float32, whatever the model computes in.
        y_pred = keras.tree.map_structure(_as_tensor, y_pred)
        y_true = keras.tree.map_structure(_as_tensor, y_true)
        if isinstance(self._loss, keras.losses.Loss):
            values = self._loss.call(y_true, y_pred)
        else:
            values = self._loss(*_with_one_rank(y_true, y_pred))
        losses = np.asarray(keras.ops.convert_to_numpy(values), dtype=np.float32)
        if losses.shape == (n, 1):
            losses = losses[:, 0]
        if losses.shape != (n,):
            raise ValueError(
                f"the loss {self._name} must return one number for each of the {n} samples of a batch, got shape "
                f"{losses.shape}; {REMEDY}"
            )
        return losses


def _as_tensor(part: Any) -> Any:
    """Return targets or outputs as a loss of Keras gets them, numbers in float32; also those in bfloat16."""
    array = np.asarray(part)
    if array.dtype.kind in "biuf" or array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    return keras.ops.convert_to_tensor(array)


def _with_one_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Return targets and outputs as Keras gives them to a function: (n,) and (n, 1) get one shape."""
    if keras.tree.is_nested(y_true) or keras.tree.is_nested(y_pred):
        return y_true, y_pred
    if len(y_true.shape) == 1 and len(y_pred.shape) == 2 and y_pred.shape[1] == 1:
        y_true = keras.ops.expand_dims(y_true, -1)
    if len(y_pred.shape) == 1 and len(y_true.shape) == 2 and y_true.shape[1] == 1:
        y_pred = keras.ops.expand_dims(y_pred, -1)
    return y_true, y_pred
