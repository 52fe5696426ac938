"""What an experiment runs: rows of systems, and from them the jobs, each once however many rows share it.

A row says which segmenter and which regressor; fractions of labels and seeds multiply it. A job is one call of a stage
function, as plain data: it can be done in this process, or be sent elsewhere by whoever calls `engine.work` with
another `perform`.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from echocycle.errors import EchocycleError
from echocycle.settings.convert import from_dict, identity, to_dict
from echocycle.settings.presets import Preset
from echocycle.settings.stages import EvaluateSettings, MaskSettings, Precision, RegressSettings, SegmentSettings

ALL = "All"
"""How the paper writes the whole of the labels."""


@dataclass(frozen=True)
class Segmenter:
    """A segmentation method and what of its own settings differs from the preset."""

    method: str
    option: dict[str, str] = field(default_factory=dict)
    steps: int | None = None
    """Of its training, where that is cut short on purpose; None takes the preset's."""


@dataclass(frozen=True)
class Regressor:
    """A regression method, what of its own settings differs from the preset, and what it is built on."""

    method: str
    option: dict[str, str] = field(default_factory=dict)
    network: str = ""
    """Backbone; empty takes the preset's."""
    masks: Segmenter | None = None
    """The segmenter whose masks it sees, or those its teachers see."""
    teachers: "tuple[Regressor, ...]" = ()
    precision: Precision | None = None
    """Of its training; None takes the preset's."""


@dataclass(frozen=True)
class Together:
    """Regressors that are trained apart and answer together: their mean is the answer."""

    members: tuple[Regressor, ...]

    @property
    def method(self) -> str:
        """The methods of its members."""
        return "+".join(member.method for member in self.members)


System = Segmenter | Regressor | Together


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str
    """As the paper writes it."""
    system: System
    column: str = ""
    """The paper's column; empty: the fraction of labels is the column."""
    all_labels: bool = False
    """Whether it is run with all labels too, where nothing is left for semi-supervised learning."""


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper, or one of our own."""

    name: str
    title: str
    rows: tuple[Row, ...] = ()
    fractions: tuple[str, ...] = ("1/8",)
    """Shares of the training videos that are labelled, as the paper writes them."""
    paper: str = ""
    """The paper's number of the table, such as IV; empty where it prints none."""
    compare: tuple[tuple[str, str], ...] = ()
    """Which row is compared with which (row, against); empty: the last with every other."""
    notes: tuple[str, ...] = ()
    lacks: str = ""
    """What is missing for it to run; empty: nothing."""


MASK_CHANNEL = (
    "The teacher's mask channel starts at zero in presets `tiny` and `phantom`, so that what the network starts from "
    "is kept; the public code draws it from [-1, 1], as preset `paper` does."
)
"""A note for tables with teachers."""


def teacher(masks: Segmenter, network: str = "") -> Regressor:
    """The paper's f_m."""
    return Regressor("teacher", network=network, masks=masks)


def student(masks: Segmenter, network: str = "", option: dict[str, str] | None = None) -> Regressor:
    """The paper's f_e."""
    return Regressor("student", option or {}, network, masks, (teacher(masks, network),))


# ------------------------------------------------------------------------------------------------- jobs


@dataclass(frozen=True)
class Job:
    """One call of a stage function, as plain data."""

    stage: Literal["segment", "mask", "regress", "evaluate"]
    run: Path
    """The run it makes; for `mask` and `evaluate` the run it works on."""
    store: Path
    settings: SegmentSettings | MaskSettings | RegressSettings | EvaluateSettings
    method: str
    masks: Path | None = None
    teachers: tuple[Path, ...] = ()
    start: Path | None = None
    """The run from whose weights its network begins, in place of those that `settings` name."""
    needs: tuple[str, ...] = ()
    """Names of the jobs that must be done before."""

    @property
    def name(self) -> str:
        """Stage and run."""
        return f"{self.stage} {self.run.name}"

    @property
    def kind(self) -> str:
        """Jobs of one kind take about the same time."""
        return f"{self.stage} {self.method}"


