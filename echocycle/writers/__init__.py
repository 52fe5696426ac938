"""End of the flow: a `Prediction` becomes files. One small writer per format, all called the same way.

Each takes the prediction and a folder, and returns the path that it wrote; a file is there whole or not at all. What
takes longest comes last: with the JSON on disk a full disk or a kill costs the overlay only. The table of all
recordings (`as_csv.py`) grows by a row each; what has no EF is listed in another (`as_failures.py`).
"""

from collections.abc import Callable
from pathlib import Path

from echocycle.prediction import Prediction
from echocycle.writers.as_json import write_json
from echocycle.writers.as_masks import write_masks
from echocycle.writers.overlay import write_overlay

WRITERS: dict[str, Callable[[Prediction, Path], Path]] = {
    "masks": write_masks,
    "json": write_json,
    "overlay": write_overlay,
}
