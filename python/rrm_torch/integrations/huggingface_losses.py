"""One loss per sample of the models of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers.loss.loss_utils import ForCausalLMLoss

from ..losses.per_sample import binary_cross_entropy, cross_entropy, token_cross_entropy


def default_losses(model: Any, outputs: Mapping[str, Any], labels: Any, label_smoothing: float) -> Tensor:
    """Return the loss of each sample, by the ``problem_type`` of the model's configuration.

    Parameters
    ----------
    model : nn.Module
    outputs : mapping
        With ``logits``.
    labels : Tensor, or tuple of Tensor
    label_smoothing : float
        Of classes.

    Returns
    -------
    Tensor, shape (batch,)
        See `RRMMixin.sample_losses`.

    Raises
    ------
    ValueError
        There are several labels, the model predicts the next token, or labels of tokens are to be smoothed.
    """
    if not isinstance(labels, Tensor):
        raise ValueError("a batch has several labels: override sample_losses, which returns one loss per sample")
    logits = outputs["logits"]
    problem = getattr(getattr(model, "config", None), "problem_type", None)
    if problem == "regression" or (problem is None and logits.ndim == 2 and logits.shape[1] == 1):
        return (logits.float() - labels.reshape(logits.shape).float()).square().flatten(1).mean(1)
    if problem == "multi_label_classification" or (problem is None and labels.shape == logits.shape):
        return binary_cross_entropy(logits, labels)
    if logits.ndim == 3:
        _check_token_labels(model, label_smoothing)
        return token_cross_entropy(logits, labels)
    return cross_entropy(logits, labels, label_smoothing=label_smoothing)


def as_mapping(outputs: Any) -> Mapping[str, Any]:
    """Return a model's outputs by name; a tuple has the loss and the logits."""
    if isinstance(outputs, Mapping):
        return outputs
    return {"loss": outputs[0], "logits": outputs[1]}


def n_labelled(labels: Any, index: Tensor) -> Tensor | int:
    """Return the number of samples of a batch that have a label; a tensor where counting would wait for a device."""
    if isinstance(labels, Tensor) and labels.ndim == 1 and not labels.is_floating_point():
        return (labels >= 0).sum()
    return len(index)


def _check_token_labels(model: Any, label_smoothing: float) -> None:
    """Raise unless the model predicts the label of each token, and its loss is their mean."""
    is_causal = getattr(model, "loss_function", None) is ForCausalLMLoss
    if is_causal and not getattr(model.config, "is_encoder_decoder", False):
        raise ValueError(
            "a causal language model predicts the next token: train it with RRMSFTTrainer of "
            "rrm_torch.integrations.trl, or override sample_losses"
        )
    if label_smoothing:
        raise ValueError("label_smoothing_factor must be 0 where each token has a label; or override sample_losses")
