"""The comparison from end to end: measured into a JSON file, and its numbers as a table and a chart; `page.py` has
the page.

DIR/
  comparison.json           every measured second, with machine, versions and settings
  performance.md            the page; its chart is images/performance.svg
"""

import json
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from rich.table import Table

from echocycle.benchmarks.ground import BenchPlan, make_ground
from echocycle.benchmarks.measure import NO_TF32, OURS, OURS_BF16, REFERENCE, Operation, Side, matrix_rates, speedups
from echocycle.benchmarks.operations import GROUPS
from echocycle.benchmarks.reference import opencv
from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json
from echocycle.reporting.figures import INK, MUTED, SERIES, WIDTH, Picture
from echocycle.runs import versions
from echocycle.segmentation.css import CSSOptions

FORMAT = 1

# ------------------------------------------------------------------------------------------------- measuring


def compare(out: Path, plan: BenchPlan, device: torch.device) -> dict[str, Any]:
    """Measure what `out` does not hold yet, group by group, and give everything.

    Raises:
        EchocycleError: `out` holds a comparison that was made under other circumstances.
    """
    file = out / "comparison.json"
    under = circumstances(plan, device)
    done: dict[str, Any] = {"format": FORMAT, **under, "groups": {}}
    if file.exists():
        done = read_json(file)
        if {key: done.get(key) for key in under} != under:
            raise EchocycleError(
                f"{file} was measured with other settings, versions or another machine. Choose another --out, or "
                "delete it."
            )
    todo = [name for name in GROUPS if name not in done["groups"]]
    if not todo:
        return done
    done["rates"] = done.get("rates") or matrix_rates(device)
    with tempfile.TemporaryDirectory(prefix="echocycle-bench-") as folder:
        ground = make_ground(Path(folder), plan, device)
        for name in todo:
            operations = []
            for operation in GROUPS[name](ground):
                console.print(f"{operation.title}: {speed_up(operation, _best(operation))}")
                operations.append(asdict(operation))
            done["groups"][name] = operations
            write_json(file, done)
    return done


def circumstances(plan: BenchPlan, device: torch.device) -> dict[str, Any]:
    """What the numbers depend on; a comparison goes on only where all of it is the same."""
    found = versions()
    return {
        "plan": json.loads(json.dumps(asdict(plan))),  # as it is read back
        "versions": {**found["versions"], "opencv": opencv().__version__, "psutil": version("psutil")},
        "machine": found["machine"],
        "device": device.type,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def operations_of(comparison: dict[str, Any]) -> list[Operation]:
    """The operations of comparison.json, in order."""
    found = []
    for entry in (entry for group in comparison["groups"].values() for entry in group):
        sides = {name: Side(**side) for name, side in entry["sides"].items()}
        found.append(Operation(**{**entry, "sides": sides}))
    return found


def _best(operation: Operation) -> str:
    return OURS_BF16 if OURS_BF16 in operation.sides else OURS


# --------------------------------------------------------------------------------------------------- numbers


def speed_up(operation: Operation, side: str) -> str:
    """The speed-up over the reference, with the lowest and the highest round."""
    values = speedups(operation, side)
    return f"{short(median(values))} times ({short(min(values))} to {short(max(values))})"


def short(value: float) -> str:
    """A ratio with as many digits as it deserves."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def seconds_of(operation: Operation, side: str) -> str:
    """The median round of a side, with its unit."""
    value = median(operation.sides[side].seconds)
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"


def our_sides(operation: Operation) -> list[str]:
    """The sides that are ours: one for each precision."""
    return [side for side in operation.sides if side not in (REFERENCE, NO_TF32)]


def label_of(operation: Operation, side: str) -> str:
    """An operation and, where it was done in several, the precision."""
    if len(our_sides(operation)) == 1:
        return operation.title
    return f"{operation.title}, {precision_name(operation.sides[side].precision)}"


def table_of(comparison: dict[str, Any]) -> Table:
    """Times and ratios, for the console."""
    table = Table(title="echocycle against the reference", box=None, pad_edge=False)
    for name in ("", "reference", "echocycle", "speed-up"):
        table.add_column(name, justify="left" if not name else "right")
    for operation in operations_of(comparison):
        for side in our_sides(operation):
            seconds = seconds_of(operation, REFERENCE), seconds_of(operation, side)
            table.add_row(label_of(operation, side), *seconds, speed_up(operation, side))
    return table


PAPER_STEPS = 25 * 46
"""Steps of each training of the paper: 25 epochs of 920 labelled videos, 20 in a step."""
VIDEOS, FRAMES_A_VIDEO, TEST_VIDEOS, CLIPS_A_VIDEO = 10_030, 176.5, 1277, 114.5
"""EchoNet-Dynamic's, and the starts of a mean video."""


def whole_chain(comparison: dict[str, Any], side: str) -> dict[str, float]:
    """Hours of the paper's chain at 1/8 labels on EchoNet-Dynamic, from measured seconds an image or a clip."""
    plan = comparison["plan"]
    operations = {operation.name: operation for operation in operations_of(comparison)}
    clip = CSSOptions(**plan["css"]).frames

    def seconds(name: str) -> float:
        sides = operations[name].sides
        chosen = side if side in sides else OURS
        return median(sides[chosen].seconds) / operations[name].count

    found = {
        "CSS": PAPER_STEPS * seconds("css") * (40 + clip) / (2 * plan["pairs"] + clip),
        "masks": VIDEOS * FRAMES_A_VIDEO * seconds("masks"),
        "f_m": PAPER_STEPS * seconds("f_m") * 20 / plan["clips"],
        "f_e": PAPER_STEPS * seconds("f_e") * 30 / (plan["clips"] + plan["unlabelled"]),
        "evaluation": TEST_VIDEOS * CLIPS_A_VIDEO * seconds("evaluation"),
    }
    return {name: value / 3600 for name, value in found.items()}


# ----------------------------------------------------------------------------------------------------- chart


def chart(comparison: dict[str, Any]) -> Picture:
    """The speed-up of each operation, on a logarithmic axis: median, and lowest to highest round."""
    operations = operations_of(comparison)
    rows = [(label_of(o, side), speedups(o, side)) for o in operations for side in our_sides(o)]
    masks = next(operation for operation in operations if operation.name == "masks")
    smaller = masks.checks[f"bytes, {REFERENCE}"] / masks.checks[f"bytes, {OURS}"]
    rows.append(("masks on disk, times smaller", [smaller]))

    def on(figure: Figure) -> None:
        axis: Axes = figure.subplots()
        axis.axvline(1, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for place, (_, values) in enumerate(rows):
            axis.plot([min(values), max(values)], [place, place], color=SERIES[0], linewidth=2.2, alpha=0.55)
            axis.plot([median(values)], [place], "o", color=SERIES[0], markersize=5)
            axis.annotate(
                short(median(values)),
                (max(values), place),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
            )
        axis.set_xscale("log")
        axis.set_xlim(min(0.8, *(0.9 * min(values) for _, values in rows)), 1.5 * max(max(v) for _, v in rows))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_xticks([tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500) if tick <= axis.get_xlim()[1]])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_yticks(range(len(rows)), [name for name, _ in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.tick_params(axis="y", length=0, colors=INK)
        axis.set_xlabel("speed-up over the reference")
        axis.grid(False, axis="y")
        axis.spines["left"].set_visible(False)

    return Picture(WIDTH * 0.75, 0.62 + 0.27 * len(rows), on)


def precision_name(precision: str) -> str:
    """A precision as readers know it."""
    return {"32": "fp32"}.get(precision, precision)
