"""Stage `regress`: any method of regression, trained on a frame store, with the masks and teachers that it needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echocycle.bundle import Bundle, load_bundle
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.inference.masks import check_color, segmenter_of
from echocycle.regression import METHODS
from echocycle.runs import Run, finished
from echocycle.settings.stages import RegressSettings
from echocycle.training.opened import inputs_of, open_data, require_store
from echocycle.training.setup import train_method


def train_regressor(
    store: Path,
    run: Path,
    settings: RegressSettings,
    options: Any,
    *,
    masks: Path | None = None,
    teacher: Sequence[Path] | Path | None = None,
    start: Path | None = None,
) -> Bundle:
    """Train an EF network, or go on; what the method needs and is not named is refused.

    `options` are the method's own settings, checked; the rest is as in `stages.regress`.
    """
    method = METHODS[settings.method]
    if method.needs_masks and masks is None:
        raise EchocycleError(f"Method {settings.method} needs masks; name a segmentation run with `--masks RUN`.")
    teachers = [teacher] if isinstance(teacher, str | Path) else list(teacher or [])
    if method.needs_teacher and not teachers:
        raise EchocycleError(f"Method {settings.method} needs a teacher; name its run with `--teacher RUN`.")
    if teachers and not method.needs_teacher:
        raise EchocycleError(f"Method {settings.method} has no teacher; leave `--teacher` out.")
    opened = Store(store)
    mask_set, segmenter = None, None
    helpers: dict[Path, str] = {}
    if masks is not None:
        bundle = load_bundle(finished(masks, "segment").model)
        segmenter = segmenter_of(bundle, opened)
        helpers[Path(masks)] = bundle.id
        if method.needs_masks:
            mask_set = opened.masks_of(segmenter.hash)
            if mask_set is None:
                raise EchocycleError(
                    f"{opened.path} has no masks of the segmenter of {masks}. Make them with `echocycle mask "
                    f"{opened.path} {masks}`."
                )
    parts = []
    for each in teachers:
        taught = load_bundle(finished(each, "regress").model)
        assert taught.regressor is not None
        if taught.further:
            raise EchocycleError(
                f"{each} has {len(taught.regressors)} EF networks; a teacher is one. Name a run of a single method."
            )
        require_store(Path(each), opened)
        check_color(taught.regressor, taught.path, opened)
        parts.append(taught.regressor)
        helpers[Path(each)] = taught.id
        if segmenter is not None and taught.segmenter is not None and taught.segmenter.hash != segmenter.hash:
            raise EchocycleError(
                f"The teacher {each} was trained on the masks of another segmenter than {masks}; name the same "
                "segmentation run for both."
            )
    data = open_data(opened, settings.labels, "ef", mask_set)
    inputs = inputs_of(data, tuple(parts))
    return train_method(
        method,
        settings,
        options,
        inputs,
        data,
        Run(run),
        "regress",
        segmenter=segmenter,
        helpers=helpers,
        start=start,
    )
