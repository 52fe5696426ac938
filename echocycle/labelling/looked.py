"""What a model says of one recording, kept as one small file: contours of all frames, beats, EF and its spreads."""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.labelling.curve import ON_A_SIDE, Contour, contour_of_mask
from echocycle.labelling.frames import Facts, facts_from

if TYPE_CHECKING:
    import torch

    from echocycle.bundle import Bundle
    from echocycle.recordings.sector import CutRecording

HANDLES = 2 * ON_A_SIDE + 4
CELLS = 12
"""Cells to a side of the pictures (mean and spread over time) by which recordings are compared."""
STRIDE = 8
"""Frames between two clips whose EF are compared."""
FORMAT = 1


@dataclass(frozen=True)
class Looked:
    """One recording as a model sees it. Contours are in pixels of the frames as they are stored."""

    facts: Facts
    handles: NDArray[np.float32]
    """(frames, `HANDLES`, 2); NaN where no ventricle was found."""
    areas: NDArray[np.float32]
    """(frames,) pixels of the left ventricle."""
    beats: NDArray[np.int32]
    """(beats, 2): frames of ED and ES."""
    look: NDArray[np.float32]
    """(2 * `CELLS` ** 2,): what the recording looks like, for distances."""
    numbers: dict[str, float]
    """Those of `ef`, `ef_discs`, `spread_clips`, `spread_beats`, `spread_members` that are known; EF points."""
    notes: tuple[str, ...]

    def contour(self, frame: int) -> Contour | None:
        """The contour of a frame; None where no ventricle was found."""
        if not 0 <= frame < len(self.handles) or not np.isfinite(self.handles[frame]).all():
            return None
        points = tuple((float(x), float(y)) for x, y in self.handles[frame])
        return Contour(frame, points, 0, (ON_A_SIDE + 1, ON_A_SIDE + 3))

    @cached_property
    def pair(self) -> tuple[Contour, Contour] | None:
        """Contours of ED and ES of the beat whose EF is the middle one; None where no beat was found."""
        found = []
        for ed, es in self.beats.tolist():
            pair = self.contour(ed), self.contour(es)
            if pair[0] is None or pair[1] is None:
                continue
            edv, esv = (each.volume()[0] for each in (pair[0], pair[1]))
            if edv > 0:
                found.append(((edv - esv) / edv, ed, pair[0], pair[1]))
        if not found:
            return None
        found.sort(key=lambda each: each[:2])
        return found[len(found) // 2][2:]

    def write(self, path: Path) -> None:
        """Keep it, whole or not at all."""
        about = {"format": FORMAT, "facts": asdict(self.facts), "numbers": self.numbers, "notes": self.notes}
        arrays = {name: getattr(self, name) for name in ("handles", "areas", "beats", "look")}
        with replacing(path) as temporary:
            np.savez_compressed(temporary, about=np.array(json.dumps(about)), **arrays)


def read_looked(path: Path) -> Looked | None:
    """What was kept; None where there is nothing, or something damaged: it lies in a cache and is made again."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            about = json.loads(str(kept["about"]))
            if about.pop("format") != FORMAT:
                return None
            arrays: dict[str, Any] = {name: kept[name] for name in ("handles", "areas", "beats", "look")}
        facts = facts_from(about["facts"])
        if arrays["handles"].shape != (facts.n_frames, HANDLES, 2) or len(arrays["areas"]) != facts.n_frames:
            return None
        return Looked(facts, **arrays, numbers=about["numbers"], notes=tuple(about["notes"]))
    except Exception:  # a damaged zip fails in many ways inside numpy
        return None


# ------------------------------------------------------------------------------------------------- looking


def look_at(
    path: Path, bundle: "Bundle", device: "torch.device", stride: int = STRIDE
) -> tuple[Looked, NDArray[np.uint8]]:
    """What a model with a segmenter says of a recording, and its middle frame.

    Raises what reading the recording raises.
    """
    from echocycle.inference.recordings import predict_cut
    from echocycle.labelling.frames import facts_of, read_frames
    from echocycle.recordings.recording import read_recording
    from echocycle.recordings.sector import cut_sector, to_grey

    recording = read_recording(path, color=any(part.spec.color for part in bundle.parts().values()))
    stored = recording.stored_frames
    if stored is None:
        frames = to_grey(recording.frames)
        facts = facts_of(recording, frames)
    else:
        frames, facts = read_frames(path)
    cut = cut_sector(recording)
    found = predict_cut(cut, path.name, bundle, None, device, stride)
    handles = np.full((len(cut.frames), HANDLES, 2), np.nan, np.float32)
    areas = np.zeros(len(cut.frames), np.float32)
    if found.masks is not None:
        areas[:] = np.array(found.mask_area_px) * abs(np.linalg.det(cut.affine[:, :2]))
        for number, mask in enumerate(found.masks):
            contour = contour_of_mask(mask.astype(np.float32) / 255, number) if areas[number] > 0 else None
            if contour is not None:
                handles[number] = contour.moved(cut.affine).points
    beats = np.array(list(zip(found.ed_frames, found.es_frames, strict=True)), np.int32).reshape(-1, 2)
    if stored is not None:  # the model sees an even grid in time, and the reader the frames of the file
        places = [place_of(frame, stored) for frame in range(len(frames))]
        handles, areas, beats = handles[places], areas[places], stored[beats].astype(np.int32)
    numbers = {"ef": found.ef if bundle.regressor is not None else None, "ef_discs": found.ef_by_discs}
    numbers |= _spreads(found.ef_clips, cut, bundle, device, stride)
    known = {name: float(value) for name, value in numbers.items() if value is not None and np.isfinite(value)}
    looked = Looked(facts, handles, areas, beats, _look(cut.frames), known, tuple(found.notes))
    efs = [100 * (1 - esv / edv) for edv, esv in _volumes(looked) if edv > 0]
    if len(efs) > 1:
        looked = replace(looked, numbers={**known, "spread_beats": float(np.std(efs))})
    return looked, frames[len(frames) // 2]


def place_of(frame: int, stored: NDArray[np.int64] | None) -> int:
    """Where a frame of the file lies on the even grid that the model sees; `stored` is `Recording.stored_frames`."""
    return frame if stored is None else int(np.argmin(np.abs(stored - frame)))


def _volumes(looked: Looked) -> list[tuple[float, float]]:
    pairs = [(looked.contour(ed), looked.contour(es)) for ed, es in looked.beats.tolist()]
    return [(ed.volume()[0], es.volume()[0]) for ed, es in pairs if ed is not None and es is not None]


def _spreads(
    clips: list[tuple[int, float]], cut: "CutRecording", bundle: "Bundle", device: "torch.device", stride: int
) -> dict[str, float | None]:
    """How EF differs over clips and, of a model with several members, over these; standard deviations, EF points."""
    from echocycle.inference.recordings import predict_cut
    from echocycle.models.specs import Part

    spreads: dict[str, float | None] = {"spread_clips": None, "spread_members": None}
    if len(clips) > 1:
        spreads["spread_clips"] = float(np.std([ef for _, ef in clips]))
    regressor = bundle.regressor
    if regressor is not None and regressor.spec.members > 1:
        alone = replace(regressor.spec, members=1)
        members = [Part(alone, member) for member in regressor.network.children()]
        found = [predict_cut(cut, "", replace(bundle, regressor=part), None, device, stride).ef for part in members]
        answers = [ef for ef in found if ef is not None]
        spreads["spread_members"] = float(np.std(answers)) if len(answers) > 1 else None
    return spreads


def _look(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean and standard deviation over time of the cut picture, in cells, each brought to mean 0 and deviation 1."""
    step = frames.shape[1] // CELLS
    few = frames[:: max(1, len(frames) // 64), : step * CELLS, : step * CELLS].astype(np.float32)
    cells = few.reshape(len(few), CELLS, step, CELLS, step).mean((2, 4))
    parts = [cells.mean(0), cells.std(0)]
    return np.concatenate([((part - part.mean()) / (part.std() + 1e-6)).ravel() for part in parts])


def require_segmenter(parts: dict[str, Any], model: str) -> None:
    """Refuse a model that can propose no contour."""
    if "segmenter" not in parts:
        raise EchocycleError(f"The model {model} has no segmenter, so it can propose no contour. Name another --model.")
