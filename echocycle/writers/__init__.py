"""End of the flow: a `Prediction` becomes files. One small writer per format, all called the same way.

Each takes the prediction and a folder, and returns the path that it wrote.
"""

from collections.abc import Callable
from pathlib import Path

from echocycle.prediction import Prediction
from echocycle.writers.as_csv import write_csv
from echocycle.writers.as_json import write_json
from echocycle.writers.as_masks import write_masks
from echocycle.writers.overlay import write_overlay

WRITERS: dict[str, Callable[[Prediction, Path], Path]] = {
    "json": write_json,
    "csv": write_csv,
    "overlay": write_overlay,
    "masks": write_masks,
}
