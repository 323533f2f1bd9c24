"""Runs a function on several ranks, for tests."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Of a collective and of a job, in seconds.
TIMEOUT = 60.0
PATIENCE = 300.0


def on_ranks(
    size: int, job: Callable[..., Any], *arguments: Any, timeout: float = TIMEOUT, patience: float = PATIENCE
) -> list[Any]:
    """Run ``job(*arguments)`` on `size` ranks of a gloo group; return what each returned, or the error that it raised.

    None stands for a rank that ended without a result, or was killed after `patience` seconds without one. The job is
    a function of a module that can be imported.
    """
    context = multiprocessing.get_context("forkserver")
    # torch.optim and fully_shard import torch._dynamo when they are first used, which takes a second.
    context.set_forkserver_preload(
        ["torch", "torch._dynamo", "torch.distributed", "rrm_torch", "rrm_torch.distributed"]
    )
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        ranks = []
        for rank in range(size):
            here, there = context.Pipe(duplex=False)
            # As bytes: torch would otherwise share tensors in memory that is freed when the rank ends.
            work = pickle.dumps((job, arguments))
            process = context.Process(target=_serve, args=(there, store, rank, size, timeout, work))
            process.start()
            there.close()
            ranks.append((process, here))
        results = []
        try:
            for _, here in ranks:
                with suppress(EOFError):
                    results.append(pickle.loads(here.recv_bytes()) if here.poll(patience) else None)
                    continue
                results.append(None)
        finally:
            for process, here in ranks:
                process.kill()
                process.join()
                here.close()
    return results


def _serve(pipe: Any, store: str, rank: int, size: int, timeout: float, work: bytes) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=size, timeout=timedelta(seconds=timeout)
    )
    job, arguments = pickle.loads(work)
    try:
        result = job(*arguments)
    except Exception as error:
        result = error
    pipe.send_bytes(pickle.dumps(result))
    dist.destroy_process_group()
