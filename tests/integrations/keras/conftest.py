"""The tests in this process use Keras on PyTorch; `test_backends` starts a process for each backend."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
