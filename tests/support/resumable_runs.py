"""A run in each trainer that saves checkpoints, and goes on with the last one in its folder.

Each function trains, calls `interrupt` with the number of the step in the middle of each step, and returns an
`Outcome`. Trainers that can't resume in the middle of an epoch save after each epoch, the others after each step.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Interrupt = Callable[[int], None]


class Outcome(NamedTuple):
    """The end of a run, as bytes and text that can be compared."""

    parameters: bytes
    weights: bytes
    flagged: list[int]
    estimate: str


def run_huggingface(folder: Path, interrupt: Interrupt) -> Outcome:
    from support.trainer_runs import make_trainer

    trainer = make_trainer(
        folder,
        rrm={"contamination": 0.3, "warmup": 2},
        callbacks=[_interrupting_callback(interrupt)],
        save_strategy="steps",
        save_steps=1,
    )
    return _train(trainer, folder)


def run_trl(folder: Path, interrupt: Interrupt) -> Outcome:
    from rrm_torch.integrations.trl import RRMRewardTrainer
    from support.preference_runs import make_trainer, preferences

    trainer = make_trainer(
        RRMRewardTrainer,
        folder,
        preferences(80).data,
        rrm={"contamination": 0.3, "warmup": 2},
        callbacks=[_interrupting_callback(interrupt)],
        num_train_epochs=4,
        save_strategy="steps",
        save_steps=1,
    )
    return _train(trainer, folder)


def _interrupting_callback(interrupt: Interrupt) -> Any:
    from transformers import TrainerCallback

    class Interrupting(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            interrupt(state.global_step + 1)

    return Interrupting()


def _train(trainer: Any, folder: Path) -> Outcome:
    from transformers.trainer_utils import get_last_checkpoint

    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    return _outcome(trainer.model, trainer.rrm)


def run_lightning(folder: Path, interrupt: Interrupt) -> Outcome:
    from lightning.pytorch.callbacks import Callback, ModelCheckpoint

    from rrm_torch.integrations.lightning import RRMCallback
    from support.lightning_runs import Classifier, StatefulLoader, digits_loader, make_trainer

    class Interrupting(Callback):
        def on_before_optimizer_step(self, trainer: Any, *args: Any) -> None:
            interrupt(trainer.global_step + 1)

    saved = sorted(folder.glob("step=*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))
    callback = RRMCallback({"contamination": 0.3, "warmup": 2})
    saving = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = make_trainer(callback, callbacks=[saving, Interrupting()], enable_checkpointing=True)
    model = Classifier()
    loader = digits_loader(150, cls=StatefulLoader)
    trainer.fit(model, loader, ckpt_path=saved[-1] if saved else None, weights_only=False)
    return _outcome(model, callback.rrm)


def run_skorch(folder: Path, interrupt: Interrupt) -> Outcome:
    import torch
    from skorch.callbacks import Callback, Checkpoint, LoadInitState
    from torch import nn

    from rrm_torch.integrations.skorch import RRMNet
    from support.noisy_digits import make_network, noisy_digits

    class Interrupting(Callback):
        def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
            if training:
                interrupt(sum(len(epoch["batches"]) for epoch in net.history))

    digits = noisy_digits(150)
    history = folder / "history.json"
    n_saved = len(json.loads(history.read_text())) if history.exists() else 0
    saving = Checkpoint(monitor=None, dirname=folder, f_rrm="rrm.pt")
    resuming = [LoadInitState(saving)] if n_saved else []
    net = RRMNet(
        make_network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=3e-3,
        max_epochs=4 - n_saved,
        batch_size=32,
        train_split=None,
        verbose=0,
        rrm={"contamination": 0.3, "warmup": 2},
        callbacks=[Interrupting(), saving, *resuming],
    )
    net.fit(digits.x.numpy(), digits.y.numpy())
    return _outcome(net.module_, net.rrm_)


def run_keras(folder: Path, interrupt: Interrupt) -> Outcome:
    import keras

    from support.keras_runs import fit, make_callback, parameters

    class Interrupting(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.n_steps = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.n_steps = epoch * self.params["steps"]

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.n_steps += 1
            interrupt(self.n_steps)

    rrm = make_callback(150, batch_size=32, contamination=0.3, warmup=2, state_path=folder / "rrm.npz")
    backup = keras.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False)
    model = fit(rrm, epochs=4, callbacks=[backup, Interrupting()])
    return Outcome(parameters(model).tobytes(), rrm.weights.tobytes(), rrm.flagged().tolist(), repr(rrm.estimate))


def _outcome(model: Any, rrm: Any) -> Outcome:
    parameters = [parameter.detach().numpy().ravel() for parameter in model.parameters()]
    return Outcome(
        np.concatenate(parameters).tobytes(), rrm.weights.numpy().tobytes(), rrm.flagged().tolist(), repr(rrm.estimate)
    )


RUNS: dict[str, Callable[[Path, Interrupt], Outcome]] = {
    "huggingface": run_huggingface,
    "trl": run_trl,
    "lightning": run_lightning,
    "skorch": run_skorch,
    "keras": run_keras,
}
