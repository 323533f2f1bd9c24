"""Jobs for tests that train a model over ranks."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from rrm_torch import RRM, Checkpoint, History, Indexed, evaluate, fit, score
from rrm_torch.distributed import FullState, ProcessGroup, ShardSampler

N, CLASSES = 203, 3


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(N, 5, generator=generator)
    return x, (x @ torch.randn(5, CLASSES, generator=generator)).argmax(1)


class Training:
    """A short training run, set up by every rank; `wrap` is ``"ddp"``, ``"fsdp"`` or none."""

    def __init__(self, path: str, layout: str | None, wrap: str, *, scored: bool = False) -> None:
        torch.manual_seed(0)
        x, y = data()
        dataset = Indexed(TensorDataset(x, y))
        # Under FSDP each rank has running statistics of its own, of which a checkpoint holds the first's.
        norm = nn.LayerNorm(16) if wrap == "fsdp" else nn.BatchNorm1d(16)
        self.model: nn.Module = nn.Sequential(
            nn.Linear(5, 16), norm, nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, CLASSES)
        )
        if wrap == "fsdp":
            fully_shard(self.model)
        if wrap == "ddp":
            self.model = DistributedDataParallel(self.model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.rrm = RRM(N, contamination=0.2, warmup=2, mu=0.7, layout=layout, ids=y)
        self.score_loader = None
        if layout is None:
            order = torch.Generator().manual_seed(1)
            self.loader = DataLoader(dataset, batch_size=16, shuffle=True, generator=order)
            ranks, parts = None, {"order": order}
            if scored:
                self.score_loader = DataLoader(dataset, batch_size=64)
        else:
            sampler = DistributedSampler(dataset, seed=1) if layout == "replicated" else ShardSampler(N, seed=1)
            self.loader = DataLoader(dataset, batch_size=16, sampler=sampler)
            ranks, parts = ProcessGroup(), {}
            if scored:
                quiet = DistributedSampler(dataset, shuffle=False)
                if layout == "sharded":
                    quiet = ShardSampler(N, shuffle=False)
                self.score_loader = DataLoader(dataset, batch_size=32, sampler=quiet)
        torch.manual_seed(7 + (dist.get_rank() if layout else 0))
        self.history = History()
        whole = FullState(self.model, self.optimizer)
        self.checkpoint = Checkpoint(path, ranks, whole=whole, rrm=self.rrm, history=self.history, **parts)

    def fit(self, epochs: int, on_epoch: Any = None) -> None:
        fit(
            self.model,
            self.loader,
            self.optimizer,
            epochs,
            rrm=self.rrm,
            score_loader=self.score_loader,
            checkpoint=self.checkpoint,
            on_epoch=on_epoch,
        )

    def outcome(self) -> dict[str, Any]:
        """Return the states of model and RRM, and the next random numbers. Collective."""
        whole = FullState(self.model, self.optimizer).state_dict()
        return {"whole": whole, "rrm": self.rrm.state_dict(), "next": torch.rand(3)}


def trained(folder: str, layout: str | None, wrap: str, halves: bool, scored: bool) -> dict[str, Any]:
    """Train for four epochs, in one run or in two; return the outcome."""
    path = str(Path(folder) / "run.pt")
    if halves:
        Training(path, layout, wrap, scored=scored).fit(2)
        torch.manual_seed(99)  # as another process would begin
    run = Training(path, layout, wrap, scored=scored)
    run.fit(4)
    return run.outcome()


def cut_short(folder: str, how: str, layout: str) -> str:
    """Train until rank 1 dies or hangs after the third epoch; return the error of the others, and if it is in time."""
    run = Training(str(Path(folder) / "run.pt"), layout, "ddp")

    def trouble(epoch: int, _: float) -> None:
        if epoch == 3 and dist.get_rank() == 1:
            if how == "hangs":
                time.sleep(1000)
            os._exit(1)

    begin = time.monotonic()
    try:
        run.fit(5, trouble)
    except RuntimeError as error:
        return f"{'late' if time.monotonic() - begin > 60 else 'in time'}: {error}"
    return "nothing happened"


def finished(folder: str, layout: str | None, wrap: str) -> tuple[int, int]:
    """Resume from a checkpoint; return the number of epochs done, and the final number of reweights."""
    run = Training(str(Path(folder) / "run.pt"), layout, wrap)
    done = run.checkpoint.load()
    run.fit(5)
    return done, len(run.rrm.trajectory.rounds)


class Failing:
    """An object whose state_dict fails on rank 1."""

    def state_dict(self) -> dict[str, Any]:
        if dist.get_rank() == 1:
            raise MemoryError("no room for a copy")
        return {}

    def load_state_dict(self, _state: dict[str, Any]) -> None:
        raise AssertionError


class FailingLoad:
    """An object whose load_state_dict fails on rank 1, unless it gets its own state."""

    def state_dict(self) -> dict[str, Any]:
        return {"rank": dist.get_rank()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if dist.get_rank() == 1 and state.get("rank") != 1:
            raise IndexError("no such entry")


def failing_save(folder: str) -> list[str]:
    """Save when a rank can't write or state_dict fails; return the errors, and the epochs of the next load."""
    run = Training(str(Path(folder) / "run.pt"), "replicated", "ddp")
    run.checkpoint.save(1)
    said = []
    if dist.get_rank() == 0:
        Path(folder, "run.pt").rename(Path(folder, "kept.pt"))
        Path(folder, "run.pt").mkdir()
    dist.barrier()
    try:
        run.checkpoint.save(2)
    except OSError as error:
        said.append(str(error).replace(folder, ""))
    if dist.get_rank() == 0:
        Path(folder, "run.pt").rmdir()
        Path(folder, "kept.pt").rename(Path(folder, "run.pt"))
    dist.barrier()
    kept = run.checkpoint.objects["rrm"]
    run.checkpoint.objects["rrm"] = Failing()
    try:
        run.checkpoint.save(2)
    except RuntimeError as error:
        said.append(str(error))
    run.checkpoint.objects["rrm"] = FailingLoad()
    try:
        run.checkpoint.load()
    except ValueError as error:
        said.append(str(error).replace(folder, ""))
    run.checkpoint.objects["rrm"] = kept
    if dist.get_rank() == 0:
        run.checkpoint.objects["another"] = History()
    try:
        run.checkpoint.save(2)
    except ValueError as error:
        said.append(str(error))
    run.checkpoint.objects.pop("another", None)
    said.append(str(run.checkpoint.load()))
    return said


