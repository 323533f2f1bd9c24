"""Labels from several sources, some of which are wrong throughout: a quota for each, from a few checked labels.

    python examples/sources.py [SOURCE]

SOURCE is a .npz file or another source of `rrm_torch.load`, such as Fashion-MNIST; by default scikit-learn's digits.
3,000 images (the digits are fewer) are labelled by rules, two for each class: each fires on one half of the images of
its class. In half of the classes the second rule gives the label of the next class. Takes 15 seconds on a CPU, and
the larger set half a minute.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F

from rrm_torch import RRM, batches, evaluate, load
from rrm_torch.models import perceptron

SEED = 0
EPOCHS = 40
N_CHECKED = 10

data = load(sys.argv[1] if len(sys.argv) > 1 else "digits")
rng = np.random.default_rng(SEED)
chosen = rng.permutation(len(data.y_train))[:3000]
x = data.x_train[chosen]
true = data.y_train.numpy()[chosen]

# Rule 2c or 2c + 1 fires on an image of class c, by the side of the median on which its random projection lies.
pixels = x.flatten(1).numpy()
rules = 2 * true
for c in range(data.n_classes):
    projection = pixels[true == c] @ rng.standard_normal(pixels.shape[1])
    rules[true == c] += projection > np.median(projection)
wrong_rules = 1 + 2 * rng.permutation(data.n_classes)[: data.n_classes // 2]
is_wrong = np.isin(rules, wrong_rules)
labels = torch.from_numpy(np.where(is_wrong, (true + 1) % data.n_classes, true))

# A person checks ten labels of each rule. A contamination is below 1: at least one sample of a group is kept.
checked = [rng.permutation(np.flatnonzero(rules == rule))[:N_CHECKED] for rule in range(2 * data.n_classes)]
quotas = np.minimum([is_wrong[samples].mean() for samples in checked], 0.999)


def train(**settings):
    """Return the test accuracy after each epoch."""
    torch.manual_seed(SEED)
    model = perceptron(pixels.shape[1], (128, 128), data.n_classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = batches(x, labels, 64, shuffle=True)
    test_loader = batches(data.x_test, data.y_test, 1000, shuffle=False)
    rrm = RRM(len(labels), warmup=5, **settings)
    accuracies = []
    for _ in range(EPOCHS):
        for index, inputs, targets in loader:
            loss = rrm.weighted_mean(F.cross_entropy(model(inputs), targets, reduction="none"), index)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rrm.step()
        accuracies.append(evaluate(model, test_loader))
    return accuracies


print(f"{len(labels)} labels of {2 * data.n_classes} rules, {100 * is_wrong.mean():.1f} % of them wrong")
methods = {
    "plain": {"contamination": 0},
    "one contamination": {"contamination": is_wrong.mean()},
    "a quota for each rule": {"contamination": quotas, "groups": rules},
}
for name, settings in methods.items():
    accuracies = train(**settings)
    print(f"{name}: test accuracy {100 * accuracies[-1]:.1f} %, best epoch {100 * max(accuracies):.1f} %")
