"""The report's sections on what networks do: where they look, and what a segmenter's features do over the beats.

Each reads the arrays that `echocycle analyse` left beside the runs, and is left out where no run has them.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses import attention, matching, similarity
from echocycle.evaluation.analyses.cyclicity import cyclicity, distances
from echocycle.evaluation.analyses.phases import beat_length, phases
from echocycle.evaluation.analyses.stored import Analysed, Arrays
from echocycle.reporting import analysis_figures as drawn
from echocycle.reporting.blocks import Block, Cell, Figure, Section, Table, Text, count_cell, interval_cell, number_cell
from echocycle.reporting.run_data import ReportData, RunReport

Source = Callable[[RunReport], dict[str, Analysed]]


def own(run: RunReport) -> dict[str, Analysed]:
    """The analyses of a run on its own store."""
    return dict(run.analyses)


def with_analysis(data: ReportData, name: str, of: Source = own) -> list[tuple[RunReport, Analysed]]:
    """The runs that have an analysis, with it."""
    return [(run, of(run)[name]) for run in data.runs if name in of(run)]


# ------------------------------------------------------------------------------------------------- attention


def attention_section(data: ReportData, problems: list[str]) -> Section | None:
    """Where the EF networks look (Tables II, Figs. 4 and 8)."""
    found = with_analysis(data, "attention")
    if not found:
        return None
    words = (
        "The gradient says how much the EF would change if a pixel changed (SmoothGrad). What to see: whether the "
        "light patches lie inside the ventricle or on its wall, where a reader looks, or elsewhere. The Dice holds the "
        "largest 5 % of the gradients against the traced ventricle. It can hardly reach 100 %: the ventricle is larger "
        "than 5 % of the picture."
    )
    blocks: list[Block] = [Text(words)]
    try:
        blocks += attention_blocks(found, "attention")
    except EchocycleError as error:
        problems.append(f"Attention: {error}")
    return Section("Where the networks look", blocks)


def attention_blocks(found: Sequence[tuple[RunReport, Analysed]], name: str) -> list[Block]:
    """Table, figure of the numbers and frames with gradients."""
    rows, bars, chance = [], [], float("nan")
    for run, analysed in found:
        counts, size = attention.counts_of(analysed), _size_of(analysed)
        share = float(analysed.settings["share"])
        for per in (0, 1):
            numbers = attention.attention_dice(counts, per, share, size)
            cells = [interval_cell(each, 1, 100) for each in (numbers.ed, numbers.es, numbers.overall)]
            rows.append(
                [Cell(run.name), Cell(f"of the {numbers.per}"), *cells, number_cell(100 * numbers.chance, 1),
                 count_cell(numbers.videos)]
            )  # fmt: skip
            if per == 0:
                bars.append((run.name, [_scaled(each) for each in (numbers.ed, numbers.es, numbers.overall)]))
                chance = 100 * numbers.chance
    settings = found[0][1].settings
    caption = (
        f"Dice, %, of the largest {100 * float(settings['share']):g} % of gradients and the traced ventricle, pooled "
        f"over all videos; small print: 95 % intervals over videos. SmoothGrad with n = {settings['samples']} and "
        f"sigma = {settings['sigma']:g} of the clip's range. ED is the frame with the larger mask; the public code "
        "names them the other way round. By chance: as many pixels at random."
    )
    columns = ["<run", "<largest", "ED", "ES", "overall", "by chance", "videos"]
    blocks: list[Block] = [Table(columns, rows, caption, name)]
    label = "Dice of the largest gradients and the ventricle, %; dashed: by chance"
    blocks.append(
        Figure(drawn.bars_figure(bars, ("ED", "ES", "overall"), label, chance), "The same, for the 5 % of the clip.")
    )
    frames = [shown for run, analysed in found for shown in _looked(run, analysed)]
    if frames:
        caption = "Gradients of the EF over frames at ED and ES; the ventricle as it was traced. One run a row."
        blocks.append(Figure(drawn.attention_figure(frames, 6), caption, f"{name}-frames"))
    return blocks


def _scaled(interval):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(interval, value=100 * interval.value, low=100 * interval.low, high=100 * interval.high)


def _size_of(analysed: Analysed) -> int:
    for _, arrays in analysed.pieces():
        if "heat" in arrays:
            return int(arrays["heat"].shape[-1])
    return 112


def _looked(run: RunReport, analysed: Analysed, videos: int = 3) -> Iterator[drawn.Looked]:
    shown = 0
    for name, arrays in analysed.pieces():
        if "heat" not in arrays or shown == videos:
            continue
        shown += 1
        for place, phase in enumerate(attention.PHASES):
            title = f"{run.name}, {phase}" if shown == 1 else f"{name}, {phase}"
            yield drawn.Looked(title, arrays["frame"][place], arrays["heat"][place], arrays["mask"][place])


# -------------------------------------------------------------------------------------------------- features


def _true_area(arrays: Arrays) -> np.ndarray:
    """The area that beats are told from: of the true masks where they are known, else of the found ones."""
    return arrays["area_true"] if len(arrays["area_true"]) else arrays["area"]


@cache
def feature_numbers(analysed: Analysed) -> pd.DataFrame:
    """One row a video: cyclicity, the beat read off the features, and the true one."""
    rows = []
    for name, arrays in analysed.pieces():
        fps, area = float(arrays["fps"]), _true_area(arrays)
        found = cyclicity(arrays["features"], phases(area, fps))
        read = similarity.beat_read(distances(arrays["features"]), fps)
        rows.append(
            {
                "video": name,
                "phase_read": found.phase_read,
                "return_ratio": found.return_ratio,
                "beats": found.beats,
                "read": similarity.rate(read, fps),
                "true": similarity.rate(beat_length(area, fps), fps),
            }
        )
    return pd.DataFrame(rows)


def _mean_cell(values: pd.Series, digits: int = 2) -> Cell:
    """Mean and standard deviation over videos."""
    known = values.dropna()
    if known.empty:
        return Cell("–", "no video with two beats")
    spread = f"± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else ""
    return Cell(f"{known.mean():.{digits}f}", spread, float(known.mean()))


def cyclicity_section(data: ReportData, problems: list[str]) -> Section | None:
    """Whether a segmenter's features go in circles (Fig. 5)."""
    found = with_analysis(data, "features")
    if not found:
        return None
    words = (
        "Each point is a frame, placed so that frames with like features lie close; points are joined in time and a "
        "ring marks the first. What to see: a video whose features follow the heart runs round and round the same "
        "loop. Phase read: 1 where the most similar frame of another beat shows the same moment, 0 as by chance. "
        "Return ratio: the distance after a whole beat over that after half a beat, 0 for a perfect circle, 1 for none."
    )
    rows = []
    for run, analysed in found:
        numbers = feature_numbers(analysed)
        rows.append(
            [
                Cell(run.name),
                Cell(run.method),
                *(_mean_cell(numbers[name], 3) for name in ("phase_read", "return_ratio")),
                count_cell(int(numbers["phase_read"].notna().sum())),
            ]
        )
    columns = ["<run", "<method", "phase read", "return ratio", "videos"]
    caption = "Mean ± standard deviation over videos that show two whole beats. Beats are told from the masks."
    blocks: list[Block] = [Text(words)]
    pictures = {run.name: (s["points"], s["video"]) for run, a in found if (s := a.summary())}
    if pictures:
        names = [name for name, _ in found[0][1].pieces()][: int(max(v.max() for _, v in pictures.values())) + 1]
        caption_of_figure = "t-SNE of the encoder's features, one colour a video."
        blocks.append(Figure(drawn.embedding_figure(pictures, names), caption_of_figure, "cyclicity"))
    blocks.append(Table(columns, rows, caption, "cyclicity"))
    return Section("Do the features go in circles?", blocks)


