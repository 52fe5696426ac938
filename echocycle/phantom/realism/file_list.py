"""The file list: distributions of EF, volumes, frame rates and lengths over drawn patients."""

import numpy as np

from echocycle.phantom.patient import draw_patient
from echocycle.phantom.realism.clips import Floats, Measures
from echocycle.phantom.settings import PhantomSettings

PATIENTS = (7465, 1288, 1277)
"""Clips in TRAIN, VAL and TEST of the real file list; as many patients are drawn."""


def measure_file_list(settings: PhantomSettings) -> Measures:
    """Distributions over as many drawn patients as the real file list has clips, without drawing a picture."""
    patients = [draw_patient(index, settings) for index in range(sum(PATIENTS))]
    ef, edv, esv, fps, frames = np.array([(p.ef, p.edv_ml, p.esv_ml, p.fps, p.frames) for p in patients]).T
    measures = measure_relations(ef, edv, esv) | measure_naive(ef)
    columns = {"EF": ef, "EDV": edv, "ESV": esv, "fps": fps, "frames": frames, "seconds": frames / fps}
    for name, column in columns.items():
        measures |= {f"{name}, mean": column.mean(), f"{name}, sd": column.std()}
        measures |= {f"{name}, {share} %": np.percentile(column, share) for share in (1, 5, 25, 50, 75, 95, 99)}
        measures |= {f"{name}, min": column.min(), f"{name}, max": column.max()}
    measures |= {f"fewer than {limit} frames, clips": np.sum(frames < limit) for limit in (63, 80, 32)}
    measures["fps is 50, share"] = 100 * np.mean(fps == 50)
    return {name: float(value) for name, value in measures.items()}


def measure_relations(ef: Floats, edv: Floats, esv: Floats) -> Measures:
    """Shares and skew of EF, and how EF and volumes go together."""
    share_names = ("below 30", "30-40", "40-50", "50-55", "55-60", "60-65", "65-70", "70 and above")
    shares = shares_between(ef, (30, 40, 50, 55, 60, 65, 70))
    band_names = ("below 30", "30-45", "45-55", "55-65", "above 65")
    band = np.digitize(ef, (30, 45, 55, 65))
    return {
        **{f"EF {name}, share": share for name, share in zip(share_names, shares, strict=True)},
        **{f"median EDV at EF {name}": float(np.median(edv[band == n])) for n, name in enumerate(band_names)},
        "EF, skew": float(np.mean((ef - ef.mean()) ** 3) / ef.std() ** 3),
        "correlation EF-EDV": float(np.corrcoef(ef, edv)[0, 1]),
        "correlation EF-ESV": float(np.corrcoef(ef, esv)[0, 1]),
        "correlation EDV-ESV": float(np.corrcoef(edv, esv)[0, 1]),
    }


def shares_between(values: Floats, limits: tuple[float, ...]) -> list[float]:
    """Percent of the values below the first limit, between neighbouring limits, and from the last limit on."""
    counts = np.bincount(np.digitize(values, limits), minlength=len(limits) + 1)
    return [100 * float(count) / len(values) for count in counts]


def measure_naive(ef: Floats) -> Measures:
    """Errors of one answer for everyone, learnt on the first patients and tried on the last."""
    train, val, test = np.split(ef, np.cumsum(PATIENTS)[:2])
    return {
        "naive MAE on TEST, TRAIN median": float(np.abs(test - np.median(train)).mean()),
        "naive MAE on VAL, TRAIN median": float(np.abs(val - np.median(train)).mean()),
        "naive RMSE on TEST, TRAIN mean": float(np.sqrt(np.mean((test - train.mean()) ** 2))),
    }
