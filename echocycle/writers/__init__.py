"""End of the flow: a `Prediction` becomes files. One small writer per format, all called the same way.

Each takes the prediction and a folder, and returns the path that it wrote. The JSON is written last: where it lies, the
others do too. The table of all recordings (`as_csv.py`) is written once, from all predictions.
"""

from collections.abc import Callable
from pathlib import Path

from echocycle.prediction import Prediction
from echocycle.writers.as_json import write_json
from echocycle.writers.as_masks import write_masks
from echocycle.writers.overlay import write_overlay

WRITERS: dict[str, Callable[[Prediction, Path], Path]] = {
    "overlay": write_overlay,
    "masks": write_masks,
    "json": write_json,
}
