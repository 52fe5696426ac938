"""`check`: what a folder holds and what is wrong with it, before hours are spent. Writes nothing and needs no model."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from echocycle.data.store import SIZE
from echocycle.datasets.cycles import beat_length
from echocycle.datasets.duplicates import find_near_duplicates, fingerprint
from echocycle.datasets.findings import ORDER, Finding, FindingList, Level, finding_text, merge_findings, plain_finding
from echocycle.datasets.source import Decoded, Listed, Source
from echocycle.settings.stages import PrepareSettings, RegressSettings
from echocycle.workers import in_order

if TYPE_CHECKING:
    from rich.text import Text

Progress = Callable[[int, int], None]

SAMPLES = 3
"""Videos that are read to tell how long all of them take, where not all are."""
CSS_FRAMES = 120
"""CSS learns from videos of more frames than this (`segment.option.longer_than`)."""
CSS_FRAMES_LEAST = 80
"""With `segment.option.period=2` and `longer_than=79` it takes videos of so many."""
ASIDE = 0.06
"""Part of the picture's width by which a ventricle must lie beside the middle to tell left from right."""
SAME_SIDE = 0.85
FEWEST_FOR_SIDES = 8
LEAST_OF_A_BEAT = 0.9
"""Part of a beat that a clip should show."""
SHORTEST_BEAT = 0.7
"""Seconds of a video that can hardly show a whole beat: 86 beats a minute."""
COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True)
class Estimate:
    """What `prepare` will take."""

    videos: int
    frames: int
    """Listed or decoded; for videos of unknown length the mean of those that were read."""
    store_bytes: int
    seconds: float | None
    """With the workers of the settings; None where no video could be read."""

    def text(self, workers: int) -> str:
        """One sentence."""
        size = f"{self.store_bytes / 1e9:.1f} GB" if self.store_bytes >= 1e8 else f"{self.store_bytes / 1e6:.1f} MB"
        processes = "1 process" if workers < 2 else f"{workers} processes"
        took = "" if self.seconds is None else f"about {_duration(self.seconds)} with {processes} and "
        return f"`prepare` takes {took}{size} on disk ({self.videos} videos, {self.frames} frames)."


@dataclass(frozen=True)
class CheckReport:
    """Everything that `check` found."""

    layout: str
    source: Source
    listing: tuple[Finding, ...]
    """Of the lists, and of what training needs."""
    decoding: tuple[Finding, ...] | None
    """Of the videos themselves; None where they were not read."""
    estimate: Estimate
    workers: int

    @property
    def errors(self) -> list[Finding]:
        """The findings of level error."""
        return [finding for finding in (*self.listing, *(self.decoding or ())) if finding.level == "error"]

    def plain(self) -> dict[str, Any]:
        """The report as values for JSON."""
        found = {
            "layout": self.layout,
            **self.source.report,
            "findings": [_plain(finding) for finding in self.listing],
            "prepare": {
                "frames": self.estimate.frames,
                "bytes": self.estimate.store_bytes,
                "seconds": None if self.estimate.seconds is None else round(self.estimate.seconds, 1),
            },
            "can_train": not any(finding.kind in CANNOT_TRAIN or finding.stops for finding in self.listing),
            "errors": len(self.errors),
        }
        return found if self.decoding is None else {**found, "decoding": [_plain(f) for f in self.decoding]}

    def lines(self) -> Iterator["Text"]:
        """What is said below the page of the source: what training needs, what reading found, what it will take."""
        from rich.text import Text

        known = set(self.source.findings)
        for finding in [*(f for f in self.listing if f not in known), *(self.decoding or ())]:
            yield Text.assemble((finding.level, COLOURS[finding.level]), f" {finding.kind}: {finding_text(finding)}")
        yield Text(f"{self.estimate.text(self.workers)} What `train` takes: `check --forecast`.")


CANNOT_TRAIN = ("no-training-label", "no-validation-label", "too-short-for-css")


def examine(
    layout: str, source: Source, settings: PrepareSettings, *, decode: bool = False, progress: Progress | None = None
) -> CheckReport:
    """Check a folder that was read by its reader.

    Args:
        decode: read every video; otherwise only a few, to estimate the time.
    """
    lengths: dict[str, int]
    if decode:
        started = time.perf_counter()
        read = list(_read_all(source, settings, progress))
        seconds: float | None = time.perf_counter() - started
        lengths = {seen.name: seen.frames for seen in read}
        decoding: tuple[Finding, ...] | None = tuple(merge_findings(_found(source, settings, read)))
    else:
        lengths, seconds = _sampled(source, settings)
        decoding = None
    estimate = _estimate(source, settings, lengths, seconds)
    # half beats as CAMUS has them are for external tests: that nothing can be trained on them is no fault
    level: Level = "warning" if layout == "camus" else "error"
    needs = _needs_of_training(source.listed, lengths if decode else {}, level)
    listing = tuple(sorted([*source.findings, *needs], key=lambda finding: (ORDER[finding.level], finding.kind)))
    return CheckReport(layout, source, listing, decoding, estimate, settings.workers)