@dataclass(frozen=True)
class Cell:
    """One training of one row: where its evaluation lies."""

    row: Row
    fraction: str
    seed: int
    runs: tuple[Path, ...]
    """One, or those whose mean answer is the row's."""


@dataclass
class Plan:
    """Jobs in the order in which they are done, and the cells that are made from them."""

    jobs: dict[str, Job] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)

    def part(self, cells: list[Cell]) -> "Plan":
        """Some of the cells, and the jobs that they are made by."""
        wanted = {f"evaluate {run.name}" for cell in cells for run in cell.runs}
        for name, job in reversed(self.jobs.items()):  # a job stands behind what it needs
            if name in wanted:
                wanted.update(job.needs)
        return Plan({name: job for name, job in self.jobs.items() if name in wanted}, cells)


def plan(
    rows: Iterable[Row],
    chosen: Preset,
    store: Path,
    store_id: str,
    runs: Path,
    *,
    fractions: Iterable[str],
    seeds: Iterable[int],
) -> Plan:
    """The jobs of these rows. Seeds come one after the other, so that one that is done whole can be shown; within one
    seed and fraction the rows of one segmenter follow one another, so that few mask sets lie on the disk at once."""
    rows = list(rows)
    found = Plan()
    order = list(dict.fromkeys(repr(masks_of(row.system)) for row in rows))
    grouped = sorted(rows, key=lambda row: order.index(repr(masks_of(row.system))))
    for seed in seeds:
        for fraction in fractions:
            planner = _Planner(found, chosen, store, store_id, runs, fraction, seed)
            for row in grouped:
                if fraction_value(fraction) < 1 or row.all_labels:
                    found.cells.append(Cell(row, fraction, seed, planner.evaluated(row.system)))
    if not found.cells:
        raise EchocycleError("Nothing is to be run: none of these rows is run with all labels.")
    found.cells.sort(key=lambda cell: rows.index(cell.row))
    return found


def masks_of(system: System) -> Segmenter | None:
    """The segmenter that a system is, or (its first member) is built on."""
    if isinstance(system, Together):
        return system.members[0].masks
    return system if isinstance(system, Segmenter) else system.masks


def fraction_value(fraction: str) -> Fraction:
    """1/8 of `1/8`, 1 of `All`.

    Raises `EchocycleError` for what is neither.
    """
    try:
        value = Fraction(1) if fraction.lower() == "all" else Fraction(fraction)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value <= 1:
        raise EchocycleError(f"{fraction!r} is no fraction of the labels; give one such as 1/8, or All.")
    return value


