"""Reading an array imports neither its framework, which is loaded, nor another one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, warnings
warnings.simplefilter("ignore")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
values = np.linspace(0.0, 1.0, 10).astype(np.float32)
{create}
before = set(sys.modules)
import rrm_core
weights, plan = rrm_core.reweight(losses, contamination=0.2)
assert plan.n_pruned == 2 and isinstance(weights, type(losses)), type(weights)
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
heavy = "pandas polars pyarrow xarray tensorflow paddle mlx torch jax cupy dask keras scipy numba ml_dtypes".split()
print(sorted(loaded.intersection(heavy)))
"""

CREATE = {
    "polars": "import polars; losses = polars.Series(values)",
    "xarray": "import xarray; losses = xarray.DataArray(values)",
    "tensorflow": "import tensorflow; losses = tensorflow.constant(values)",
    "paddle": "import paddle; losses = paddle.to_tensor(values)",
    "mlx": "import mlx.core; losses = mlx.core.array(values)",
}


@pytest.mark.parametrize("framework", CREATE)
def test_reading_an_array_imports_no_framework(framework):
    program = PROGRAM.format(create=CREATE[framework])
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=Path(__file__).anchor
    )
    assert run.stdout.splitlines()[-1:] == ["[]"], run.stderr
