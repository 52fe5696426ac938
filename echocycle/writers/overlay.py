"""End of the flow: a video for the eye. The outline of the ventricle on the recording, its area over time below."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echocycle.errors import EchocycleError
from echocycle.prediction import DISCLAIMER, Prediction
from echocycle.recordings.film import stream_mp4

PICTURE = 448  # pixels; four times EchoNet's 112
HEADER, CURVE, FOOTER = 52, 148, 24
HEIGHT = HEADER + PICTURE + CURVE + FOOTER  # without notices
NOTICE, NOTICE_TEXT = 18, 14  # a line of what must not be overlooked, and its letters
FINE = 2  # everything is drawn larger by this factor and shrunk, which smooths lines
PLAYBACK_FPS = 30.0  # when the recording does not state its own

BACKGROUND, PANEL = (13, 16, 21), (22, 27, 34)
TEXT, FAINT, GRID = (235, 238, 242), (139, 148, 158), (48, 54, 61)
OUTLINE = (255, 176, 0)
WARNING = (255, 209, 102)
DIASTOLE, SYSTOLE = (88, 196, 255), (255, 105, 140)


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


class _Sheet:
    """All frames of one overlay: below the number what must not be overlooked, then the picture, then the curve."""

    def __init__(self, prediction: Prediction):
        self.prediction = prediction
        self.notices = notices(prediction)
        self.top = HEADER + (NOTICE * len(self.notices) + 12 if self.notices else 0)
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
        picture = Image.fromarray(prediction.frames[index]).resize((PICTURE, PICTURE), Image.Resampling.BICUBIC)
        picture = picture.convert("RGB")
        if prediction.masks is not None:
            line, inside = _outline(prediction.masks[index])
            picture.paste(OUTLINE, mask=inside.point(lambda value: value // 9))
            picture.paste(OUTLINE, mask=line)
        canvas.paste(picture, (0, self.top))
        drawing = ImageDraw.Draw(canvas)
        drawing.text((PICTURE - 16, HEADER / 2), _clock(prediction, index), FAINT, _font(15), anchor="rm")
        phase = _phase(prediction, index)
        if phase:
            name, colour = phase
            drawing.text((16, self.top + 14), name, colour, _font(20))
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
        ef = "EF not measured" if prediction.ef is None else f"EF {prediction.ef:.0f} %"
        _write(drawing, (16, HEADER / 2), ef, TEXT, 26, "lm")
        for number, line in enumerate(self.notices):
            _write(drawing, (16, HEADER + NOTICE * (number + 0.5)), line, WARNING, NOTICE_TEXT, "lm")
        _write(drawing, (16, self.height - FOOTER / 2), DISCLAIMER, FAINT, 12, "lm")
        if self.curve:
            _draw_curve(drawing, prediction, self.curve, self.top)
        return canvas.reduce(FINE)


def notices(prediction: Prediction) -> list[str]:
    """Why there is no EF, and what must not be overlooked about the model, in lines that fit the width."""
    said = prediction.warnings if prediction.not_measured is None else [prediction.not_measured, *prediction.warnings]
    lines: list[str] = []
    for sentence in said:
        line = ""
        for word in sentence.split():
            longer = f"{line} {word}".strip()
            if line and _font(NOTICE_TEXT).getlength(longer) > PICTURE - 32:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _draw_curve(
    drawing: ImageDraw.ImageDraw, prediction: Prediction, points: list[tuple[float, float]], above: int
) -> None:
    _, bottom = _curve_span(above)
    panel = [0, above + PICTURE, PICTURE, above + PICTURE + CURVE]
    drawing.rectangle([value * FINE for value in panel], fill=PANEL)
    drawing.line([(16 * FINE, bottom * FINE), ((PICTURE - 16) * FINE, bottom * FINE)], GRID, FINE)
    drawing.line([(x * FINE, y * FINE) for x, y in points], OUTLINE, 2 * FINE, joint="curve")
    for frames, colour in ((prediction.ed_frames, DIASTOLE), (prediction.es_frames, SYSTOLE)):
        for x, y in (points[frame] for frame in frames if frame < len(points)):
            drawing.ellipse([(value + grow) * FINE for grow in (-4, 4) for value in (x, y)], fill=colour)
    area, unit = _areas(prediction)
    title = f"left ventricle, {min(area):.3g} to {max(area):.3g} {unit}"
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


def _outline(mask: np.ndarray) -> tuple[Image.Image, Image.Image]:
    """The outline and the inside of a uint8 probability mask as "L" pictures of the size of the drawn frame."""
    from skimage.measure import find_contours

    line = Image.new("L", (PICTURE * FINE, PICTURE * FINE))
    inside = Image.new("L", line.size)
    scale = np.array(line.size) / np.array(mask.shape[::-1])
    for contour in find_contours(np.pad(mask.astype(float), 1), 127.5):
        points = [tuple(point) for point in (contour[:, ::-1] - 0.5) * scale]
        ImageDraw.Draw(inside).polygon(points, fill=255)
        ImageDraw.Draw(line).line(points, 255, 2 * FINE, joint="curve")
    return line.reduce(FINE), inside.reduce(FINE)


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
    drawing.text((place[0] * FINE, place[1] * FINE), text, colour, _font(size * FINE), anchor=anchor)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
