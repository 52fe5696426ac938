"""Figures of the analyses: where a network looks, what features do over the beats, masks of several runs.

In the style of `figures.py`: SVG with text, colours that the colour-blind can tell apart and dashes beside them, axes
with units. Frames and heat maps are pictures inside the SVG.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses.matching import Match
from echocycle.evaluation.intervals import Interval
from echocycle.reporting.figures import (
    GRID,
    MUTED,
    SERIES,
    TRUE_OUTLINE,
    WIDTH,
    Picture,
    _line,
    _outline,
    _panels,
    _shorten,
)

HEAT = LinearSegmentedColormap.from_list(
    "heat", [(0, (0.9, 0.6, 0, 0)), (0.3, (0.9, 0.6, 0, 0.15)), (0.6, (0.9, 0.62, 0, 0.7)), (1, (1, 0.97, 0.75, 0.95))]
)
"""From nothing over orange to nearly white: it can be read on grey frames and in grey print."""
MARKERS = "os^DvpX*"
OUTLINES = ("#e69f00", "#ff8fc7", "#7ee0b8", "#f0e442")
"""Outlines of several runs on dark frames; the truth is light blue."""
OUTLINE_DASHES: tuple[Any, ...] = ((0, (4, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), "-")


def _frame(axis: Axes, image: NDArray, title: str = "") -> None:
    """A grey frame without axes."""
    axis.set_axis_off()
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axis.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    if title:
        axis.set_title(_shorten(title, 30), fontsize=8, fontweight="normal", pad=4)


# ------------------------------------------------------------------------------------------------- attention


@dataclass(frozen=True)
class Looked:
    """One frame of one run: gradients from 0 to 1 over a grey frame, and the traced ventricle; all (size, size)."""

    title: str
    frame: NDArray
    heat: NDArray
    mask: NDArray


def attention_figure(frames: Sequence[Looked], columns: int) -> Picture:
    """Frames with what the network looks at, and the outline of the traced ventricle; row by row."""
    if not frames:
        raise EchocycleError("There is nothing to draw.")

    def draw(axis: Axes, index: int) -> None:
        shown = frames[index]
        _frame(axis, shown.frame, shown.title)
        axis.imshow(np.asarray(shown.heat, float), cmap=HEAT, vmin=0, vmax=0.8, interpolation="bilinear")
        _outline(axis, shown.mask, TRUE_OUTLINE, "-")

    legend = [
        Line2D([], [], color=TRUE_OUTLINE, linewidth=2, label="traced ventricle"),
        Patch(facecolor="#e69f00", label="large gradients of the EF"),
    ]
    return _panels(len(frames), columns, WIDTH / columns + 0.25, draw, legend)  # type: ignore[arg-type]


def bars_figure(
    rows: Sequence[tuple[str, Sequence[Interval]]], names: Sequence[str], label: str, mark: float
) -> Picture:
    """Values with intervals, a group of points for each row; `mark` is a vertical line, such as what chance gives."""
    if not rows:
        raise EchocycleError("There is nothing to draw.")

    def on(figure: Figure) -> None:
        axis = figure.subplots()
        step = 0.22
        for index, (_, values) in enumerate(rows):
            for place, interval in enumerate(values):
                y = index + step * (place - (len(values) - 1) / 2)
                if np.isfinite([interval.low, interval.high]).all():
                    axis.plot([interval.low, interval.high], [y, y], color=SERIES[place], linewidth=2, alpha=0.55)
                axis.plot([interval.value], [y], "os^D"[place % 4], color=SERIES[place], markersize=4.5)
        if np.isfinite(mark):
            axis.axvline(mark, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        axis.set_yticks(range(len(rows)), [_shorten(name, 48) for name, _ in rows])
        axis.tick_params(axis="y", length=0)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel(label)
        axis.grid(False, axis="y")
        axis.spines["left"].set_visible(False)
        handles = [
            Line2D([], [], color=SERIES[k], marker="os^D"[k % 4], linestyle="", markersize=5, label=name)
            for k, name in enumerate(names)
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=len(names))

    return Picture(WIDTH, 0.95 + 0.42 * len(rows), on)


# ------------------------------------------------------------------------------------------------- cyclicity


def embedding_figure(runs: Mapping[str, tuple[NDArray, NDArray]], names: Sequence[str]) -> Picture:
    """t-SNE of frames (points (frames, 2), number of the video (frames,)) by run; points joined in time, a ring at each
    first frame."""
    if not runs:
        raise EchocycleError("There is nothing to draw.")
    titles = list(runs)

    def draw(axis: Axes, index: int) -> None:
        points, video = runs[titles[index]]
        for number in np.unique(video):
            line = points[video == number]
            style = _line(int(number))
            axis.plot(*line.T, linewidth=0.7, marker="o", markersize=1.6, alpha=0.85, color=style["color"])
            axis.plot(*line[0], marker="o", markersize=6, markerfacecolor="none", color=style["color"])
        axis.set(
            title=_shorten(titles[index]), xlabel="t-SNE 1, no unit", ylabel="t-SNE 2, no unit", xticks=[], yticks=[]
        )
        axis.set_aspect("equal", "datalim")

    legend = [Line2D([], [], color=_line(k)["color"], marker="o", markersize=3, label=n) for k, n in enumerate(names)]
    return _panels(len(titles), min(3, max(2, len(titles))), 3.4, draw, legend)


# ------------------------------------------------------------------------------------------------ similarity


@dataclass(frozen=True)
class Alike:
    """One video of one run: distances (time, time) of its frames, their mean by lag, and the beat in frames."""

    title: str
    distance: NDArray
    curve: NDArray
    read: float
    true: float
    fps: float


def similarity_figure(shown: Sequence[Alike]) -> Picture:
    """For each video a map of distances; beside it the mean distance by lag, with the beat read off and the true."""
    if not shown:
        raise EchocycleError("There is nothing to draw.")

    def draw(axis: Axes, index: int) -> None:
        video, is_curve = shown[index // 2], index % 2
        known = np.isfinite(video.fps) and video.fps > 0
        step, unit = (1 / video.fps, "s") if known else (1.0, "frames")
        if is_curve:
            lags = np.arange(len(video.curve)) * step
            axis.plot(lags, video.curve / max(video.curve.max(), 1e-12), color=SERIES[0])
            for value, colour, dash in ((video.true, SERIES[2], "-"), (video.read, SERIES[1], (0, (4, 2)))):
                if np.isfinite(value):
                    axis.axvline(value * step, color=colour, linewidth=1.3, linestyle=dash)
            axis.set(xlabel=f"time between two frames, {unit}", ylabel="mean distance / largest", xlim=(0, lags[-1]))
            return
        length = len(video.distance) * step
        axis.imshow(
            video.distance / max(video.distance.max(), 1e-12),
            cmap="cividis", extent=(0, length, length, 0), interpolation="nearest",
        )  # fmt: skip
        axis.grid(False)
        axis.set(title=_shorten(video.title, 36), xlabel=f"time, {unit}", ylabel=f"time, {unit}")

    legend = [
        Line2D([], [], color=SERIES[1], linestyle=(0, (4, 2)), label="beat read off the features"),
        Line2D([], [], color=SERIES[2], label="true beat"),
        Patch(facecolor="#00224e", label="alike (dark)"),
        Patch(facecolor="#fde737", label="unlike (light)"),
    ]
    return _panels(2 * len(shown), 4, 2.7, draw, legend)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------- matching


@dataclass(frozen=True)
class Matched:
    """One match of one run over one clip: the ventricle's area (time,) behind it, by frame of the video."""

    title: str
    match: Match
    area: NDArray
    fps: float
    phase_frames: int
    """Video frames that a phase spans."""


