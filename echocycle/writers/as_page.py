"""End of the flow: a page for a reader. One self-contained file a recording: no network, no script, light and dark."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from echocycle.errors import EchocycleError
from echocycle.files import printable, replacing
from echocycle.prediction import DISCLAIMER, EfInterval, Prediction
from echocycle.writers.as_sheet import MOST_BEATS, caption, key_frame, phases
from echocycle.writers.drawing import alarm, few_digits
from echocycle.writers.overlay import first_picture

if TYPE_CHECKING:
    from jinja2 import Template

SUFFIX = "page.html"
PICTURE = 280
LARGEST_FILM = 12 << 20
"""Bytes of an overlay that is put into the page; a larger one stays a file of its own."""
BANDS = {"under_40": "under 40 %", "40_to_49": "40 to 49 %", "50_and_more": "50 % and more"}
BEAT_COLUMNS = (
    "beat",
    "ED, s",
    "ES, s",
    "EF discs, %",
    "EF area-length, %",
    "EF network, %",
    "EDV",
    "ESV",
    "rate, / min",
)


def write_page(prediction: Prediction, folder: Path) -> Path:
    """Write `<stem>.page.html`. The overlay is shown in it where it lies there already and is not too large."""
    if prediction.frames is None:
        raise EchocycleError(f"{prediction.source} has no frames to show.")
    path = Path(folder) / f"{prediction.stem}.{SUFFIX}"
    film = Path(folder) / f"{prediction.stem}.overlay.mp4"
    with replacing(path) as temporary:
        temporary.write_text(page(prediction, film), encoding="utf-8", newline="\n")
    return path


def page(prediction: Prediction, film: Path | None = None) -> str:
    """The page as HTML."""
    doubts = [flag.sentence for flag in prediction.flags if flag.severity != "note"]
    remarks = [flag.sentence for flag in prediction.flags if flag.severity == "note"]
    shown = {*doubts, *prediction.warnings}
    beats = prediction.beats if prediction.masks is not None else []
    return template("page.html.jinja").render(
        style=style(),
        name=printable(prediction.stem),
        answer=prediction.answer_in_words(),
        alarm=alarm(prediction) if prediction.flagged else None,
        doubts=doubts,
        beside=_beside(prediction),
        warnings=prediction.warnings,
        facts=_facts(prediction),
        curves=_curves(prediction),
        pictures=[
            {
                "name": name,
                "phase": "ed" if frame == beat.ed else "es",
                "caption": caption(prediction, beat, frame),
                "data": _inline(key_frame(prediction, frame, PICTURE)),
            }
            for number, beat in enumerate(beats[:MOST_BEATS])
            for name, frame, _ in phases(number, beat)
        ],
        size=PICTURE,
        left_out=max(0, len(beats) - MOST_BEATS),
        video=_film(film),
        poster=_inline(first_picture(prediction)),
        beats=[_beat(prediction, number) for number in range(len(prediction.beats))],
        beat_columns=_beat_columns(prediction),
        notes=[note for note in dict.fromkeys([*remarks, *prediction.notes]) if note not in shown],
        origin=_origin(prediction),
        disclaimer=DISCLAIMER,
    )


def template(name: str) -> "Template":
    """A page's form, with what is put in made safe."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("echocycle.writers", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def style() -> Any:
    """The style sheet, which is ours and stays as it is."""
    from markupsafe import Markup

    return Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))


def interval_in_words(interval: EfInterval | None) -> str:
    """An interval, or why there is none; empty where nothing can be said."""
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return f"no interval: {interval.reason}"
    return f"{interval.low:.0f} to {interval.high:.0f} % ({100 * interval.level:.0f} % interval, {interval.kind})"


def _beside(prediction: Prediction) -> list[str]:
    found = [prediction.headline_reason, prediction.not_measured or ""]
    found.append(
        interval_in_words(prediction.interval_by_discs if prediction.headline == "discs" else prediction.interval)
    )
    if prediction.category_probabilities:
        bands = (f"{BANDS.get(name, name)}: {share:.0%}" for name, share in prediction.category_probabilities.items())
        found.append(f"Probability of EF {', '.join(bands)}")
    return list(dict.fromkeys(filter(None, found)))


