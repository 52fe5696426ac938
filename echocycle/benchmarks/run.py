"""`echocycle bench`: every stage beside the plain way of doing it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from echocycle.console import console, output
from echocycle.settings.flags import Out


def bench(
    out: Annotated[Path, Out] = Path("echocycle-runs/bench"),
    *,
    quick: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    page: Path | None = None,
) -> dict[str, Any]:
    """Measure the stages beside the plain way of doing them: time, memory, and how far the results agree.

    Args:
        out: Folder for comparison.json and the page; a comparison that was interrupted there is resumed.
        quick: Fewer and smaller rounds; under ten minutes on two cores.
        device: `auto` takes a GPU where there is one.
        page: Write the page here as well, its chart in `images/` beside it.

    Returns:
        The content of comparison.json.
    """
    from echocycle.benchmarks.ground import make_plan
    from echocycle.benchmarks.page import write_page
    from echocycle.benchmarks.report import compare, table_of
    from echocycle.device import choose_device

    chosen = choose_device(device)
    comparison = compare(Path(out), make_plan(chosen, quick=quick), chosen)
    for path in (Path(out) / "performance.md", page):
        if path is not None:
            console.print(f"{write_page(comparison, path)} written.")
    output.print(table_of(comparison))
    return comparison