# ----------------------------------------------------------------------------------------------- reading all videos


@dataclass(frozen=True)
class _Seen:
    """What is kept of a video that was read."""

    name: str
    split: str
    frames: int
    look: np.ndarray | None
    aside: float | None
    """Place of the traced ventricle beside the middle, as part of the width; negative is left. None without tracing."""
    findings: tuple[Finding, ...]
    fps: float = math.nan
    beat: float | None = None
    """Frames from one beat to the next; None where no beat can be told."""


def _look_at(job: tuple[Callable[[Any], Decoded], tuple[Any, PrepareSettings]]) -> _Seen:
    """Decode one video and keep what is compared between videos; runs in a worker."""
    decode, record_and_settings = job
    decoded = decode(record_and_settings)
    if decoded.frames is None or decoded.row is None:
        return _Seen(decoded.name, "", 0, None, None, decoded.findings)
    aside = None
    if decoded.row.ed_frame >= 0:
        bits = np.unpackbits(np.frombuffer(decoded.traces, np.uint8)).reshape(2, SIZE, SIZE)
        aside = float(np.nonzero(bits)[2].mean() / (SIZE - 1) - 0.5)
    look = fingerprint(decoded.frames)
    fps = math.nan if decoded.row.fps is None else decoded.row.fps
    beat = beat_length(decoded.frames, fps)
    return _Seen(decoded.name, decoded.row.split, len(decoded.frames), look, aside, decoded.findings, fps, beat)


def _read_all(source: Source, settings: PrepareSettings, progress: Progress | None) -> Iterator[_Seen]:
    workers = settings.workers if len(source.records) > 3 else 0
    jobs = ((source.decode, (record, settings)) for record in source.records)
    for number, seen in enumerate(in_order(_look_at, jobs, workers), 1):
        yield seen
        if progress:
            progress(number, len(source.records))


def _found(source: Source, settings: PrepareSettings, read: Sequence[_Seen]) -> list[Finding]:
    """What single videos report, and what comparing them shows."""
    found = [finding for seen in read for finding in seen.findings]
    looked = [seen for seen in read if seen.look is not None]
    prints = [seen.look for seen in looked if seen.look is not None]
    found += find_near_duplicates([seen.name for seen in looked], [seen.split for seen in looked], prints)
    found += _few_cycles(looked)
    mixed = None if settings.allow_mixed else source.mixture((seen.name, seen.findings) for seen in looked)
    if mixed is not None:
        found.append(mixed)
    return found + _mirrored([(seen.name, seen.aside) for seen in looked if seen.aside is not None])


def _few_cycles(read: Sequence[_Seen]) -> list[Finding]:
    """Videos of which a clip shows less than a beat, and those that hold less than one themselves."""
    span = RegressSettings().span
    few = {seen.name: span / seen.beat for seen in read if seen.beat is not None and span < LEAST_OF_A_BEAT * seen.beat}
    short = [seen for seen in read if seen.frames < SHORTEST_BEAT * seen.fps]
    found = []
    if few:
        first, cycles = next(iter(few.items()))
        text = (
            f"A clip of the paper ({span} frames) shows less than a beat of these videos, which have many frames a "
            f"second. Prepare with --time seconds, or take longer clips. First: {first}: {cycles:.1f} of a beat."
        )
        found.append(Finding("note", "too-few-cycles", tuple(few), text))
    if short:
        first_seen = short[0]
        text = (
            f"These videos are shorter than {SHORTEST_BEAT:g} s, which is less than a beat of a resting heart: end "
            "systole or end diastole may be missing. First: "
            f"{first_seen.name}: {first_seen.frames / first_seen.fps:.2f} s."
        )
        found.append(Finding("note", "less-than-a-beat", tuple(seen.name for seen in short), text))
    return found


