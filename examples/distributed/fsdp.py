"""RRM under FSDP: the model's parameters, and the samples' weights, are spread over the ranks.

    torchrun --nproc-per-node 2 examples/distributed/fsdp.py [FOLDER]

Each rank owns a slice of the samples and trains on it. With a folder it saves a checkpoint there after every epoch, of
the whole model and of all weights, and goes on from it, also with another number of ranks.
"""

import os
import sys

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import RRM, Checkpoint, Indexed, evaluate, fit, load
from rrm_torch.data import noise
from rrm_torch.distributed import FullState, ProcessGroup, ShardSampler

dist.init_process_group("gloo")
torch.manual_seed(0)
digits = load("digits")
noisy = noise.symmetric(digits.y_train.numpy(), 0.3, 10, rng=0)
dataset = Indexed(TensorDataset(digits.x_train, torch.from_numpy(noisy.labels)))

loader = DataLoader(dataset, batch_size=32, sampler=ShardSampler(len(dataset)))
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
fully_shard(model)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
rrm = RRM(len(dataset), contamination=0.3, warmup=5, layout="sharded")
checkpoint = None
if len(sys.argv) > 1:
    checkpoint = Checkpoint(sys.argv[1] + "/run.pt", ProcessGroup(), whole=FullState(model, optimizer), rrm=rrm)

fit(model, loader, optimizer, 15, rrm=rrm, checkpoint=checkpoint)

flagged = rrm.flagged()  # of all slices, on every rank
found = torch.from_numpy(noisy.wrong)[flagged].float().mean()
accuracy = evaluate(model, [(digits.x_test, digits.y_test)])  # all ranks take part in the model
if dist.get_rank() == 0:
    print(f"{dist.get_world_size()} ranks, weights of {len(rrm.weights)} samples here: test accuracy {accuracy:.1%}")
    print(f"of {len(flagged)} flagged labels {found:.1%} are wrong")
dist.barrier()  # all together: with the first that leaves, the group ends
sys.stdout.flush()
os._exit(0)  # gloo's threads can abort an interpreter that is shutting down, or wait for it for ever
