"""`prepare --time seconds`: each decoded video brought to one frame rate, whatever the layout that it comes from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.data.rate import places_at_rate
from echocycle.datasets.findings import Finding
from echocycle.datasets.source import Decoded
from echocycle.errors import EchocycleError
from echocycle.recordings.budget import check_budget
from echocycle.settings.stages import PrepareSettings


@dataclass(frozen=True)
class AtRate:
    """A reader's `decode`, and what it gives at the rate of the settings; worker processes can be sent it."""

    decode: Callable[[tuple[Any, PrepareSettings]], Decoded]

    def __call__(self, job: tuple[Any, PrepareSettings]) -> Decoded:
        return in_seconds(self.decode(job), job[1].rate)


def in_seconds(decoded: Decoded, rate: float) -> Decoded:
    """A video at `rate` frames a second; ED and ES stay. One of unknown rate is left out with an error."""
    frames, row = decoded.frames, decoded.row
    if frames is None or row is None:
        return decoded
    if row.fps is None:
        text = (
            "The frame rate is unknown, so the video cannot be brought to another; list it in a column FPS, or prepare "
            "with --time frames. The video is left out."
        )
        found = Finding("error", "rate-unknown", (decoded.name,), text)
        return Decoded(decoded.name, None, None, b"", (*decoded.findings, found))
    keep = (row.ed_frame, row.es_frame) if row.ed_frame >= 0 else ()
    places, where = places_at_rate(len(frames), row.fps, rate, keep)
    if len(places) == len(frames) and (places == np.arange(len(frames))).all():
        return decoded
    try:
        check_budget(Path(row.file), frames.shape[1], frames.shape[2], len(places), frames[0, 0, 0].nbytes)
    except EchocycleError as error:
        found = Finding("error", "too-long-in-seconds", (decoded.name,), f"{error} The video is left out.")
        return Decoded(decoded.name, None, None, b"", (*decoded.findings, found))
    ed, es = where or (-1, -1)
    text = (
        f"The videos were brought to {rate:g} frames a second, each place taking the stored frame nearest in time. "
        f"First: {row.fps:g} a second, {len(frames)} frames became {len(places)}."
    )
    note = Finding("note", "resampled", (decoded.name,), text)
    seen = replace(row, fps=rate, frames=len(places), ed_frame=ed, es_frame=es)
    return replace(decoded, frames=np.ascontiguousarray(frames[places]), row=seen, findings=(*decoded.findings, note))