def matching_figure(rows: Sequence[Matched], columns: int) -> Picture:
    """Alpha over the search region and beta over the candidates, above the area curve of the video."""
    if not rows:
        raise EchocycleError("There is nothing to draw.")

    def draw(axis: Axes, index: int) -> None:
        shown = rows[index]
        match, area = shown.match, np.asarray(shown.area, float)
        known = np.isfinite(shown.fps) and shown.fps > 0
        step, unit = (1 / shown.fps, "s") if known else (1.0, "frames")
        end = match.searched[-1] + shown.phase_frames
        time = np.arange(len(area)) * step
        low, high = area.min(), max(area.max(), area.min() + 1)
        axis.plot(time, (area - low) / (high - low), color=MUTED, linewidth=0.9)
        width = 0.75 * step * float(np.diff(match.searched[:2])[0]) if len(match.searched) > 1 else step
        axis.bar(match.candidates * step, match.beta / match.beta.max(), width, color=SERIES[2], alpha=0.55)
        axis.bar(match.searched * step, match.alpha / match.alpha.max(), width, color=SERIES[1], alpha=0.55)
        axis.axvspan(match.template * step, (match.template + shown.phase_frames) * step, color=SERIES[0], alpha=0.3)
        axis.axvline(match.target * step, color=SERIES[2], linestyle=(0, (1.5, 1.5)), linewidth=1.4)
        axis.set(title=_shorten(shown.title, 44), xlabel=f"time in the video, {unit}", ylabel="share of its largest")
        axis.set(xlim=(match.candidates.min() * step - 3 * width, end * step), ylim=(0, 1.06))

    legend = [
        Line2D([], [], color=MUTED, label="area of the ventricle"),
        Patch(facecolor=SERIES[0], alpha=0.3, label="the phase p*"),
        Patch(facecolor=SERIES[1], alpha=0.55, label="alpha: where it is found"),
        Patch(facecolor=SERIES[2], alpha=0.55, label="beta: where that leads back to"),
        Line2D([], [], color=SERIES[2], linestyle=(0, (1.5, 1.5)), label="where it should lead"),
    ]
    return _panels(len(rows), columns, 2.35, draw, legend)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------- masks


