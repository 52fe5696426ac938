"""Numbers to figures: each function takes arrays and gives one `Picture`, which is drawn as SVG or PNG when asked.

Figures are drawn with matplotlib's object interface (no windows, no global state) on a transparent ground, in
colours of Okabe and Ito's palette, which colour-blind readers can tell apart; lines and markers differ as
well, for grey print. Text stays text, so that a figure can be searched, and the same input gives the same
bytes.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray
from skimage import measure

from echocycle.errors import EchocycleError
from echocycle.evaluation.intervals import Interval
from echocycle.evaluation.metrics import bias, check_pair, limits_of_agreement, mae, r2

INK, MUTED, GRID = "#1f2933", "#5f6c7b", "#d5dbe1"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (8, 3)), (0, (3, 1)))
TRUE_OUTLINE, PRED_OUTLINE = "#56b4e9", "#e69f00"  # light enough for dark ultrasound frames

PANELS_PER_FIGURE = 12
WIDTH = 11.6  # inches: the text width of the report's page
_LONGEST_LINE = 80  # points of a curve; longer ones are averaged in bins

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.labelsize": 8.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "echocycle",
}


PNG_DPI = 200


@dataclass(frozen=True)
class Picture:
    """A figure of `width` x `height` inches that `draw` draws, in the common style, in the format asked for."""

    width: float
    height: float
    draw: Callable[[Figure], None]

    @cached_property
    def svg(self) -> str:
        """As SVG on a transparent ground; the same figure gives the same bytes."""
        return self._saved(format="svg", metadata={"Date": None, "Creator": None}).decode()

    def png(self) -> bytes:
        """As PNG on white, for slides and papers."""
        return self._saved(format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})

    def _saved(self, **how: Any) -> bytes:
        with matplotlib.rc_context(_STYLE):
            figure = Figure(figsize=(self.width, self.height), layout="constrained")
            self.draw(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, **how)
        return buffer.getvalue()


def _fill(figure: Figure, count: int, columns: int, draw: Callable[[Axes, int], None]) -> None:
    """Divide the figure into `count` panels, row by row, and draw each."""
    axes = figure.subplots(math.ceil(count / columns), columns, squeeze=False).ravel()
    for index, axis in enumerate(axes):
        if index < count:
            draw(axis, index)
        else:
            axis.set_visible(False)


def _panels(
    count: int, columns: int, height: float, draw: Callable[[Axes, int], None], legend: Sequence[Line2D] = ()
) -> Picture:
    """A sheet of `count` panels, each `height` inches high and `WIDTH` / `columns` wide, and a legend below."""
    used = min(columns, count)
    legend_columns = max(1, min(int(WIDTH / columns * used / 2.5), len(legend)))
    legend_height = 0.22 * math.ceil(len(legend) / legend_columns)

    def on(figure: Figure) -> None:
        _fill(figure, count, used, draw)
        if legend:
            figure.legend(handles=legend, loc="outside lower left", ncols=legend_columns, handlelength=3)

    return Picture(WIDTH / columns * used, height * math.ceil(count / used) + legend_height, on)


def _minus(text: str) -> str:
    """With the minus sign that matplotlib writes on its axes."""
    return text.replace("-", "−")


def _shorten(text: str, length: int = 34) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


# --- predicted against true EF --------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """One panel: true and predicted EF (videos,) in percent."""

    title: str
    true: ArrayLike
    pred: ArrayLike


def _checked(panels: Sequence[Comparison]) -> list[tuple[str, NDArray, NDArray]]:
    if not panels:
        raise EchocycleError("There is nothing to draw.")
    if len(panels) > PANELS_PER_FIGURE:
        raise EchocycleError(f"{len(panels)} panels; a figure holds at most {PANELS_PER_FIGURE}.")
    return [(_shorten(panel.title), *check_pair(panel.true, panel.pred)) for panel in panels]


def _points(axis: Axes, x: NDArray, y: NDArray) -> None:
    size, alpha = (14, 0.65) if len(x) <= 150 else (8, 0.4) if len(x) <= 600 else (4, 0.3)
    axis.scatter(x, y, s=size, color=SERIES[0], alpha=alpha, linewidths=0, rasterized=len(x) > 3000)


def _beside(axis: Axes, y: float, text: str) -> None:
    """Write `text` to the right of the panel at the height `y`."""
    axis.annotate(
        text,
        (1, y),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=7.5,
    )


def scatter_figure(panels: Sequence[Comparison]) -> Picture:
    """Predicted against true EF with the identity line, the number of videos, MAE and R2: a panel per run."""
    pairs = _checked(panels)
    everything = np.concatenate([np.concatenate(pair[1:]) for pair in pairs])
    low = 10 * math.floor((everything.min() - 1) / 10)
    high = 10 * math.ceil((everything.max() + 1) / 10)

    def draw(axis: Axes, index: int) -> None:
        title, true, pred = pairs[index]
        axis.plot([low, high], [low, high], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        _points(axis, true, pred)
        axis.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=title)
        axis.set(xlabel="true EF, %", ylabel="predicted EF, %")
        ticks = np.arange(low, high + 1, 20 if high - low > 50 else 10)
        axis.set(xticks=ticks, yticks=ticks)
        numbers = _minus(f"n = {len(true)}\nMAE {mae(true, pred):.2f}\nR² {100 * r2(true, pred):.1f} %")
        axis.text(0.04, 0.97, numbers, transform=axis.transAxes, va="top", fontsize=7.5, linespacing=1.35)

    return _panels(len(pairs), 4, 2.65, draw)


def bland_altman_figure(panels: Sequence[Comparison]) -> Picture:
    """Bland and Altman's figure: predicted minus true EF over their mean, with bias and 95 % limits."""
    pairs = _checked(panels)
    limits = [limits_of_agreement(true, pred) for _, true, pred in pairs]
    largest = max(float(np.abs(pred - true).max()) for _, true, pred in pairs)
    reach = 1.15 * max(largest, float(np.abs(limits).max())) + 0.5

    def draw(axis: Axes, index: int) -> None:
        title, true, pred = pairs[index]
        _points(axis, (true + pred) / 2, pred - true)
        low, high = limits[index]
        axis.axhline(0, color=MUTED, linewidth=0.7)
        for value, dash in ((high, DASHES[1]), (bias(true, pred), DASHES[0]), (low, DASHES[1])):
            axis.axhline(value, color=SERIES[1], linewidth=1.1, linestyle=dash)
            _beside(axis, value, _minus(f"{value:+.1f}"))
        axis.set(ylim=(-reach, reach), title=title)
        axis.set(xlabel="mean of true and predicted, %", ylabel="predicted − true, points")

    return _panels(len(pairs), 4, 2.3, draw)


