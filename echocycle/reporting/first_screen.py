"""What stands first in the report: in plain words, for a cardiologist who has one minute.

What was trained on what, how far the delivered model is off, whether that is any better than not looking, and what to
beware of. It is about the model that is handed on, whatever other row did better on the test videos.
"""

import math
from collections.abc import Sequence

import numpy as np

from echocycle.evaluation.classification import LIMITS, Under, under
from echocycle.evaluation.metrics import pooled_dice
from echocycle.reporting.blocks import (
    Beware,
    Block,
    Lead,
    Text,
    Tile,
    Tiles,
    Words,
    count,
    interval_cell,
    number,
    percent,
    several,
)
from echocycle.reporting.ef_sections import Result, resampling
from echocycle.reporting.run_data import ReportData, RunReport

METHODS = {
    "student": "reads the EF from the video alone. A teacher network, which also sees the outline of the left "
    "ventricle, taught it on videos without a known EF",
    "teacher": "reads the EF from the video and from the outline of the left ventricle, which another network draws",
    "supervised": "reads the EF from the video alone",
    "mask_teacher": "reads the EF from the outline of the left ventricle alone, which another network draws",
    "two_teachers": "takes the mean of two networks: one reads the EF from the video and from the outline of the left "
    "ventricle, which another network draws, one from that outline alone",
    "committee": "reads the EF from the video alone. Several teacher networks taught it",
}
SPLITS = {"test": "test", "val": "validation", "train": "training"}
FEW_VIDEOS, FEW_LOW = 50, 10
"""Fewer test videos, or fewer with a low EF, and a sentence says so: their intervals are wide."""
LARGE_BIAS = 3.0
"""EF points by which low EF must be off on one side, on average, for a sentence about it."""


def first_screen(
    data: ReportData, delivered: RunReport | None, result: Result | None, naive: Result | None, problems: Sequence[str]
) -> list[Block]:
    """The blocks above the sections: about the delivered run and, where it has one, its first result."""
    if delivered is None:
        return [Beware("Beware", [*data.warnings, *problems])] if [*data.warnings, *problems] else []
    blocks: list[Block] = []
    if result is not None:
        blocks.append(Lead(headline(result, naive)))
    elif delivered.dice is not None:
        blocks += _dice_lead(delivered)
    blocks.append(Text(about_training(data, delivered)))
    if result is not None:
        found = [_under(data, result, limit) for limit in LIMITS]
        blocks.append(Tiles(_tiles(result, naive, found)))
        cautions = [*data.warnings, *_cautions(data, delivered, result, naive, found), *problems]
    else:
        cautions = [*data.warnings, *problems]
    if cautions:
        blocks.append(Beware("Beware", cautions))
    return blocks


def headline(result: Result, naive: Result | None) -> str:
    """How far the delivered model is off, beside the answer that looks at nothing, and whether it may be used."""
    error = result.intervals["mae"]
    words = f"On {_videos(result)} the EF is off by {number(error.value, 1)} points on average"
    if math.isfinite(error.low):
        words += f" ({percent(error.level)} interval {number(error.low, 1)} to {number(error.high, 1)})"
    if naive is None:
        return f"{words}. It is not known what always giving the same answer would do."
    answer, other = naive.videos["ef_pred"].iloc[0], naive.intervals["mae"].value
    words += f"; always answering {number(float(answer), 1)} % would be off by {number(other, 1)}."
    if error.value >= other:
        return f"{words} Do not use this model."
    if not error.high < other:
        return f"{words} It is not shown that the model is better than that."
    return words


def _videos(result: Result) -> str:
    patients = result.videos["patient"].nunique()
    words = several(len(result.videos), f"{SPLITS.get(result.split, result.split)} video")
    return f"{words} of {several(patients, 'patient')}" if patients < len(result.videos) else words


