"""`RRMTrainer`: the Trainer of Hugging Face's transformers, with sample weights. `RRMMixin` adds them to a subclass.

Needs the extra ``huggingface``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rrm_core._atomic_write import atomic_write

from ..data.batch import INDEX_KEY
from ..data.loaders import Indexed
from ..losses.per_sample import binary_cross_entropy, cross_entropy, token_cross_entropy
from ..training import checkpoint_file
from .settings import read_settings
from .stepwise import StepwiseRRM, planned_epochs

__all__ = ["RRMMixin", "RRMTrainer"]

STATE_FILE = "rrm.pt"
"""The state of RRM in the folder of a checkpoint."""

LOSS_TOLERANCE = 0.05
"""Relative difference of the model's own loss from the mean of the samples' losses from which on a warning is due."""


class RRMMixin:
    """Sample weights for a subclass of `transformers.Trainer`, before which it stands: ``class Mine(RRMMixin, Other)``.

    Parameters
    ----------
    *args, **kwargs
        Those of the trainer.
    rrm : dict, optional
        Arguments of `rrm_torch.RRM` in epochs, also where the trainer counts steps; by default
        ``dict(contamination="auto")``. Without a warm-up it is ``"auto"`` with ``contamination="auto"``, and otherwise
        a third of the run, at most 10 epochs. ``unseen`` is ``"latest"`` by default.

    Attributes
    ----------
    rrm : RRM or None
        Made anew by each call of `train`, for the samples of ``train_dataset`` in their order: ``rrm.flagged()`` and
        ``rrm.issues()`` name its rows. None before.

    Raises
    ------
    TypeError, ValueError
        An argument of RRM is invalid, the training set has no length, or a ``compute_loss_func`` is given.

    Notes
    -----
    Override `sample_losses` for another loss. Evaluation uses the trainer's own loss, and changes no weight. The state
    is the file ``rrm.pt`` of a checkpoint. With several processes each has the weights of all samples.

    With gradient accumulation a step has the gradient of the mean over all of its samples, also where the last batches
    of an epoch are smaller.
    """

    # Those of the Trainer that are used here.
    args: TrainingArguments
    model: Any
    train_dataset: Any
    data_collator: Callable[[list[Any]], Any]
    current_gradient_accumulation_steps: int
    _signature_columns: list[str] | None

    loss_is_scaled_for_ga: bool | None = False
    """Tells the Trainer that the loss is a mean over a batch, which it divides by the number of accumulated ones."""

    def __init__(self, *args: Any, rrm: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self.rrm: StepwiseRRM | None = None
        self._rrm_settings = rrm
        self._checkpoint_folder: Path | None = None
        self._n_accumulated: Tensor | int = 0
        self._is_compared = False
        super().__init__(*args, **kwargs)
        if getattr(self, "compute_loss_func", None) is not None:
            raise ValueError(
                "compute_loss_func must be None: it returns one number for a batch; override sample_losses, which "
                "returns one per sample"
            )
        if self.loss_is_scaled_for_ga is False:
            # Earlier versions of the Trainer decide by this whether they divide the loss.
            self.model_accepts_loss_kwargs = False
        self.data_collator = _IndexCollator(self.data_collator)
        if self.train_dataset is not None:
            self._settings()
        self.add_callback(_StepCallback(self))  # type: ignore[attr-defined]

    def sample_losses(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return one loss per sample; override this for another loss.

        Parameters
        ----------
        outputs : ModelOutput
            Of the model, with ``logits``.
        labels : Tensor
            The batch's labels.

        Returns
        -------
        Tensor, shape (batch,)
            By the ``problem_type`` of the model's configuration: the cross-entropy, with the trainer's label smoothing;
            the mean binary cross-entropy of several labels; the mean squared error. For one label per token, the mean
            over a sequence.
        """
        logits = outputs["logits"]
        problem = getattr(getattr(self.model, "config", None), "problem_type", None)
        if problem == "regression" or (problem is None and logits.ndim == 2 and logits.shape[1] == 1):
            return (logits.float() - labels.reshape(logits.shape).float()).square().flatten(1).mean(1)
        if problem == "multi_label_classification" or (problem is None and labels.shape == logits.shape):
            return binary_cross_entropy(logits, labels)
        if logits.ndim == 3:
            if getattr(self.model, "loss_type", None) == "ForCausalLM":
                raise ValueError(
                    "a causal language model predicts the next token: train it with RRMSFTTrainer of "
                    "rrm_torch.integrations.trl, or override sample_losses"
                )
            return token_cross_entropy(logits, labels)
        return cross_entropy(logits, labels, label_smoothing=self.args.label_smoothing_factor)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the weighted mean of a training batch, which is recorded; otherwise what the trainer returns."""
        index = inputs.get(INDEX_KEY)
        others = {name: value for name, value in inputs.items() if name != INDEX_KEY}
        if not model.training:
            evaluated = super().compute_loss  # type: ignore[misc]
            return evaluated(model, others, return_outputs, num_items_in_batch=num_items_in_batch)
        if index is None:
            raise ValueError(
                f"a training batch has no {INDEX_KEY}: its collator or an override of get_train_dataloader dropped it"
            )
        loss, outputs = self._weighted_loss(model, others, index, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _weighted_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        index: Tensor,
        num_items_in_batch: Any,
    ) -> tuple[Tensor, Any]:
        """Return the weighted mean of a training batch, and the model's outputs."""
        labels = inputs.get("labels")
        if labels is None:
            raise ValueError(f"a training batch must have labels, got {', '.join(inputs)}")
        outputs = model(**inputs)
        losses = self.sample_losses(outputs, labels)
        self._compare_with_model(outputs, losses)
        assert self.rrm is not None
        mean = self.rrm.weighted_mean(losses, index, logits=outputs["logits"], labels=labels)
        return self._as_part_of_step(mean, _n_labelled(labels, index)), outputs

    def _compare_with_model(self, outputs: Any, losses: Tensor) -> None:
        """Warn, once, if the loss that the model itself returns is not the mean of the samples' losses."""
        if self._is_compared:
            return
        self._is_compared = True
        own = outputs.get("loss")
        if own is None or self.args.label_smoothing_factor:
            return
        mean = losses.detach().nanmean()
        if bool((own.detach() - mean).abs() > LOSS_TOLERANCE * mean.abs()):
            warnings.warn(
                f"the model's own loss of the first batch is {float(own):.4g}, and the mean of sample_losses "
                f"{float(mean):.4g}, on which it is trained: override sample_losses, so that it returns the model's "
                "loss of each sample",
                stacklevel=2,
            )

    def _trainers_loss(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any) -> Tensor:
        """Return the loss of the trainer that the mixin stands before."""
        return super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)  # type: ignore[misc]

    def _as_part_of_step(self, mean: Tensor, n_samples: Tensor | int) -> Tensor:
        """Return the mean of a batch, so that those accumulated add up to the mean over all of their samples.

        The trainer divides each by the number of accumulated batches.
        """
        share = n_samples / self._n_accumulated
        return mean * (share * self.current_gradient_accumulation_steps)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Return the batches of one step of the optimizer, whose samples are counted."""
        batches, n_items = super().get_batch_samples(*args, **kwargs)  # type: ignore[misc]
        counts = [_n_labelled(batch.get("labels"), batch[INDEX_KEY]) for batch in batches if INDEX_KEY in batch]
        self._n_accumulated = sum(counts)
        return batches, n_items

    def get_train_dataloader(self) -> Any:
        """Return the trainer's loader, of batches that have the samples' indices."""
        dataset = self.train_dataset
        if dataset is None:
            return super().get_train_dataloader()  # type: ignore[misc]
        self.train_dataset = Indexed(self._without_unused_columns(dataset))
        try:
            return super().get_train_dataloader()  # type: ignore[misc]
        finally:
            self.train_dataset = dataset

    def _without_unused_columns(self, dataset: Any) -> Any:
        """Return the data set with the columns that the model takes, where the trainer would remove others."""
        if not hasattr(dataset, "column_names"):
            return dataset
        return self._remove_unused_columns(dataset, description="training")  # type: ignore[attr-defined]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Return the trainer's sampler: it may look for columns of the data set without indices."""
        indexed = self.train_dataset if train_dataset is None else train_dataset
        dataset = indexed.dataset if isinstance(indexed, Indexed) else indexed
        return super()._get_train_sampler(dataset)  # type: ignore[misc]

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        if self._signature_columns is not None and INDEX_KEY not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, INDEX_KEY]

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
        if self.rrm is None:
            return
        # Of all processes together; one of them writes it.
        state = self.rrm.state_dict()
        if self.args.should_save:
            with atomic_write(Path(output_dir, STATE_FILE)) as file:
                checkpoint_file.write(state, file)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        self._checkpoint_folder = None if checkpoint is None else Path(checkpoint)

    def _settings(self) -> dict[str, Any]:
        """Check the arguments of RRM, and return them."""
        if not hasattr(self.train_dataset, "__len__"):
            raise TypeError(
                f"train_dataset must have a length, got {type(self.train_dataset).__name__}: samples of an iterable "
                "data set have no index"
            )
        return read_settings(self._rrm_settings, len(self.train_dataset))

    def _begin(self, n_steps: int, steps_per_epoch: int) -> None:
        """Make RRM for a run, and restore its state if the run is resumed."""
        self.rrm = StepwiseRRM(
            len(self.train_dataset),
            self._settings(),
            steps_per_epoch=steps_per_epoch,
            epochs=planned_epochs(n_steps, steps_per_epoch),
            layout="replicated" if self.args.world_size > 1 else None,
        )
        folder = self._checkpoint_folder
        self._checkpoint_folder = None
        if folder is None:
            self.rrm.warn_of_end(n_steps, steps_per_epoch)
            return
        path = folder / STATE_FILE
        if not path.exists():
            raise FileNotFoundError(
                f"the checkpoint {str(folder)!r} has no {STATE_FILE}: it was saved without RRM; begin the run again"
            )
        with path.open("rb") as file:
            self.rrm.load_state_dict(checkpoint_file.read(file))


