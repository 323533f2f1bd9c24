"""A training run of Clothing1M's size for torchrun: 1,000,000 samples of 14 classes, 38 % of the labels wrong.

    torchrun --nproc-per-node 2 --module benchmarks.scale.training_run FOLDER

Each rank trains a small convolutional network on its shard and holds the sample weights of that shard. FOLDER receives
a checkpoint after every epoch and, at the end, ``rank0.json`` and so on: the cost of RRM on that rank, and a hash of
the final state. After a kill, the same command resumes from the checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import statistics
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler

import rrm_core
from rrm_torch import RRM, Checkpoint, cross_entropy
from rrm_torch.data import noise
from rrm_torch.distributed import FullState, ProcessGroup, ShardSampler, slice_of

CLASSES = 14
WRONG = 0.38
SIDE = 20
BLOCK = 10_000
# repetitions of separate timings
LINES = 2000
STEPS = 30


def labels(n: int) -> tuple[Tensor, Tensor]:
    """Return the noisy labels of all samples, 38 % of them wrong, and the true labels."""
    truth = torch.randint(CLASSES, (n,), generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(noise.symmetric(truth.numpy(), WRONG, CLASSES, rng=0).labels), truth


def images(truth: Tensor, start: int, end: int) -> Tensor:
    """Return the images of a shard, uint8 of shape (samples, 1, SIDE, SIDE): the pattern of the class, with noise."""
    patterns = torch.rand(CLASSES, SIDE * SIDE, generator=torch.Generator().manual_seed(1))
    x = torch.empty(end - start, SIDE * SIDE, dtype=torch.uint8)
    for block in range(start // BLOCK, -(-end // BLOCK)):  # the same images for any number of ranks
        first = max(block * BLOCK, start)
        last = min((block + 1) * BLOCK, end)
        drawn = torch.rand(BLOCK, SIDE * SIDE, generator=torch.Generator().manual_seed(block + 2))
        mixed = 0.35 * patterns[truth[first:last]] + 0.65 * drawn[first - block * BLOCK : last - block * BLOCK]
        x[first - start : last - start] = 255 * mixed
    return x.view(-1, 1, SIDE, SIDE)


def net(width: int) -> nn.Module:
    """Return a small convolutional network."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * (SIDE // 4) ** 2, CLASSES),
    )


def bytes_of_tensors(rrm: RRM) -> int:
    """Return the bytes of all tensors of an RRM."""
    sizes: dict[int, int] = {}

    def add(thing: object) -> None:
        for value in vars(thing).values():
            for tensor in value if isinstance(value, tuple) else [value]:
                if isinstance(tensor, Tensor):
                    storage = tensor.untyped_storage()
                    sizes[storage.data_ptr()] = storage.nbytes()

    for part in (rrm._state, rrm.trajectory._records, rrm._buffer):
        add(part)
    return sum(sizes.values())


def peak_of(step: object) -> tuple[float, int]:
    """Call `step`; return the seconds, and the growth of the process's memory at its peak in bytes."""

    def status(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = status("VmRSS")
    start = time.perf_counter()
    step()  # type: ignore[operator]
    return time.perf_counter() - start, status("VmHWM") - before


def added_per_batch(rrm: RRM, index: Tensor) -> float:
    """Return the seconds that a batch's weighted mean takes beyond a plain mean, with the backward pass; medians."""
    losses = torch.rand(len(index), requires_grad=True)
    seconds: dict[str, list[float]] = {"plain": [], "rrm": []}
    for _ in range(LINES):
        for name, line in {"plain": losses.mean, "rrm": lambda: rrm.weighted_mean(losses, index)}.items():
            start = time.perf_counter()
            line().backward()
            seconds[name].append(time.perf_counter() - start)
    return statistics.median(seconds["rrm"]) - statistics.median(seconds["plain"])


def reweights(n: int) -> dict[str, list[float]]:
    """Return the seconds of reweights of n samples: in a single process, and over all ranks in both layouts."""
    c = torch.empty(n).exponential_(generator=torch.Generator().manual_seed(5))
    seconds: dict[str, list[float]] = {}
    for layout in (None, "replicated", "sharded"):
        start, end = slice_of(n, dist.get_rank(), dist.get_world_size()) if layout == "sharded" else (0, n)
        rrm = RRM(n, contamination=WRONG, warmup=1, layout=layout)
        losses = c[start:end]
        index = torch.arange(start, end)
        seconds[layout or "alone"] = []
        for _ in range(STEPS):
            rrm.weighted_mean(losses, index)
            dist.barrier()
            if layout is None and dist.get_rank():
                continue  # only rank 0
            began = time.perf_counter()
            rrm.step()
            seconds[layout or "alone"].append(time.perf_counter() - began)
    return seconds


def digest(*states: dict[str, object]) -> str:
    """Return a hash of states."""
    content = io.BytesIO()
    torch.save(states, content)
    return hashlib.blake2b(content.getvalue(), digest_size=16).hexdigest()


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=250, help="of each rank")
    parser.add_argument("--width", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    size = dist.get_world_size()
    n = options.samples
    (options.folder / f"rank{rank}.pid").write_text(str(os.getpid()))

    start, end = slice_of(n, rank, size)
    noisy_labels, truth = labels(n)
    x = images(truth, start, end)
    y = noisy_labels[start:end]
    torch.manual_seed(0)
    model = DistributedDataParallel(net(options.width))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    rrm = RRM(n, contamination=WRONG, warmup=2, mu=0.7, ids=noisy_labels, layout="sharded")
    full_state = FullState(model, optimizer)
    checkpoint = Checkpoint(options.folder / "run.pt", ProcessGroup(), whole=full_state, rrm=rrm)
    batches = BatchSampler(sampler := ShardSampler(n), options.batch, drop_last=False)

    epochs = []
    steps = []
    peaks = []
    for epoch in range(checkpoint.load(), options.epochs):
        began = time.perf_counter()
        sampler.set_epoch(epoch)
        for batch in batches:
            index = torch.tensor(batch)
            local_index = index - start
            losses = cross_entropy(model(x[local_index].float() / 255 - 0.5), y[local_index])
            optimizer.zero_grad()
            rrm.weighted_mean(losses, index).backward()
            optimizer.step()
        dist.barrier()
        epochs.append(time.perf_counter() - began)
        if rrm.due:
            seconds, peak = peak_of(rrm.step)
            steps.append(seconds)
            peaks.append(peak)
        else:
            rrm.step()
        checkpoint.save(epoch + 1)
        if rank == 0:
            print(f"epoch {epoch + 1}: {epochs[-1]:.1f} s, {rrm.plan}", flush=True)

    flagged = rrm.flagged()
    state = rrm.state_dict()
    wrong = noisy_labels != truth
    everything = (full_state.state_dict(), state)
    result = {
        "samples": n,
        "ranks": size,
        "batch": options.batch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds of epochs": epochs,
        "seconds of reweights": steps,
        "bytes held": bytes_of_tensors(rrm),
        "bytes beyond, at the height of a reweight": peaks,
        "seconds added per batch": added_per_batch(rrm, index),
        "batches": len(sampler) // options.batch,
        "wrong labels found": int(wrong[flagged].sum()) / int(wrong.sum()),
        "reweights rehearsed": reweights(n),
        "hash": digest(*everything),
        "plan": repr(rrm.plan),
        "version": rrm_core.__version__,
    }
    (options.folder / f"rank{rank}.json").write_text(json.dumps(result, indent=1) + "\n")
    dist.barrier()  # all processes end together
    os._exit(0)  # as in examples/distributed/ddp.py


if __name__ == "__main__":
    main()
