"""The comparison from end to end at toy size: a valid JSON, a page, a chart; gone on with, and refused, where it must be."""

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from echocycle.benchmarks import ground, operations, report, run
from echocycle.benchmarks.ground import BenchPlan, Ground, make_plan
from echocycle.benchmarks.measure import NO_TF32, OURS, OURS_BF16, REFERENCE, speedups
from echocycle.benchmarks.page import render_page, write_page
from echocycle.benchmarks.report import chart, compare, operations_of, short, table_of, whole_chain
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.files import read_json
from echocycle.phantom.settings import PhantomSettings
from echocycle.segmentation.css import CSSOptions

CPU = torch.device("cpu")
TOY = BenchPlan(
    "toy",
    2,
    PhantomSettings(videos=16, val=4, test=4),  # stands for the shared phantom
    load_batch=3,
    training=2,
    mask_frames=6,
    mask_batch=4,
    starts=2,
    size=28,
    frames=4,
    css=CSSOptions(template=3, search=2, phase_length=1, offset=1, longer_than=60),
)
NAMES = ["clips", "cut", "css", "masks", "f_m", "f_e", "evaluation"]


@pytest.fixture(scope="module")
def made(store: Store, phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A toy comparison, and the folder that holds it."""
    out = tmp_path_factory.mktemp("bench") / "out"

    def shared_ground(folder: Path, plan: BenchPlan, device: torch.device) -> Ground:
        return Ground(phantom_folder, store, folder, plan, device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "make_ground", shared_ground)
        return compare(out, TOY, CPU), out


def test_everything_is_measured_and_written(made: Any) -> None:
    comparison, out = made
    assert json.loads((out / "comparison.json").read_text()) == comparison
    found = operations_of(comparison)
    assert [operation.name for operation in found] == NAMES
    for operation in found:
        assert set(operation.sides) in ({REFERENCE, OURS}, {REFERENCE, OURS, OURS_BF16})
        for side in operation.sides.values():
            assert len(side.seconds) == 2
            assert all(0 < seconds < 300 for seconds in side.seconds)
            assert 0 <= side.host_bytes < 8 * 2**30
            assert side.device_bytes == 0
        assert (operation.flops is None) == (operation.name in ("clips", "cut"))
    assert comparison["versions"]["torch"] == torch.__version__.split("+")[0]
    assert set(comparison["rates"]) == {"32", "bf16"}
    assert comparison["plan"]["css"]["search"] == 2


def test_both_sides_did_the_same(made: Any) -> None:
    checks = {operation.name: operation.checks for operation in operations_of(made[0])}
    assert checks["clips"]["largest_difference"] <= 1e-6
    for name in ("f_m", "f_e"):
        # the same first batch, though in bf16 on our side where the machine has it
        assert checks[name][f"first_loss, {OURS}"] == pytest.approx(checks[name][f"first_loss, {REFERENCE}"], rel=0.1)
        assert 0 < checks[name]["waiting_share"] < 1
    assert checks["masks"][f"pixels_changed, {OURS}"] <= 0.001
    assert checks["masks"][f"bytes, {REFERENCE}"] == 128 + 6 * 28 * 28 * 4
    assert checks["masks"][f"bytes, {OURS}"] < checks["masks"][f"bytes, {REFERENCE}"] / 2
    assert checks["evaluation"]["ef_deviation"] > 0
    assert checks["evaluation"][f"ef_largest_difference, {OURS}"] < 1e-3


def test_a_training_step_needs_memory_for_its_gradients(made: Any) -> None:
    """31 million weights in fp32: gradients and momentum are new in the first step."""
    steps = {operation.name: operation for operation in operations_of(made[0])}
    for name in ("f_m", "f_e"):
        for side in steps[name].sides.values():
            assert 2 * 31.3e6 * 4 < side.host_bytes < 6 * 31.3e6 * 4


def test_what_is_done_is_not_done_again(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a phantom drawn for it; a group that is missing is measured alone."""
    comparison, out = made
    monkeypatch.setattr(report, "make_ground", lambda *_: pytest.fail("nothing is left to measure"))
    assert compare(out, TOY, CPU) == comparison
    partial = {**comparison, "groups": {name: comparison["groups"][name] for name in ("input", "segmentation")}}
    (out.with_name("partial")).mkdir()
    report.write_json(out.with_name("partial") / "comparison.json", partial)
    asked: list[str] = []

    def measured(name: str) -> Any:
        def group(ground: Any) -> Any:
            asked.append(name)
            return iter(operations_of(comparison)[4:])

        return group

    monkeypatch.setattr(report, "make_ground", lambda *_: None)
    monkeypatch.setattr(report, "GROUPS", {name: measured(name) for name in operations.GROUPS})
    assert compare(out.with_name("partial"), TOY, CPU) == comparison
    assert asked == ["regression"]


def test_other_circumstances_are_refused(made: Any) -> None:
    with pytest.raises(EchocycleError, match=r"comparison\.json was measured with other settings.*--out"):
        compare(made[1], replace(TOY, repeats=3), CPU)


def test_the_page_says_the_numbers(made: Any, tmp_path: Path) -> None:
    comparison, _ = made
    text = write_page(comparison, tmp_path / "docs" / "performance.md").read_text()
    assert "(images/performance.svg)" in text
    assert (tmp_path / "docs" / "images" / "performance.svg").exists()
    for operation in operations_of(comparison):
        side = OURS_BF16 if OURS_BF16 in operation.sides else OURS
        values = speedups(operation, side)
        assert operation.title in text
        assert f"({short(min(values))} to {short(max(values))})" in text
    assert comparison["machine"] in text
    assert f"torch {comparison['versions']['torch']}" in text
    assert "TF32" not in text  # there is no GPU here
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) > 30
    assert table_of(comparison).row_count == 9


