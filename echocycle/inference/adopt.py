"""`echocycle adopt`: published weights become a bundle that `predict`, `mask` and `evaluate` read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echocycle.bundle import Bundle, save_bundle
from echocycle.console import console
from echocycle.data.domain_shift import reference
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.statistics import input_statistics
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.models.published import USUAL_MEAN, USUAL_STD, as_part, recognise
from echocycle.models.specs import Part
from echocycle.settings.stages import LabelSettings


def adopt_weights(
    files: Sequence[Path],
    out: Path,
    *,
    store: Path | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> Bundle:
    """Write a bundle from one or two published checkpoints: an EF network, a segmenter, or both.

    The checkpoints do not hold the mean and standard deviation of their input. Name a store of the data that they were
    trained on, or the numbers; without them EchoNet-Dynamic's usual values are taken, and the bundle says so.

    Args:
        files: checkpoints of EchoNet-Dynamic, CSS-SemiVideo or AdaCon; at most one of each kind.
        out: folder to write; it must not hold another bundle.
        store: frame store whose training videos give mean and standard deviation.
        mean: of the input in grey levels, once or for each of the three colour channels.
        std: standard deviation of the same.

    Raises:
        EchocycleError: a file is not recognised, two are of one kind, or EF needs masks and no segmenter is named.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise EchocycleError(f"{out} is not empty; name a new folder for the bundle.")
    known: dict[str, Any] = {}
    for file in files:
        found = recognise(Path(file))
        if found.kind in known:
            raise EchocycleError(
                f"{known[found.kind].path} and {found.path} are both a {found.kind}; name one of them."
            )
        known[found.kind] = found
    if not known:
        raise EchocycleError("Name at least one checkpoint.")
    if "regressor" in known and known["regressor"].channels == 4 and "segmenter" not in known:
        raise EchocycleError(
            f"{known['regressor'].path} is {known['regressor'].name}, which sees masks: name its segmenter's "
            "checkpoint as well."
        )
    used, told = _normalisation(store, mean, std)
    parts: dict[str, Part] = {
        kind: as_part(checkpoint, *used[:2], sha256(checkpoint.path)) for kind, checkpoint in known.items()
    }
    provenance = {
        "run": out.resolve().name,
        "method": " and ".join(checkpoint.name for checkpoint in known.values()),
        "adopted": {kind: {"name": c.name, "sha256": sha256(c.path)} for kind, c in known.items()},
        "normalisation": told,
    }
    bundle = Bundle(parts.get("segmenter"), parts.get("regressor"), provenance, used[2], out)
    save_bundle(bundle, out)
    for checkpoint in known.values():
        console.print(f"{checkpoint.path.name}: {checkpoint.name} ({checkpoint.network}).", soft_wrap=True)
    console.print(f"Input: {told} Bundle written to {out}.", soft_wrap=True)
    return bundle


def _normalisation(
    store: Path | None, mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[tuple[float, ...], tuple[float, ...], dict[str, Any]], str]:
    """Mean, standard deviation and the reference of usual videos; and in words where they come from."""
    if store is not None and (mean or std):
        raise EchocycleError("Name either a store or mean and std.")
    if bool(mean) != bool(std):
        raise EchocycleError("Mean and std belong together; name both.")
    if store is not None:
        opened = Store(store)
        data = TrainingData(opened, draw_budget(opened, LabelSettings("all"), needs="ef"))
        found = tuple(tuple(values) * (3 // len(values)) for values in input_statistics(data))
        told = f"mean and standard deviation of the training videos of the store {opened.meta['id']}."
        return (found[0], found[1], reference(data, opened.phantom_version)), told
    if not mean:
        told = (
            f"mean {USUAL_MEAN:g} and standard deviation {USUAL_STD:g}, EchoNet-Dynamic's usual values, since the "
            "checkpoint holds none; a store of its data gives exact ones."
        )
        return ((USUAL_MEAN,) * 3, (USUAL_STD,) * 3, {}), told
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, 3):
            raise EchocycleError(f"{name} has {len(values)} numbers; give one, or three for red, green and blue.")
    if min(std) <= 0:
        raise EchocycleError(f"std is {min(std)}; it must be above 0.")
    each = tuple(tuple(map(float, values)) * (3 // len(values)) for values in (mean, std))
    return (each[0], each[1], {}), "mean and standard deviation as named."
