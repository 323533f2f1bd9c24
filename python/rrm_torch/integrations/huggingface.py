"""`RRMTrainer`: the Trainer of Hugging Face's transformers, with sample weights. `RRMMixin` adds them to a subclass.

Needs the extra ``huggingface``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

try:
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "rrm_torch.integrations.huggingface needs transformers: install rrm-core with the extra huggingface"
    ) from error

from ..data.batch import INDEX_KEY
from .huggingface_checks import check_uses_sample_losses, warn_of_another_loss
from .huggingface_losses import as_mapping, default_losses, n_labelled
from .huggingface_state import read_state, write_state
from .indexed_items import IndexCollator, IndexedItems
from .settings import read_settings
from .stepwise import StepwiseRRM, planned_epochs, with_saved_warmup

__all__ = ["RRMMixin", "RRMTrainer"]


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
        An argument of RRM is invalid; the training set has no length; the trainer has a ``compute_loss_func`` or a
        `compute_loss` of its own, and `sample_losses` is not overridden.

    Warns
    -----
    UserWarning
        The run ends before the first reweight, or the model's own loss is not the mean of `sample_losses`; after the
        first epoch, if an override of `compute_loss` has kept the losses from RRM; and as `rrm_torch.RRM`.

    Notes
    -----
    Override `sample_losses` for another loss. Evaluation uses the trainer's own loss, and changes no weight. The state
    is the file ``rrm.pt`` of a checkpoint. With several processes each has the weights of all samples.

    With gradient accumulation a step has the gradient of the mean over all samples of a process, also where the last
    batches of an epoch are smaller.
    """

    # Those of the Trainer that are used here.
    args: TrainingArguments
    model: Any
    train_dataset: Any
    data_collator: Callable[[list[Any]], Any]
    label_names: list[str]
    current_gradient_accumulation_steps: int

    _uses_sample_losses = True
    """Whether the loss of a batch is made of `sample_losses`."""

    _usage = "an override of compute_loss bypasses it; override sample_losses instead"

    loss_is_scaled_for_ga: bool | None = False
    """Tells the Trainer that the loss is a mean over a batch, which it divides by the number of accumulated ones."""

    def __init__(self, *args: Any, rrm: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self.rrm: StepwiseRRM | None = None
        self._rrm_settings = rrm
        self._checkpoint_folder: Path | None = None
        self._n_accumulated = torch.ones((), dtype=torch.int64)
        self._is_compared = False
        super().__init__(*args, **kwargs)
        self._check_loss()
        if self.loss_is_scaled_for_ga is False:
            # Earlier versions of the Trainer decide by this whether they divide the loss.
            self.model_accepts_loss_kwargs = False
        if self.train_dataset is not None:
            self._settings()
        self.add_callback(_StepCallback(self))  # type: ignore[attr-defined]

    def sample_losses(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return one loss per sample; override this for another loss.

        Parameters
        ----------
        outputs : mapping
            Of the model, with ``logits``; made of a tuple if the model returns one.
        labels : Tensor, or tuple of Tensor
            The batch's entries that the trainer's ``label_names`` name.

        Returns
        -------
        Tensor, shape (batch,)
            By the ``problem_type`` of the model's configuration: the cross-entropy, with the trainer's label smoothing;
            the mean binary cross-entropy of several labels; the mean squared error. For one label per token, the mean
            over a sequence.

        Raises
        ------
        ValueError
            There are several labels, or the model predicts the next token.
        """
        return default_losses(self.model, outputs, labels, self.args.label_smoothing_factor)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the weighted mean of a training batch, which is recorded; otherwise what the trainer returns."""
        index = inputs.get(INDEX_KEY)
        model_inputs = {name: value for name, value in inputs.items() if name != INDEX_KEY}
        if not model.training:
            evaluated = super().compute_loss  # type: ignore[misc]
            return evaluated(model, model_inputs, return_outputs, num_items_in_batch=num_items_in_batch)
        if index is None:
            raise ValueError(
                f"a training batch has no {INDEX_KEY}: its collator or an override of get_train_dataloader dropped it"
            )
        loss, outputs = self._weighted_loss(model, model_inputs, index, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _weighted_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        index: Tensor,
        num_items_in_batch: Any,
    ) -> tuple[Tensor, Any]:
        """Return the weighted mean of a training batch, and the model's outputs."""
        labels = self._labels(inputs)
        if labels is None:
            raise ValueError(
                f"a training batch must have {' and '.join(self.label_names)}, got {', '.join(inputs)}; label_names of "
                "TrainingArguments says what labels are called"
            )
        outputs = model(**inputs)
        named = as_mapping(outputs)
        losses = self.sample_losses(named, labels)
        if not self._is_compared and not self.args.label_smoothing_factor:
            warn_of_another_loss(named.get("loss"), losses)
        self._is_compared = True
        assert self.rrm is not None
        classes = labels if isinstance(labels, Tensor) else None
        mean = self.rrm.weighted_mean(losses, index, logits=named.get("logits"), labels=classes)
        return self._as_part_of_step(mean, n_labelled(labels, index)), outputs

    def _labels(self, batch: Mapping[str, Any]) -> Any:
        """Return the labels of a batch: a tensor, or a tuple of several; None if one is missing."""
        labels = tuple(batch.get(name) for name in self.label_names)
        if not labels or any(values is None for values in labels):
            return None
        return labels[0] if len(labels) == 1 else labels

    def _check_loss(self) -> None:
        """Raise if the trainer computes its loss in a way that weights can't enter."""
        is_overridden = type(self).sample_losses is not RRMMixin.sample_losses
        if not self._uses_sample_losses:
            if is_overridden:
                raise ValueError(
                    f"{type(self).__name__} takes the losses from its trainer, and never calls sample_losses"
                )
            return
        check_uses_sample_losses(
            super().compute_loss,  # type: ignore[misc]
            getattr(self, "compute_loss_func", None),
            is_overridden=is_overridden,
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
        counts = [n_labelled(self._labels(batch), batch[INDEX_KEY]) for batch in batches if INDEX_KEY in batch]
        # The mean of no sample is 0.
        self._n_accumulated = torch.as_tensor(sum(counts)).clamp(min=1)
        return batches, n_items

    def get_train_dataloader(self) -> Any:
        """Return the trainer's loader, of batches that have the samples' indices."""
        dataset = self.train_dataset
        collator = self.data_collator
        if dataset is None:
            return super().get_train_dataloader()  # type: ignore[misc]
        # The trainer would do the one or the other.
        if hasattr(dataset, "column_names"):
            indexed = IndexedItems(self._remove_unused_columns(dataset, "training"))  # type: ignore[attr-defined]
            inner = collator
        else:
            indexed = IndexedItems(dataset)
            inner = self._get_collator_with_removed_columns(collator, "training")  # type: ignore[attr-defined]
        self.train_dataset = indexed
        self.data_collator = IndexCollator(inner)
        try:
            return super().get_train_dataloader()  # type: ignore[misc]
        finally:
            self.train_dataset = dataset
            self.data_collator = collator

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Return the trainer's sampler: it may look for columns of the data set without indices."""
        indexed = self.train_dataset if train_dataset is None else train_dataset
        dataset = indexed.dataset if isinstance(indexed, IndexedItems) else indexed
        return super()._get_train_sampler(dataset)  # type: ignore[misc]

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
        if self.rrm is None:
            return
        # Of all processes together; one of them writes it.
        state = self.rrm.state_dict()
        if self.args.should_save:
            write_state(state, Path(output_dir))

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
        folder = self._checkpoint_folder
        self._checkpoint_folder = None
        state = None if folder is None else read_state(folder)
        self.rrm = StepwiseRRM(
            len(self.train_dataset),
            with_saved_warmup(self._settings(), state, steps_per_epoch),
            steps_per_epoch=steps_per_epoch,
            epochs=planned_epochs(n_steps, steps_per_epoch),
            usage=self._usage,
            layout="replicated" if self.args.world_size > 1 else None,
        )
        if state is None:
            self.rrm.warn_of_end(n_steps, steps_per_epoch)
        else:
            self.rrm.load_state_dict(state)


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
