"""A small loop in the manner of DivideMix; as a script of a test, killed at random moments and resumed.

Two networks are trained, each on the samples that the other selects by their losses; RRM weights the selected ones. The
population of each RRM changes in every round.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch._dynamo  # The first optimizer would import it, in each child.
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset, TensorDataset

from rrm_torch import RRM, Checkpoint, Indexed, score
from rrm_torch.data import noise
from support.clouds import three_clouds

N = 240
ROUNDS = 8
STEPS = 5  # of a round
X, TRUTH = three_clouds(N)
X = X / 3 + 1.2 * torch.randn(N, 2, generator=torch.Generator().manual_seed(1))
LABELS = torch.from_numpy(noise.symmetric(TRUTH.numpy(), 0.3, 3, rng=0).labels)
DATA = Indexed(TensorDataset(X, LABELS))


class Network:
    """A network, its optimizer, and the weights of the samples that it is trained on."""

    def __init__(self, seed: int, mu: float) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.3, momentum=0.9)
        self.rrm = RRM(N, mu=mu, warmup=1, losses_from="pass")

    @property
    def population(self) -> Tensor:
        """The samples of the round under way: all before the first reweight."""
        return torch.ones(N, dtype=torch.bool) if self.rrm.plan is None else ~self.rrm.losses.isnan()

    def select(self) -> tuple[Tensor, float]:
        """Return which samples have a loss of a correct label, and the estimated share of wrong ones among them."""
        losses = score(self.model, DataLoader(DATA, 64))
        correct = torch.sigmoid(4 * (losses.mean() - losses))
        selected = correct > 0.5
        return selected, float((1 - correct[selected]).mean())

    def reweight(self, selected: Tensor, contamination: float) -> None:
        """Weight the samples that the other network has selected, by this network's losses of them."""
        loader = DataLoader(Subset(DATA, selected.nonzero()[:, 0].tolist()), 64)
        losses = score(self.model, loader, among=selected)
        self.rrm.step(losses, among=selected, contamination=contamination)

    def train(self, index: Tensor) -> None:
        """Take a step on a batch, of which there are two views."""
        views = X[index], X[index] + 0.1 * torch.randn(len(index), 2)
        losses = [cross_entropy(self.model(view), LABELS[index], reduction="none") for view in views]
        loss = self.rrm.weighted_mean(losses[0], index) + self.rrm.weighted_mean(losses[1], index, record=False)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def run(
    path: Path, mu: float, moment: Callable[[], None] = lambda: None, on_round: Callable[..., None] | None = None
) -> str:
    """Train from the checkpoint on, which is saved after each step; return a hash of the final state.

    `moment` is called at moments at which the run may be killed, and `on_round` after each round has begun.
    """
    networks = [Network(seed, mu) for seed in (0, 1)]
    parts = {
        f"{name}{i}": getattr(network, name)
        for i, network in enumerate(networks)
        for name in ("model", "optimizer", "rrm")
    }
    checkpoint = Checkpoint(path, **parts)
    for step in range(checkpoint.load(), ROUNDS * STEPS):
        number, of_round = divmod(step, STEPS)
        if number and not of_round:
            selections = [network.select() for network in networks]
            for network, selection in zip(networks, reversed(selections), strict=True):
                network.reweight(*selection)
                moment()
            if on_round is not None:
                on_round(networks)
        order = torch.randperm(N, generator=torch.Generator().manual_seed(number))
        index = order.chunk(STEPS)[of_round]
        for network in networks:
            network.train(index[network.population[index]])
            moment()
        checkpoint.save(step + 1)
        moment()
    digest = hashlib.blake2b(digest_size=16)
    for network in networks:
        for tensor in [*network.model.state_dict().values(), network.rrm.weights, network.rrm.trajectory.mean_excess]:
            digest.update(tensor.numpy().tobytes())
        digest.update(repr(network.rrm.trajectory.rounds).encode())
    return digest.hexdigest()


class KillAt:
    """Counts moments, and kills the process at one of them."""

    def __init__(self, last: int) -> None:
        self.last = last

    def __call__(self) -> None:
        self.last -= 1
        if not self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_and_resume(path: Path, mu: float) -> None:
    """Kill a run again and again after a few moments, in children, until it has finished.

    Print its hash, and how often it was killed.
    """
    moments = random.Random(1)
    torch.set_num_threads(1)
    killed = 0
    while True:
        kill = KillAt(moments.randrange(1, 30))
        child = os.fork()
        if not child:
            print(run(path, mu, kill), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            print(killed, flush=True)
            sys.exit(code)
        killed += 1


if __name__ == "__main__":
    kill_and_resume(Path(sys.argv[1]), float(sys.argv[2]))
