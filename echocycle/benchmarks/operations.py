"""What is compared, from the recording to the evaluation: each operation done by both sides on the same batches.

Our side is what the stages run: the store, the samplers, the loop of `train.py` with its methods, and the inference of
the stages `mask` and `evaluate`. The other side is `reference.py`.
"""

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from echocycle.benchmarks import reference
from echocycle.benchmarks.measure import (
    OURS,
    OURS_BF16,
    REFERENCE,
    Meter,
    Operation,
    count_flops,
    precisions,
    references,
)
from echocycle.data.clips import ClipBatch, ClipSampler, CycleBatch, StepData, Stream, TracedBatch, cut_clip
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.mask_set import MaskSet, MaskWriter
from echocycle.data.statistics import input_statistics
from echocycle.data.store import SIZE, Store
from echocycle.datasets.prepare import prepare_store
from echocycle.device import choose_precision
from echocycle.evaluation.protocols import starts_of
from echocycle.inference.clips import THRESHOLD, predict_clips
from echocycle.inference.masks import probabilities
from echocycle.models.preprocess import Preprocess, resize
from echocycle.models.specs import Part
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.regression.student import Student, StudentOptions
from echocycle.regression.supervised import SupervisedRegression
from echocycle.regression.teacher import Teacher, TeacherOptions
from echocycle.runs import Run
from echocycle.segmentation.css import CSS, CSSOptions
from echocycle.segmentation.supervised import SupervisedOptions, SupervisedSegmentation
from echocycle.settings.stages import (
    EvaluateSettings,
    LabelSettings,
    LoopSettings,
    OptimiserSettings,
    PrepareSettings,
    RegressSettings,
    SegmentSettings,
)
from echocycle.training.loop import fit
from echocycle.training.memory import available_bytes
from echocycle.training.method import Inputs, Method

PAD = 12


@dataclass(frozen=True)
class BenchPlan:
    """How much is measured."""

    name: str
    repeats: int
    """Timed rounds, after the one that warms up."""
    phantom: PhantomSettings
    load_batch: int = 20
    """Clips in a batch that is loaded."""
    pairs: int = 2
    """Labelled videos in a step of CSS, beside its one clip."""
    clips: int = 2
    """Labelled clips in a step of f_m and f_e."""
    unlabelled: int = 1
    """Unlabelled clips in a step of f_e."""
    training: int = 60
    """Steps for which the segmenter is trained before its masks are compared."""
    mask_frames: int | None = None
    """Frames of a video that get masks; by default all."""
    mask_batch: int = 64
    """Frames in one pass of the segmenter."""
    starts: int | None = None
    """Clips of an evaluated video; by default all."""
    size: int = SIZE
    """Height and width of the networks' input; a divisor of 112."""
    frames: int = 32
    """Frames in a clip."""
    css: CSSOptions = field(default_factory=CSSOptions)


ROOMY = 64 * 2**30
"""Bytes of a GPU on which the reference's step of 20 and 10 clips fits."""


def make_plan(device: torch.device, *, quick: bool) -> BenchPlan:
    """What is measured on a device: small batches, and the paper's on a GPU with room for them."""
    plan = BenchPlan("full", 5, PhantomSettings(videos=48, val=2, test=2, frames_min=124))
    if quick:
        phantom = PhantomSettings(videos=26, val=1, test=1, frames_min=124)
        plan = BenchPlan("quick", 3, phantom, training=50, mask_frames=64, starts=16)
    if device.type == "cuda":
        plan = replace(plan, mask_frames=None, mask_batch=256, starts=None)
        if available_bytes(device) > ROOMY:
            plan = replace(plan, pairs=20, clips=20, unlabelled=10)
    return plan


