"""Pictures of recordings before and after reading, for docs/recordings.md: `python scripts/before_after.py OUT.png`.

The files are pydicom's own test files (pydicom and pydicom-data, MIT licence). Left a frame as it is stored, with the
region that its header names; right the same frame as the networks see it.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from pydicom.data import get_testdata_file

from echocycle.errors import EchocycleError
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import cut_sector

FILES = ("color3d_jpeg_baseline.dcm", "examples_ybr_color.dcm")
TALL, AFTER, GAP, LINE = 280, 280, 8, 18


def main(out: Path) -> None:
    """Draw the sheet and say what was noted."""
    rows = [_row(name) for name in FILES]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.quantize(96).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


def _row(name: str) -> Image.Image:
    path = get_testdata_file(name, download=False)
    if path is None:
        raise EchocycleError(f"{name} is not installed; it comes with pydicom-data.")
    recording = read_recording(Path(str(path)), color=True)
    cut = cut_sector(recording)
    for note in cut.notes:
        print(f"{name}: {note}")
    before = Image.fromarray(recording.frames[0])
    if recording.region is not None:
        left, top, right, bottom = recording.region
        ImageDraw.Draw(before).rectangle((left, top, right - 1, bottom - 1), outline="yellow")
    wide = round(before.width * TALL / before.height)
    after = Image.fromarray(cut.frames[0]).resize((AFTER, AFTER), Image.Resampling.NEAREST)
    row = Image.new("RGB", (wide + GAP + AFTER, LINE + TALL + GAP), "white")
    ImageDraw.Draw(row).text((0, 3), f"{name}, frame 0: as stored", fill="black")
    ImageDraw.Draw(row).text((wide + GAP, 3), "as the networks see it", fill="black")
    row.paste(before.resize((wide, TALL), Image.Resampling.LANCZOS), (0, LINE))
    row.paste(after, (wide + GAP, LINE))
    probe = np.asarray(Image.fromarray(cut.frames[0]))
    print(f"{name}: {recording.frames.shape}, {100 * float((probe > 0).mean()):.0f} % of the cut is picture")
    return row


if __name__ == "__main__":
    main(Path(sys.argv[1]))
