"""Stage `evaluate`: a finished run on the videos of its store; tables first, then the numbers made from them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocycle.bundle import Bundle, load_bundle
from echocycle.console import console
from echocycle.data.store import Store
from echocycle.device import choose_device, choose_precision
from echocycle.errors import EchocycleError
from echocycle.evaluation import protocols as predict
from echocycle.evaluation.intervals import Interval, video_intervals
from echocycle.evaluation.metrics import dice_per_video, naive_prediction, pooled_dice
from echocycle.evaluation.naive import training_ef
from echocycle.evaluation.tables import (
    explain_protocol,
    per_video,
    read_dice,
    read_predictions,
    read_volumes,
    write_dice,
    write_predictions,
    write_volumes,
)
from echocycle.inference.masks import check_color
from echocycle.locks import alone_in
from echocycle.partial import Journal, PartialFolder, as_json
from echocycle.progress import track
from echocycle.runs import Run
from echocycle.settings.convert import identity
from echocycle.settings.stages import EvaluateSettings


def evaluate_run(run: Run, settings: EvaluateSettings, store: Store, folder: Path | None = None) -> Path:
    """Evaluate a run into `folder` (its `evaluation`); goes on after a kill, and is quick when it is already done.

    A run's best part decides: a regression run gives predictions.csv, a segmentation run dice.csv and volumes.csv.
    """
    folder = folder or run.path / "evaluation"
    info = run.info
    job = Job(identity(settings), store.meta["id"])
    made = PartialFolder(folder, {"job": asdict(job)}, seal="metrics.json", private=("journal.jsonl",), in_place=True)

    def check(folder: Path) -> None:
        if missing := [name for name in TABLES[info["stage"]] if not (folder / name).exists()]:
            raise EchocycleError(f"{folder / missing[0]} is missing.")

    if made.closed and all((folder / name).exists() for name in TABLES[info["stage"]]):
        console.print(f"{folder} is already done.")
        return folder
    with alone_in(folder):
        if not made.begin(check):  # all that a kill prevented is the removal of the journal
            made.close()
            console.print(f"{folder} is already done.")
            return folder
        _evaluate(run, info, settings, store, made, job)
    return folder


TABLES = {"segment": ("dice.csv", "volumes.csv"), "regress": ("predictions.csv",)}
"""What an evaluation leaves beside metrics.json, by the run's stage."""


@dataclass(frozen=True)
class Job:
    """What an evaluation is of; that of another job is not resumed."""

    settings: dict[str, Any]
    """Those that its result depends on."""
    store: str
    """The id of the store."""


@dataclass(frozen=True)
class ExactJob(Job):
    """What the rows of its journal depend on besides, which may change until it is done."""

    model: str
    precision: str


def _evaluate(
    run: Run, info: dict[str, Any], settings: EvaluateSettings, store: Store, made: PartialFolder, job: Job
) -> None:
    device = choose_device(settings.device)
    settings = replace(settings, precision=choose_precision(settings.precision, device))
    bundle = load_bundle(run.model, device)
    for part in bundle.parts().values():
        check_color(part, bundle.path, store)
    videos = [int(v) for split in settings.splits for v in store.videos(split)]
    if not videos:
        raise EchocycleError(f"{store.path} has no video in {', '.join(settings.splits)}.")
    exact = ExactJob(job.settings, job.store, bundle.id, settings.precision)
    journal = _Journal(made.path / "journal.jsonl", asdict(exact))
    whose = {
        "run": run.id,
        "method": info["settings"]["method"],
        "seed": info["settings"]["loop"]["seed"],
    }
    if info["stage"] == "segment":
        metrics = _evaluate_segmenter(run, bundle, store, videos, settings, journal, made, device)
    else:
        metrics = _evaluate_regressor(run, bundle, store, videos, settings, journal, made, device, whose)
    of = {"job": asdict(job), "run": whose, "model": bundle.id, "precision": settings.precision}
    made.seal({**of, **metrics})
    made.close()


class _Journal:
    """Rows of the videos that are done, one JSON line each, so a killed evaluation goes on."""

    def __init__(self, path: Path, job: dict[str, Any]):
        self.path = path
        self._journal: Journal[dict[str, Any]] = Journal(path)
        entries = self._journal.read(lambda entry: isinstance(entry, dict))
        ours = entries[:1] == [as_json(job)] and all({"video", "rows"} <= set(entry) for entry in entries[1:])
        if not ours:
            if entries:
                words = (
                    f"{path} is of an evaluation with other settings, model or store; its videos are predicted again."
                )
                console.print(words, soft_wrap=True, highlight=False)
            path.unlink(missing_ok=True)
            self._journal.add(job)
        self.rows: dict[int, Any] = {entry["video"]: entry["rows"] for entry in entries[1:]} if ours else {}

    def over(self, title: str, videos: list[int], make: Callable[[int], Any]) -> Iterator[Any]:
        """The rows of each video, from the journal or made and noted."""
        with track(title) as progress:
            for number, video in enumerate(videos, 1):
                if video not in self.rows:
                    rows = make(video)
                    self._journal.add({"video": video, "rows": rows})
                    self.rows[video] = rows
                progress(number, len(videos))
                yield self.rows[video]


