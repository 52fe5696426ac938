"""The model of a call of `predict`: known by its description at once, loaded when a recording needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from echocycle.bundle_description import read_description
from echocycle.calibration import read_calibration
from echocycle.data.rate import Time, rate_for, training_rate
from echocycle.errors import EchocycleError
from echocycle.prediction import Prediction, model_identity
from echocycle.recordings.sector import CutRecording
from echocycle.verdict import Verdict, read_verdict

if TYPE_CHECKING:
    import torch

    from echocycle.bundle import Bundle

Device = Literal["auto", "cpu", "cuda"]


class LazyModel:
    """The model by its description; its networks are loaded when they are needed."""

    def __init__(self, path: Path, device: Device, stride: int, time: Time = "auto"):
        self.description = read_description(path)
        self.verdict: Verdict | None = read_verdict(self.description.path)
        self.calibration = read_calibration(self.description.path)
        calibrated = None if self.calibration is None else self.calibration.id
        self.identity = model_identity(self.description, self.verdict, calibrated)
        self.stride, self.time = stride, time
        if time == "seconds" and training_rate(self.description.reference) is None:
            raise EchocycleError(f"The model {path} does not say its training rate. Predict with --time frames.")
        self._device = device
        self._loaded: tuple[Bundle, torch.device] | None = None

    @property
    def has_ef_network(self) -> bool:
        return "regressor" in self.description.parts

    def time_for(self, fps: float) -> str:
        """`frames` or `seconds`, as a recording of so many frames a second is predicted."""
        return "frames" if rate_for(self.time, fps, self.description.reference) is None else "seconds"

    def load(self) -> tuple[Bundle, torch.device]:
        """Bundle and device."""
        if self._loaded is None:
            from echocycle.bundle import check_parts, load_bundle
            from echocycle.device import choose_device

            where = choose_device(self._device)
            bundle = load_bundle(self.description.path, where)
            check_parts(bundle)
            self._loaded = bundle, where
        return self._loaded

    def verdict_line(self) -> tuple[str, str]:
        """What is known of the model's worth, and the style to say it in."""
        if self.verdict is None:
            told = "This model was not evaluated on held-out videos, so its error is unknown."
            return f"{told} (`echocycle evaluate RUN`)", "yellow"
        return self.verdict.sentence(), "bold red" if self.verdict.bad else ""

    def predict(self, cut: CutRecording, source: str) -> Prediction:
        """The result of one recording that was read and cut; `source` is its name in the result."""
        from echocycle.inference.recordings import predict_cut

        bundle, device = self.load()
        return predict_cut(cut, source, bundle, self.verdict, device, self.stride, self.time, self.calibration)
