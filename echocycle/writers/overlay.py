"""End of the flow: a video for the eye. The outline of the ventricle on the recording, its area over time below."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from echocycle.errors import EchocycleError
from echocycle.prediction import DISCLAIMER, Prediction
from echocycle.recordings.film import stream_mp4
from echocycle.writers.drawing import (
    ALARM,
    BACKGROUND,
    DIASTOLE,
    FAINT,
    GRID,
    OUTLINE,
    PANEL,
    SYSTOLE,
    TEXT,
    WARNING,
    alarm,
    few_digits,
    font,
    outlined,
    wrapped,
)

PICTURE = 448  # pixels; four times EchoNet's 112
HEADER, CURVE, FOOTER = 52, 148, 24
HEIGHT = HEADER + PICTURE + CURVE + FOOTER  # without notices
NOTICE, NOTICE_TEXT = 18, 14  # a line of what must not be overlooked, and its letters
BAND = 26  # what a flagged result begins with
FINE = 2  # everything is drawn larger by this factor and shrunk, which smooths lines
MOST_DOUBTS = 3  # that are written out above the picture
PLAYBACK_FPS = 30.0  # when the recording does not state its own


def write_overlay(prediction: Prediction, folder: Path) -> Path:
    """Write `<stem>.overlay.mp4`, as many frames as the prediction has, at the recording's speed.

    Frames go to the encoder as they are drawn, so memory does not grow with the recording.
    """
    if prediction.frames is None:
        raise EchocycleError(f"{prediction.source} has no frames to draw on.")
    path = Path(folder) / f"{prediction.stem}.overlay.mp4"
    sheet = _Sheet(prediction)
    drawn = (sheet.draw(index) for index in range(len(prediction.frames)))
    stream_mp4(path, drawn, (sheet.height, PICTURE), _playback_fps(prediction), preset="veryfast")
    return path


def first_picture(prediction: Prediction) -> Image.Image:
    """The overlay's first frame."""
    return Image.fromarray(_Sheet(prediction).draw(0))


class _Sheet:
    """All frames of one overlay: whether it is flagged, the number, what must not be overlooked, picture, curve."""

    def __init__(self, prediction: Prediction):
        self.prediction = prediction
        self.notices = notices(prediction)
        self.band = BAND if prediction.flagged else 0
        self.top = self.band + HEADER + (NOTICE * len(self.notices) + 12 if self.notices else 0)
        self.top += self.top % 2  # H.264 wants even sizes
        self.height = self.top + HEIGHT - HEADER
        has_curve = prediction.frames is not None and len(prediction.mask_area_px) == len(prediction.frames)
        self.curve = _curve_points(prediction, self.top) if has_curve else []
        self.backdrop = self._backdrop()

    def draw(self, index: int) -> np.ndarray:
        """One frame of the video, uint8 RGB (height, width, 3)."""
        prediction = self.prediction
        assert prediction.frames is not None
        canvas = self.backdrop.copy()
        mask = None if prediction.masks is None else prediction.masks[index]
        canvas.paste(outlined(prediction.frames[index], mask, PICTURE, FINE), (0, self.top))
        drawing = ImageDraw.Draw(canvas)
        drawing.text((PICTURE - 8, self.top + PICTURE - 6), _clock(prediction, index), FAINT, font(13), anchor="rs")
        phase = _phase(prediction, index)
        if phase:
            name, colour = phase
            drawing.text((16, self.top + 14), name, colour, font(20))
        if self.curve:
            x, y = self.curve[index]
            top, bottom = _curve_span(self.top)
            drawing.line([(x, top), (x, bottom)], FAINT, 1)
            drawing.ellipse([x - 4, y - 4, x + 4, y + 4], fill=TEXT, outline=BACKGROUND)
        return np.asarray(canvas)

    def _backdrop(self) -> Image.Image:
        """What stays the same in all frames: the number, the notices, the curve and the disclaimer."""
        prediction = self.prediction
        canvas = Image.new("RGB", (PICTURE * FINE, self.height * FINE), BACKGROUND)
        drawing = ImageDraw.Draw(canvas)
        if self.band:
            drawing.rectangle((0, 0, PICTURE * FINE, self.band * FINE), fill=ALARM)
            _write(drawing, (16, self.band / 2), alarm(prediction), BACKGROUND, 16, "lm")
        told = prediction.answer_in_words(digits=0)
        size = 26 if len(told) < 20 else 18
        _write(drawing, (16, self.band + HEADER / 2), told, TEXT, size, "lm")
        _write(drawing, (PICTURE - 16, self.band + HEADER / 2), aside(prediction), FAINT, 14, "rm")
        for number, line in enumerate(self.notices):
            place = self.band + HEADER + NOTICE * (number + 0.5)
            _write(drawing, (16, place), line, WARNING, NOTICE_TEXT, "lm")
        _write(drawing, (16, self.height - FOOTER / 2), DISCLAIMER, FAINT, 12, "lm")
        if self.curve:
            _draw_curve(drawing, prediction, self.curve, self.top)
        return canvas.reduce(FINE)


