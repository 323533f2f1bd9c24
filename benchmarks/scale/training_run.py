"""A training run of Clothing1M's size, for torchrun: 1,000,000 samples of 14 classes, 38 % of the labels wrong.

    torchrun --nproc-per-node 2 --module benchmarks.scale.training_run FOLDER

Each rank trains a small convolutional net on its slice and owns the weights of it. FOLDER gets the checkpoint, after
every epoch, and in the end ``rank0.json`` and so on: what RRM cost there, and a hash of all that was learnt. Killed and
started again, it goes on from the checkpoint.
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
# of what is timed by itself
LINES = 2000
STEPS = 30


def labels(n: int) -> tuple[Tensor, Tensor]:
    """Return the given labels of all samples, 38 % of them wrong, and the true ones."""
    truth = torch.randint(CLASSES, (n,), generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(noise.symmetric(truth.numpy(), WRONG, CLASSES, rng=0).labels), truth


def pictures(truth: Tensor, begin: int, end: int) -> Tensor:
    """Return the pictures of a slice, uint8 of shape (samples, 1, SIDE, SIDE): a pattern of their class, in noise."""
    patterns = torch.rand(CLASSES, SIDE * SIDE, generator=torch.Generator().manual_seed(1))
    x = torch.empty(end - begin, SIDE * SIDE, dtype=torch.uint8)
    for block in range(begin // BLOCK, -(-end // BLOCK)):  # the same ones, however many ranks there are
        first = max(block * BLOCK, begin)
        last = min((block + 1) * BLOCK, end)
        drawn = torch.rand(BLOCK, SIDE * SIDE, generator=torch.Generator().manual_seed(block + 2))
        mixed = 0.35 * patterns[truth[first:last]] + 0.65 * drawn[first - block * BLOCK : last - block * BLOCK]
        x[first - begin : last - begin] = 255 * mixed
    return x.view(-1, 1, SIDE, SIDE)


def net(width: int) -> nn.Module:
    """Return a small convolutional net."""
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


def held(rrm: RRM) -> int:
    """Return the bytes of all tensors that an RRM keeps."""
    found: dict[int, int] = {}

    def add(thing: object) -> None:
        for value in vars(thing).values():
            for tensor in value if isinstance(value, list) else [value]:
                if isinstance(tensor, Tensor):
                    storage = tensor.untyped_storage()
                    found[storage.data_ptr()] = storage.nbytes()

    for part in (rrm, rrm.trajectory, rrm._buffer):
        add(part)
    return sum(found.values())


def peak_of(step: object) -> tuple[float, int]:
    """Call `step`; return the seconds, and by how many bytes the process's memory grew at its height."""

    def status(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    start = time.perf_counter()
    step()  # type: ignore[operator]
    return time.perf_counter() - start, status("VmHWM") - before


def added_per_batch(rrm: RRM, index: Tensor) -> float:
    """Return the seconds that a batch's weighted mean takes beyond a plain one, backwards too: medians, in turns."""
    losses = torch.rand(len(index), requires_grad=True)
    seconds: dict[str, list[float]] = {"plain": [], "rrm": []}
    for _ in range(LINES):
        for name, line in {"plain": losses.mean, "rrm": lambda: rrm.weighted_mean(losses, index)}.items():
            start = time.perf_counter()
            line().backward()
            seconds[name].append(time.perf_counter() - start)
    return statistics.median(seconds["rrm"]) - statistics.median(seconds["plain"])


def reweights(n: int) -> dict[str, list[float]]:
    """Return the seconds of reweights of n samples: by this process alone, and by all ranks, in both layouts."""
    c = torch.empty(n).exponential_(generator=torch.Generator().manual_seed(5))
    seconds: dict[str, list[float]] = {}
    for layout in (None, "replicated", "sharded"):
        begin, end = slice_of(n, dist.get_rank(), dist.get_world_size()) if layout == "sharded" else (0, n)
        rrm = RRM(n, contamination=WRONG, warmup=1, layout=layout)
        given = c[begin:end]
        everyone = torch.arange(begin, end)
        seconds[layout or "alone"] = []
        for _ in range(STEPS):
            rrm.weighted_mean(given, everyone)
            dist.barrier()
            if layout is None and dist.get_rank():
                continue  # one process at a time
            start = time.perf_counter()
            rrm.step()
            seconds[layout or "alone"].append(time.perf_counter() - start)
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

    begin, end = slice_of(n, rank, size)
    given, truth = labels(n)
    x = pictures(truth, begin, end)
    y = given[begin:end]
    torch.manual_seed(0)
    model = DistributedDataParallel(net(options.width))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    rrm = RRM(n, contamination=WRONG, warmup=2, mu=0.7, ids=given, layout="sharded")
    whole = FullState(model, optimizer)
    checkpoint = Checkpoint(options.folder / "run.pt", ProcessGroup(), whole=whole, rrm=rrm)
    batches = BatchSampler(sampler := ShardSampler(n), options.batch, drop_last=False)

    epochs = []
    steps = []
    peaks = []
    for epoch in range(checkpoint.load(), options.epochs):
        start = time.perf_counter()
        sampler.set_epoch(epoch)
        for batch in batches:
            index = torch.tensor(batch)
            here = index - begin
            losses = cross_entropy(model(x[here].float() / 255 - 0.5), y[here])
            optimizer.zero_grad()
            rrm.weighted_mean(losses, index).backward()
            optimizer.step()
        dist.barrier()
        epochs.append(time.perf_counter() - start)
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
    wrong = given != truth
    everything = (whole.state_dict(), state)
    result = {
        "samples": n,
        "ranks": size,
        "batch": options.batch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds of epochs": epochs,
        "seconds of reweights": steps,
        "bytes held": held(rrm),
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
    dist.barrier()  # the group ends with the processes
    os._exit(0)  # as in examples/distributed/ddp.py


if __name__ == "__main__":
    main()
