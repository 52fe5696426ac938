"""The page on a comparison: its numbers as tables, and as sentences between them."""

from pathlib import Path
from statistics import median
from typing import Any

from echocycle.benchmarks.measure import NO_TF32, OURS, OURS_BF16, REFERENCE, Operation, speedups
from echocycle.benchmarks.report import (
    chart,
    label_of,
    operations_of,
    our_sides,
    precision_name,
    seconds_of,
    short,
    speed_up,
    whole_chain,
)
from echocycle.files import write_text
from echocycle.reporting.blocks import Block, Code, Figure, Items, Page, Section, Strong, Table, Text, Words, table_of
from echocycle.reporting.markdown import write_markdown

FORMS = (
    ("1x3x3 and 3x1x1 convolutions of R(2+1)D",
     "as 2D convolutions over frames or rows of pixels, channels last", "the same"),
    ("3x3x3 and 3x7x7 convolutions of R3D and MC3",
     "as 2D convolutions over frames that carry their neighbours as channels", "the same"),
    ("dilations of DeepLabV3 wider than half its map", "tap by tap, where a tap reaches the map", "the same"),
    ("batch normalisation in use", "folded into the convolution before it", "the same"),
    ("loop.precision auto", "bf16 where the processor computes in it", "bf16"),
    ("ED and ES frames of a step",
     "two passes: joining the parts costs more than it saves", "one pass, normalised apart"),
    ("overlapping clips of an evaluation", "stem and first stage once for all, clips' ends apart", "the same"),
    ("clips", "cut from the memory-mapped store, sent as 8 bits, normalised and cropped on the device", "the same"),
    ("channels padded to multiples of 8", "no: oneDNN does so by itself", "no; not measured"),
    ("torch.compile, CUDA graphs",
     "no: a step takes twice as long, after a minute of compiling", "no; not measured"),
)  # fmt: skip
"""Which form of a computation is used where: on the CPU, on a GPU."""


def write_page(comparison: dict[str, Any], path: Path) -> Path:
    """Write the page as Markdown to `path`, and its chart to `images/` beside it."""
    image = path.parent / "images" / f"{path.stem}.svg"
    write_text(image, chart(comparison).svg)
    write_text(path, render_page(comparison, f"images/{image.name}"))
    return path


def render_page(comparison: dict[str, Any], image: str) -> str:
    """The page as Markdown; `image` is where its chart lies, seen from the page."""
    return write_markdown(page_of(comparison, image))


def page_of(comparison: dict[str, Any], image: str) -> Page:
    """The page on a comparison."""
    operations = operations_of(comparison)
    on_gpu = comparison["device"] == "cuda"
    return Page(
        "Performance",
        _lead(comparison, operations, image),
        [
            Section("Time", _time(operations, on_gpu)),
            Section("Memory and disk", _memory(operations, on_gpu)),
            Section("The same results", _same_results(operations)),
            Section("Share of the device's peak", _shares(comparison, operations)),
            Section("Which form is computed where", _forms()),
            Section("The whole chain", _chain(comparison)),
        ],
        kicker="",
    )


def _lead(comparison: dict[str, Any], operations: list[Operation], image: str) -> list[Block]:
    plan, versions = comparison["plan"], comparison["versions"]
    dates = " and ".join(sorted({operation.measured[:10] for operation in operations}))
    where = f"GPU with CUDA {comparison['cuda']}" if comparison["cuda"] else "CPU"
    command = "echocycle bench --quick" if plan["name"] == "quick" else "echocycle bench"
    facts: list[Words] = [
        f"{comparison['machine']}; on the {where}; PyTorch's threads {comparison['threads']}, "
        f"{comparison['cpu_capability']}",
        ", ".join(
            f"{label} {versions[name]}"
            for name, label in (
                ("echocycle", "echocycle"),
                ("torch", "torch"),
                ("torchvision", "torchvision"),
                ("opencv", "OpenCV"),
                ("numpy", "numpy"),
                ("python", "Python"),
            )
        ),
    ]
    precision = next(each for each in operations if each.name == "f_e").sides[OURS].precision
    return [
        Text(
            (
                "What the frame store, the samplers and the networks gain over the usual way of doing the same: a "
                "sample decodes its whole AVI with OpenCV, networks are torchvision's in fp32 as they come, masks are "
                "float32 logits, an evaluation builds every clip of a video (",
                Code("echocycle/benchmarks/reference.py"),
                ", written plainly).",
            )
        ),
        Text(("Made by ", Code(command), f" on {dates}; every number here is from that run:")),
        Items(facts),
        Text(
            (
                "Both sides ran in one process, in turns and on the same batches: one round that warms up and in which "
                f"memory is watched, then {plan['repeats']} that are timed. Times are medians of the rounds; ranges go "
                "from the lowest to the highest round. Our side is what the stages run; training is in what ",
                Code("loop.precision auto"),
                f" chooses, here {precision}, and the reference's steps are taken between those of the training loop. "
                "Recordings and store lie in the page cache, and neither side has loader processes. The time of a step "
                "leaves out loading its batch, which stands in the first line, and the gradient norms that the loop "
                "measures in every 25th step. The networks start from random weights and are trained for moments only.",
            )
        ),
        Figure(chart(comparison), "Speed-up over the reference", "speed-up", image),
    ]


def _time(operations: list[Operation], on_gpu: bool) -> list[Block]:
    header = ["<", "in a round", "reference", "echocycle", "speed-up", *["with TF32 off"] * on_gpu]
    rows = [_time_row(operation, side, on_gpu) for operation in operations for side in our_sides(operation)]
    waiting = max(100 * operation.checks.get("waiting_share", 0) for operation in operations)
    words = f"The training loop waited for its batches for at most {waiting:.1f} % of a step, in one process."
    if on_gpu:
        words += (
            " The reference runs with PyTorch's defaults, TF32 in convolutions; the last column is the speed-up over "
            "it without."
        )
    return [table_of(header, rows, name="time"), Text(words)]


