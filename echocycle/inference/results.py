"""What a call of `predict` made, and what an earlier one left, each read from its JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from echocycle.errors import EchocycleError
from echocycle.inference.choices import Choices
from echocycle.inference.inputs import Input
from echocycle.prediction import Prediction
from echocycle.writers import WRITERS
from echocycle.writers.as_json import SCHEMA_VERSION, json_path, read_prediction, source_of


class Results(Sequence[Prediction]):
    """The predictions of a call in order, without frames and masks, each read from its JSON when it is asked for."""

    def __init__(self) -> None:
        self.paths: list[Path] = []

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        found = read_prediction(self.paths[index])
        if found is None:
            raise EchocycleError(f"{self.paths[index]} is gone, or was changed.")
        return found

    def add(self, prediction: Prediction, out: Path) -> None:
        """Add one that was written into the folder `out`."""
        self.paths.append(json_path(prediction.stem, out))


def place_of(each: Input, out: Path) -> str:
    """Where the recording's results lie: where they lay before (flat, in results of earlier versions), else where no
    other recording's do."""
    for place in (each.name, Path(each.source).name, each.other_name):
        if source_of(json_path(place, out)) == each.source:
            return place
    return each.name if source_of(json_path(each.name, out)) is None else each.other_name


def earlier_result(
    recording: Path,
    out: Path,
    place: str,
    file: tuple[int, str],
    model: dict[str, Any],
    choices: Choices,
    time_for: Callable[[float], str],
) -> tuple[Prediction, Path] | None:
    """An earlier result of a recording and its JSON, if it is whole and what would be given of the file as it is now.

    Args:
        recording: its file.
        place: where its results lie, as `place_of` gives it.
        file: the recording's size in bytes and its SHA-256.
        model: the model's identity, as `model_identity` gives it.
        time_for: `frames` or `seconds`, as a recording of so many frames a second is predicted now.
    """
    path = json_path(place, out)
    found = read_prediction(path, SCHEMA_VERSION)
    if found is None or found.model != model:
        return None
    time = time_for(found.fps if found.recorded_fps is None else found.recorded_fps)
    if found.time != time or found.protocol != choices.protocol_in_words(time):
        return None
    if (found.size_bytes, found.sha256, found.result) != (*file, place):
        return None
    found = replace(found, file=recording)
    wanted = [writer for name, writer in WRITERS.items() if name in choices.formats and writer.lacks(found) is None]
    return (found, path) if all(writer.path(found, out).exists() for writer in wanted) else None
