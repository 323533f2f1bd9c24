"""Paddle is imported first: where TensorFlow is loaded before it, importing it ends the process (Paddle 3.3)."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import paddle  # noqa: F401