def interval_figure(rows: Sequence[tuple[str, Interval]], label: str) -> Picture:
    """Values with their intervals, one line per row, top to bottom; `label` names the number and its unit."""
    if not rows:
        raise EchocycleError("There is nothing to draw.")

    def on(figure: Figure) -> None:
        axis = figure.subplots()
        for index, (_, interval) in enumerate(rows):
            ends = [interval.low, interval.high]
            if np.isfinite(ends).all():
                axis.plot(ends, [index, index], color=SERIES[0], linewidth=2.2, alpha=0.55)
            axis.plot([interval.value], [index], "o", color=SERIES[0], markersize=5)
            _beside(axis, index, f"{interval.value:.2f}")
        axis.set_yticks(range(len(rows)), [_shorten(name, 48) for name, _ in rows])
        axis.tick_params(axis="y", length=0, colors=INK)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.margins(x=0.08)
        axis.set_xlabel(label)
        axis.grid(False, axis="y")
        axis.spines["left"].set_visible(False)

    return Picture(WIDTH, 0.62 + 0.27 * len(rows), on)


# --- training -------------------------------------------------------------------------------------


def read_losses(path: Path) -> pd.DataFrame:
    """A CSV of training: a column `step`, and one column of numbers per named loss; cells may be empty."""
    try:
        losses = pd.read_csv(path)
    except FileNotFoundError:
        raise EchocycleError(f"{path} is missing.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise EchocycleError(f"{path} is not a readable CSV table ({error}).") from None
    if "step" not in losses.columns:
        raise EchocycleError(f"{path}: column 'step' is missing.")
    strange = [name for name in losses.columns if not pd.api.types.is_numeric_dtype(losses[name])]
    if strange:
        raise EchocycleError(f"{path}: column {strange[0]!r} must hold numbers only.")
    if losses["step"].isna().any():
        raise EchocycleError(f"{path}: column 'step' must not be empty.")
    return losses


def _binned(x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
    """Means of neighbouring points where there are more than `_LONGEST_LINE`."""
    if len(x) <= _LONGEST_LINE:
        return x, y
    groups = np.array_split(np.arange(len(x)), _LONGEST_LINE)
    return np.array([x[g].mean() for g in groups]), np.array([y[g].mean() for g in groups])


def _line(number: int) -> dict[str, Any]:
    """Colour and dashes of the run of that number; from the seventh on colours come again, with other dashes."""
    dash = (number + number // len(SERIES)) % len(DASHES)
    return {"color": SERIES[number % len(SERIES)], "linestyle": DASHES[dash]}


def losses_figure(runs: Mapping[str, pd.DataFrame]) -> Picture:
    """Training curves: one panel per named loss, one line per run, from tables as `read_losses` gives them.

    The axis is logarithmic where a loss is above 0 throughout and spans more than a factor of 20.
    """
    names = list(dict.fromkeys(name for table in runs.values() for name in table.columns if name != "step"))
    curves: dict[str, list[tuple[int, NDArray, NDArray]]] = {}
    for name in names:
        for number, table in enumerate(runs.values()):
            if name in table.columns:
                kept = table[np.isfinite(table[name].astype(float))]
                if len(kept):
                    values = kept["step"].to_numpy(float), kept[name].to_numpy(float)
                    curves.setdefault(name, []).append((number, *values))
    if not curves:
        raise EchocycleError("There are no losses to draw.")
    titles = list(curves)

    def draw(axis: Axes, index: int) -> None:
        lowest, highest = math.inf, -math.inf
        for number, steps, values in curves[titles[index]]:
            x, y = _binned(steps, values)
            axis.plot(x, y, marker="o" if len(x) == 1 else "", markersize=3, **_line(number))
            lowest, highest = min(lowest, float(y.min())), max(highest, float(y.max()))
        if lowest > 0 and highest > 20 * lowest:
            axis.set_yscale("log")
        else:
            axis.ticklabel_format(axis="y", style="sci", scilimits=(-3, 5))
        axis.set(title=_shorten(titles[index]), xlabel="step")
        axis.margins(x=0.02)

    legend = [Line2D([], [], label=name, **_line(number)) for number, name in enumerate(runs)]
    return _panels(len(titles), 3, 2.1, draw, legend)


# --- masks ----------------------------------------------------------------------------------------


def _outline(axis: Axes, mask: NDArray, colour: str, dash: Any) -> None:
    """The outline of a mask (height, width), probabilities or booleans, at one half."""
    shade = [withStroke(linewidth=2.2, foreground="#000000", alpha=0.45)]
    for line in measure.find_contours(np.pad(np.asarray(mask, dtype=np.float64), 1), 0.5):
        row, column = (line - 1).T
        axis.plot(column, row, color=colour, linestyle=dash, linewidth=1.3, path_effects=shade)


def overlay_figure(
    frames: NDArray[np.uint8],
    true: NDArray | None,
    pred: NDArray | None,
    captions: Sequence[str] | None = None,
) -> Picture:
    """A sheet of frames (n, height, width) with the outlines of true (blue) and predicted (orange) masks.

    Masks are (n, height, width), booleans or probabilities; either may be missing, and so may a single
    mask, which is then empty.
    """
    frames = np.asarray(frames)
    if frames.ndim != 3 or not len(frames):
        raise EchocycleError(f"The frames have the shape {frames.shape}; (n, height, width) is needed.")
    for name, masks in (("true", true), ("predicted", pred)):
        if masks is not None and np.shape(masks) != frames.shape:
            raise EchocycleError(f"The {name} masks are {np.shape(masks)}, the frames {frames.shape}.")
    if captions is not None and len(captions) != len(frames):
        raise EchocycleError(f"{len(captions)} captions for {len(frames)} frames.")
    layers: list[tuple[str, Any, str, Any]] = [
        (name, masks, colour, dash)
        for name, masks, colour, dash in (
            ("true", true, TRUE_OUTLINE, "-"),
            ("predicted", pred, PRED_OUTLINE, (0, (4, 1.5))),
        )
        if masks is not None
    ]

    def draw(axis: Axes, index: int) -> None:
        axis.set_axis_off()
        axis.imshow(frames[index], cmap="gray", vmin=0, vmax=255, interpolation="none")
        for _, masks, colour, dash in layers:
            _outline(axis, masks[index], colour, dash)
        axis.set(xlim=(-0.5, frames.shape[2] - 0.5), ylim=(frames.shape[1] - 0.5, -0.5))
        if captions is not None:
            axis.set_title(_shorten(captions[index], 30), fontsize=8, fontweight="normal", pad=4)

    legend = [Line2D([], [], color=colour, linestyle=dash, linewidth=2, label=name) for name, _, colour, dash in layers]
    aspect = frames.shape[1] / frames.shape[2]
    return _panels(len(frames), 6, WIDTH / 6 * aspect + 0.2, draw, legend)