@dataclass(frozen=True)
class Ground:
    """A phantom and its store, and where the operations may write."""

    source: Path
    store: Store
    folder: Path
    plan: BenchPlan
    device: torch.device

    def path(self, video: int) -> Path:
        """The AVI of a video."""
        return self.source / "Videos" / str(self.store.index["file"][video])

    def data(self, labelled: str) -> tuple[TrainingData, Inputs]:
        """What methods see, with the phantom's true masks, and the statistics of their input."""
        budget = draw_budget(self.store, LabelSettings(labelled=labelled, validation="2"), needs="ef")
        data = TrainingData(self.store, budget, self.store.masks("truth"))
        return data, Inputs(*input_statistics(data), self.store.color)

    @property
    def precision(self) -> Any:
        """What `loop.precision auto` chooses for these networks here."""
        return choose_precision("auto", self.device)

    def loop(self, steps: int) -> LoopSettings:
        """A training of some steps with one validation at its end."""
        return LoopSettings(
            steps=steps,
            validate_every=steps,
            checkpoint_seconds=1e9,
            gradient_every=0,
            precision=self.precision,
            device=self.device.type,  # type: ignore[arg-type]
            tensorboard=False,
        )


def make_ground(folder: Path, plan: BenchPlan, device: torch.device) -> Ground:
    """Draw the phantom and prepare its store in `folder`."""
    source = folder / "phantom"
    write_phantom(source, plan.phantom)
    return Ground(source, prepare_store(source, folder / "store", PrepareSettings(workers=0)), folder, plan, device)


# ---------------------------------------------------------------------------------------------------- clips