def _time_row(operation: Operation, side: str, on_gpu: bool) -> list[str]:
    unit = operation.unit.removesuffix("s") if operation.count == 1 else operation.unit
    row = [label_of(operation, side), f"{operation.count} {unit}", seconds_of(operation, REFERENCE)]
    row += [seconds_of(operation, side), speed_up(operation, side)]
    if on_gpu:
        row.append(short(median(speedups(operation, side, NO_TF32))) if NO_TF32 in operation.sides else "")
    return row


def _memory(operations: list[Operation], on_gpu: bool) -> list[Block]:
    header = ["<", "reference", "echocycle", *["reference, GPU", "echocycle, GPU"] * on_gpu]
    rows = [_memory_row(operation, side, on_gpu) for operation in operations for side in our_sides(operation)]
    masks = next(operation for operation in operations if operation.name == "masks")
    logits, packed = (masks.checks[f"bytes, {side}"] / masks.count for side in (REFERENCE, OURS))
    words = (
        "Memory is the most that was held over what was held before. A frame's mask takes "
        f"{logits:,.0f} bytes as float32 logits and {packed:,.0f} in the store, {logits / packed:.1f} times less."
    )
    return [table_of(header, rows, name="memory"), Text(words)]


def _memory_row(operation: Operation, side: str, on_gpu: bool) -> list[str]:
    pair = operation.sides[REFERENCE], operation.sides[side]
    row = [label_of(operation, side), *(_bytes(each.host_bytes) for each in pair)]
    return [*row, *(_bytes(each.device_bytes) for each in pair)] if on_gpu else row


def _bytes(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _same_results(operations: list[Operation]) -> list[Block]:
    by_name = {operation.name: operation for operation in operations}
    clips, masks, ef = (by_name[name].checks for name in ("clips", "masks", "evaluation"))
    shared = "; our three channels share their memory" if clips["shared_channels"] else ""
    items = [f"A loaded batch differs by at most {clips['largest_difference']:.1e} (normalised grey levels){shared}."]
    precision = by_name["f_e"].sides[OURS].precision
    for operation in operations:
        if f"first_loss, {OURS}" in operation.checks:
            theirs, ours = (operation.checks[f"first_loss, {side}"] for side in (REFERENCE, OURS))
            dropout = " (each side draws its dropout)" if operation.title == "CSS step" else ""
            items.append(
                f"The loss of the first {operation.title}: {theirs:.4g} and, in {precision}, {ours:.4g}{dropout}."
            )
    for side in (OURS, OURS_BF16):
        computed = precision_name(by_name["masks"].sides[side].precision)
        items.append(
            f"In {computed}, {100 * masks[f'pixels_changed, {side}']:.3f} % of the pixels change sides, and EF by at "
            f"most {ef[f'ef_largest_difference, {side}']:.2g} points, "
            f"{ef[f'ef_mean_difference, {side}']:.2g} on average."
        )
    words = (
        f"Of the pixels, {100 * masks['masked_share']:.0f} % are ventricle; the EF of the clips has a standard "
        f"deviation of {ef['ef_deviation']:.2g} points."
    )
    return [Items(items), Text(words)]


def _shares(comparison: dict[str, Any], operations: list[Operation]) -> list[Block]:
    rates = comparison["rates"]
    peaks = ", ".join(f"{rate / 1e12:.3g} in {precision_name(name)}" for name, rate in rates.items())
    rows = [
        [operation.title, side, *_share(operation, side, rates)]
        for operation in operations
        for side in operation.sides
        if operation.flops is not None
    ]
    words = (
        "Operations of the whole convolutions, the zeros around the maps included, of every clip and frame by itself, "
        "over time: what is computed once for several counts for each. The peak is that of a large matrix product in "
        f"the same precision: {peaks} (10^12 operations a second)."
    )
    return [Text(words), table_of(["<", "side", "10^12 operations a second", "share"], rows, name="share")]


def _share(operation: Operation, side: str, rates: dict[str, float]) -> list[str]:
    """Operations a second in 10^12, and their share of the peak in the side's precision."""
    assert operation.flops is not None
    rate = operation.flops / median(operation.sides[side].seconds)
    precision = operation.sides[side].precision
    return [f"{rate / 1e12:.3g}", f"{100 * rate / rates[precision]:.0f} % of {precision_name(precision)}"]


def _forms() -> list[Block]:
    table: Table = table_of(["<", "<CPU", "<GPU"], FORMS, name="forms")
    words = (
        "The measurements behind it stand in LOG.md. Outputs of all forms equal torchvision's to 1e-5 in fp32 (",
        Code("tests/models"),
        ").",
    )
    return [table, Text(words)]


def _chain(comparison: dict[str, Any]) -> list[Block]:
    theirs, ours = whole_chain(comparison, REFERENCE), whole_chain(comparison, OURS_BF16)
    hours = [*((name, theirs[name], ours[name]) for name in theirs), ("all", sum(theirs.values()), sum(ours.values()))]
    words = (
        "Hours on EchoNet-Dynamic with 1/8 of the labels, 25 epochs and the paper's batches, ",
        Strong("extrapolated"),
        " from the times above by images and clips; loading and the validation after each epoch left out.",
    )
    rows = [[name, f"{their:.1f}", f"{our:.1f}"] for name, their, our in hours]
    return [Text(words), table_of(["<", "reference", "echocycle"], rows, name="chain")]
