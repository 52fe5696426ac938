"""End of the flow: one JSON file per recording, for programs. The arrays stay out of it."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from echocycle import files
from echocycle.errors import EchocycleError
from echocycle.prediction import DISCLAIMER, Prediction

SCHEMA_VERSION = 1
LEFT_OUT = ("masks", "frames")


def write_json(prediction: Prediction, folder: Path) -> Path:
    """Write `<recording's name>.json`; unknown numbers are null.

    A file there from another recording of the same name (scanners call every first clip alike) is not overwritten.
    """
    path = Path(folder) / f"{Path(prediction.source).name}.json"
    if path.exists() and (earlier := files.read_json(path).get("source")) != prediction.source:
        raise EchocycleError(f"{path} holds the result of {earlier}. Choose another output folder.")
    files.write_json(path, as_dictionary(prediction))
    return path


def as_dictionary(prediction: Prediction) -> dict[str, Any]:
    """The prediction in the types of JSON, without its masks and frames."""
    content = {
        field.name: _plain(getattr(prediction, field.name))
        for field in fields(prediction)
        if field.name not in LEFT_OUT
    }
    return {"schema_version": SCHEMA_VERSION, "disclaimer": DISCLAIMER, **content}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
