"""Before a recording is predicted: its frames at the rate of the model's training videos, and how unlike them it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from echocycle.data.domain_shift import unlike
from echocycle.data.rate import Time, places_at_rate, rate_for
from echocycle.recordings.budget import check_budget
from echocycle.recordings.sector import CutRecording

__all__ = ["Time", "seen_as_trained"]


def seen_as_trained(cut: CutRecording, time: Time, reference: dict[str, Any]) -> tuple[CutRecording, float | None]:
    """The recording in frames or in seconds (`rate_for`), with what is unlike the training videos among its notes.

    Returns:
        The recording, and the frames a second that it had if it was brought to seconds; None where its frames are its
        own.
    """
    rate, recorded = rate_for(time, cut.fps, reference), None
    if rate is not None:
        cut, recorded = _at_rate(cut, rate), cut.fps
    return replace(cut, notes=(*cut.notes, *unlike(cut.frames, cut.fps, reference))), recorded


def _at_rate(cut: CutRecording, rate: float) -> CutRecording:
    places, _ = places_at_rate(len(cut.frames), cut.fps, rate)
    if len(places) == len(cut.frames):
        return cut  # the rate is the same, but for rounding
    height, width = cut.frames.shape[1:]
    check_budget(Path("The recording at the rate of training"), height, width, len(places))
    note = (
        f"The recording has {cut.fps:.4g} frames a second; it was brought to {rate:.4g}, those of the training videos. "
        "Frames are counted after that."
    )
    colours = None if cut.colours is None else cut.colours[places]
    stored = places if cut.stored_frames is None else cut.stored_frames[places]
    return replace(
        cut,
        frames=cut.frames[places],
        colours=colours,
        fps=rate,
        notes=(*cut.notes, note),
        stored_frames=stored,
    )
