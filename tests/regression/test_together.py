"""Two trained teachers as one model: both networks are in it as they are; what does not belong together is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from echocycle.bundle import Bundle, load_bundle, save_bundle
from echocycle.errors import EchocycleError
from echocycle.inference.clips import longest
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.regression.together import put_together
from echocycle.runs import Run
from echocycle.settings.presets import preset

SETTINGS = preset("debug").regression("teacher")
BUDGET = {
    "labelled": 1, "unlabelled": 1, "validation": 1, "labels_used_in_all": 2, "unlabelled_annotation_allowed": False
}  # fmt: skip
LABELS = "name,subset,ef\na,labelled,55.0\nb,unlabelled,\nc,validation,\n"


def segmenter(seed: int = 0) -> Part:
    torch.manual_seed(seed)
    spec = SegmenterSpec("unet", 2, 32, (30.0,), (40.0,), color=False)
    return Part(spec, spec.build())


def teacher(path: Path, channels: int, *, labels: str = LABELS, store: str = "s", masks: int = 0) -> Path:
    """A finished run of a network that nobody trained."""
    run = Run(path)
    spec = RegressorSpec("r2plus1d_18", (4, 8, 8, 8), channels, 10.0, 32, 4, 3, (30.0,), (40.0,), color=False)
    settings = replace(SETTINGS, method="teacher" if channels == 4 else "mask_teacher")
    facts = {
        "data": {"id": store, "source": "x", "phantom_version": None},
        "budget": BUDGET,
        "precision": "32",
        "reads_unlabelled_annotation": False,
        "helpers": {"css": "0123"},
        "weights": "none",
    }
    assert run.start("regress", settings, facts, {"store": "nowhere"})
    (path / "labels.csv").write_text(labels)
    torch.manual_seed(channels)
    save_bundle(Bundle(segmenter(masks), Part(spec, spec.build()), {"run": run.id}, {}), run.model)
    run.finish({})
    return path


def test_both_networks_are_in_it_and_it_is_made_once(tmp_path: Path) -> None:
    teachers = teacher(tmp_path / "teacher", 4), teacher(tmp_path / "mask_teacher", 1)
    made = put_together(tmp_path / "both", teachers, SETTINGS)
    one, two = (load_bundle(each) for each in teachers)
    assert [part.hash for part in made.regressors] == [part.hash for part in (*one.regressors, *two.regressors)]
    assert made.segmenter is not None
    assert one.segmenter is not None
    assert made.segmenter.hash == one.segmenter.hash
    assert longest(made.regressors).span == 10
    run = Run(tmp_path / "both")
    assert run.done
    assert run.info["settings"]["method"] == made.provenance["method"] == "two_teachers"
    assert run.info["budget"] == BUDGET
    assert run.info["helpers"] == {"css": "0123", "teacher": one.id, "mask_teacher": two.id}
    assert (run.path / "labels.csv").read_text() == LABELS
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    assert put_together(run.path, teachers, SETTINGS).id == made.id
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    first = teacher(tmp_path / "teacher", 4)
    other_labels = teacher(tmp_path / "labels", 1, labels=LABELS.replace("b,unlabelled,", "b,excluded,"))
    other_store = teacher(tmp_path / "store", 1, store="t")
    for second in (other_labels, other_store):
        with pytest.raises(EchocycleError, match="other videos or labels"):
            put_together(tmp_path / "both", (first, second), SETTINGS)
    with pytest.raises(EchocycleError, match="masks of different segmenters"):
        put_together(tmp_path / "both", (first, teacher(tmp_path / "masks", 1, masks=1)), SETTINGS)
    both = put_together(tmp_path / "both", (first, teacher(tmp_path / "good", 1)), SETTINGS)
    assert len(both.regressors) == 2
    with pytest.raises(EchocycleError, match="must have one EF network each"):
        put_together(tmp_path / "three", (first, tmp_path / "both"), SETTINGS)
    with pytest.raises(EchocycleError, match="is not a run"):
        put_together(tmp_path / "four", (first, tmp_path / "nothing"), SETTINGS)