def _mirrored(places: Sequence[tuple[str, float]]) -> list[Finding]:
    """Videos in which the ventricle lies on the other side than in nearly all."""
    told = [(name, aside) for name, aside in places if abs(aside) > ASIDE]
    right = sum(aside > 0 for _, aside in told)
    if len(told) < FEWEST_FOR_SIDES or not SAME_SIDE <= max(right, len(told) - right) / len(told) < 1:
        return []
    usual_right = right > len(told) / 2
    names = tuple(name for name, aside in told if (aside > 0) != usual_right)
    text = (
        f"The ventricle lies on the {'left' if usual_right else 'right'} of the picture, in the other videos on the "
        f"{'right' if usual_right else 'left'}. Were these mirrored? Mirror them back, or leave them out."
    )
    return [Finding("warning", "left-right-flip", names, text)]


def decode_findings(source: Source, settings: PrepareSettings, *, progress: Progress | None = None) -> list[Finding]:
    """What reading every video of a folder would report, without keeping a frame."""
    return merge_findings(_found(source, settings, list(_read_all(source, settings, progress))))


# ------------------------------------------------------------------------------------------------- time and disk


def _sampled(source: Source, settings: PrepareSettings) -> tuple[dict[str, int], float | None]:
    """Frames of a few videos spread over the list, and the seconds that all would take in one process."""
    at = np.unique(np.linspace(0, len(source.records) - 1, SAMPLES).round().astype(int))
    lengths: dict[str, int] = {}
    started = time.perf_counter()
    for index in at:
        seen = _look_at((source.decode, (source.records[index], settings)))
        if seen.frames:
            lengths[seen.name] = seen.frames
    took = time.perf_counter() - started
    return lengths, took / len(lengths) * len(source.records) / max(settings.workers, 1) if lengths else None


def _estimate(source: Source, settings: PrepareSettings, lengths: dict[str, int], seconds: float | None) -> Estimate:
    usual = float(np.mean(list(lengths.values()))) if lengths else 0.0
    frames = sum(lengths.get(video.name) or video.frames or usual for video in source.listed)
    pixel_bytes = 3 if settings.color else 1
    store_bytes = frames * SIZE * SIZE * pixel_bytes + len(source.listed) * 2 * SIZE * SIZE / 8
    return Estimate(len(source.listed), round(frames), round(store_bytes), seconds)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# -------------------------------------------------------------------------------------------- what training needs


def _needs_of_training(listed: Sequence[Listed], lengths: dict[str, int], level: Level) -> tuple[Finding, ...]:
    """Why `train` would fail (findings of `level`) or learn little, by the defaults of the paper."""
    findings = FindingList()
    train = [video for video in listed if video.split == "train"]
    labelled = Counter(video.split for video in listed if video.has_ef)
    for split, kind, word in (("train", "no-training-label", "training"), ("val", "no-validation-label", "validation")):
        if not labelled[split]:
            findings.add_for_folder(
                level,
                kind,
                f"No {word} video has an EF, so no network can be trained on this folder. Give EF and the split "
                f"`{split}` to some videos, or have splits drawn (--assign-splits 0.7 0.15 0.15).",
            )
    known = {video.name: lengths.get(video.name) or video.frames for video in train}
    known = {name: frames for name, frames in known.items() if frames}
    defaults = RegressSettings()
    clip = (defaults.frames - 1) * defaults.period + 1
    findings.add(
        "warning",
        "shorter-than-a-clip",
        [name for name, frames in known.items() if frames < clip],
        f"Videos of fewer than {clip} frames are shorter than the paper's clip ({defaults.frames} frames, every "
        f"{'second' if defaults.period == 2 else defaults.period}); what is missing is black.",
    )
    traced = any(video.is_traced for video in train)
    long = sum(frames > CSS_FRAMES for frames in known.values())
    if traced and known and len(known) == len(train):
        if max(known.values()) < CSS_FRAMES_LEAST:
            findings.add_for_folder(
                level,
                "too-short-for-css",
                f"The longest training video has {max(known.values())} frames; CSS, by which `train` learns to "
                f"segment, needs {CSS_FRAMES_LEAST} at least. Export longer recordings (two beats or more).",
            )
        elif long < len(known):
            findings.add_for_folder(
                "note",
                "too-short-for-css-of-the-paper",
                f"CSS learns from videos of more than {CSS_FRAMES} frames, {long} of {len(known)} training videos. For "
                "shorter ones: --set segment.option.period=2 --set segment.option.longer_than=79.",
            )
    return findings.sorted()


def _plain(finding: Finding) -> dict[str, Any]:
    return {**plain_finding(finding), "count": len(finding.names), "lines": list(finding.lines)}
