"""Command `analyse`: the analyses that need a model, or every frame's masks; each leaves its arrays beside the run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.bundle import Bundle, load_bundle
from echocycle.data.mask_set import MaskSet
from echocycle.data.store import Store
from echocycle.device import choose_device
from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses import attention, contours, data_set, features, matching
from echocycle.evaluation.analyses.stored import Analysed, Arrays, make
from echocycle.inference.masks import check_color
from echocycle.runs import Run, finished
from echocycle.segmentation.css import CSSOptions
from echocycle.settings.analyses import AnalyseSettings, What
from echocycle.settings.convert import identity

NEEDS: dict[What, str] = {"attention": "regressor", "features": "segmenter", "masks": "segmenter", "data": ""}
"""Which of a model's parts an analysis is about; `data` needs none."""


def analyse_run(
    run: Path, what: Sequence[What], settings: AnalyseSettings, store: Store, folder: Path
) -> dict[str, Analysed]:
    """Make analyses of a run on a store, or resume them.

    Args:
        run: a finished run.
        what: which; empty takes all that its model has a part for.
        store: the videos to look at.
        folder: where they go, `RUN/analyses` or that of an external store.

    Raises:
        EchocycleError: the model lacks the part that an analysis is about.
    """
    found = finished(run)
    bundle = load_bundle(found.model, choose_device(settings.device))
    for part in bundle.parts().values():
        check_color(part, bundle.path, store)
    own = "regressor" if found.info["stage"] == "regress" else "segmenter"
    chosen = what or [name for name, part in NEEDS.items() if part in (own, "") and _sees_video(name, bundle)]
    for name in chosen:
        if NEEDS[name] and getattr(bundle, NEEDS[name]) is None:
            raise EchocycleError(f"The analysis `{name}` is about a {NEEDS[name]}, and the model of {run} has none.")
    made: dict[str, Analysed] = {}
    for name in chosen:
        videos = _videos(store, settings, name)
        maker = _MAKERS[name](found, bundle, store, settings, videos)
        job = {"settings": identity(settings), "store": store.meta["id"], "model": bundle.id, **_facts(name, found)}
        summary = features.embedded if name == "features" else None
        listed = [(video, str(store.index["name"][video])) for video in videos]
        made[name] = make(folder / name, name, job, listed, maker, summary)
    return made


def _sees_video(name: What, bundle: Bundle) -> bool:
    """Whether an analysis can be made of a model at all: a network that sees masks alone looks at no picture."""
    return name != "attention" or (bundle.regressor is not None and bundle.regressor.spec.takes_video)


def _videos(store: Store, settings: AnalyseSettings, name: What) -> list[int]:
    every = np.arange(len(store)) if settings.split == "all" or name == "data" else store.videos(settings.split)
    if not every.size:
        raise EchocycleError(f"{store.path} has no video of split {settings.split}; choose another --split.")
    limit = settings.videos if settings.videos and name != "data" else len(every)
    return [int(video) for video in every[:limit]]


def _facts(name: What, run: Run) -> dict[str, Any]:
    """What the report needs of an analysis beside its arrays."""
    if name in ("features", "data"):
        return {"clip": _clip(run)}
    return {}


def _clip(run: Run) -> int:
    """Frames that a clip of CSS spans, with the run's own windows where it has them."""
    option = run.info["settings"].get("option", {}) if run.info["stage"] == "segment" else {}
    o: CSSOptions = matching.options_of_run(option)
    return (o.frames - 1) * o.period + 1


Maker = Callable[[int], Arrays | None]


def _attention(run: Run, bundle: Bundle, store: Store, settings: AnalyseSettings, videos: list[int]) -> Maker:
    regressor = bundle.regressor
    assert regressor is not None
    masks: MaskSet | None = None
    if regressor.spec.takes_masks:
        masks = store.masks_of(bundle.segmenter.hash) if bundle.segmenter is not None else None
        if masks is None:
            raise EchocycleError(
                f"{store.path} has no masks of the segmenter that {run.path} was trained with; run `echocycle mask`."
            )
    traced = [video for video in videos if store.index["ed_frame"][video] >= 0]
    drawn = set(traced[: settings.shown])
    return lambda video: attention.attention_of_video(regressor, store, video, masks, settings, draw=video in drawn)


def _features(run: Run, bundle: Bundle, store: Store, settings: AnalyseSettings, videos: list[int]) -> Maker:
    segmenter, truth = bundle.segmenter, _truth(store)
    assert segmenter is not None
    return lambda video: features.features_of_video(segmenter, store, truth, video, settings)


def _masks(run: Run, bundle: Bundle, store: Store, settings: AnalyseSettings, videos: list[int]) -> Maker:
    segmenter, truth = bundle.segmenter, _truth(store)
    assert segmenter is not None
    supplied = contours.supplied_masks(settings.supplied)
    return lambda video: contours.masks_of_video(segmenter, store, truth, video, supplied, settings)


def _data(run: Run, bundle: Bundle, store: Store, settings: AnalyseSettings, videos: list[int]) -> Maker:
    masks = _truth(store)
    if masks is None and bundle.segmenter is not None:
        masks = store.masks_of(bundle.segmenter.hash)
    clip = _clip(run)
    return lambda video: data_set.facts_of_video(store, masks, video, clip)


def _truth(store: Store) -> MaskSet | None:
    return store.masks("truth") if store.has_masks("truth") else None


_MAKERS: dict[What, Callable[..., Maker]] = {
    "attention": _attention,
    "features": _features,
    "masks": _masks,
    "data": _data,
}
