"""RRM in Keras: train on data whose labels can't be trusted, on TensorFlow, JAX and PyTorch.

`RRMDataset` is a training set whose batches have weights, `RRMCallback` sets them: ``model.fit(data,
callbacks=[RRMCallback(data)])``. It needs Keras 3.7 or newer; the environment variable ``KERAS_BACKEND`` selects the
framework.
"""

try:
    import keras as _keras
except ImportError as error:
    raise ImportError("rrm_keras needs Keras 3.7 or newer: pip install 'keras>=3.7'") from error

if tuple(map(int, _keras.__version__.split(".")[:2])) < (3, 7):
    raise ImportError(f"rrm_keras needs Keras 3.7 or newer, got {_keras.__version__}: pip install 'keras>=3.7'")

from rrm_core._public import publish as _publish

from .callback import RRMCallback
from .dataset import RRMDataset

__all__ = ["RRMCallback", "RRMDataset"]

_publish(__name__, RRMCallback, RRMDataset)
