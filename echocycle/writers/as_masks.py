"""End of the flow: the segmentation of each frame as arrays, for further measuring."""

from pathlib import Path

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.prediction import Prediction


def write_masks(prediction: Prediction, folder: Path) -> Path:
    """Write `<stem>.masks.npz` with `masks` (uint8 probabilities), `affine`, `fps` and `spacing_mm`."""
    if prediction.masks is None:
        raise EchocycleError(f"{prediction.source} has no masks to write: no segmentation model was used.")
    path = Path(folder) / f"{prediction.stem}.masks.npz"
    unmoved = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            masks=prediction.masks,
            affine=unmoved if prediction.affine is None else prediction.affine,
            fps=prediction.fps,
            spacing_mm=prediction.spacing_mm,
        )
    return path
