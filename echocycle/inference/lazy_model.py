"""The model of a call of `predict`: known by its description at once, loaded when a recording needs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echocycle.bundle_description import PACKAGED, UNASKED, read_description
from echocycle.calibration import read_calibration
from echocycle.console import console
from echocycle.data.rate import rate_for, training_rate
from echocycle.errors import EchocycleError
from echocycle.inference.choices import Choices
from echocycle.prediction import Prediction, model_identity
from echocycle.recordings.sector import CutRecording
from echocycle.verdict import Verdict, read_verdict

if TYPE_CHECKING:
    import torch

    from echocycle.bundle import Bundle
    from echocycle.inference.backend import Chosen


class LazyModel:
    """The model by its description; its networks are loaded when they are needed.

    Without a path it is the model in the package, whatever lies in the working folder.
    """

    def __init__(self, path: Path | None, choices: Choices):
        self.unasked = path is None
        self.description = read_description(PACKAGED[UNASKED] if path is None else path)
        self.verdict: Verdict | None = read_verdict(self.description.path)
        self.calibration = read_calibration(self.description.path)
        calibrated = None if self.calibration is None else self.calibration.id
        self.identity = model_identity(self.description, self.verdict, calibrated)
        self.choices = choices
        if choices.time == "seconds" and training_rate(self.description.reference) is None:
            raise EchocycleError(f"The model {path} does not say its training rate. Predict with --time frames.")
        self._loaded: tuple[Bundle, torch.device] | None = None
        self._chosen: Chosen | None = None
        if choices.protocol == "beats" and "segmenter" not in self.description.parts:
            raise EchocycleError(
                f"{path} has no segmenter, so no beats can be found; choose another --protocol, or another model."
            )

    @property
    def has_ef_network(self) -> bool:
        return "regressor" in self.description.parts

    def time_for(self, fps: float) -> str:
        """`frames` or `seconds`, as a recording of so many frames a second is predicted."""
        return "frames" if rate_for(self.choices.time, fps, self.description.reference) is None else "seconds"

    def load(self) -> tuple[Bundle, torch.device]:
        """Bundle and device."""
        if self._loaded is None:
            from echocycle.bundle import check_parts, load_bundle
            from echocycle.device import choose_device

            where = choose_device(self.choices.device)
            bundle = load_bundle(self.description.path, where)
            check_parts(bundle)
            from echocycle.inference.backend import choose_engines

            self._take(choose_engines(bundle, self.choices.backend, where))
            self._loaded = bundle, where
        return self._loaded

    def _take(self, chosen: Chosen) -> None:
        """From here on the networks run on these engines."""
        self._chosen = chosen
        for note in chosen.notes:
            console.print(note, style="yellow", soft_wrap=True, highlight=False)

    def computing(self) -> dict[str, Any]:
        """On what the loaded networks compute and how precisely, as plain values."""
        import torch

        from echocycle.inference.clips import precision_of

        bundle, device = self.load()
        half = precision_of(bundle.reference, device) == "bf16"
        exact = device.type == "cpu" or not torch.backends.cudnn.allow_tf32
        assert self._chosen is not None
        return {
            "backend": self.choices.backend,
            "engines": self._chosen.engines,
            "notes": self._chosen.notes,
            "device": str(device),
            "name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "threads": torch.get_num_threads(),
            "precision": "bfloat16" if half else "float32" if exact else "float32, TF32 in convolutions",
        }

    def first_words(self) -> list[str]:
        """What is said before the first recording: which model is used if none was named, and its notice."""
        said = [f"No model is named (--model): the one in the package, `{UNASKED}`, is used."] if self.unasked else []
        notice = self.description.reference.get("notice")
        return [*said, str(notice)] if notice else said

    def verdict_line(self) -> tuple[str, str]:
        """What is known of the model's worth, and the style to say it in."""
        if self.verdict is None:
            told = "This model was not evaluated on held-out videos, so its error is unknown."
            return f"{told} (`echocycle evaluate RUN`)", "yellow"
        return self.verdict.sentence(), "bold red" if self.verdict.bad else ""

    def predict(self, cut: CutRecording, source: str) -> Prediction:
        """The result of one recording that was read and cut; `source` is its name in the result."""
        from echocycle.engines.adapters import EngineFailedError
        from echocycle.inference.backend import on_torch
        from echocycle.inference.recordings import predict_cut

        bundle, device = self.load()
        asked, chosen = self.choices, self._chosen
        assert chosen is not None

        def found_by(chosen: Chosen) -> Prediction:
            found = predict_cut(
                cut,
                source,
                chosen.bundle,
                self.verdict,
                device,
                asked.stride,
                asked.time,
                self.calibration,
                asked.protocol,
            )
            return replace(found, engines=chosen.engines)

        try:
            return found_by(chosen)
        except EngineFailedError as error:  # this recording and all after it are PyTorch's, and say so
            remaining = on_torch(bundle, [f"{error} The networks run in PyTorch from here on ({source})."])
            self._take(remaining)
            return found_by(remaining)
