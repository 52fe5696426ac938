"""Drawn splits for lists that name none: by patient, with exact counts, EF and tracings shared out evenly."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import get_args

import numpy as np

from echocycle.datasets.findings import FindingList
from echocycle.datasets.records import EchonetSettings, Record, Split

DEFAULT_SHARES = (0.7, 0.15, 0.15)
SPLITS: tuple[Split, ...] = get_args(Split)


def fill_splits(
    records: Sequence[Record], without: set[str], settings: EchonetSettings, findings: FindingList
) -> list[Record]:
    """Give a split to every record whose name is in `without`.

    The split of a patient's other videos, where written, is taken first. Of the remaining patients those with an EF or
    a tracing are drawn; videos with neither serve as unlabelled ones, and are put into train (with `split_by = name`
    all are drawn).
    """
    if not without:
        return list(records)
    shares = settings.assign_splits or DEFAULT_SHARES
    splits: dict[str, Split] = {r.patient: r.split for r in records if r.name not in without}
    of_patient: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.patient not in splits:
            of_patient[record.patient].append(record)
    if settings.split_by == "name":
        drawn = {patient: split_by_name(patient, shares, settings.split_seed) for patient in of_patient}
        how = "from the names"
    else:
        useful = {
            patient: videos
            for patient, videos in of_patient.items()
            if any(video.is_traced or not math.isnan(video.ef) for video in videos)
        }
        drawn = dict.fromkeys(of_patient, SPLITS[0]) | balanced_splits(useful, shares, settings.split_seed)
        how = "by patient, so that EF and tracings are shared out; videos with neither are in train"
    splits |= drawn
    filled = [replace(r, split=splits[r.patient]) if r.name in without else r for r in records]
    count = Counter(record.split for record in filled if record.name in without)
    patients = Counter(drawn.values())
    findings.add_for_folder(
        "note",
        "splits-assigned",
        f"{len(without)} videos name no split; drawn with seed {settings.split_seed} {how}: "
        + ", ".join(f"{count[split]} {split} ({_people(patients[split])}{_labels(filled, split)})" for split in SPLITS)
        + ".",
    )
    return filled


def _people(number: int) -> str:
    return f"{number} patient{'' if number == 1 else 's'}"


def _labels(records: Sequence[Record], split: Split) -> str:
    """How many of a split have an EF or a tracing."""
    here = [record for record in records if record.split == split]
    return f", {sum(not math.isnan(r.ef) for r in here)} EF, {sum(r.is_traced for r in here)} traced"


def split_by_name(patient: str, shares: tuple[float, float, float], seed: int) -> Split:
    """A split that depends on the patient's name alone, so that added videos never move others."""
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < shares[0]:
        return "train"
    return "val" if position < shares[0] + shares[1] else "test"


def balanced_splits(
    patients: dict[str, list[Record]], shares: tuple[float, float, float], seed: int
) -> dict[str, Split]:
    """Patient -> split. The counts are `exact_counts`; each stretch of the patients in order of their labels (traced
    or not, then EF) is shared out in these proportions.

    The order of `patients` does not matter. Within a stretch that is as long as the smallest share needs to be served
    once, chance decides.
    """
    rng = np.random.default_rng(seed)
    names = sorted(patients)
    rng.shuffle(names)
    names.sort(key=lambda name: _label_order(patients[name]))
    stretch = math.ceil(1 / min(share for share in shares if share > 0))
    ordered: list[str] = []
    # traced and untraced patients are never exchanged: of few tracings every split needs its part
    for _, alike in groupby(names, key=lambda name: _label_order(patients[name])[:2]):
        group = list(alike)
        for start in range(0, len(group), stretch):
            part = group[start : start + stretch]
            rng.shuffle(part)
            ordered += part
    targets = exact_counts(len(names), shares)
    taken = [0] * len(shares)
    chosen: dict[str, Split] = {}
    for place, name in enumerate(ordered, 1):
        behind = [
            share * place - count if count < target else -math.inf
            for share, count, target in zip(shares, taken, targets, strict=True)
        ]
        split = int(np.argmax(behind))
        taken[split] += 1
        chosen[name] = SPLITS[split]
    return chosen


def _label_order(videos: Sequence[Record]) -> tuple[bool, bool, float]:
    """Patients in order: traced with EF, traced, EF, by the mean EF."""
    efs = [video.ef for video in videos if not math.isnan(video.ef)]
    return not any(video.is_traced for video in videos), not efs, sum(efs) / len(efs) if efs else 0.0


def exact_counts(total: int, shares: tuple[float, float, float]) -> list[int]:
    """Whole numbers that add up to `total`, each within one of its share (largest remainders)."""
    exact = [share * total for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts
