"""A model of Keras on JAX. A process has one framework: the first import of Keras decides which."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"

from .keras_model import train

__all__ = ["NAME", "train"]

NAME = "Keras on JAX"
