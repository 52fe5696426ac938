"""What is measured in a recording's masks: areas, beats, volumes, EF by discs, rhythm, shortening."""

import math
from dataclasses import dataclass, replace

import numpy as np

from echocycle.cardiac.beats import USUAL_FPS, Beat
from echocycle.cardiac.discs import BeatEF, DiscsEF, ef_by_discs
from echocycle.cardiac.rhythm import Rhythm, ejection_times, rhythm_of
from echocycle.inference.clips import THRESHOLD
from echocycle.prediction import MeasuredBeat, Prediction

RATE_UNKNOWN = f"The frame rate is unknown; {USUAL_FPS:g} frames a second are taken for beats."


@dataclass(frozen=True)
class Measured:
    """What the masks gave, for those who judge it."""

    marked: np.ndarray
    """bool (time, height, width): the left ventricle."""
    discs: DiscsEF
    """With every frame's volume."""
    rhythm: Rhythm


def with_masks(result: Prediction, masks: np.ndarray, *, usable: bool) -> tuple[Prediction, Measured]:
    """Areas and, where the masks are usable, beats, volumes, EF by discs and rhythm.

    Args:
        masks: uint8 (time, height, width), probabilities.
        usable: whether an EF can be told from them.
    """
    marked = masks > THRESHOLD
    spacing = result.spacing_mm if all(map(math.isfinite, result.spacing_mm)) else None
    known_rate = math.isfinite(result.fps)
    fps = result.fps if known_rate else USUAL_FPS
    discs = ef_by_discs(marked, fps, spacing, every_frame=True)
    rhythm = rhythm_of(discs.area, [Beat(beat.ed, beat.es) for beat in discs.beats], fps)
    measured = Measured(marked, discs, rhythm)
    result.notes.extend(f"Masks: {note}." for note in discs.notes)
    result = replace(result, masks=masks, mask_area_px=[float(area) for area in discs.area])
    if not usable:
        return result, measured
    whole = [beat for beat in discs.beats if _is_whole(beat, len(masks))]
    return (
        replace(
            result,
            ef_by_discs=_ef(discs.ef),
            ed_frames=[beat.ed for beat in discs.beats],
            es_frames=[beat.es for beat in discs.beats],
            ef_area_length=_ef(discs.ef_area_length),
            edv=_known(discs.edv),
            esv=_known(discs.esv),
            volume_unit="px3" if spacing is None else "ml",
            heart_rate=_known(rhythm.rate) if known_rate else None,
            rate_variation=_known(rhythm.variation),
            ef_variation=float(np.std([beat.ef for beat in whole], ddof=1)) if len(whole) > 1 else None,
            irregular=rhythm.irregular,
            axis_shortening=_known(discs.axis_shortening),
            longitudinal_shortening=_known(discs.wall_shortening),
            beats=_beats(discs, fps if known_rate else None, len(masks)),
            volume_curve=[round(float(volume.volume), 4) for volume in discs.frames],
        ),
        measured,
    )


def with_clips(result: Prediction, span: int) -> Prediction:
    """The EF by regression of each beat: the mean of the clips, `span` frames long, whose middle lies in it."""
    if not result.beats:
        return result
    ends = [beat.ed for beat in result.beats[1:]] + [result.n_frames]
    beats = []
    for beat, end in zip(result.beats, ends, strict=True):
        inside = [ef for start, ef in result.ef_clips if min(beat.ed, beat.es) <= start + span // 2 < end]
        beats.append(replace(beat, ef_by_regression=float(np.mean(inside)) if inside else None))
    return replace(result, beats=beats)


def _beats(discs: DiscsEF, fps: float | None, n_frames: int) -> list[MeasuredBeat]:
    """Every beat; the time to the next is that between the middles of the two ejections."""
    found = []
    for number, beat in enumerate(discs.beats):
        interval = None
        if fps is not None and number + 1 < len(discs.beats):
            pair = [Beat(each.ed, each.es) for each in discs.beats[number : number + 2]]
            times = ejection_times(discs.area, pair, fps)
            interval = times[1] - times[0] if len(times) == 2 and times[1] > times[0] else None
        found.append(
            MeasuredBeat(
                ed=int(beat.ed),
                es=int(beat.es),
                ef=float(beat.ef),
                ef_area_length=_known(beat.ef_area_length),
                edv=float(beat.edv),
                esv=float(beat.esv),
                ef_by_regression=None,
                interval_s=interval,
                rate=None if interval is None else 60 / interval,
                axis_shortening=_known(beat.axis_shortening),
                wall_shortening=_known(beat.wall_shortening),
                whole=_is_whole(beat, n_frames),
            )
        )
    return found


def _is_whole(beat: BeatEF, n_frames: int) -> bool:
    return 0 < beat.ed < beat.es < n_frames - 1


def _ef(value: float) -> float | None:
    """An EF that can be one, in percent."""
    return float(value) if 0 <= value <= 100 else None


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
