"""Recordings that deserve no EF: phantom clips spoilt in ways that happen, to try whether doubts are raised.

Each kind takes a sound clip and a stream of random numbers and gives frames and the frame rate that the file states.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocycle.errors import EchocycleError
from echocycle.phantom.clip import PhantomClip, make_clip
from echocycle.phantom.patient import stream
from echocycle.phantom.settings import PhantomSettings

Frames = NDArray[np.uint8]
Spoil = Callable[[PhantomClip, np.random.Generator], tuple[Frames, float]]

LIT = 12
"""Grey level above which a pixel of the fan is lit at some time."""
SOUND = "sound"


@dataclass(frozen=True)
class Recording:
    """What a spoilt file holds."""

    frames: Frames
    """uint8, grey (time, 112, 112), or RGB (time, 112, 112, 3) where colour is what is wrong."""
    fps: float
    """Frames a second, as the file states it."""


def spoilt_recording(kind: str, index: int, settings: PhantomSettings) -> Recording:
    """Clip `index` of the settings, spoilt in a way of `KINDS`, or `sound`; a pure function of its arguments."""
    if kind == SOUND:
        clip = make_clip(index, settings)
        return Recording(clip.frames, clip.fps)
    if kind not in KINDS:
        raise EchocycleError(f"{kind} is no way to spoil a recording; there are {', '.join(KINDS)}.")
    rng = stream(settings, index, f"spoilt {kind}")
    if kind == "no_ventricle":
        return Recording(*_no_ventricle(index, settings))
    clip = make_clip(index, settings)
    if kind == "spliced":
        return Recording(_spliced(clip, make_clip(index + 100_000, settings)), clip.fps)
    return Recording(*KINDS[kind](clip, rng))


def _black_frames(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """The probe loses the skin: six tenths of the time nothing is seen."""
    frames = clip.frames.copy()
    lost = round(0.6 * len(frames))
    frames[rng.integers(0, len(frames) - lost + 1) :][:lost] = 0
    return frames, clip.fps


def _frozen(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """A still that was exported as a cine: one frame, with the grain that compressing it anew gives."""
    still = clip.frames[rng.integers(0, len(clip.frames))].astype(np.float32)
    return _grey(still + rng.normal(0, 3, clip.frames.shape) * (still > LIT)), clip.fps


def _shuffled(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """Frames in no order."""
    return clip.frames[rng.permutation(len(clip.frames))], clip.fps


def _apex_cut_off(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """The tip of the ventricle, a fifth to a third of its length, lies above the picture."""
    rows = np.flatnonzero(clip.masks[clip.ed_frame].any(1))
    fan = _fan(clip.frames)
    top = int(np.flatnonzero(fan.any(1))[0])
    up = rows[0] - top + round(rng.uniform(0.2, 0.34) * len(rows))
    return _moved(clip.frames, (-up, 0)) * fan, clip.fps


def _out_of_sector(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """The ventricle lies half outside the fan, to the left or right."""
    fan, mask = _fan(clip.frames), clip.masks[clip.ed_frame]
    side, kept = rng.choice((-1, 1)), rng.uniform(0.4, 0.6)
    shift = next(
        (s for s in range(1, 80) if (_moved(mask[None], (0, side * s))[0] & fan).sum() < kept * mask.sum()), 40
    )
    return _moved(clip.frames, (0, side * shift)) * fan, clip.fps


def _upside_down(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """The heart stands on its tip in a fan that is upright: another view, or a picture put together wrongly."""
    return clip.frames[:, ::-1] * _fan(clip.frames), clip.fps


def _sideways(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """The ventricle lies across the fan, as in a parasternal long axis."""
    angle = float(rng.choice((-1, 1)) * rng.uniform(75, 105))
    turned = ndimage.rotate(clip.frames, angle, axes=(2, 1), reshape=False, order=1)
    return turned * _fan(clip.frames), clip.fps


def _m_mode(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """One line through the ventricle, its past to the left of it."""
    rows = clip.masks[clip.ed_frame].any(0)
    column = int(rng.choice(np.flatnonzero(rows)))
    line = clip.frames[:, :, column]
    count, width = len(line), clip.frames.shape[2]
    when = (np.arange(count)[:, None] + np.arange(width)[None]) % count
    return np.ascontiguousarray(line[when].transpose(0, 2, 1)), clip.fps


def _colour_box(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """Colour Doppler over the mitral valve: red when it fills, blue when it empties, with the grain of flow."""
    volumes = clip.volumes_ml
    flow = np.gradient(ndimage.gaussian_filter1d(volumes, 1.5))
    flow /= max(float(np.abs(flow).max()), 1e-6)
    row, column = (int(each.mean()) for each in np.nonzero(clip.masks[clip.ed_frame]))
    box = (slice(row, min(row + 40, 108)), slice(max(column - 20, 0), column + 20))
    frames = np.repeat(clip.frames[..., None], 3, axis=-1).astype(np.float32)
    grain = ndimage.gaussian_filter(rng.normal(size=clip.frames.shape), (0.5, 1.2, 1.2))[(slice(None), *box)]
    strength = 3 * flow[:, None, None] + 2.5 * grain
    seen = np.abs(strength) > 0.8
    level = np.clip(90 + 60 * np.abs(strength), 0, 255) * seen
    inside = frames[(slice(None), *box)]
    inside[seen] = 0
    inside[..., 0] += level * (strength > 0)
    inside[..., 2] += level * (strength < 0)
    return _grey(frames), clip.fps


def _wrong_fps(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """The file states a third of the frame rate, or three times it."""
    return clip.frames, clip.fps * (3.0 if rng.uniform() < 0.5 else 1 / 3)


def _noise(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """Hardly any echo: the heart drowns in noise."""
    noise = ndimage.gaussian_filter(rng.normal(size=clip.frames.shape), (0, 0.7, 0.7))
    noise = 55 + 60 * noise / noise.std()
    return _grey((0.2 * clip.frames + noise) * _fan(clip.frames)), clip.fps


def _half_beat(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """A quarter to less than half a second: no systole and diastole together."""
    length = max(9, round(rng.uniform(0.22, 0.42) * clip.fps))
    start = int(rng.integers(0, len(clip.frames) - length + 1))
    return clip.frames[start : start + length], clip.fps


def _probe_moves(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    """The probe slips again and again: the heart jumps in the picture several times a second."""
    fan, frames = _fan(clip.frames), np.empty_like(clip.frames)
    every = max(2, round(0.12 * clip.fps))
    for start in range(0, len(frames), every):
        shift = (int(rng.integers(-12, 13)), int(rng.choice((-1, 1)) * rng.integers(8, 22)))
        frames[start : start + every] = _moved(clip.frames[start : start + every], shift) * fan
    return frames, clip.fps


def _no_ventricle(index: int, settings: PhantomSettings) -> tuple[Frames, float]:
    """Tissue that moves, without a chamber: another organ, or a view that misses the heart."""
    look: dict[str, Any] = {
        "cavity_level": 85.0, "septum_level": 85.0, "lateral_level": 85.0, "apical_level": 85.0,
        "tissue_level": 85.0, "lung_level": 80.0, "right_heart_haze": 0.0, "left_atrium_haze": 0.0,
        "free_wall_level": 85.0, "leaflet_level": 0.0, "annulus_level": 85.0, "papillary_share": 0.0,
    }  # fmt: skip
    clip = make_clip(index, replace(settings, look=replace(settings.look, **look)))
    return clip.frames, clip.fps


def _spliced(first: PhantomClip, second: PhantomClip) -> Frames:
    """Two recordings in one file, cut together in pieces of half a second."""
    count = min(len(first.frames), len(second.frames))
    piece = max(4, round(0.5 * first.fps))
    from_first = (np.arange(count) // piece) % 2 == 0
    return np.where(from_first[:, None, None], first.frames[:count], second.frames[:count])


def _unused(clip: PhantomClip, rng: np.random.Generator) -> tuple[Frames, float]:
    raise AssertionError("made from the settings, in `spoilt_recording`")


KINDS: dict[str, Spoil] = {
    "black_frames": _black_frames,
    "shuffled": _shuffled,
    "apex_cut_off": _apex_cut_off,
    "noise": _noise,
    "half_beat": _half_beat,
    "frozen": _frozen,
    "out_of_sector": _out_of_sector,
    "upside_down": _upside_down,
    "sideways": _sideways,
    "m_mode": _m_mode,
    "colour_box": _colour_box,
    "no_ventricle": _unused,
    "wrong_fps": _wrong_fps,
    "spliced": _unused,
    "probe_moves": _probe_moves,
}
"""Ways in which a recording is spoilt."""


def _fan(frames: Frames) -> NDArray[np.bool_]:
    """bool (height, width): what is ever lit, filled."""
    from skimage.morphology import convex_hull_image

    lit = ndimage.binary_opening(frames.max(0) > LIT, np.ones((3, 3)))
    return np.asarray(convex_hull_image(lit))


def _moved(frames: NDArray[Any], shift: tuple[int, int]) -> NDArray[Any]:
    """Frames (time, height, width) shifted by whole pixels (down, right); what enters is black."""
    moved = np.zeros_like(frames)
    down, right = shift
    height, width = frames.shape[1:]
    target = (slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0)))
    source = (slice(max(-down, 0), height - max(down, 0)), slice(max(-right, 0), width - max(right, 0)))
    moved[(slice(None), *target)] = frames[(slice(None), *source)]
    return moved


def _grey(values: NDArray[Any]) -> Frames:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
