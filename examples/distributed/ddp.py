"""RRM under DistributedDataParallel: digits with wrong labels, learnt by two ranks that may each see any sample.

    torchrun --nproc-per-node 2 examples/distributed/ddp.py [FOLDER]

With a folder it saves a checkpoint there after every epoch, and goes on from it if it is started again, also with
another number of ranks. On GPUs: ``init_process_group("nccl")``, and the model and the batches on the rank's device.
"""

import os
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from rrm_torch import RRM, Checkpoint, Indexed, evaluate, fit, load
from rrm_torch.data import noise
from rrm_torch.distributed import ProcessGroup

dist.init_process_group("gloo")
torch.manual_seed(0)  # the same first parameters on all ranks
digits = load("digits")
noisy = noise.symmetric(digits.y_train.numpy(), 0.3, 10, rng=0)
dataset = Indexed(TensorDataset(digits.x_train, torch.from_numpy(noisy.labels)))

loader = DataLoader(dataset, batch_size=32, sampler=DistributedSampler(dataset))
model = DistributedDataParallel(
    torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
rrm = RRM(len(dataset), contamination=0.3, warmup=5, layout="replicated")
checkpoint = None
if len(sys.argv) > 1:
    checkpoint = Checkpoint(sys.argv[1] + "/run.pt", ProcessGroup(), model=model, optimizer=optimizer, rrm=rrm)

fit(model, loader, optimizer, 15, rrm=rrm, checkpoint=checkpoint)

flagged = rrm.flagged()  # collective: every rank calls it, and all get the same
found = torch.from_numpy(noisy.wrong)[flagged].float().mean()
if dist.get_rank() == 0:
    test = [(digits.x_test, digits.y_test)]
    print(f"{dist.get_world_size()} ranks: test accuracy {evaluate(model, test):.1%}, {rrm.plan}")
    print(f"of {len(flagged)} flagged labels {found:.1%} are wrong")
dist.barrier()  # no rank may exit before the others
sys.stdout.flush()
os._exit(0)  # gloo's threads can abort an interpreter that is shutting down, or wait for it for ever