def notices(prediction: Prediction) -> list[str]:
    """What must not be overlooked, in lines that fit: doubts first, then why there is no EF, then the model."""
    doubts = [flag.sentence for flag in prediction.flags if flag.severity != "note" and flag.code != "not_measured"]
    reasons = [] if prediction.not_measured is None else [prediction.not_measured]
    unclear = [prediction.headline_reason] if prediction.headline == "neither" and prediction.headline_reason else []
    more = len(doubts) - MOST_DOUBTS
    rest = [f"And {more} more doubts; the result's file names them."] if more > 0 else []
    said = dict.fromkeys([*doubts[:MOST_DOUBTS], *rest, *reasons, *unclear, *prediction.warnings])
    return wrapped(said, PICTURE - 32, NOTICE_TEXT)


def aside(prediction: Prediction) -> str:
    """What stands beside the number: its interval and the heart rate, where they are known."""
    parts = []
    interval = prediction.interval_by_discs if prediction.headline == "discs" else prediction.interval
    if (
        prediction.answer is not None
        and interval is not None
        and interval.low is not None
        and interval.high is not None
    ):
        parts.append(f"{100 * interval.level:.0f} %: {interval.low:.0f} to {interval.high:.0f}")
    if prediction.heart_rate is not None:
        parts.append(f"{prediction.heart_rate:.0f} / min")
    return "    ".join(parts)


def _draw_curve(
    drawing: ImageDraw.ImageDraw, prediction: Prediction, points: list[tuple[float, float]], above: int
) -> None:
    top, bottom = _curve_span(above)
    panel = [0, above + PICTURE, PICTURE, above + PICTURE + CURVE]
    drawing.rectangle([value * FINE for value in panel], fill=PANEL)
    drawing.line([(16 * FINE, bottom * FINE), ((PICTURE - 16) * FINE, bottom * FINE)], GRID, FINE)
    for beat in prediction.beats:
        for frame, colour in ((beat.ed, DIASTOLE), (beat.es, SYSTOLE)):
            if frame < len(points):
                x = points[frame][0] * FINE
                drawing.line([(x, top * FINE), (x, bottom * FINE)], tuple(value // 3 for value in colour), FINE)
    drawing.line([(x * FINE, y * FINE) for x, y in points], OUTLINE, 2 * FINE, joint="curve")
    for frames, colour in ((prediction.ed_frames, DIASTOLE), (prediction.es_frames, SYSTOLE)):
        for x, y in (points[frame] for frame in frames if frame < len(points)):
            drawing.ellipse([(value + grow) * FINE for grow in (-4, 4) for value in (x, y)], fill=colour)
    area, unit = _areas(prediction)
    title = f"left ventricle, {few_digits(min(area))} to {few_digits(max(area))} {unit}"
    height = above + PICTURE + 16
    _write(drawing, (16, height), title, FAINT, 13, "lm")
    if prediction.ed_frames or prediction.es_frames:
        _write(drawing, (PICTURE - 16, height), "end systole", SYSTOLE, 13, "rm")
        _write(drawing, (PICTURE - 100, height), "end diastole", DIASTOLE, 13, "rm")


def _areas(prediction: Prediction) -> tuple[list[float], str]:
    """The area curve in square centimetres if the pixel spacing is known, else in pixels; and its unit."""
    row_mm, column_mm = prediction.spacing_mm
    if math.isfinite(row_mm * column_mm):
        return [area * row_mm * column_mm / 100 for area in prediction.mask_area_px], "sq cm"
    return list(prediction.mask_area_px), "pixels"


def _curve_span(above: int) -> tuple[int, int]:
    """Top and bottom row of the curve, `above` being the picture's first row."""
    return above + PICTURE + 32, above + PICTURE + CURVE - 14


def _curve_points(prediction: Prediction, above: int) -> list[tuple[float, float]]:
    """Where each frame lies on the curve, (column, row). The baseline is area zero."""
    top, bottom = _curve_span(above)
    areas = np.nan_to_num(np.asarray(prediction.mask_area_px, float))
    columns = np.linspace(16, PICTURE - 16, len(areas))
    rows = bottom - (bottom - top) * areas / max(areas.max(), 1)
    return list(zip(columns.tolist(), rows.tolist(), strict=True))


def _clock(prediction: Prediction, index: int) -> str:
    frame = f"frame {index + 1} of {prediction.n_frames}"
    if math.isfinite(prediction.fps):
        return f"{index / prediction.fps:.2f} s   {frame}"
    return f"{frame}, frame rate unknown"


def _phase(prediction: Prediction, index: int) -> tuple[str, tuple[int, int, int]] | None:
    """The name and colour of a marked frame; the mark stays for a few frames, so that the eye can catch it."""
    lasts = round(_playback_fps(prediction) / 10)
    for name, frames, colour in (
        ("end diastole", prediction.ed_frames, DIASTOLE),
        ("end systole", prediction.es_frames, SYSTOLE),
    ):
        if any(0 <= index - frame <= lasts for frame in frames):
            return name, colour
    return None


def _playback_fps(prediction: Prediction) -> float:
    return prediction.fps if 0 < prediction.fps <= 240 else PLAYBACK_FPS


def _write(
    drawing: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    colour: tuple[int, int, int],
    size: int,
    anchor: str,
) -> None:
    drawing.text((place[0] * FINE, place[1] * FINE), text, colour, font(size * FINE), anchor=anchor)
