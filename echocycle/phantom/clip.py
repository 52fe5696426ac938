"""One clip of the phantom: its pictures, and the truth about them."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echocycle.phantom.heart import ClipPlan, plan_clip
from echocycle.phantom.patient import stream
from echocycle.phantom.picture import render
from echocycle.phantom.settings import PhantomSettings


@dataclass(frozen=True)
class PhantomClip:
    """One synthetic recording and the truth about it. T frames, pixels (row, column)."""

    frames: NDArray[np.uint8]
    """Grey, (T, 112, 112)."""
    masks: NDArray[np.bool_]
    """True left ventricle up to the mitral plane, (T, 112, 112)."""
    parts: NDArray[np.uint8]
    """What each pixel shows, (T, 112, 112): `picture.ELSEWHERE` to `picture.RIGHT_ATRIUM`; the cavity is the visible
    one, which a reader may trace in another way."""
    volumes_ml: NDArray[np.float64]
    """True volume in every frame, (T,)."""
    ef: float
    """Ejection fraction of the traced beat, percent."""
    edv_ml: float
    esv_ml: float
    ed_frame: int
    """0-based frame of the traced end diastole."""
    es_frame: int
    """0-based frame of the traced end systole."""
    fps: float
    spacing_mm: tuple[float, float]
    """Millimetres per pixel, (row, column)."""
    chords: NDArray[np.float64]
    """Tracings of the ED and the ES frame, (2, 21, 4): x1, y1, x2, y2 in pixels, long axis first."""


def make_clip(index: int, settings: PhantomSettings) -> PhantomClip:
    """Draw clip `index`, a pure function of the settings and the index."""
    plan = plan_clip(index, settings)
    frames, masks, parts = render(plan, stream(settings, index, "look"), stream(settings, index, "details"))
    volumes = plan.volumes_ml
    edv, esv, ef = label_of(plan)
    return PhantomClip(
        frames=frames,
        masks=masks,
        parts=parts,
        volumes_ml=volumes,
        ef=ef,
        edv_ml=edv,
        esv_ml=esv,
        ed_frame=plan.motion.ed_frame,
        es_frame=plan.motion.es_frame,
        fps=plan.patient.fps,
        spacing_mm=(plan.heart.spacing_mm, plan.heart.spacing_mm),
        chords=plan.chords,
    )


def clip_name(index: int, settings: PhantomSettings) -> str:
    """Name of clip `index` without a suffix, such as PH000012AB; the last two letters depend on the seed."""
    check = zlib.crc32(f"{settings.seed} {index}".encode()) & 0xFF
    return f"PH{index:06d}{check:02X}"


def label_of(plan: ClipPlan) -> tuple[float, float, float]:
    """EDV and ESV in ml and EF in percent, from the volumes of the two traced frames."""
    volumes = plan.volumes_ml
    edv, esv = float(volumes[plan.motion.ed_frame]), float(volumes[plan.motion.es_frame])
    return edv, esv, 100 * (edv - esv) / edv
