"""A trained model on the videos of a store: EF of clips, Dice of masks, EF by discs; streamed, a video at a time."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echocycle.cardiac.beats import USUAL_FPS, largest_components, systoles_of_echonet
from echocycle.cardiac.discs import disc_volume, ef_by_discs
from echocycle.data.clips import clip_start, clip_starts
from echocycle.data.mask_set import MaskSet
from echocycle.data.store import SIZE, Store
from echocycle.evaluation.half_beats import frames_for
from echocycle.evaluation.tables import dice_row
from echocycle.inference.clips import THRESHOLD, at_store_size, longest, members_on_clips
from echocycle.inference.masks import probabilities
from echocycle.models.specs import Part
from echocycle.settings.stages import EvaluateSettings

KEPT = ("quality", "rhythm")
"""What predictions.csv says of a video besides, where its store knows it."""


def starts_of(protocol: str, n_frames: int, spec: Any, settings: EvaluateSettings, video: str) -> list[int]:
    """First frames of the clips that a protocol takes from a video.

    `one-clip` gives one random start for each of `clip_seeds`, which depends on seed and video name alone. So does the
    paper's code test f_e, with five seeds whose metrics stand apart; f_m it tests on all clips. The paper is silent.
    """
    count = clip_starts(n_frames, spec.frames, spec.period)
    if protocol == "all-clips":
        return list(range(count))
    if protocol == "strided":
        return list(range(0, count, settings.stride))
    key = list(video.encode())
    rngs = [np.random.default_rng([seed, *key]) for seed in settings.clip_seeds]
    return [clip_start(n_frames, spec.frames, spec.period, rng) for rng in rngs]


def beat_starts(area: np.ndarray, spec: Any) -> list[int]:
    """First frames of the clips of `beat-by-beat`: one around each systole of the area curve (time,), in pixels.

    A systole too near the start has the first clip, and one too near the end none, as in EchoNet-Dynamic's scripts.
    """
    starts = (max(0, int(systole) - spec.frames * spec.period // 2) for systole in systoles_of_echonet(area))
    return [start for start in starts if start < clip_starts(len(area), spec.frames, spec.period)]


def predict_video_rows(
    regressors: Sequence[Part],
    store: Store,
    masks: MaskSet | None,
    video: int,
    settings: EvaluateSettings,
    device: torch.device,
    identity: dict[str, Any],
    segmenter: Part | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of predictions.csv of one video, each the mean of all EF networks; `identity` has run, method, seed.

    `beat-by-beat`, for which alone the segmenter is needed, gives the mean over beats in one row, or none where no
    beat is found.
    """
    row = store.index.iloc[video]
    spec = longest(regressors)
    assert masks is not None or not any(part.spec.takes_masks for part in regressors)
    details = {name: store.detail(str(row["name"]), name) for name in store.details.columns if name in KEPT}
    shown = frames_for(store.n_frames(video), settings, spec)
    frames = store.frames(video) if settings.half_beats == "keep" else np.asarray(store.frames(video)[shown])
    reader = None if masks is None else (lambda places: masks.probabilities(video, shown[places]))
    for protocol in settings.protocol:
        if protocol == "beat-by-beat":
            assert segmenter is not None
            found = video_probabilities(segmenter, store, masks, video, settings, device)
            starts = beat_starts((found > THRESHOLD).sum((1, 2))[shown], spec)
            if not starts:
                continue
        else:
            starts = starts_of(protocol, len(frames), spec, settings, row["name"])
        ef = members_on_clips(regressors, frames, reader, starts, settings.batch, device, settings.precision).mean(0)
        names = [protocol] * len(starts) if protocol != "one-clip" else [f"one-clip-{s}" for s in settings.clip_seeds]
        clips: list[tuple[str, int | None, float]] = list(zip(names, starts, ef, strict=True))
        if protocol == "beat-by-beat":  # two beats can have the same clip, so their mean is all that is told
            clips = [(protocol, None, ef.mean())]
        for named, start, each in clips:
            yield {
                **identity,
                "split": row["split"],
                "patient": row["patient"],
                "video": row["name"],
                "protocol": named,
                "clip_start": start,
                "ef_true": row["ef"],
                "ef_pred": float(each),
                **details,
            }


