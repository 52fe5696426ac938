"""What the pictures for the eye share: colours, letters, the outline on a frame."""

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echocycle.prediction import Prediction
from echocycle.writers.outlines import outlines

BACKGROUND, PANEL = (13, 16, 21), (22, 27, 34)
TEXT, FAINT, GRID = (235, 238, 242), (139, 148, 158), (48, 54, 61)
OUTLINE = (255, 176, 0)
WARNING, ALARM = (255, 209, 102), (255, 123, 114)
DIASTOLE, SYSTOLE = (88, 196, 255), (255, 105, 140)

Colour = tuple[int, int, int]


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The letters of all pictures."""
    return ImageFont.load_default(size)


def outlined(frame: np.ndarray, mask: np.ndarray | None, size: int, fine: int = 2) -> Image.Image:
    """A grey frame (height, width) as a square picture with the outline of its uint8 probability mask.

    Args:
        fine: lines are drawn larger by this factor and shrunk, which smooths them.
    """
    picture = Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC).convert("RGB")
    if mask is not None:
        line = Image.new("L", (size * fine, size * fine))
        inside = Image.new("L", line.size)
        scale = np.array(line.size) / np.array(mask.shape[::-1])
        for contour in outlines(mask):
            points = [tuple(point) for point in (contour + 0.5) * scale]
            ImageDraw.Draw(inside).polygon(points, fill=255)
            ImageDraw.Draw(line).line(points, 255, 2 * fine, joint="curve")
        picture.paste(OUTLINE, mask=inside.reduce(fine).point(lambda value: value // 9))
        picture.paste(OUTLINE, mask=line.reduce(fine))
    return picture


def wrapped(sentences: Iterable[str], width: float, size: int) -> list[str]:
    """Sentences in lines of letters of `size` that fit into `width` pixels; each begins a line."""
    lines: list[str] = []
    for sentence in sentences:
        line = ""
        for word in sentence.split():
            longer = f"{line} {word}".strip()
            if line and font(size).getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def few_digits(value: float) -> str:
    """A size for the eye: three digits, never with an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def alarm(prediction: Prediction) -> str:
    """How a flagged result begins."""
    unusable = any(flag.severity == "unusable" for flag in prediction.flags)
    return "FLAGGED: do not use this EF" if unusable else "FLAGGED: look before you use this EF"
