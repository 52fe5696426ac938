"""Put a finished demo's results into README.md and docs/: `python scripts/readme_results.py echocycle-runs/demo`."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.files import write_json, write_text
from echocycle.reporting.demo import METHODS, load_results
from echocycle.reporting.figures import overlay_figure
from echocycle.runs import Run

BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def rows(results: dict[str, Any]) -> list[str]:
    """The demo's table as Markdown."""
    lines = ["| | Dice, ED and ES | Dice, all frames |", "|---|---|---|"]
    for method, label in (("supervised", "segmenter, traced frames only"), ("css", "segmenter with CSS")):
        dice = results["dice"][method]
        lines.append(f"| {label} | {dice['overall']['pooled']:.3f} | {dice['all']['pooled']:.3f} |")
    lines += ["", "| | MAE, EF points | R2 |", "|---|---|---|"]
    for name, label in {"naive": "naive: mean EF", **METHODS, "discs": "discs on the CSS masks"}.items():
        found = results["ef"][name]
        lines.append(f"| {label} | {interval(found['mae'])} | {interval(found['r2'])} |")
    lines.append(f"| student minus video only | {interval(results['student_minus_video_only'])} | |")
    return lines


def interval(value: dict[str, float]) -> str:
    """A number with its interval."""
    return f"{value['value']:.2f} ({value['low']:.2f} to {value['high']:.2f})"


def main(demo: Path) -> None:
    """Rewrite the part of README.md between its marks, the picture and docs/results/demo.json."""
    root = Path(__file__).resolve().parent.parent
    results = load_results(demo)
    budget = results["budgets"]["student"]
    made = Run(demo / "runs" / "student").info["made_with"]
    minutes = sum(results["seconds"].values()) / 60
    ef = results["real_clip_ef"]
    real = "no EF" if ef is None else f"an EF of {ef:.1f} %, which means nothing yet"
    text = [
        f"`make demo` took {minutes:.0f} minutes on {made['machine']} and printed, for {results['test_videos']} test "
        f"videos of the phantom (version {results['phantom_version']}) with {budget['labelled']} labelled and "
        f"{budget['unlabelled']} unlabelled training videos, one seed, 95 % intervals:",
        "",
        *rows(results),
        "",
        f"and for a real apical recording (DICOM) {real}: the networks have seen synthetic clips only, and say so.",
    ]
    readme = (root / "README.md").read_text(encoding="utf-8")
    before, _, after = readme.partition(BEGIN)
    after = after.partition(END)[2] if END in after else after
    write_text(root / "README.md", f"{before}{BEGIN}\n" + "\n".join(text) + f"\n{END}{after}")
    kept = {key: value for key, value in results.items() if key != "report"}
    write_json(root / "docs" / "results" / "demo.json", {**kept, "made_with": made})
    with np.load(demo / "runs" / "segment-css" / "evaluation" / "overlays.npz") as sheet:
        sheet_of_masks = overlay_figure(sheet["frames"], sheet["true"], sheet["predicted"], sheet["names"].tolist())
    write_text(root / "docs" / "images" / "overlays.svg", sheet_of_masks.svg)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
