"""What the tests of `predict` share: a model whose masks are usable and whose EF is one, and short recordings."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from echocycle.bundle import Bundle, save_bundle
from echocycle.data.domain_shift import reference
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.statistics import input_statistics
from echocycle.data.store import Store
from echocycle.inference import recordings as inference
from echocycle.models.preprocess import resize
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.recordings.video import read_video, write_mjpeg
from echocycle.settings.stages import LabelSettings
from echocycle.writers import overlay

FRAMES, PERIOD = 8, 2
SPAN = (FRAMES - 1) * PERIOD + 1
"""Frames that a clip of the model spans."""


def make_model(store: Store, run: Path) -> Path:
    """A teacher with its segmenter: the masks learnt in some steps, the EF network untrained with a bias of 55."""
    data = TrainingData(store, draw_budget(store, LabelSettings("4"), needs="ef"))
    mean, std = input_statistics(data)
    torch.manual_seed(1)
    segmenter = SegmenterSpec("unet", 4, 28, mean, std, False)
    part = Part(segmenter, segmenter.build())
    _learn_masks(part, store)
    regressor = RegressorSpec("r2plus1d_18", (4, 8, 8, 8), 4, 10.0, 32, FRAMES, PERIOD, mean, std, False)
    network = regressor.build()
    network.set_bias(55.0)
    likeness = reference(data, store.phantom_version)
    made = Bundle(part, Part(regressor, network), {"run": "teacher", "method": "teacher"}, likeness)
    save_bundle(made, run / "model")
    return run


def _learn_masks(part: Part, store: Store) -> None:
    """Some steps on the phantom's own masks."""
    rng = np.random.default_rng(0)
    optimiser = torch.optim.Adam(part.network.parameters(), 2e-2)
    part.network.train()
    for _ in range(60):
        video = int(rng.integers(len(store)))
        numbers = np.sort(rng.choice(store.n_frames(video), 8, replace=False))
        frames = torch.from_numpy(np.array(store.frames(video)[numbers]))
        truth = torch.from_numpy(store.masks("truth").probabilities(video, numbers)).float()[:, None] / 255
        logits = part.network(part.preprocess.frames(frames)).logits
        loss = F.binary_cross_entropy_with_logits(logits, resize(truth, part.spec.size)[:, 0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def video_of(phantom: Path) -> Path:
    """A phantom's first video."""
    return sorted((phantom / "Videos").glob("*.avi"))[0]


def write_short(phantom: Path, path: Path, frames: int = 20, start: int = 0) -> Path:
    """Some frames of a phantom's video, as a recording of its own."""
    write_mjpeg(path, read_video(video_of(phantom)).frames[start : start + frames], 50)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def copies(clip: Path, *targets: Path) -> None:
    """A recording, copied to each place."""
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, target)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error, in one line."""
    return " ".join(capsys.readouterr().err.split())


def sources(out: Path) -> list[str]:
    """The names of the recordings in the table."""
    return [Path(row["source"]).name for row in rows_of(out / "predictions.csv")]


def files_in(out: Path) -> list[str]:
    """All files below a folder."""
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def results_in(out: Path) -> list[str]:
    """The same without the table of beats, which is there where a recording has some."""
    return [name for name in files_in(out) if name != "beats.csv"]


def three_of(*names: str) -> list[str]:
    """The files of some recordings' results."""
    return [f"{name}.{suffix}" for name in names for suffix in ("json", "masks.npz", "overlay.mp4")]


ALWAYS = ["failures.csv", "manifest.json", "predictions.csv"]
"""The files that all recordings of a folder share; beats.csv as well where one has beats."""


def call(model: Path, out: Path, *inputs: Path | str, stride: int = 30) -> list[str]:
    """A command line with small strides."""
    return ["predict", *map(str, inputs), "-o", str(out), "-m", str(model), "--stride", str(stride), "--device", "cpu"]


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is predicted from now on, and not taken from before.

    Overlays are drawn without smoothed lines: what they look like is tested elsewhere, and here it takes most of the
    time.
    """
    names: list[str] = []
    original = inference.predict_cut

    def noting(cut: Any, source: str, *rest: Any) -> Any:
        names.append(Path(source).name)
        return original(cut, source, *rest)

    monkeypatch.setattr(inference, "predict_cut", noting)
    monkeypatch.setattr(overlay, "FINE", 1)
    return names
