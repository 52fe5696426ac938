"""End of the flow: a `Prediction` becomes files. One small writer per format, all called the same way.

Each takes the prediction and a folder, and returns the path that it wrote; a file is there whole or not at all. What
takes longest comes late: with the JSON on disk a full disk or a kill costs what comes after it only. What the
recordings of a folder share lies in `folder.py`: the tables, what failed, the index page, the manifest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from echocycle.prediction import Prediction
from echocycle.writers.as_json import write_json
from echocycle.writers.as_masks import write_masks
from echocycle.writers.as_page import write_page
from echocycle.writers.as_segmentation import lacks_segmentation, write_segmentation
from echocycle.writers.as_sheet import lacks_sheet, write_sheet
from echocycle.writers.as_structured_report import lacks_report, write_report
from echocycle.writers.overlay import write_overlay


def _nothing(prediction: Prediction) -> str | None:
    return None


@dataclass(frozen=True)
class Writer:
    """A format of one file a recording."""

    suffix: str
    """What follows the result's name."""
    write: Callable[[Prediction, Path], Path]
    lacks: Callable[[Prediction], str | None] = _nothing
    """Why there is nothing to write, as a sentence; empty where that needs no word; None where there is something. It
    is told from what the JSON holds, and from `file`."""

    def __call__(self, prediction: Prediction, folder: Path) -> Path:
        """Write it."""
        return self.write(prediction, folder)

    def path(self, prediction: Prediction, folder: Path) -> Path:
        """Where it lies."""
        return Path(folder) / f"{prediction.stem}.{self.suffix}"


WRITERS: dict[str, Writer] = {
    "masks": Writer("masks.npz", write_masks, lambda prediction: None if prediction.mask_area_px else ""),
    "json": Writer("json", write_json),
    "seg": Writer("seg.dcm", write_segmentation, lacks_segmentation),
    "sr": Writer("sr.dcm", write_report, lacks_report),
    "png": Writer("ed-es.png", write_sheet, lacks_sheet),
    "overlay": Writer("overlay.mp4", write_overlay),
    "html": Writer("page.html", write_page),  # last: it shows what the others wrote
}
USUAL = ("masks", "json", "overlay")
"""What is written where nothing else is asked."""