class RRMTrainer(RRMMixin, Trainer):
    """`transformers.Trainer` with sample weights: ``RRMTrainer(..., rrm=dict(contamination="auto"))``.

    See `RRMMixin` for the argument `rrm`, and for `sample_losses`; everything else is as in the Trainer.
    """


class _StepCallback(TrainerCallback):
    """Makes the RRM of a trainer when a run begins, and counts the optimizer's steps."""

    def __init__(self, trainer: RRMMixin) -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        n_batches = len(kwargs["train_dataloader"])
        self.trainer._begin(state.max_steps, max(1, -(-n_batches // args.gradient_accumulation_steps)))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        assert self.trainer.rrm is not None
        self.trainer.rrm.step()


class _IndexCollator:
    """A collator that keeps the samples' indices, whatever columns the one it calls keeps."""

    def __init__(self, collator: Callable[[list[Any]], Any]) -> None:
        self.collator = collator

    def __call__(self, features: list[Any]) -> Any:
        if not features or INDEX_KEY not in features[0]:
            return self.collator(features)
        index = torch.tensor([feature[INDEX_KEY] for feature in features])
        others = [{name: value for name, value in feature.items() if name != INDEX_KEY} for feature in features]
        batch = self.collator(others)
        batch[INDEX_KEY] = index
        return batch


def _n_labelled(labels: Any, index: Tensor) -> Tensor | int:
    """Return the number of samples of a batch that have a label; a tensor where counting would wait for a device."""
    if isinstance(labels, Tensor) and labels.ndim == 1 and not labels.is_floating_point():
        return (labels >= 0).sum()
    return len(index)
