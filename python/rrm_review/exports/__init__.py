"""The table of label issues in the formats of other tools. Their packages are imported on first use."""

from .argilla import ARGILLA_MAPPING, to_argilla
from .cleanlab import to_cleanlab, to_datalab
from .dataset import to_dataset
from .fiftyone import to_fiftyone
from .label_studio import label_studio_config, to_label_studio
from .parquet import to_parquet

__all__ = [
    "ARGILLA_MAPPING",
    "label_studio_config",
    "to_argilla",
    "to_cleanlab",
    "to_datalab",
    "to_dataset",
    "to_fiftyone",
    "to_label_studio",
    "to_parquet",
]