def _evaluate_regressor(
    run: Run,
    bundle: Bundle,
    store: Store,
    videos: list[int],
    settings: EvaluateSettings,
    journal: _Journal,
    made: PartialFolder,
    device: Any,
    whose: dict[str, Any],
) -> dict[str, Any]:
    regressor, segmenter = bundle.regressor, bundle.segmenter
    assert regressor is not None
    if segmenter is None and "beat-by-beat" in settings.protocol:
        raise EchocycleError(
            f"Protocol beat-by-beat finds the beats in masks, and the model of {run.path} has no segmenter; train it "
            "with --masks, or choose another protocol."
        )
    wanted = regressor.spec.takes_masks or "beat-by-beat" in settings.protocol
    masks = store.masks_of(segmenter.hash) if wanted and segmenter is not None else None
    if regressor.spec.takes_masks and masks is None:
        raise EchocycleError(
            f"{store.path} has no masks of the segmenter that {run.path} was trained with; run `echocycle mask`."
        )
    naive = naive_metrics(run, store, settings)  # before the hours of inference: it may be refused
    compared = _compared(run, store)
    labelled = [video for video in videos if compared[video]]
    if not labelled:
        raise EchocycleError(f"No video of {', '.join(settings.splits)} has an EF to compare with.")

    def make(video: int) -> list[dict[str, Any]]:
        rows = predict.predict_video_rows(regressor, store, masks, video, settings, device, whose, segmenter)
        return [{key: _plain(value) for key, value in row.items()} for row in rows]

    rows = [row for rows in journal.over(f"Evaluating {run.id}", labelled, make) for row in rows]
    if not rows:
        raise EchocycleError(f"No beat was found in the masks of any video; evaluate {run.path} by another protocol.")
    made.unseal()  # metrics.json of an evaluation with other settings is not that of the tables to come
    write_predictions(made.path / "predictions.csv", pd.DataFrame(rows))
    table = read_predictions(made.path / "predictions.csv")
    asked = store.index["split"][labelled].value_counts().to_dict()
    return {
        "ef": ef_metrics(table, asked),
        "protocols": protocols_used(table, settings),
        "naive": naive,
    }


def _compared(run: Run, store: Store) -> np.ndarray:
    """Whether each video of a store has an EF to compare with, (videos,).

    Of the store that a run with `labels.untraced` `drop` was trained on, only those that have a tracing too.
    """
    info, index = run.info, store.index
    found: np.ndarray = index["ef"].notna().to_numpy()
    drops = info["settings"].get("labels", {}).get("untraced") == "drop"
    if drops and info["data"]["id"] == store.meta["id"]:
        found = found & (index["ed_frame"] >= 0).to_numpy()
    return found


def naive_metrics(run: Run, store: Store, settings: EvaluateSettings) -> dict[str, Any]:
    """What always answering the mean EF of the run's labelled videos gives on a store, with intervals, by split."""
    guess = naive_prediction(training_ef(run.path, store))
    index, compared = store.index, _compared(run, store)
    found: dict[str, Any] = {"ef": guess}
    for split in settings.splits:
        rows = index[(index["split"] == split) & compared]
        if len(rows) > 1:
            found[split] = intervals(rows["ef"].to_numpy(), np.full(len(rows), guess), rows["patient"])
    return found


def protocols_used(table: pd.DataFrame, settings: EvaluateSettings) -> dict[str, str]:
    """How clips were chosen for each protocol of predictions.csv, in words."""
    used = table["protocol"].unique()
    return {str(name): explain_protocol(str(name), settings.stride, len(settings.clip_seeds)) for name in used}


def ef_metrics(table: pd.DataFrame, asked: dict[str, int] | None = None) -> dict[str, Any]:
    """Every metric with its bootstrap interval, by split and protocol, from predictions.csv.

    `asked`: videos of each split; those that a protocol gave no answer for are counted as `not_measured`.
    """
    videos = per_video(table)
    found: dict[str, Any] = {}
    for (split, protocol), rows in videos.groupby(["split", "protocol"], sort=False):
        if len(rows) > 1:
            found.setdefault(str(split), {})[str(protocol)] = {
                "videos": len(rows),
                **_as_json(video_intervals(rows)),
            }
            if missing := (asked or {}).get(str(split), len(rows)) - len(rows):
                found[str(split)][str(protocol)]["not_measured"] = missing
    return found


