from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Keep torch to one thread: the models here are too small for more, which would only wait for each other."""
    torch.set_num_threads(1)
