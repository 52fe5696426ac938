"""The evaluation of a model's two parts: an EF network against labels, a segmenter against tracings."""

from typing import Any

import numpy as np
import pandas as pd

from echocycle.bundle import Bundle
from echocycle.data.store import Store
from echocycle.data.store_at_rate import seen_by
from echocycle.errors import EchocycleError
from echocycle.evaluation import protocols as predict
from echocycle.evaluation.half_beats import as_tested, patients_of
from echocycle.evaluation.journal import RowJournal
from echocycle.evaluation.summaries import (
    compared_videos,
    dice_metrics,
    discs_metrics,
    ef_metrics,
    naive_metrics,
    protocols_used,
    traced_metrics,
)
from echocycle.evaluation.tables import (
    read_dice,
    read_predictions,
    read_volumes,
    write_dice,
    write_predictions,
    write_volumes,
)
from echocycle.partial import PartialFolder
from echocycle.runs import Run
from echocycle.settings.stages import EvaluateSettings


def evaluate_regressor(
    run: Run,
    bundle: Bundle,
    store: Store,
    videos: list[int],
    settings: EvaluateSettings,
    journal: RowJournal,
    made: PartialFolder,
    device: Any,
    whose: dict[str, Any],
) -> dict[str, Any]:
    store = seen_by(store, settings.time, bundle.reference, str(bundle.path))
    regressors, segmenter = bundle.regressors, bundle.segmenter
    assert regressors
    takes_masks = any(part.spec.takes_masks for part in regressors)
    if segmenter is None and "beat-by-beat" in settings.protocol:
        raise EchocycleError(
            f"Protocol beat-by-beat finds the beats in masks, and the model of {run.path} has no segmenter; train it "
            "with --masks, or choose another protocol."
        )
    wanted = takes_masks or "beat-by-beat" in settings.protocol
    masks = store.masks_of(segmenter.hash) if wanted and segmenter is not None else None
    if takes_masks and masks is None:
        raise EchocycleError(
            f"{store.path} has no masks of the segmenter that {run.path} was trained with; run `echocycle mask`."
        )
    naive = naive_metrics(run, store, settings)  # before the hours of inference: it may be refused
    compared = compared_videos(run, store)
    labelled = patients_of(store, [video for video in videos if compared[video]], settings)
    if not labelled:
        raise EchocycleError(f"No video of {', '.join(settings.splits)} has an EF to compare with.")

    regressors = [as_tested(part, store, labelled, settings) for part in regressors]

    def make(video: int) -> list[dict[str, Any]]:
        rows = predict.predict_video_rows(regressors, store, masks, video, settings, device, whose, segmenter)
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


def evaluate_segmenter(
    run: Run,
    bundle: Bundle,
    store: Store,
    videos: list[int],
    settings: EvaluateSettings,
    journal: RowJournal,
    made: PartialFolder,
    device: Any,
) -> dict[str, Any]:
    store = seen_by(store, settings.time, bundle.reference, str(bundle.path))
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


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
