"""Settings of the tests of integrations, which need the packages of `make test-integrations`."""

import os

import pytest
import torch

# No model, data set or metric is fetched.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["TQDM_DISABLE"] = "1"


def pytest_collection_modifyitems(items):
    """Make warnings errors only where this project raises them: other packages have their own."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore"), append=False)
        item.add_marker(
            pytest.mark.filterwarnings("error:::rrm_core|rrm_torch|rrm_review|rrm_sklearn|rrm_keras"), append=False
        )


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Keep torch to one thread: the models here are too small for more, which would only wait for each other."""
    torch.set_num_threads(1)