@dataclass(frozen=True)
class Outlined:
    """A frame (112, 112), its true mask if that is known, and the mask of each run by name."""

    title: str
    frame: NDArray
    true: NDArray | None
    masks: Mapping[str, NDArray]


def contours_figure(frames: Sequence[Outlined]) -> Picture:
    """Frames with the outline of the truth and of every run."""
    if not frames:
        raise EchocycleError("There is nothing to draw.")
    names = list(dict.fromkeys(name for shown in frames for name in shown.masks))
    if len(names) > len(OUTLINES):
        raise EchocycleError(f"{len(names)} runs; {len(OUTLINES)} can be told apart on one frame.")

    def draw(axis: Axes, index: int) -> None:
        shown = frames[index]
        _frame(axis, shown.frame, shown.title)
        if shown.true is not None:
            _outline(axis, shown.true, TRUE_OUTLINE, "-")
        for number, name in enumerate(names):
            if name in shown.masks:
                _outline(axis, shown.masks[name], OUTLINES[number], OUTLINE_DASHES[number])

    legend = [Line2D([], [], color=TRUE_OUTLINE, linewidth=2, label="true")]
    legend += [
        Line2D([], [], color=OUTLINES[k], linestyle=OUTLINE_DASHES[k], linewidth=2, label=name)
        for k, name in enumerate(names)
    ]
    return _panels(len(frames), 6, WIDTH / 6 + 0.25, draw, legend)