def test_on_a_gpu_the_page_tells_both_references(made: Any) -> None:
    """From a comparison that is given the other reference's seconds by hand."""
    comparison = json.loads(json.dumps(made[0]))
    comparison |= {"device": "cuda", "cuda": "13.0"}
    comparison["rates"]["tf32"] = 1e12
    for operation in (entry for group in comparison["groups"].values() for entry in group):
        if operation["name"] in NAMES[2:]:
            sides = operation["sides"]
            sides[NO_TF32] = {**sides[REFERENCE], "seconds": [2 * s for s in sides[REFERENCE]["seconds"]]}
            sides[REFERENCE] |= {"precision": "tf32", "device_bytes": 2**30}
    text = render_page(comparison, "images/performance.svg")
    assert "with TF32 off" in text
    assert "TF32 in convolutions" in text
    assert "on the GPU with CUDA 13.0" in text
    assert "reference, GPU" in text
    assert "1.00 GiB" in text


def test_the_chart_is_a_drawing_of_the_ratios(made: Any) -> None:
    words = [element.text for element in ElementTree.fromstring(chart(made[0]).svg).iter() if element.text]
    for operation in operations_of(made[0]):
        assert any(operation.title in word for word in words)
    assert "masks on disk, times smaller" in words
    assert chart(made[0]).svg == chart(made[0]).svg


def test_the_chain_is_extrapolated_by_clips_and_images(made: Any) -> None:
    comparison = json.loads(json.dumps(made[0]))
    for operation in (entry for group in comparison["groups"].values() for entry in group):
        for side in operation["sides"].values():
            side["seconds"] = [3600.0, 3600.0]
    hours = whole_chain(comparison, OURS)
    clip = TOY.css.frames
    assert hours["CSS"] == pytest.approx(25 * 46 * (40 + clip) / (4 + clip))
    assert hours["masks"] == pytest.approx(10_030 * 176.5 / 6)
    assert hours["f_m"] == pytest.approx(25 * 46 * 20 / 2)
    assert hours["f_e"] == pytest.approx(25 * 46 * 30 / 3)
    assert hours["evaluation"] == pytest.approx(1277 * 114.5 / 8)


def test_the_command_asks_for_what_was_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from echocycle.cli import main

    asked: list[Any] = []
    asking = functools.wraps(run.bench)(lambda out, **named: asked.append((out, named)))  # type: ignore[arg-type, return-value]
    monkeypatch.setattr(run, "bench", asking)
    assert main(["bench", "--quick", "--out", str(tmp_path), "--device", "cpu"]) == 0
    assert asked == [(tmp_path, {"quick": True, "device": "cpu"})]


def test_the_committed_page_can_be_made_again() -> None:
    docs = Path(__file__).parents[2] / "docs"
    comparison = read_json(docs / "results" / "performance.json")
    assert render_page(comparison, "images/performance.svg") == (docs / "performance.md").read_text()
    assert chart(comparison).svg == (docs / "images" / "performance.svg").read_text()


def test_the_stage_leaves_everything(made: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    comparison, _ = made
    asked: list[BenchPlan] = []

    def standing_in(out: Path, plan: BenchPlan, device: torch.device) -> Any:
        asked.append(plan)
        return comparison

    monkeypatch.setattr(report, "compare", standing_in)
    found = run.bench(tmp_path / "out", quick=True, device="cpu", page=tmp_path / "docs" / "speed.md")
    assert found == comparison
    assert asked == [make_plan(CPU, quick=True)]
    for path in ("out/performance.md", "out/images/performance.svg", "docs/speed.md", "docs/images/speed.svg"):
        assert (tmp_path / path).exists()


def test_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick comparison is smaller in everything; on a GPU with room for them batches are the paper's."""
    quick, full = make_plan(CPU, quick=True), make_plan(CPU, quick=False)
    assert quick.repeats < full.repeats
    assert quick.phantom.videos < full.phantom.videos
    assert (quick.clips, quick.unlabelled) == (full.clips, full.unlabelled) == (2, 1)
    assert full.starts is None
    for gib, batches in ((80, (20, 10, 20)), (24, (2, 1, 2))):
        monkeypatch.setattr(ground, "available_bytes", lambda _, gib=gib: gib * 2**30)
        gpu = make_plan(torch.device("cuda"), quick=True)
        assert (gpu.clips, gpu.unlabelled, gpu.pairs) == batches
        assert gpu.starts is None
        assert quick.size == full.size == gpu.size == 112
