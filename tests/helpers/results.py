"""A result with every field filled, made without a model: an ellipse that beats three times."""

from typing import Any

import numpy as np

from echocycle.prediction import EfInterval, Flag, MeasuredBeat, Prediction


def full_result(frames: int = 60, **changes: Any) -> Prediction:
    """Frames of 112 x 112 at 50 a second; end diastole in 0, 20, 40 and end systole in 10, 30, 50."""
    time = np.arange(frames)
    row, column = np.indices((112, 112))
    size = 1 + 0.15 * np.cos(2 * np.pi * time / 20)
    distance = np.hypot((column - 56) / 14, (row - 48) / 25)
    masks = np.stack([255 / (1 + np.exp(8 * (distance / s - 1))) for s in size]).astype(np.uint8)
    rng = np.random.default_rng(0)
    beats = [
        MeasuredBeat(ed, ed + 10, 55.0 + ed / 20, 54.0, 120.0, 54.0, 57.0, 0.4, 150.0, 15.0, 12.0, ed > 0)
        for ed in range(0, frames - 10, 20)
    ]
    values: dict[str, Any] = {
        "source": "/archive/clip 1.dcm",
        "ef": 57.6,
        "protocol": "clips every 4 frames, mean",
        "fps": 50.0,
        "n_frames": frames,
        "spacing_mm": (1.5, 1.5),
        "ef_clips": [(0, 57.0), (4, 58.2)],
        "mask_area_px": (masks > 127).sum(axis=(1, 2)).astype(float).tolist(),
        "ef_by_discs": 55.1,
        "ed_frames": [beat.ed for beat in beats],
        "es_frames": [beat.es for beat in beats],
        "notes": ["frame rate is low"],
        "model": {"id": "small", "run": "teacher", "method": "teacher", "phantom_version": None, "verdict": None}
        | {"echocycle": "0.1.0", "torch": "2"},
        "warnings": ["The model has seen synthetic clips only: no clinical meaning."],
        "size_bytes": 123456,
        "sha256": "ab" * 32,
        "headline": "regression",
        "headline_reason": "EF by regression and by discs agree.",
        "flags": [Flag("apex_cut_off", "The apex lies at the edge of the fan in 12 frames.", "review")],
        "interval": EfInterval(50.2, 65.1, 0.9, "conformal", 120, ""),
        "interval_by_discs": EfInterval(40.0, 70.0, 0.9, "plain", 40, "Fewer than 100 calibration videos."),
        "category_probabilities": {"under_40": 0.02, "40_to_49": 0.08, "50_and_more": 0.9},
        "ef_disagreement": 2.5,
        "ef_area_length": 54.0,
        "edv": 120.0,
        "esv": 54.0,
        "volume_unit": "ml",
        "heart_rate": 75.0,
        "rate_variation": 3.1,
        "ef_variation": 1.0,
        "irregular": False,
        "axis_shortening": 15.0,
        "longitudinal_shortening": 12.0,
        "beats": beats,
        "volume_curve": (80 + 40 * np.cos(2 * np.pi * time / 20)).tolist(),
        "label_provenance": "EF from reports of the training hospital.",
        "masks": masks,
        "frames": rng.integers(0, 90, (frames, 112, 112), dtype=np.uint8),
        "affine": np.array([[2.0, 0, 10], [0, 2.0, 20]]),
    }
    return Prediction(**(values | changes))