def areas_figure(
    videos: Sequence[tuple[str, float, Mapping[str, NDArray], NDArray]], traced: Sequence[NDArray]
) -> Picture:
    """The ventricle's area in every frame: for each video its title, frames a second, the area by run, and the true one
    (empty where unknown); `traced` gives the frames of ED and ES."""
    if not videos:
        raise EchocycleError("There is nothing to draw.")
    names = list(dict.fromkeys(name for _, _, areas, _ in videos for name in areas))

    def draw(axis: Axes, index: int) -> None:
        title, fps, areas, true = videos[index]
        known = np.isfinite(fps) and fps > 0
        step, unit = (1 / fps, "s") if known else (1.0, "frames")
        if len(true):
            axis.plot(np.arange(len(true)) * step, true, color=GRID, linewidth=3.5)
        for number, name in enumerate(names):
            if name in areas:
                axis.plot(np.arange(len(areas[name])) * step, areas[name], linewidth=1.1, **{
                    key: value for key, value in _line(number).items()
                })  # fmt: skip
        for frame in traced[index]:
            if frame >= 0:
                axis.axvline(frame * step, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        axis.set(title=_shorten(title), xlabel=f"time, {unit}", ylabel="area, pixels", ylim=(0, None))

    legend = [Line2D([], [], color=GRID, linewidth=3.5, label="true")] if any(len(v[3]) for v in videos) else []
    legend += [Line2D([], [], label=name, **_line(number)) for number, name in enumerate(names)]
    legend.append(Line2D([], [], color=MUTED, linestyle=(0, (2, 2)), label="traced ED and ES"))
    return _panels(len(videos), 3, 2.1, draw, legend)


# ---------------------------------------------------------------------------------------------------- groups


Points = list[tuple[float, float, float]]
"""Points of a line: x, y, half the spread of y (NaN where there is none)."""


def _draw_points(axis: Axes, number: int, name: str, points: Points) -> None:
    x, y, spread = np.array(sorted(points)).T
    style = _line(number)
    axis.plot(x, y, marker=MARKERS[number % len(MARKERS)], markersize=4.5, label=name, **style)
    if np.isfinite(spread).any():
        axis.errorbar(x, y, np.nan_to_num(spread), fmt="none", ecolor=style["color"], elinewidth=1, capsize=2.5)


def settings_figure(panels: Mapping[str, Mapping[str, Points]], ylabel: str) -> Picture:
    """A panel for each setting, a line for each column of the table, on one scale of y."""
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    every = [
        (y - np.nan_to_num(s), y + np.nan_to_num(s))
        for lines in panels.values()
        for points in lines.values()
        for _, y, s in points
    ]
    low, high = min(low for low, _ in every), max(high for _, high in every)
    margin = 0.08 * max(high - low, 0.1)

    def draw(axis: Axes, index: int) -> None:
        label = list(panels)[index]
        values = sorted({x for points in panels[label].values() for x, *_ in points})
        for name, points in panels[label].items():
            _draw_points(axis, names.index(name), name, [(values.index(x), y, s) for x, y, s in points])
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axis.set(xlabel=label, ylabel=ylabel, ylim=(low - margin, high + margin))

    legend = [Line2D([], [], marker=MARKERS[k % len(MARKERS)], label=name, **_line(k)) for k, name in enumerate(names)]
    return _panels(len(panels), 3, 2.3, draw, legend if len(names) > 1 else ())


def points_figure(lines: Mapping[str, Points], xlabel: str, ylabel: str, *, log: bool = False) -> Picture:
    """Lines of points (x, y, half the spread of y) by name, such as the error against the number of labels."""
    if not any(lines.values()):
        raise EchocycleError("There is nothing to draw.")

    def on(figure: Figure) -> None:
        axis = figure.subplots()
        for number, (name, points) in enumerate(lines.items()):
            aside = 1.015 ** (number - (len(lines) - 1) / 2) if log else 1.0  # so that bars do not hide one another
            _draw_points(axis, number, name, [(x * aside, y, spread) for x, y, spread in points])
        if log:
            axis.set_xscale("log", base=2)
            ticks = sorted({x for points in lines.values() for x, *_ in points})
            shown = [str(Fraction(tick).limit_denominator(64)) if tick < 1 else f"{tick:g}" for tick in ticks]
            axis.set_xticks(ticks, shown, minor=False)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        figure.legend(loc="outside lower left", ncols=2, handlelength=3)

    return Picture(WIDTH * 0.62, 3.2 + 0.22 * -(-len(lines) // 2), on)
