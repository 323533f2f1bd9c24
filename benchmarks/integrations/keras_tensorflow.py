"""A model of Keras on TensorFlow. A process has one framework: the first import of Keras decides which."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

from .keras_model import train

__all__ = ["NAME", "train"]

NAME = "Keras on TensorFlow"
