"""MNIST with both wrong labels and adversarial examples: A-RRM against adversarial training (AT).

As in the authors' code, eps is in units of standardised pixels (0.1 is 0.03 of the range from black to white), and
perturbed images are not clipped. Training attacks with the largest eps that is tested.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .mnist import execute
from .runner.jobs import Experiment, Job

RATES = (0.2, 0.3)
EPS = [0.0, 0.1, 0.2]
EPOCHS = 60
SAMPLES = 20_000
FGSM: dict[str, Any] = {"name": "fgsm", "eps": 0.2}
PGD: dict[str, Any] = {"name": "pgd", "eps": 0.2, "steps": 5}


def jobs(seeds: int) -> list[Job]:
    """Return AT and A-RRM at both rates, with both attacks, and some variants, with all seeds."""
    jobs = []
    for rate in RATES:
        rrm = {"contamination": rate, "warmup": 10, "redistribute": "kept"}
        base: dict[str, Any] = {
            "noise": rate,
            "samples": SAMPLES,
            "model": "784-320-320-200-10, no biases",
            "loss": "cce",
            "recipe": {"optimizer": "adam", "lr": 1e-3, "batch_size": 128, "epochs": EPOCHS},
            "scoring": "recorded",
            "test_attacks": [{"name": "fgsm"}, {"name": "pgd", "steps": 20}],
            "test_eps": EPS,
        }
        methods = {
            "no attack in training": base | {"rrm": None},
            "RRM, no attack in training": base | {"rrm": rrm},
            "AT, FGSM": base | {"attack": FGSM, "rrm": None},
            "A-RRM, FGSM": base | {"attack": FGSM, "rrm": rrm},
            "A-RRM, FGSM, argmin": base | {"attack": FGSM, "rrm": rrm | {"redistribute": "argmin"}},
            "A-RRM, FGSM, redistribute 0.1": base | {"attack": FGSM, "rrm": rrm | {"redistribute": 0.1}},
            "A-RRM, FGSM, fresh losses": base | {"attack": FGSM, "rrm": rrm, "scoring": "pass"},
            "A-RRM, FGSM, fresh losses of clean inputs": base
            | {"attack": FGSM, "rrm": rrm, "scoring": "pass", "score_inputs": "clean"},
            "AT, PGD": base | {"attack": PGD, "rrm": None},
            "A-RRM, PGD": base | {"attack": PGD, "rrm": rrm},
        }
        jobs += [Job(method, settings, seed) for method, settings in methods.items() for seed in range(seeds)]
    return jobs


EXPERIMENT = Experiment(
    "mnist-adversarial",
    ("mnist.npz",),
    jobs,
    partial(execute, "mnist.npz"),
)
