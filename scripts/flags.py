"""Which spoilt recordings are flagged, and how many sound ones are: the numbers of docs/results/flags.md.

    python scripts/flags.py draw TABLE.csv --seed 202 --kinds sound,m_mode --clips 0-50 [--hospital second]
    python scripts/flags.py table TABLE.csv...      # Markdown: caught and false alarms by look, seed and kind

`draw` appends a row for each recording that the table lacks: a phantom clip (whole beats, about two seconds) is spoilt,
written as an AVI, read, cut, segmented and measured as `predict` does; the row holds the signs that flags rest on. So
`table` can be made again with other limits (`echocycle/inference/flags.py`) in seconds.
"""

import argparse
import csv
import math
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from echocycle.errors import EchocycleError
from echocycle.inference.flags import flags_of_signs
from echocycle.inference.judge import USUAL_DISAGREEMENT
from echocycle.inference.signs import Signs
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.spoilt import KINDS, SOUND, spoilt_recording

SET = ("black_frames", "shuffled", "apex_cut_off", "noise", "half_beat")
"""Kinds on which, with sound clips of the same seed, the limits were set."""
NUMBERS = tuple(field.name for field in fields(Signs))
COLUMNS = ("kind", "hospital", "seed", "index", "refused", "ef", "ef_by_discs", *NUMBERS)


def settings_of(seed: int, hospital: Any) -> PhantomSettings:
    """The phantom: whole beats of either hospital."""
    return PhantomSettings(
        seed=seed, hospital=hospital, half_cycles=False, frames_min=70, frames_median=96, frames_max=120
    )


def draw(table: Path, kinds: list[str], clips: range, settings: PhantomSettings, model: str, stride: int) -> None:
    """Append the rows that the table lacks."""
    from echocycle.bundle import load_bundle

    bundle = load_bundle(Path(model))
    there = {(row["kind"], row["hospital"], row["seed"], row["index"]) for row in rows_of(table)}
    if not table.exists():
        table.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    for index in clips:
        for kind in kinds:
            key = (kind, settings.hospital, str(settings.seed), str(index))
            if key not in there:
                row = measure(kind, index, settings, bundle, stride)
                with table.open("a", encoding="utf-8", newline="") as file:
                    csv.DictWriter(file, COLUMNS).writerow(dict(zip(COLUMNS, key, strict=False)) | row)


def measure(kind: str, index: int, settings: PhantomSettings, bundle: Any, stride: int = 8) -> dict[str, Any]:
    """The columns of one recording from `refused` on."""
    import torch

    from echocycle.inference.recordings import answered
    from echocycle.prediction import Prediction
    from echocycle.recordings.recording import read_recording
    from echocycle.recordings.sector import cut_sector
    from echocycle.recordings.video import write_mjpeg

    made = spoilt_recording(kind, index, settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.avi"
        write_mjpeg(path, made.frames, made.fps)
        try:
            cut = cut_sector(read_recording(path))
        except EchocycleError as error:
            return {"refused": str(error).replace(str(path), path.name)}
    asked = Prediction(kind, None, "", cut.fps, len(cut.frames), cut.spacing_mm, frames=cut.frames)
    found = answered(asked, cut, bundle, torch.device("cpu"), stride)
    row = {
        "refused": found.result.not_measured or "",
        "ef": "" if not found.result.ef_clips or found.result.ef is None else f"{found.result.ef:.3f}",
        "ef_by_discs": "" if found.result.ef_by_discs is None else f"{found.result.ef_by_discs:.3f}",
    }
    if found.measured is not None:
        from echocycle.inference.signs import signs_of

        of = found.measured
        signs = signs_of(cut.frames, of.marked, cut.fps, of.discs, of.rhythm, found.sure)
        row |= {name: f"{getattr(signs, name):.6g}" for name in NUMBERS}
    return row


def rows_of(*tables: Path) -> Iterator[dict[str, str]]:
    """The rows of tables that exist, plain or packed."""
    import gzip

    for table in tables:
        if table.exists():
            with gzip.open(table, "rt") if table.suffix == ".gz" else table.open(encoding="utf-8") as file:
                yield from csv.DictReader(file)


def codes_of(row: dict[str, str]) -> list[str]:
    """The flags of a recording that ask for a look, `refused` first."""
    found = ["refused"] if row["refused"] else []
    if row[NUMBERS[0]]:
        values: dict[str, Any] = {name: float(row[name]) if row[name] else math.nan for name in NUMBERS}
        values["whole_beats"] = int(values["whole_beats"])
        found += [flag.code for flag in flags_of_signs(Signs(**values)) if flag.severity != "note"]
    if row["ef"] and row["ef_by_discs"] and abs(float(row["ef"]) - float(row["ef_by_discs"])) > USUAL_DISAGREEMENT:
        found.append("disagreement")
    return found


def table(rows: Iterator[dict[str, str]]) -> str:
    """Markdown: a row for each look, seed and kind."""
    groups: dict[tuple[str, str, str], list[list[str]]] = {}
    for row in rows:
        groups.setdefault((row["hospital"], row["seed"], row["kind"]), []).append(codes_of(row))
    order = [SOUND, *KINDS]
    lines = [
        "| look | seed | kind | recordings | flagged | the same without disagreement | most frequent reasons |",
        "|---|---|---|---|---|---|---|",
    ]
    for (look, seed, kind), codes in sorted(groups.items(), key=lambda each: (*each[0][:2], order.index(each[0][2]))):
        alone = [[code for code in each if code != "disagreement"] for each in codes]
        often = Counter(code for each in codes for code in set(each)).most_common(3)
        shares = [f"{sum(map(bool, each))} ({100 * sum(map(bool, each)) / len(each):.0f} %)" for each in (codes, alone)]
        reasons = ", ".join(f"{code} {count}" for code, count in often)
        lines.append(f"| {look} | {seed} | {kind} | {len(codes)} | {shares[0]} | {shares[1]} | {reasons} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("table", type=Path)
    drawing.add_argument("--seed", type=int, required=True)
    drawing.add_argument("--hospital", choices=("first", "second"), default="first")
    drawing.add_argument("--kinds", default=",".join((SOUND, *KINDS)))
    drawing.add_argument("--clips", default="0-50", help="first and last + 1")
    drawing.add_argument("--model", default="zero")
    drawing.add_argument("--stride", type=int, default=8)
    commands.add_parser("table").add_argument("tables", type=Path, nargs="+")
    given = parser.parse_args()
    if given.command == "table":
        print(table(rows_of(*given.tables)))
        return
    first, last = map(int, given.clips.split("-"))
    settings = settings_of(given.seed, given.hospital)
    draw(given.table, given.kinds.split(","), range(first, last), settings, given.model, given.stride)


if __name__ == "__main__":
    main()