def similarity_section(data: ReportData, problems: list[str]) -> Section | None:
    """How alike frames are, and the heart rate read off it (Fig. A2)."""
    found = with_analysis(data, "features")
    if not found:
        return None
    words = (
        "Each map holds every frame of a video against every other. What to see: dark stripes beside the diagonal, one "
        "for each beat; the distance between two stripes is the length of a beat. The curve is the mean along the "
        "diagonals, and its first valley the heart rate that is read off."
    )
    rows, shown = [], []
    for run, analysed in found:
        numbers = feature_numbers(analysed)
        known = numbers.dropna(subset=["true"])
        both = known.dropna(subset=["read"])
        error = (both["read"] - both["true"]).abs()
        within = int((error <= 5).sum())
        rows.append(
            [Cell(run.name), Cell(run.method), count_cell(len(known)), count_cell(len(both)),
             number_cell(float(error.median()) if len(both) else float("nan"), 1), Cell(f"{within} of {len(known)}")]
        )  # fmt: skip
        for name, arrays in analysed.pieces():
            fps, distance = float(arrays["fps"]), distances(arrays["features"])
            shown.append(
                drawn.Alike(
                    f"{run.name}, {name}", distance, similarity.by_lag(distance), similarity.beat_read(distance, fps),
                    beat_length(_true_area(arrays), fps), fps,
                )
            )  # fmt: skip
            if len(shown) % 2 == 0:
                break
    columns = ["<run", "<method", "videos with a known rate", "rate read", "median error, beats a minute", "within 5"]
    caption = "The heart rate read off the features, held against that of the masks."
    figure = Figure(
        drawn.similarity_figure(shown[:8]),
        "Distances of frames, and their mean by the time between them.",
        "similarity",
    )
    return Section("How alike frames are", [Text(words), figure, Table(columns, rows, caption, "similarity")])