def measure_input(ground: Ground) -> Iterator[Operation]:
    """Clips: from the recording to a normalised batch on the device; and the bare cut against decoding."""
    plan, device = ground.plan, ground.device
    data, inputs = ground.data("all")
    sampler = ClipSampler(plan.frames, pad=PAD)
    steps = StepData(data, {"labelled": Stream(sampler, "labelled", plan.load_batch)}, seed=0)
    preprocess = Preprocess(inputs.mean, inputs.std, SIZE).to(device)
    batches: list[ClipBatch] = [steps[number]["labelled"] for number in range(plan.repeats + 1)]
    starts = [starts_in(batch, data, sampler.period) for batch in batches]

    def plain(number: int) -> Tensor:
        batch = batches[number]
        clips = [
            reference.load_clip(
                ground.path(video), start, inputs.mean, inputs.std, frames=plan.frames, pad=PAD, crop=crop
            )
            for video, start, crop in zip(batch.row.tolist(), starts[number], batch.crop.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(clips)).to(device)

    def ours(number: int) -> Tensor:
        batch: ClipBatch = steps[number]["labelled"]
        moved = batch._replace(video=batch.video.to(device), valid=batch.valid.to(device))
        return preprocess.clips(moved, masks=False, pad=PAD)

    meter = Meter(device, {REFERENCE: "32", OURS: "32"})
    meter.take_turns({REFERENCE: plain, OURS: ours}, plan.repeats)
    made = ours(0)
    shared = made.stride(1) == 0  # grey frames, three times the same memory
    checks = {"largest_difference": (plain(0) - made).abs().max().item(), "shared_channels": float(shared)}
    yield Operation("clips", "clip loading", "clips", plan.load_batch, meter.sides, checks=checks)

    def decode(number: int) -> None:
        for video in batches[number].row.tolist():
            reference.read_video(ground.path(video))

    meter = Meter(device, {REFERENCE: "32", OURS: "32"})
    meter.take_turns({REFERENCE: decode, OURS: lambda number: steps[number]}, plan.repeats)
    yield Operation("cut", "bare cut against decoding", "clips", plan.load_batch, meter.sides)


def starts_in(batch: ClipBatch, data: TrainingData, period: int) -> list[int]:
    """The first frame of each clip of a batch, found in its video."""
    starts = []
    for video, clip in zip(batch.row.tolist(), batch.video.numpy(), strict=True):
        candidates = np.flatnonzero((data.frames(video) == clip[0]).all((1, 2))).tolist()
        same = (s for s in candidates if np.array_equal(cut_clip(data, video, s, len(clip), period)[0], clip))
        starts.append(next(same))
    return starts


# ------------------------------------------------------------------------------------------------- training


def train_beside(
    method: Method,
    data: TrainingData,
    run: Path,
    loop: LoopSettings,
    optimiser: OptimiserSettings,
    meter: Meter,
    rivals: Callable[[int], dict[str, Callable[[int], Any]]],
) -> dict[str, float]:
    """Train with the production loop, and between its steps take the other sides' steps on the same batches.

    Args:
        rivals: prepares the batch of a step, given its number, for the other sides and gives their steps.

    Returns:
        Each side's loss in the first step, and the share of a step in which ours waited for its batch.
    """
    checks: dict[str, float] = {}
    waits: list[float] = []
    left = 0.0
    begin_step, after_step = method.begin_step, method.after_step

    def take_turns(step: int) -> None:
        for name, take in rivals(step).items():
            with meter.side(name, first=step == 0):
                loss = take(step)
            if step == 0:
                checks[f"first_loss, {name}"] = loss

    def begin(step: int) -> None:
        if step:
            waits.append(time.perf_counter() - left)
        if step % 2 == 0:
            take_turns(step)
        ours.enter_context(meter.side(OURS, first=step == 0))
        begin_step(step)

    def after(step: int) -> None:
        nonlocal left
        after_step(step)
        ours.close()
        if step % 2:
            take_turns(step)
        left = time.perf_counter()

    method.begin_step, method.after_step = begin, after  # type: ignore[method-assign]
    with ExitStack() as ours:
        fit(method, data, Run(run), loop=loop, optimiser=optimiser, save_best=lambda: None)
    with open(run / "losses.csv", newline="", encoding="utf-8") as file:
        checks[f"first_loss, {OURS}"] = float(next(csv.DictReader(file))["total"])
    wait, step = median(waits), median(meter.sides[OURS].seconds)
    return {**checks, "waiting_share": wait / (wait + step)}


def measure_segmentation(ground: Ground) -> Iterator[Operation]:
    """A step of CSS; then masks, by a segmenter that is trained for a moment."""
    plan, device = ground.plan, ground.device
    data, inputs = ground.data("1/2")
    settings = SegmentSettings(method="css", weights="none", size=plan.size, batch=plan.pairs)
    torch.manual_seed(0)
    method = CSS(settings, plan.css, inputs)
    steps = StepData(data, method.streams(), seed=0)
    preprocess = Preprocess(inputs.mean, inputs.std, plan.size)
    plain = reference.segmenter().to(device)
    optim = reference.optimiser(plain, settings.optimiser.lr)

    def rivals(step: int) -> dict[str, Callable[[int], Any]]:
        if step == 0:
            plain.load_state_dict(method.segmenter.state_dict())
        traced: TracedBatch = steps[step]["labelled"]
        cycle: CycleBatch = steps[step]["cycles"]
        frames = preprocess.frames(traced.frames.flatten(0, 1)).contiguous().unflatten(0, (2, -1))
        loaded = frames, resize(traced.masks.float(), plan.size), preprocess.frames(cycle.video[0]).contiguous()
        start = int(cycle.start[0])

        def take(_: int) -> float:
            frames, masks, clip = (tensor.to(device) for tensor in loaded)
            return reference.css_step(plain, optim, frames, masks, clip, start, plan.css)

        return references(device, take)

    meter = Meter(device, precisions(device, {OURS: ground.precision}))
    loop = ground.loop(plan.repeats + 1)
    checks = train_beside(method, data, ground.folder / "css", loop, settings.optimiser, meter, rivals)
    frames = torch.empty(2 * plan.pairs, 3, plan.size, plan.size)
    clip = torch.empty(plan.css.frames, 3, plan.size, plan.size)
    flops = count_flops(plain, frames, backward=True) + count_flops(plain.backbone, clip, backward=True)  # type: ignore[arg-type]
    yield Operation("css", "CSS step", "steps", 1, meter.sides, flops, checks)
    yield _measure_masks(ground, *_trained_segmenter(ground, data, inputs))


def _trained_segmenter(ground: Ground, data: TrainingData, inputs: Inputs) -> tuple[Part, nn.Module]:
    """A segmenter that has learnt enough to give masks with an edge, and torchvision's with the same weights."""
    plan = ground.plan
    optimiser = OptimiserSettings("adamw", lr=1e-3, weight_decay=1e-2, schedule="one-cycle")
    settings = SegmentSettings(method="supervised", weights="none", size=plan.size, batch=max(4, plan.pairs))
    torch.manual_seed(0)
    method = SupervisedSegmentation(settings, SupervisedOptions(), inputs)
    run = Run(ground.folder / "segmenter")
    fit(method, data, run, loop=ground.loop(plan.training), optimiser=optimiser, save_best=lambda: None)
    part = method.parts()["segmenter"].to(ground.device)
    plain = reference.segmenter().to(ground.device)
    plain.load_state_dict(part.network.state_dict())
    return part, plain


def _measure_masks(ground: Ground, part: Part, plain: nn.Module) -> Operation:
    """Masks of a video's frames, from its recording or the store to files."""
    plan, device = ground.plan, ground.device
    mean, std = part.spec.mean, part.spec.std
    video = int(ground.store.videos("val")[0])
    frames = ground.store.frames(video)[: plan.mask_frames]
    logits = ground.folder / "logits.npy"

    def theirs(number: int) -> None:
        reference.write_logits(
            plain,
            ground.path(video),
            logits,
            mean,
            std,
            device,
            batch=plan.mask_batch,
            size=plan.size,
            frames=plan.mask_frames,
        )

    def ours(precision: str) -> Callable[[int], MaskSet]:
        def write(number: int) -> MaskSet:
            folder = ground.folder / f"masks-{precision}-{number}"
            writer = MaskWriter(folder, len(ground.store), {"size": plan.size})
            blocks = probabilities(part, frames, plan.mask_batch, device, precision)
            writer.add(video, np.concatenate(list(blocks)))
            return writer.finish()

        return write

    meter = Meter(device, precisions(device, {OURS: "32", OURS_BF16: "bf16"}))
    sides = {**references(device, theirs), OURS: ours("32"), OURS_BF16: ours("bf16")}
    meter.take_turns(sides, plan.repeats)
    true = np.load(logits) > 0
    checks = {"masked_share": float(true.mean()), f"bytes, {REFERENCE}": logits.stat().st_size}
    for name, precision in ((OURS, "32"), (OURS_BF16, "bf16")):
        made = MaskSet(ground.folder / f"masks-{precision}-0")
        found = made.probabilities(video, np.arange(len(frames))) > THRESHOLD
        checks[f"pixels_changed, {name}"] = float((found != true).mean())
        checks[f"bytes, {name}"] = sum(file.stat().st_size for file in made.folder.iterdir())
    flops = len(frames) * count_flops(plain, torch.empty(1, 3, plan.size, plan.size))
    return Operation("masks", "mask inference", "frames", len(frames), meter.sides, flops, checks)


def measure_regression(ground: Ground) -> Iterator[Operation]:
    """A step of f_m, a step of f_e with the f_m just trained as its teacher, and the evaluation of that f_e."""
    plan, device = ground.plan, ground.device
    data, inputs = ground.data("1/2")
    settings = RegressSettings(
        method="teacher",
        weights="none",
        size=plan.size,
        frames=plan.frames,
        pad=PAD * plan.size // SIZE,
        batch=plan.clips,
    )
    torch.manual_seed(0)
    f_m = Teacher(settings, TeacherOptions(), inputs)
    operation, plain = _measure_regression_step(ground, data, f_m, "f_m", None)
    yield operation
    teacher = f_m.parts()["regressor"].to(device)
    options = StudentOptions(unlabelled_batch=plan.unlabelled)
    f_e = Student(replace(settings, method="student"), options, replace(inputs, teachers=(teacher,)))
    plain.load_state_dict(teacher.network.state_dict())
    operation, plain = _measure_regression_step(ground, data, f_e, "f_e", plain)
    yield operation
    student = f_e.parts()["regressor"].to(device)
    plain.load_state_dict(student.network.state_dict())
    yield _measure_evaluation(ground, student, plain)


def _measure_regression_step(
    ground: Ground, data: TrainingData, method: SupervisedRegression, name: str, teacher: nn.Module | None
) -> tuple[Operation, nn.Module]:
    """A method's step, and torchvision's network that was trained beside it; `teacher` is the reference's."""
    plan, device, settings = ground.plan, ground.device, method.settings
    steps = StepData(data, method.streams(), seed=0)
    preprocess = Preprocess(method.spec.mean, method.spec.std, plan.size)
    plain = reference.regressor(method.channels).to(device)
    optim = reference.optimiser(plain, settings.optimiser.lr, settings.optimiser.weight_decay)

    def clips(batch: ClipBatch, *, masks: bool) -> Tensor:
        return preprocess.clips(batch, masks=masks, pad=settings.pad).contiguous()

    def rivals(step: int) -> dict[str, Callable[[int], Any]]:
        if step == 0:
            plain.load_state_dict(method.regressor.state_dict())
        batches = steps[step]
        loaded = [clips(batches["labelled"], masks=method.channels == 4), batches["labelled"].ef]
        if teacher is not None:
            loaded.append(clips(batches["unlabelled"], masks=True))

        def take(_: int) -> float:
            labelled, ef, *unlabelled = (tensor.to(device) for tensor in loaded)
            if teacher is None:
                return reference.regression_step(plain, optim, labelled, ef)
            return reference.distillation_step(plain, teacher, optim, labelled, ef, *unlabelled)

        return references(device, take)

    meter = Meter(device, precisions(device, {OURS: ground.precision}))
    loop = ground.loop(plan.repeats + 1)
    checks = train_beside(method, data, ground.folder / name, loop, settings.optimiser, meter, rivals)
    example = torch.empty(1, method.channels, plan.frames, plan.size, plan.size)
    trained = plan.clips if teacher is None else plan.clips + plan.unlabelled
    flops = trained * count_flops(plain, example, backward=True)
    if teacher is not None:
        flops += plan.unlabelled * count_flops(teacher, torch.empty(1, 4, *example.shape[2:]))
    return Operation(name, f"{name} step", "steps", 1, meter.sides, flops, checks), plain


def _measure_evaluation(ground: Ground, part: Part, plain: nn.Module) -> Operation:
    """EF of the clips of the validation videos, from every start or from the first few."""
    plan, device, spec, store = ground.plan, ground.device, part.spec, ground.store
    settings = EvaluateSettings()
    starts = {
        int(video): starts_of("all-clips", store.n_frames(video), spec, settings, "")[: plan.starts]
        for video in store.videos("val")
    }
    count = sum(map(len, starts.values()))
    found: dict[str, np.ndarray] = {}

    def theirs(number: int) -> None:
        shape = {"frames": spec.frames, "batch": settings.batch, "size": plan.size}
        videos = [
            reference.evaluate_video(plain, ground.path(video), first, spec.mean, spec.std, device, **shape)
            for video, first in starts.items()
        ]
        found[REFERENCE] = np.concatenate(videos)

    def ours(name: str, precision: str) -> Callable[[int], None]:
        def evaluate(number: int) -> None:
            videos = [
                predict_clips(part, store.frames(video), None, first, settings.batch, device, precision)
                for video, first in starts.items()
            ]
            found[name] = np.concatenate(videos)

        return evaluate

    meter = Meter(device, precisions(device, {OURS: "32", OURS_BF16: "bf16"}))
    sides = {**references(device, theirs), OURS: ours(OURS, "32"), OURS_BF16: ours(OURS_BF16, "bf16")}
    meter.take_turns(sides, plan.repeats)
    checks = {"ef_deviation": float(found[REFERENCE].std())}
    for name in (OURS, OURS_BF16):
        difference = np.abs(found[name] - found[REFERENCE])
        checks[f"ef_largest_difference, {name}"] = float(difference.max())
        checks[f"ef_mean_difference, {name}"] = float(difference.mean())
    flops = count * count_flops(plain, torch.empty(1, 3, plan.frames, plan.size, plan.size))
    return Operation("evaluation", "all-clips evaluation", "clips", count, meter.sides, flops, checks)


GROUPS: dict[str, Callable[[Ground], Iterator[Operation]]] = {
    "input": measure_input,
    "segmentation": measure_segmentation,
    "regression": measure_regression,
}
"""What is measured together, in order."""