def intervals(true: np.ndarray, pred: np.ndarray, patients: Any) -> dict[str, Any]:
    """`METRICS` of videos with 95 % intervals over patients, as plain JSON; an undefined metric is left out."""
    return _as_json(video_intervals(pd.DataFrame({"ef_true": true, "ef_pred": pred, "patient": list(patients)})))


def _as_json(found: dict[str, Interval]) -> dict[str, Any]:
    return {name: interval_dict(interval) for name, interval in found.items() if math.isfinite(interval.value)}


def interval_dict(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON; ends that are undefined are null."""
    ends = {"low": interval.low, "high": interval.high}
    return {"value": interval.value, **{name: end if math.isfinite(end) else None for name, end in ends.items()}}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _evaluate_segmenter(
    run: Run,
    bundle: Bundle,
    store: Store,
    videos: list[int],
    settings: EvaluateSettings,
    journal: _Journal,
    made: PartialFolder,
    device: Any,
) -> dict[str, Any]:
    segmenter = bundle.segmenter
    assert segmenter is not None
    masks = store.masks_of(segmenter.hash)
    truth = store.masks("truth") if store.has_masks("truth") else None

    def found(video: int) -> np.ndarray:
        return predict.video_probabilities(segmenter, store, masks, video, settings, device)

    def make(video: int) -> dict[str, Any]:
        dice, volumes = predict.mask_rows(found(video), store, truth, video, run.id)
        plain = {key: _plain(value) for key, value in volumes.items()}
        return {"dice": dice, "volumes": {k: None if v != v else v for k, v in plain.items()}}

    rows = list(journal.over(f"Evaluating {run.id}", videos, make))
    dice = pd.DataFrame([row for entry in rows for row in entry["dice"]])
    if dice.empty:
        raise EchocycleError(f"No video of {', '.join(settings.splits)} has a tracing to compare with.")
    folder = made.path
    made.unseal()  # metrics.json of an evaluation with other settings is not that of the tables to come
    write_dice(folder / "dice.csv", dice)
    write_volumes(folder / "volumes.csv", pd.DataFrame([entry["volumes"] for entry in rows]))
    split = settings.splits[-1]
    predict.overlay_sample(store, [int(v) for v in store.videos(split)], found, folder / "overlays.npz")
    return {
        "dice": dice_metrics(read_dice(folder / "dice.csv")),
        "ef_discs": discs_metrics(read_volumes(folder / "volumes.csv")),
        "ef_traced": traced_metrics(read_volumes(folder / "volumes.csv")),
    }


def dice_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Dice pooled over pixels and as the mean of videos, by split and phase; `overall` pools ED and ES."""
    found: dict[str, Any] = {}
    for split, rows in table.groupby("split", sort=False):
        phases = {str(phase): part for phase, part in rows.groupby("phase", sort=False)}
        traced = rows[rows["phase"].isin(["ED", "ES"])]
        if len(traced):
            phases["overall"] = traced
        found[str(split)] = {}
        for phase, part in phases.items():
            counts = [part[column].to_numpy() for column in ("intersection", "size_true", "size_pred")]
            found[str(split)][phase] = {
                "pooled": pooled_dice(*counts),
                "mean": float(dice_per_video(*counts).mean()),
                "videos": int(part["video"].nunique()),
            }
    return found


def traced_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """EF by discs of the two traced frames, predicted masks against traced ones, by split, with intervals."""
    found: dict[str, Any] = {}
    for split, rows in table.groupby("split", sort=False):
        pair = rows[["ef_traced_true", "ef_traced_pred"]].apply(pd.to_numeric).dropna()
        if len(pair) > 1:
            both = intervals(
                pair["ef_traced_true"].to_numpy(), pair["ef_traced_pred"].to_numpy(), rows["patient"][pair.index]
            )
            found[str(split)] = {"videos": len(pair), **both}
    return found


def discs_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """EF by discs against the label, by split, with intervals; videos that could not be measured are counted."""
    found: dict[str, Any] = {}
    for split, rows in table[table["ef_true"].notna()].groupby("split", sort=False):
        good = rows[rows["ef_discs"].notna()]
        entry: dict[str, Any] = {"videos": len(good), "not_measured": len(rows) - len(good)}
        if len(good) > 1:
            entry |= intervals(good["ef_true"].to_numpy(), good["ef_discs"].to_numpy(), good["patient"])
        found[str(split)] = entry
    return found
