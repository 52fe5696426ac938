"""End of the flow: a sheet for the eye. Every beat's end diastole and end systole with outline and long axis."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from echocycle.cardiac.discs import disc_volume
from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.prediction import DISCLAIMER, MeasuredBeat, Prediction
from echocycle.writers.drawing import (
    ALARM,
    BACKGROUND,
    DIASTOLE,
    FAINT,
    OUTLINE,
    SYSTOLE,
    TEXT,
    WARNING,
    Colour,
    alarm,
    font,
    outlined,
    wrapped,
)
from echocycle.writers.outlines import HALF, largest_blob
from echocycle.writers.overlay import aside, notices

MOST_BEATS = 6
PICTURE, GAP, CAPTION, HEADER, LINE, BAND = 336, 12, 26, 48, 20, 30
WIDTH = 2 * PICTURE + 3 * GAP


def lacks_sheet(prediction: Prediction) -> str | None:
    """Why there is no sheet to draw."""
    return None if prediction.beats else "No sheet of end diastole and end systole: no beat was measured."


def write_sheet(prediction: Prediction, folder: Path) -> Path:
    """Write `<stem>.ed-es.png`: a row for each beat, the first six."""
    if prediction.frames is None or prediction.masks is None:
        raise EchocycleError(f"{prediction.source} has no frames or masks to draw.")
    path = Path(folder) / f"{prediction.stem}.ed-es.png"
    with replacing(path) as temporary:
        draw_sheet(prediction).save(temporary, optimize=True)
    return path


def draw_sheet(prediction: Prediction) -> Image.Image:
    """The sheet."""
    beats = prediction.beats[:MOST_BEATS]
    said = wrapped([" ".join(notices(prediction))], WIDTH - 2 * GAP, 14) if notices(prediction) else []
    band = BAND if prediction.flagged else 0
    above = band + HEADER + LINE * len(said)
    sheet = Image.new("RGB", (WIDTH, above + len(beats) * (PICTURE + CAPTION) + LINE + GAP), BACKGROUND)
    drawing = ImageDraw.Draw(sheet)
    if band:
        drawing.rectangle((0, 0, WIDTH, band), fill=ALARM)
        drawing.text((GAP, band / 2), alarm(prediction), BACKGROUND, font(17), anchor="lm")
    drawing.text((GAP, band + HEADER / 2), prediction.answer_in_words(), TEXT, font(24), anchor="lm")
    drawing.text((WIDTH - GAP, band + HEADER / 2), aside(prediction), FAINT, font(15), anchor="rm")
    for number, line in enumerate(said):
        drawing.text((GAP, band + HEADER + LINE * (number + 0.4)), line, WARNING, font(14), anchor="lm")
    for number, beat in enumerate(beats):
        top = above + number * (PICTURE + CAPTION)
        for column, (name, frame, colour) in enumerate(phases(number, beat)):
            left = GAP + column * (PICTURE + GAP)
            drawing.text((left, top + CAPTION / 2), name, colour, font(15), anchor="lm")
            drawing.text(
                (left + PICTURE, top + CAPTION / 2), caption(prediction, beat, frame), FAINT, font(13), anchor="rm"
            )
            sheet.paste(key_frame(prediction, frame, PICTURE), (left, top + CAPTION))
    left_out = len(prediction.beats) - len(beats)
    end = f"{left_out} more beats are not shown. " if left_out else ""
    drawing.text((GAP, sheet.height - LINE / 2), f"{end}{DISCLAIMER}", FAINT, font(12), anchor="lm")
    return sheet


def phases(number: int, beat: MeasuredBeat) -> list[tuple[str, int, Colour]]:
    """Name, frame and colour of a beat's two frames."""
    return [
        (f"beat {number + 1}, end diastole", beat.ed, DIASTOLE),
        (f"beat {number + 1}, end systole", beat.es, SYSTOLE),
    ]


def caption(prediction: Prediction, beat: MeasuredBeat, frame: int) -> str:
    """Time and volume at one of a beat's two frames."""
    parts = [f"{frame / prediction.fps:.2f} s" if math.isfinite(prediction.fps) else f"frame {frame}"]
    if prediction.volume_unit == "ml":
        parts.append(f"{beat.edv if frame == beat.ed else beat.esv:.0f} ml")
    if frame == beat.es:
        parts.append(f"EF {beat.ef:.0f} %")
    return "  ".join(parts)


def key_frame(prediction: Prediction, frame: int, size: int) -> Image.Image:
    """A frame with its outline and long axis."""
    assert prediction.frames is not None
    assert prediction.masks is not None
    mask = prediction.masks[frame]
    picture = outlined(prediction.frames[frame], mask, size)
    if not (mask > HALF).any():
        return picture
    volume = disc_volume(largest_blob(mask).astype(np.float32) / 255)
    scale = size / mask.shape[0]
    ends = [((column + 0.5) * scale, (row + 0.5) * scale) for row, column in (volume.apex, volume.base)]
    drawing = ImageDraw.Draw(picture)
    drawing.line(ends, OUTLINE, 1)
    for x, y in ends:
        drawing.ellipse((x - 3, y - 3, x + 3, y + 3), fill=OUTLINE)
    return picture


def write_beside(sheets: dict[str, Path], path: Path) -> Path | None:
    """Sheets of one recording by several models, side by side in one picture, by the models' names.

    A model whose sheet is missing, since it measured no beat, is named all the same; None where all are.
    """
    there = {name: Image.open(sheet).convert("RGB") for name, sheet in sheets.items() if sheet.exists()}
    if not there:
        return None
    tallest = max(each.height for each in there.values())
    picture = Image.new("RGB", (WIDTH * len(sheets), HEADER + tallest), BACKGROUND)
    drawing = ImageDraw.Draw(picture)
    for column, name in enumerate(sheets):
        said = name if name in there else f"{name}: no beat was measured"
        drawing.text((WIDTH * column + GAP, HEADER / 2), said, TEXT, font(24), anchor="lm")
        if name in there:
            picture.paste(there[name], (WIDTH * column, HEADER))
    with replacing(path) as temporary:
        picture.save(temporary, optimize=True)
    return path
