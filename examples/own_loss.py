"""A loss of your own with a regularizer: only the part that depends on the label is weighted.

    python examples/own_loss.py

A multi-label task: each digit has ten yes-or-no labels, and the loss of a sample is their mean binary cross-entropy.
The entropy of the outputs does not depend on the labels, so it is added without a weight.
"""

import torch
import torch.nn.functional as F

from rrm_torch import RRM, batches, load
from rrm_torch.data import noise

torch.manual_seed(0)
digits = load("digits")
noisy = noise.symmetric(digits.y_train.numpy(), 0.2, 10, rng=0)
targets = F.one_hot(torch.from_numpy(noisy.labels), 10).float()
loader = batches(digits.x_train, targets, 32, shuffle=True)

model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
rrm = RRM(len(targets), contamination=0.2, warmup=5)

for _ in range(20):
    for index, x, y in loader:
        logits = model(x)
        losses = F.binary_cross_entropy_with_logits(logits, y, reduction="none").mean(1)  # one loss per sample
        regularizer = 0.01 * torch.special.entr(logits.softmax(1)).sum(1)
        loss = rrm.weighted_mean(losses, index, regularizer=regularizer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    rrm.step()

flagged = rrm.flagged()
precision = torch.from_numpy(noisy.wrong)[flagged].float().mean()
print(f"{len(flagged)} labels flagged, {precision:.1%} of them wrong")
