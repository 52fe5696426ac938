"""`echocycle demo`: the whole pipeline on a phantom, and one real recording."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from echocycle import stages
from echocycle.console import output
from echocycle.errors import EchocycleError
from echocycle.last_word import keep_verdict, say_verdict
from echocycle.pipeline import start_of
from echocycle.settings.flags import Unseen
from echocycle.settings.presets import Preset, preset
from echocycle.stage_clock import StageClock

if TYPE_CHECKING:
    from echocycle.prediction import Prediction

USUAL_SECONDS = {
    "phantom": 43.0,
    "prepare": 29.8,
    "segment (supervised)": 43.2,
    "segment (css)": 87.9,
    "mask": 85.3,
    "regress (supervised)": 93.1,
    "regress (teacher)": 92.6,
    "regress (student)": 161.3,
    "evaluate": 35.1,
    "report": 3.1,
    "predict": 4.3,
}
"""Of each stage on two free cores (docs/results/demo.json)."""


def demo_preset(*, smoke: bool) -> Preset:
    """The preset `tiny`; with `smoke` the preset `debug`, whose EF networks start from moving shapes too."""
    if not smoke:
        return preset("tiny")
    chosen = preset("debug")
    regress = {name: replace(each, weights="shapes") for name, each in chosen.regress.items()}
    return replace(chosen, regress=regress, phantom={**chosen.phantom, "videos": 20, "test": 6})


def demo(
    out: Path = Path("echocycle-runs/demo"),
    *,
    smoke: bool = False,
    workers: int = 2,
    chosen: Annotated[Preset | None, Unseen] = None,
) -> dict[str, Any]:
    """The whole pipeline on a phantom, and EF of a real ultrasound recording.

    Args:
        out: Folder for everything.
        smoke: A run of seconds that only shows that every stage works.
        workers: Processes that draw and decode; the result does not depend on it.
        chosen: The settings of all stages; by default those of `demo_preset`.

    Returns:
        The numbers of the table, which are also written to `demo.json`.
    """
    from echocycle.phantom.settings import PhantomSettings
    from echocycle.reporting.collect import write_report
    from echocycle.reporting.demo import METHODS, results_table, write_results

    chosen = chosen or demo_preset(smoke=smoke)
    out = Path(out)
    clock = StageClock(out / "seconds.json")
    videos, store, runs = out / "phantom", out / "store", out / "runs"
    with clock.stage("phantom"):
        stages.phantom(videos, PhantomSettings(**chosen.phantom), workers=workers)
    if chosen.name == "tiny":
        clock.foretell(USUAL_SECONDS, "phantom")
    with clock.stage("prepare"):
        stages.prepare(videos, store, replace(chosen.prepare, workers=workers))
    start = start_of(chosen, store, runs / "shapes", clock)
    for method in ("supervised", "css"):
        name = f"segment-{method}"
        with clock.stage(f"segment ({method})"):
            option = chosen.segment.option if method == "css" else {}
            stages.segment(store, runs / name, replace(chosen.segment, method=method, option=option))
    with clock.stage("mask"):
        stages.mask(store, runs / "segment-css", chosen.mask)
    masks = runs / "segment-css"
    helpers: dict[str, dict[str, Path]] = {
        "supervised": {"masks": masks},
        "teacher": {"masks": masks},
        "student": {"masks": masks, "teacher": runs / "teacher"},
    }
    for method, needs in helpers.items():
        with clock.stage(f"regress ({method})"):
            stages.regress(store, runs / method, chosen.regression(method), **needs, start=start)
    order = [runs / name for name in ("segment-supervised", "segment-css", *METHODS)]
    test = replace(chosen.evaluate, splits=("test",))
    with clock.stage("evaluate"):
        for run in order:
            stages.evaluate(run, test, store=store)
        verdict = keep_verdict(runs / "student")
    with clock.stage("report"):
        page = write_report(order, out / "report.html", "echocycle demo")
    with clock.stage("predict"):
        real, ready, beside = predict_real(out, runs / "student")
    facts = {
        "real_clip_ef": real.ef,
        "real_clip_ef_of_zero": ready.ef,
        "report": str(page),
        "seconds": clock.seconds,
    }
    results = write_results(out, runs, chosen, facts)
    output.print(clock.table())
    output.print(results_table(results))
    output.print(f"Report: {page}\nOverlay of the real clip: {next((out / 'predict').glob('*.overlay.mp4'))}")
    if beside is not None:
        output.print(f"The real clip as the demo's model and the one in the package (zero) see it: {beside}")
    say_verdict(verdict)
    return results


def predict_real(out: Path, run: Path) -> tuple["Prediction", "Prediction", Path | None]:
    """The real recording by the demo's own model and by the one in the package, and a picture of both."""
    from echocycle.inference.batch import predict_chosen
    from echocycle.inference.choices import choose
    from echocycle.writers.as_sheet import write_beside

    asked = choose(formats="json,csv,masks,overlay,png")
    own = predict_chosen([real_clip()], out / "predict", run, asked).results[0]
    ready = predict_chosen([real_clip()], out / "predict-zero", None, asked).results[0]
    names = {
        "the demo's own model": out / "predict" / own.stem,
        "zero, the model in the package": out / "predict-zero" / ready.stem,
    }
    sheets = {name: stem.with_name(f"{stem.name}.ed-es.png") for name, stem in names.items()}
    return own, ready, write_beside(sheets, out / "real-recording.png")


def real_clip() -> Path:
    """The real apical ultrasound recording that the package pydicom-data carries."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file("color3d_jpeg_baseline.dcm", download=False)
    if path is None:
        raise EchocycleError("The package pydicom-data is not installed; `pip install pydicom-data==1.0.0`.")
    return Path(str(path))
