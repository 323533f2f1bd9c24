"""From data with wrong labels to the list of them: handwritten digits, 30 % of the labels flipped.

    python examples/quickstart.py

Needs scikit-learn for the digits, and nothing from the network. Takes about 15 seconds on a CPU.
"""

import statistics

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from rrm_torch import RRM, batches

RATE = 0.3
EPOCHS = 40
SEEDS = range(3)

x, y = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
x = x.float() / 16


def train(seed, contamination):
    """Train on flipped labels; return the test accuracy, the RRM and which labels are wrong."""
    torch.manual_seed(seed)
    order = torch.randperm(len(x))
    train_rows, test_rows = order[:1347], order[1347:]

    # Flip: add 1 to 9 to the class, modulo 10.
    wrong = torch.rand(len(train_rows)) < RATE
    shift = torch.randint(1, 10, (len(train_rows),)) * wrong
    labels = (y[train_rows] + shift) % 10

    loader = batches(x[train_rows], labels, 32, shuffle=True)  # yields (index, inputs, targets)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    rrm = RRM(len(labels), contamination=contamination, epochs=EPOCHS)

    for _ in range(EPOCHS):
        for index, inputs, targets in loader:
            logits = model(inputs)
            losses = F.cross_entropy(logits, targets, reduction="none")
            loss = rrm.weighted_mean(losses, index, logits=logits, labels=targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rrm.step()

    accuracy = (model(x[test_rows]).argmax(1) == y[test_rows]).float().mean().item()
    return accuracy, rrm, wrong


def mean_and_std(values):
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f} %"


plain = [train(seed, contamination=0)[0] for seed in SEEDS]
results = [train(seed, contamination="auto") for seed in SEEDS]
accuracies = [accuracy for accuracy, _, _ in results]
estimates = [rrm.estimate.contamination for _, rrm, _ in results]
recalls = [(wrong[rrm.flagged()].sum() / wrong.sum()).item() for _, rrm, wrong in results]

print("most suspicious samples of seed 0:", results[0][1].flagged()[:10].tolist())
print("estimated share of wrong labels:", mean_and_std(estimates), f"(true: {100 * RATE:.0f} %)")
print("test accuracy, plain:", mean_and_std(plain))
print("test accuracy, RRM:  ", mean_and_std(accuracies))
print("wrong labels found:  ", mean_and_std(recalls))