class _Planner:
    """Adds jobs for one seed and one fraction of the labels."""

    def __init__(
        self, found: Plan, chosen: Preset, store: Path, store_id: str, runs: Path, fraction: str, seed: int
    ) -> None:
        self.jobs, self.preset, self.store, self.store_id, self.runs = found.jobs, chosen, store, store_id, runs
        self.fraction, self.seed = fraction_value(fraction), seed

    def evaluated(self, system: System) -> tuple[Path, ...]:
        """The runs of a system, trained and evaluated."""
        if isinstance(system, Together):
            return tuple(run for member in system.members for run in self.evaluated(member))
        run = self.segmenter(system) if isinstance(system, Segmenter) else self.regressor(system)
        needs = [self.jobs[f"{'segment' if isinstance(system, Segmenter) else 'regress'} {run.name}"].name]
        if isinstance(system, Regressor) and system.masks and _sees_masks(system.method):
            needs.append(self.mask(system.masks))
        self.add(Job("evaluate", run, self.store, self.preset.evaluate, system.method, needs=tuple(needs)))
        return (run,)

    def segmenter(self, system: Segmenter) -> Path:
        settings = self.preset.segmentation(system.method)
        settings = replace(settings, **self.drawn(settings), option=_options(settings, system))
        if system.steps:
            settings = replace(settings, loop=replace(settings.loop, steps=system.steps))
        run = self.run_of("segment", system.method, settings)
        self.add(Job("segment", run, self.store, settings, system.method))
        return run

    def mask(self, system: Segmenter) -> str:
        """The name of the job that makes a segmenter's masks."""
        run = self.segmenter(system)
        return self.add(Job("mask", run, self.store, self.preset.mask, system.method, needs=(f"segment {run.name}",)))

    def regressor(self, system: Regressor) -> Path:
        settings = self.preset.regression(system.method)
        settings = replace(
            settings,
            **self.drawn(settings),
            option=_options(settings, system),
            network=system.network or settings.network,
        )
        if system.precision:
            settings = replace(settings, loop=replace(settings.loop, precision=system.precision))
        masks = self.segmenter(system.masks) if system.masks else None
        teachers = tuple(self.regressor(each) for each in system.teachers)
        needs = [self.mask(system.masks)] if system.masks else []
        start = self.start(settings)
        before = (*teachers, start) if start else teachers
        needs += [f"regress {each.name}" for each in before]
        run = self.run_of("regress", system.method, settings, masks, *(before or [None]))
        self.add(Job("regress", run, self.store, settings, system.method, masks, teachers, start, tuple(needs)))
        return run

    def start(self, settings: RegressSettings) -> Path | None:
        """The run that makes the first weights `shapes` of a network, one for all seeds and fractions; None where they
        come with the package or others are named."""
        from echocycle.regression.moving_shapes import start_to_make

        making = start_to_make(settings, self.preset)
        if making is None:
            return None
        run = self.runs / f"regress-shapes-{making.network}-{_digest([identity(making), self.store_id])}"
        self.add(Job("regress", run, self.store, making, "shapes"))
        return run

    def drawn(self, settings: SegmentSettings | RegressSettings) -> dict[str, Any]:
        """The settings that the fraction and the seed decide. All labels are all: the paper's pool of 7360 training
        videos is that of its fractions."""
        labels = replace(settings.labels, labelled=str(self.fraction))
        if self.fraction == 1:
            labels = replace(settings.labels, labelled="all", pool="all")
        return {
            "labels": labels,
            "loop": replace(settings.loop, seed=self.seed),
        }

    def run_of(self, stage: str, method: str, settings: Any, *helpers: Path | None) -> Path:
        """The run's folder, named after what it is and a hash of everything that decides its content."""
        digest = _digest([stage, identity(settings), self.store_id, [helper and helper.name for helper in helpers]])
        labelled = str(self.fraction).replace("/", "of") if self.fraction < 1 else "all"
        return self.runs / f"{stage}-{method}-{labelled}-s{self.seed}-{digest}"

    def add(self, job: Job) -> str:
        self.jobs.setdefault(job.name, job)
        return job.name


def _options(settings: SegmentSettings | RegressSettings, system: Segmenter | Regressor) -> dict[str, str]:
    """All settings of the method, said or not, so that what is the same is run once."""
    from echocycle import regression, segmentation

    methods = segmentation.METHODS if isinstance(system, Segmenter) else regression.METHODS
    if system.method not in methods:
        raise EchocycleError(f"There is no method {system.method!r}; choose one of {', '.join(methods)}.")
    options: Any = from_dict(methods[system.method].Options, {**settings.option, **system.option}, "option.")
    return {name: str(value) for name, value in to_dict(options).items()}


def _sees_masks(method: str) -> bool:
    """Whether a method's network takes masks in use too."""
    from echocycle.regression import METHODS

    return bool(getattr(METHODS[method], "channels", 3) != 3)


def _digest(identity: Any) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:6]


def only(rows: Iterable[Row], names: Iterable[str]) -> tuple[Row, ...]:
    """The rows named, by their name in the table or by their method; all without a name.

    Raises `EchocycleError` for a name that no row has.
    """
    rows = tuple(rows)
    chosen: set[str] = set()
    for name in names:
        found = [row for row in rows if name in (row.name, row.system.method)]
        if not found:
            known = "; ".join(dict.fromkeys(row.name for row in rows))
            raise EchocycleError(f"No row is called {name!r}; there are: {known}.")
        chosen |= {row.name for row in found}
    return tuple(row for row in rows if row.name in chosen) if chosen else rows