def undone_load(folder: str, wrap: str) -> bool:
    """Load a file of which an object fails on rank 1; return whether this rank's state is as before."""
    run = Training(str(Path(folder) / "run.pt"), "replicated", wrap)
    run.checkpoint.objects["last"] = FailingLoad()
    run.fit(1)
    run.checkpoint.path = Path(folder, "other.pt")
    run.fit(2)

    def state() -> list[Any]:
        optimizer = run.optimizer.state_dict()["state"].values()
        tensors = [*run.model.state_dict().values(), *(value for entry in optimizer for value in entry.values())]
        local = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
        return [[tensor.tolist() for tensor in local], run.rrm.weights.tolist(), torch.get_rng_state().tolist()]

    before = state()
    run.checkpoint.path = Path(folder, "run.pt")
    try:
        run.checkpoint.load()
    except ValueError as error:
        return "rank 1: last of checkpoint" in str(error) and state() == before
    return False


def untold(folder: str, wrap: str) -> str:
    """Save an object whose state_dict is collective and fails on rank 1; return the error of each rank."""
    run = Training(str(Path(folder) / "run.pt"), "sharded", wrap)
    run.fit(1)
    if dist.get_rank() == 1:
        part = (
            run.rrm if wrap == "ddp" else next(p for p in run.checkpoint.objects.values() if isinstance(p, FullState))
        )
        part.state_dict = Failing().state_dict
    try:
        run.checkpoint.save(2)
    except (RuntimeError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def draws(folder: str) -> tuple[float, float, float]:
    """Go on from a checkpoint; return what is drawn next by torch, Python and NumPy."""
    Training(str(Path(folder) / "run.pt"), "replicated", "ddp").checkpoint.load()
    return float(torch.rand(())), random.random(), float(np.random.rand())  # noqa: NPY002


def scored(folder: str) -> bool:
    """Train with scores; return whether the last reweight used only the scores, for the samples of this rank."""
    run = Training(str(Path(folder) / "run.pt"), "replicated", "ddp", scored=True)
    run.fit(3)
    x, y = data()
    own = torch.arange(N)[dist.get_rank() :: 2][1:]  # the first is scored twice, to give both ranks as many
    found = score(run.model, [(torch.arange(len(own)), x[own], y[own])])
    return torch.allclose(run.rrm.losses[own], found, rtol=1e-4)


def alone() -> float:
    """Evaluate a model under DDP on the first rank alone."""
    model = DistributedDataParallel(nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES)))
    return evaluate(model, [data()]) if dist.get_rank() == 0 else -1.0


def untrained() -> float:
    """Evaluate an untrained model under FSDP."""
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    fully_shard(model)
    before = evaluate(model, [data()])
    model(data()[0]).sum().backward()  # it learns nevertheless
    return before


def of_other_settings(folder: str) -> list[str]:
    """Load with other settings on rank 1, and then a file that rank 1 can't read; return the errors."""
    run, said = Training(str(Path(folder) / "run.pt"), "sharded", "ddp"), []
    run.checkpoint.save(1)
    kept = run.checkpoint.objects["rrm"]
    if dist.get_rank() == 1:
        run.checkpoint.objects["rrm"] = RRM(N, contamination=0.3, warmup=2, mu=0.7, layout="sharded", ids=data()[1])
    try:
        run.checkpoint.load()
    except ValueError as error:
        said.append(str(error))
    run.checkpoint.objects["rrm"] = kept
    if dist.get_rank() == 1:
        run.checkpoint.path = Path(folder)
    try:
        run.checkpoint.load()
    except OSError as error:
        said.append(str(error))
    return said


def disagreeing(folder: str) -> str:
    """Load where ranks see different folders; return what all are told."""
    own = Path(folder, str(dist.get_rank()))
    own.mkdir()
    run = Training(str(own / "run.pt"), "replicated", "ddp")
    run.checkpoint.save(1)
    try:
        run.checkpoint.load()
    except ValueError as error:
        return str(error).replace(str(own), "")
    return ""
