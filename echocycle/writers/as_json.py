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
    """Write `<recording's name>.json`; unknown numbers are null. Errors: `read_prediction`."""
    _content(prediction.source, folder)
    path = json_path(prediction.source, folder)
    files.write_json(path, as_dictionary(prediction))
    return path


def json_path(source: str, folder: Path) -> Path:
    """Where the result of a recording lies."""
    return Path(folder) / f"{Path(source).name}.json"


def read_prediction(source: str, folder: Path) -> Prediction | None:
    """The result of a recording that lies in a folder, without frames and masks; None if there is none.

    Raises:
        EchocycleError: another recording of the same name has its result there (scanners call every first clip
            alike), or the file is damaged.
    """
    content = _content(source, folder)
    if content is None or content.pop("schema_version", None) != SCHEMA_VERSION:
        return None
    del content["disclaimer"]
    fps, *spacing = (math.nan if value is None else value for value in (content["fps"], *content["spacing_mm"]))
    clips = [(start, ef) for start, ef in content["ef_clips"]]
    affine = None if content["affine"] is None else np.array(content["affine"])
    known = {"fps": fps, "spacing_mm": tuple(spacing), "ef_clips": clips, "affine": affine}
    return Prediction(**{**content, **known})


def _content(source: str, folder: Path) -> dict[str, Any] | None:
    path = json_path(source, folder)
    if not path.exists():
        return None
    content: dict[str, Any] = files.read_json(path)
    if content.get("source") != source:
        raise EchocycleError(f"{path} holds the result of {content.get('source')}. Choose another output folder.")
    return content


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