def video_probabilities(
    segmenter: Part,
    store: Store,
    masks: MaskSet | None,
    video: int,
    settings: EvaluateSettings,
    device: torch.device,
) -> np.ndarray:
    """Probabilities of all frames of a video at the store's size, uint8 (time, 112, 112).

    Taken from the mask set where it has the video, else made by the segmenter. With `largest_only` all but the largest
    blob of each frame is 0.
    """
    if masks is not None and masks.has(video):
        small = masks.probabilities(video, np.arange(store.n_frames(video)))
    else:
        small = np.concatenate(
            list(probabilities(segmenter, store.frames(video), max(settings.batch, 64), device, settings.precision))
        )
    found = at_store_size(small)
    return found * largest_components(found > THRESHOLD) if settings.largest_only else found


def mask_rows(
    found: np.ndarray, store: Store, truth: MaskSet | None, video: int, run: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of dice.csv and the row of volumes.csv of one video, from its probabilities (time, 112, 112).

    ED and ES against the tracings; `all` against the true masks of every frame, where there are any (the phantom).
    """
    row = store.index.iloc[video]
    masks = found > THRESHOLD
    dice = []
    if row["ed_frame"] >= 0:
        traced = store.traced_masks(video)
        for phase, frame, true in zip(("ED", "ES"), (row["ed_frame"], row["es_frame"]), traced, strict=True):
            dice.append(dice_row(run, row["split"], row["name"], phase, true, masks[frame]))
    if truth is not None and truth.has(video):
        true = truth.probabilities(video, np.arange(len(masks))) > THRESHOLD
        flat = (true.reshape(-1, SIZE), masks.reshape(-1, SIZE))  # one tall picture: all frames' pixels together
        dice.append(dice_row(run, row["split"], row["name"], "all", *flat))
    fps = float(row["fps"]) if np.isfinite(row["fps"]) else USUAL_FPS
    spacing = (float(row["spacing_row_mm"]), float(row["spacing_column_mm"]))
    measured = ef_by_discs(masks, fps, spacing if np.isfinite(spacing).all() else None).as_row()
    if not np.isfinite(row["fps"]):
        measured["notes"] = "; ".join(filter(None, [str(measured["notes"]), "frame rate unknown, 50 taken"]))
    volumes = {
        "run": run,
        "split": row["split"],
        "patient": row["patient"],
        "video": row["name"],
        "ef_true": row["ef"],
        **measured,
        **_traced_ef(masks, store, video),
    }
    return dice, volumes


def _traced_ef(masks: np.ndarray, store: Store, video: int) -> dict[str, float]:
    """EF by discs of the two traced frames alone: from the predicted masks and from the traced ones, percent.

    What remains to be compared where there are stills only, or no label; NaN without a tracing.
    """
    row = store.index.iloc[video]
    nothing = {"ef_traced_pred": float("nan"), "ef_traced_true": float("nan")}
    if row["ed_frame"] < 0:
        return nothing
    spacing: Any = (float(row["spacing_row_mm"]), float(row["spacing_column_mm"]))
    spacing = spacing if np.isfinite(spacing).all() else None

    def ef(pair: np.ndarray) -> float:
        edv, esv = (disc_volume(mask, spacing).volume for mask in pair)
        return 100 * (edv - esv) / edv if edv > 0 else float("nan")

    pair = masks[[int(row["ed_frame"]), int(row["es_frame"])]]
    return {"ef_traced_pred": ef(pair), "ef_traced_true": ef(store.traced_masks(video))}


def overlay_sample(
    store: Store, videos: list[int], found: Callable[[int], np.ndarray], path: Path, count: int = 6
) -> None:
    """Save ED and ES frames of some videos with traced and predicted masks, for the report's sheet."""
    from echocycle.files import replacing

    frames: list[np.ndarray] = []
    true: list[np.ndarray] = []
    predicted: list[np.ndarray] = []
    names: list[str] = []
    index = store.index
    for video in videos:
        if index["ed_frame"][video] < 0 or len(names) >= 2 * count:
            continue
        masks = found(video) > THRESHOLD
        for phase, number, mask in zip(
            ("ED", "ES"),
            (index["ed_frame"][video], index["es_frame"][video]),
            store.traced_masks(video),
            strict=True,
        ):
            frame = store.frames(video)[number]
            frames.append(frame if frame.ndim == 2 else frame.mean(-1).astype(np.uint8))
            true.append(mask)
            predicted.append(masks[number])
            names.append(f"{index['name'][video]} {phase}")
    if names:
        with replacing(path) as temporary:
            np.savez_compressed(
                temporary,
                frames=np.stack(frames),
                true=np.stack(true),
                predicted=np.stack(predicted),
                names=np.array(names),
            )