def about_training(data: ReportData, run: RunReport) -> Words:
    """What the delivered model is, and what it was trained on."""
    what = METHODS.get(run.method, "reads the EF from the video" if run.stage == "regress" else "")
    if run.stage == "segment":
        what = "outlines the left ventricle"
    words = f"The model is {run.name}"
    words += f": a network that {what} (method {run.method})." if what else f" (method {run.method})."
    if run.labels is None:
        return words
    label = "EF" if run.stage == "regress" else "outline"
    words += f" It was trained on {several(run.labels.labelled, 'video')} with a known {label}"
    if run.labels.unlabelled:
        words += f" and {count(run.labels.unlabelled)} without"
    words += f"; {count(run.labels.validation)} more with a known {label} chose the best moment of the training"
    several_models = data.choice is not None and len(data.choice.standings) > 1 and run.name == data.choice.run
    words += ", and this model among several." if several_models else "."
    if run.settings.get("weights") == "zero":
        words += " It began from the weights of zero, the model in the package, which has seen synthetic clips only."
    if run.provenance is not None and run.provenance.phantom.startswith("version"):
        words += f" All are synthetic (phantom {run.provenance.phantom})."
    elif run.provenance is not None and run.provenance.data:
        words += f" They come from {run.provenance.data}."
    return words


def _tiles(result: Result, naive: Result | None, found: Sequence[Under]) -> list[Tile]:
    error = interval_cell(result.intervals["mae"], 1)
    tiles = [Tile("Average error of the EF", f"{error.text} points", error.small)]
    if naive is not None:
        other = interval_cell(naive.intervals["mae"], 1)
        tiles.append(Tile("Baseline: always the mean EF", f"{other.text} points", other.small))
    for each in found:
        name = f"EF under {each.limit:g} found"
        if each.low:
            ends = interval_cell(each.sensitivity, 0, 100)
            tiles.append(Tile(name, f"{each.found} of {each.low}", f"{ends.text} % ({ends.small})"))
        else:
            tiles.append(Tile(name, "–", "no such video"))
    return tiles


def _under(data: ReportData, result: Result, limit: float) -> Under:
    return under(result.videos, limit, **resampling(data))


def _cautions(
    data: ReportData, run: RunReport, result: Result, naive: Result | None, found: Sequence[Under]
) -> list[Words]:
    cautions: list[Words] = []
    if result.split == "val":
        chose = "the best moment of the training"
        if data.choice is not None and len(data.choice.standings) > 1:
            chose += " and this model among several"
        cautions.append(
            f"These are the validation videos, which also chose {chose}: on others the error is larger. There were no "
            "test videos."
        )
    if len(result.videos) < FEW_VIDEOS:
        cautions.append(f"Only {_videos(result)}: with others the numbers may be quite different.")
    few = [each for each in found if each.low < FEW_LOW]
    if few:
        each = few[-1]
        cautions.append(
            f"Only {several(each.low, 'of these videos has', 'of these videos have')} an EF under {each.limit:g}: "
            "how well low EF are found is not known."
        )
    true = result.videos["ef_true"].to_numpy(float)
    low = true < LIMITS[-1]
    if low.sum() >= FEW_LOW:
        shift = float(np.mean(result.videos["ef_pred"].to_numpy(float)[low] - true[low]))
        if abs(shift) >= LARGE_BIAS:
            words = "too high" if shift > 0 else "too low"
            cautions.append(
                f"Where the EF is under {LIMITS[-1]:g} the model reads it {number(abs(shift), 1)} points {words} on "
                "average."
            )
    if lost := run.not_measured.get(result.split, 0):
        cautions.append(f"{several(lost, 'video')} got no answer and count in no number here.")
    if run.provenance is not None and not run.provenance.phantom.startswith("version"):
        cautions.append(
            "The test videos come from where the training videos come from. With other machines or in another hospital "
            "the error can be larger."
        )
    return cautions


def _dice_lead(run: RunReport) -> list[Block]:
    assert run.dice is not None
    traced = run.dice[run.dice["phase"].isin(["ED", "ES"])]
    split = next((name for name in ("test", "val") if (traced["split"] == name).any()), None)
    if split is None:
        return []
    part = traced[traced["split"] == split]
    dice = pooled_dice(*(part[name] for name in ("intersection", "size_true", "size_pred")))
    videos = several(part["video"].nunique(), f"{SPLITS[split]} video")
    return [
        Lead(
            f"On {videos} the outline at ED and ES agrees with the traced one with a Dice of {number(100 * dice, 1)} %."
        )
    ]