def _facts(prediction: Prediction) -> list[tuple[str, str]]:
    unit = {"ml": "ml", "px3": "px³"}.get(prediction.volume_unit or "", "")
    by_network = prediction.ef if prediction.ef_clips else None
    rhythm = {True: "irregular", False: "regular", None: ""}[prediction.irregular]
    found = [
        ("EF by the network", _number(by_network, "%", 1)),
        ("EF by discs", _number(prediction.ef_by_discs, "%", 1)),
        ("EF by area and length", _number(prediction.ef_area_length, "%", 1)),
        ("EDV by discs", _number(prediction.edv, unit)),
        ("ESV by discs", _number(prediction.esv, unit)),
        ("Heart rate", _number(prediction.heart_rate, "/ min")),
        ("Rhythm", rhythm),
        ("Shortening of the cavity", _number(prediction.longitudinal_shortening, "%", 1)),
        ("Shortening of the long axis", _number(prediction.axis_shortening, "%", 1)),
        ("Beats", str(len(prediction.beats)) if prediction.beats else ""),
    ]
    return [(label, value) for label, value in found if value]


def _origin(prediction: Prediction) -> list[tuple[str, str]]:
    row_mm, column_mm = prediction.spacing_mm
    rate = f"{prediction.fps:.4g} / s" if math.isfinite(prediction.fps) else "rate unknown"
    pixel = f"{row_mm:.3f} x {column_mm:.3f} mm" if math.isfinite(row_mm * column_mm) else "unknown"
    found = [
        ("Recording", f"{prediction.n_frames} frames, {rate}"),
        ("Pixel of the cut picture", pixel),
        ("Clips", f"{len(prediction.ef_clips)}: {prediction.protocol}" if prediction.ef_clips else ""),
        ("Model", f"{prediction.model.get('method') or ''} {prediction.model.get('id') or ''}".strip()),
        ("Verdict on the model", str(prediction.model.get("verdict") or "")),
        ("EF it was taught", prediction.label_provenance),
        ("echocycle", str(prediction.model.get("echocycle") or "")),
    ]
    return [(label, value) for label, value in found if value]


def _curves(prediction: Prediction) -> list[dict[str, Any]]:
    row_mm, column_mm = prediction.spacing_mm
    known = math.isfinite(row_mm * column_mm)
    areas = np.asarray(prediction.mask_area_px, float) * (row_mm * column_mm / 100 if known else 1)
    found = [_curve(prediction, "Area of the left ventricle", areas, "cm²" if known else "pixels")]
    if prediction.volume_curve:
        unit = "ml" if prediction.volume_unit == "ml" else "px³"
        found.append(_curve(prediction, "Volume by discs", np.asarray(prediction.volume_curve, float), unit))
    return [curve for curve in found if curve is not None]


def _curve(prediction: Prediction, title: str, values: np.ndarray, unit: str) -> dict[str, Any] | None:
    """A curve in a picture of 1000 x 100; its foot is zero."""
    values = np.nan_to_num(values)
    if len(values) < 2 or not values.max() > 0:
        return None
    x = np.linspace(0, 1000, len(values))
    y = 98 - 94 * values / values.max()
    seconds = f"{(len(values) - 1) / prediction.fps:.2f} s" if math.isfinite(prediction.fps) else ""
    marks = [(round(float(x[frame]), 1), phase) for beat in prediction.beats
             for frame, phase in ((beat.ed, "ed"), (beat.es, "es")) if frame < len(values)]  # fmt: skip
    return {
        "title": f"{title}, {unit}",
        "range": f"{few_digits(values.min())} to {few_digits(values.max())} {unit}",
        "path": "M" + " ".join(f"{column:.1f},{row:.1f}" for column, row in zip(x, y, strict=True)),
        "marks": marks,
        "start": "0 s" if seconds else "frame 0",
        "end": seconds or f"frame {len(values) - 1}",
    }


def _beat_columns(prediction: Prediction) -> Sequence[str]:
    unit = {"ml": ", ml", "px3": ", px³"}.get(prediction.volume_unit or "", "")
    time = "s" if math.isfinite(prediction.fps) else "frame"
    return [name.replace(", s", f", {time}") + (unit if name in ("EDV", "ESV") else "") for name in BEAT_COLUMNS]


def _beat(prediction: Prediction, number: int) -> list[str]:
    beat = prediction.beats[number]
    known = math.isfinite(prediction.fps)
    times = [f"{frame / prediction.fps:.2f}" if known else str(frame) for frame in (beat.ed, beat.es)]
    rest = (beat.ef, beat.ef_area_length, beat.ef_by_regression)
    return [
        f"{number + 1}{'' if beat.whole else ' (cut off)'}",
        *times,
        *(_number(value, "", 1) or "–" for value in rest),
        *(_number(value, "", 1) or "–" for value in (beat.edv, beat.esv)),
        _number(beat.rate, "") or "–",
    ]


def _inline(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _film(film: Path | None) -> str | None:
    if film is None or not film.exists() or film.stat().st_size > LARGEST_FILM:
        return None
    return f"data:video/mp4;base64,{base64.b64encode(film.read_bytes()).decode()}"


def _number(value: float | None, unit: str, digits: int = 0) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f} {unit}".strip()
