"""End of the flow: one JSON file per recording, for programs. The arrays stay out of it."""

import math
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from echocycle import files
from echocycle.errors import EchocycleError
from echocycle.prediction import DISCLAIMER, Prediction

SCHEMA_VERSION = 2
"""1 had no beats, volumes, flags and intervals."""
LEFT_OUT = ("masks", "frames", "file")
MEASURED = {
    "headline", "headline_reason", "flags", "interval", "interval_by_discs", "category_probabilities",
    "ef_disagreement", "ef_area_length", "edv", "esv", "volume_unit", "heart_rate", "rate_variation", "ef_variation",
    "irregular", "axis_shortening", "longitudinal_shortening", "beats", "volume_curve", "label_provenance",
    "stored_frames", "ef_members", "engines",
}  # fmt: skip
"""Fields that are read by their annotated types."""


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


def read_prediction(path: Path, oldest: int = 1) -> Prediction | None:
    """The result in a file, without frames and masks; what its version did not know is empty.

    None if there is no file, or if its content is that of a version before `oldest`, or later than this program's;
    errors as in `source_of`.
    """
    content = _content(path)
    if content is None or content.pop("schema_version", None) not in range(oldest, SCHEMA_VERSION + 1):
        return None
    content.pop("disclaimer", None)
    try:
        fps, *spacing = (
            math.nan if value is None else float(value) for value in (content["fps"], *content["spacing_mm"])
        )
        clips = [(int(start), math.nan if ef is None else float(ef)) for start, ef in content["ef_clips"]]
        affine = None if content["affine"] is None else np.array(content["affine"], float)
        known = {"fps": fps, "spacing_mm": tuple(spacing), "ef_clips": clips, "affine": affine}
        hints = get_type_hints(Prediction)
        known |= {name: _of_type(hints[name], content[name]) for name in hints.keys() & content.keys() & MEASURED}
        found = Prediction(**{**content, **known})
        return found if _has_its_types(found) else None
    except (KeyError, TypeError, ValueError):
        return None


def _of_type(kind: Any, value: Any) -> Any:
    """A value of JSON as the annotated type; `TypeError` where it is none of it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        (kind,) = (each for each in inner if each is not NoneType)
        return _of_type(kind, value)
    if origin is list and isinstance(value, list):
        return [_of_type(inner[0], item) for item in value]
    if origin is dict and isinstance(value, dict):
        return {_of_type(inner[0], key): _of_type(inner[1], item) for key, item in value.items()}
    if origin is Literal and value in inner:
        return value
    if is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        return kind(**{name: _of_type(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise TypeError(f"{value!r} is no {kind}")


def _has_its_types(found: Prediction) -> bool:
    maybe = (found.ef, found.ef_by_discs, found.recorded_fps)
    numbers = all(value is None or isinstance(value, int | float) for value in maybe)
    lists = (found.notes, found.warnings, found.mask_area_px, found.ed_frames, found.es_frames, found.ef_members)
    texts = (found.protocol, found.result)
    return (
        numbers
        and len(found.spacing_mm) == 2
        and (found.affine is None or found.affine.shape == (2, 3))
        and found.time in ("frames", "seconds")
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
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
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
