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
    """Write `<stem>.json`; unknown numbers are null. Errors: that of another recording lies there (`source_of`)."""
    path = json_path(prediction.stem, folder)
    other = source_of(path)
    if other not in (None, files.printable(prediction.source)):
        raise EchocycleError(f"{path} holds the result of {other}. Choose another output folder.")
    files.write_json(path, as_dictionary(prediction))
    return path


def json_path(stem: str, folder: Path) -> Path:
    """Where the result of a recording lies."""
    return Path(folder) / f"{stem}.json"


def source_of(path: Path) -> str | None:
    """Whose result a file holds; None if there is no such file.

    Raises `EchocycleError` for a file that is no result of `predict`, or damaged.
    """
    content = _content(path)
    return None if content is None else content["source"]


def read_prediction(path: Path) -> Prediction | None:
    """The result in a file, without frames and masks.

    None if there is no file, or if its content is that of another version; errors as in `source_of`.
    """
    content = _content(path)
    if content is None or content.pop("schema_version", None) != SCHEMA_VERSION:
        return None
    content.pop("disclaimer", None)
    try:
        fps, *spacing = (
            math.nan if value is None else float(value) for value in (content["fps"], *content["spacing_mm"])
        )
        clips = [(int(start), math.nan if ef is None else float(ef)) for start, ef in content["ef_clips"]]
        affine = None if content["affine"] is None else np.array(content["affine"], float)
        known = {"fps": fps, "spacing_mm": tuple(spacing), "ef_clips": clips, "affine": affine}
        found = Prediction(**{**content, **known})
        return found if _has_its_types(found) else None
    except (KeyError, TypeError, ValueError):
        return None


def _has_its_types(found: Prediction) -> bool:
    numbers = all(value is None or isinstance(value, int | float) for value in (found.ef, found.ef_by_discs))
    lists = (found.notes, found.warnings, found.mask_area_px, found.ed_frames, found.es_frames, found.ef_members)
    texts = (found.protocol, found.result)
    return (
        numbers
        and len(found.spacing_mm) == 2
        and (found.affine is None or found.affine.shape == (2, 3))
        and isinstance(found.model, dict)
        and all(isinstance(value, list) for value in lists)
        and all(isinstance(value, int | float) for value in found.ef_members)
        and all(isinstance(value, str) for value in (*texts, *found.notes, *found.warnings))
    )


def _content(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    content = files.read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("source"), str):
        raise EchocycleError(f"{path} is not a result of `predict`. Move it, or choose another output folder.")
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
    if isinstance(value, str):
        return files.printable(value)
    return value if value is None or isinstance(value, bool | int | float) else files.printable(str(value))
