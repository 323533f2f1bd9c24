"""Adversarial training with wrong labels (A-RRM): each batch is attacked before its losses are computed and weighted.

    python examples/adversarial.py

Compares adversarial training with and without RRM: test accuracy on clean images and under a stronger attack.
"""

import torch

from rrm_torch import RRM, batches, evaluate, fit, load
from rrm_torch.adversarial import FGSM, PGD, robustness
from rrm_torch.data import noise

EPS = 0.1  # where black is 0 and white is 1

digits = load("digits")
noisy = noise.symmetric(digits.y_train.numpy(), 0.3, 10, rng=0)
labels = torch.from_numpy(noisy.labels)
test_loader = batches(digits.x_test, digits.y_test, 256, shuffle=False)
pixels = {"unit": digits.white - digits.black, "clip": (digits.black, digits.white)}  # the images are standardised
attack = FGSM(EPS, **pixels)

for name, contamination in (("adversarial training", 0.0), ("A-RRM", 0.3)):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loader = batches(digits.x_train, labels, 32, shuffle=True)
    rrm = RRM(len(labels), contamination=contamination, warmup=5)
    fit(model, loader, optimizer, 60, rrm=rrm, attack=attack)
    attacked = robustness(model, test_loader, PGD(EPS, **pixels), [EPS])[EPS]
    print(f"{name}: test accuracy {evaluate(model, test_loader):.1%}, under PGD {attacked:.1%}")