# -------------------------------------------------------------------------------------------------- matching

CYCLES = (2, 3)


def matching_section(data: ReportData, problems: list[str]) -> Section | None:
    """How CSS matches a phase: alpha and beta over the frames (Figs. 3 and A1)."""
    found = with_analysis(data, "features")
    if not found:
        return None
    words = (
        "A short phase of the beat (blue) is looked for later in the clip; alpha (orange) says where it is found, and "
        "beta (green) where a little after that leads back to. What to see: orange bars at the same moment of the next "
        "beats as the blue strip, and green bars at the dotted line. One bar that holds everything means that the "
        "match is hard, not soft: its gradient is then next to nothing."
    )
    rows, shown = [], []
    for run, analysed in found:
        option = run.settings.get("option", {}) if run.stage == "segment" else {}
        try:
            options = matching.options_of_run(option)
        except EchocycleError as error:
            problems.append(f"Matching of {run.name}: {error}")
            continue
        rows.append(_matching_row(run, analysed, options))
        shown += [m for cycles in CYCLES if (m := _matched(run, analysed, options, cycles)) is not None]
    columns = [
        "<run",
        "<method",
        "alpha finds the moment",
        "entropy of alpha",
        "beta right, %",
        "by chance, %",
        "matches",
    ]
    caption = (
        "Over every phase of one clip of each video. Alpha finds the moment: mean cosine of the phase difference, 1 "
        "right, 0 by chance. Entropy: 0 where one frame has all the weight, 1 where all have the same."
    )
    blocks: list[Block] = [Text(words)]
    if shown:
        caption_of_figure = "One match over about two and over about three beats, for each run."
        blocks.append(Figure(drawn.matching_figure(shown, 2), caption_of_figure, "matching"))
    else:
        problems.append("No video is long enough for the matching of phases over two beats.")
    return Section("How phases are matched", [*blocks, Table(columns, rows, caption, "matching")])


def _matching_row(run: RunReport, analysed: Analysed, options: matching.CSSOptions) -> list[Cell]:
    agreement, entropy, hits = [], [], []
    for _, arrays in analysed.pieces():
        if not matching.fits(options, len(arrays["features"])):
            continue
        phase = phases(_true_area(arrays), float(arrays["fps"]), beyond=True)
        for start in range(options.starts):
            found = matching.match(arrays["features"], options, start, int(arrays["positions"]))
            agreement.append(found.agreement(phase))
            entropy.append(matching.entropy(found.alpha))
            hits.append(found.hit)
    known = [value for value in agreement if np.isfinite(value)]
    chance = 100 / options.starts if options.candidates == "code" else 100 / options.template
    if not hits:
        return [Cell(run.name), Cell(run.method), *[Cell("–", "no video is long enough")] * 3, Cell("–"), count_cell(0)]
    return [
        Cell(run.name),
        Cell(run.method),
        number_cell(float(np.mean(known)) if known else float("nan"), 3),
        number_cell(float(np.mean(entropy)), 3),
        number_cell(100 * float(np.mean(hits)), 1),
        number_cell(chance, 1),
        count_cell(len(hits)),
    ]


def _matched(run: RunReport, analysed: Analysed, options: matching.CSSOptions, cycles: int) -> drawn.Matched | None:
    """The match to draw over so many beats: of the first video that is long enough."""
    for name, arrays in analysed.pieces():
        fps, area = float(arrays["fps"]), _true_area(arrays)
        beat, length = beat_length(area, fps), len(arrays["features"])
        if not np.isfinite(beat) or cycles * beat > length - 1:
            continue
        o = matching.fitted(options, length, cycles, beat)
        if o.search < 2 or not matching.fits(o, length) or (o.frames - 1) * o.period < 0.9 * cycles * beat:
            continue
        found = matching.match(arrays["features"], o, min(3, o.starts - 1), int(arrays["positions"]))
        span = (o.phase_length - 1) * o.period + 1
        return drawn.Matched(f"{run.name}, {name}: {cycles} beats", found, area, fps, span)
    return None
