"""Settings of all stages that belong together: `paper`, `phantom`, `tiny`, `debug`."""

from dataclasses import dataclass, field, replace
from typing import Any

from echocycle.settings.convert import require, to_dict
from echocycle.settings.stages import (
    EvaluateSettings,
    LabelSettings,
    LoopSettings,
    MaskSettings,
    OptimiserSettings,
    PrepareSettings,
    RegressSettings,
    SegmentSettings,
)

# ---------------------------------------------------------------------------------------------- presets


@dataclass(frozen=True)
class Preset:
    """The stage settings that belong together."""

    name: str
    segment: SegmentSettings
    mask: MaskSettings
    regress: dict[str, RegressSettings]
    """By method; `default` for a method that is not named."""
    evaluate: EvaluateSettings
    phantom: dict[str, Any]
    """Arguments of `PhantomSettings`."""
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    segment_others: dict[str, SegmentSettings] = field(default_factory=dict)
    """By method; one that is not named takes `segment`, without the options of its method."""

    def segmentation(self, method: str) -> SegmentSettings:
        """The settings of one segmentation method."""
        if method in self.segment_others:
            return replace(self.segment_others[method], method=method)
        return self.segment if method == self.segment.method else replace(self.segment, method=method, option={})

    def regression(self, method: str) -> RegressSettings:
        """The settings of one regression method."""
        return replace(self.regress.get(method, self.regress["default"]), method=method)

    def sections(self, method: str | None = None) -> dict[str, dict[str, Any]]:
        """The preset as a settings file would say it, for one method; by default its segmenter's, and the student."""
        settings = {
            "prepare": self.prepare,
            "segment": self.segmentation(method or self.segment.method),
            "mask": self.mask,
            "regress": self.regression(method or "student"),
            "evaluate": self.evaluate,
        }
        return {**{name: to_dict(values) for name, values in settings.items()}, "phantom": self.phantom}


def paper() -> Preset:
    """The paper's own settings: EchoNet-Dynamic, ImageNet and Kinetics weights, 1/8 of the labels."""
    labels = LabelSettings(pool="7360")
    segment = SegmentSettings(labels=labels)
    regress = RegressSettings(labels=labels)
    return Preset(
        name="paper",
        segment=segment,
        segment_others={
            "clas": replace(
                segment,
                network="r2plus1d_18",
                weights="kinetics",
                batch=4,
                optimiser=OptimiserSettings("adamw", lr=1e-4, schedule="one-step", step_epochs=3),
                loop=LoopSettings(epochs=10),
            )
        },
        mask=MaskSettings(),
        regress={
            "default": regress,
            "supervised": replace(regress, loop=LoopSettings(epochs=45)),
            "adacon": replace(regress, loop=LoopSettings(epochs=45)),
            "ucvme": replace(regress, batch=10),
        },
        evaluate=EvaluateSettings(),
        phantom={"videos": 10_030},
    )


def phantom() -> Preset:
    """Full-size networks on a phantom of 1,200 videos; one GPU.

    EF networks start from moving shapes, as in `tiny`; the start of full-size networks is trained first.
    """
    labels = LabelSettings(labelled="1/8")
    loop = LoopSettings(steps=1500, validate_every=100, precision="bf16", workers=4)
    adamw = OptimiserSettings("adamw", lr=1e-3, weight_decay=1e-2, schedule="one-cycle", clip_norm=5.0)
    regress = RegressSettings(
        labels=labels, loop=loop, optimiser=adamw, weights="shapes", fc_bias=None, target_scale=10.0
    )
    segment = SegmentSettings(
        labels=labels, loop=loop, optimiser=replace(adamw, lr=3e-4), weights="none", augment="spatial"
    )
    return Preset(
        name="phantom",
        segment=segment,
        segment_others={
            "clas": replace(segment, network="r2plus1d_18", batch=4),
            "cps": replace(segment, option={"weight": 0.1}),  # see `tiny`
        },
        mask=MaskSettings(batch=256, precision="bf16"),
        regress={
            "default": regress,
            "teacher": replace(regress, option={"mask_channel": "zero"}),  # see `tiny`
            "shapes": replace(
                regress,
                weights="none",
                optimiser=replace(adamw, lr=3e-3),
                # a clip is drawn in 30 ms on one core
                loop=replace(loop, steps=1200, workers=8),
            ),
            "cross_model": replace(regress, option={"pseudo_labels": "train"}),
            "ucvme": replace(regress, option={"standardised": True}),  # see `tiny`
        },
        evaluate=EvaluateSettings(batch=80, precision="bf16"),
        phantom={"videos": 1200},
    )


def tiny() -> Preset:
    """Small networks on half-size frames; two cores, minutes.

    EF networks start from weights that have seen moving shapes and nothing else, as the paper's start from Kinetics.
    Optimiser and step counts were chosen for the video-only network on validation videos of phantoms and are the
    same for all methods.
    """
    labels = LabelSettings(labelled="1/4", validation="40")
    adamw = OptimiserSettings("adamw", lr=3e-3, weight_decay=1e-2, schedule="one-cycle")
    regress = RegressSettings(
        widths=(16, 32, 64, 128),
        weights="shapes",
        size=56,
        frames=16,
        period=3,
        pad=6,
        batch=10,
        fc_bias=None,
        target_scale=10.0,
        labels=labels,
        optimiser=replace(adamw, lr=1e-3, clip_norm=5.0),
        loop=LoopSettings(steps=300, validate_every=50, precision="auto"),
    )
    segment = SegmentSettings(
        network="unet",
        weights="none",
        size=56,
        batch=10,
        augment="spatial",
        labels=labels,
        optimiser=adamw,
        loop=LoopSettings(steps=300, validate_every=50),
        # clips of 40 frames at period 2: 79 video frames, more than a beat, from the short clips of the demo
        option={"period": 2, "longer_than": 79},
    )
    return Preset(
        name="tiny",
        segment=segment,
        segment_others={
            "tccl": segment,
            # as many unlabelled frames for a labelled one as in the paper; at the usual weight the first answers, which
            # are noise from random weights, confirm one another
            "cps": replace(segment, option={"unlabelled_batch": 20, "weight": 0.1}),
            "clas": replace(
                segment,
                network="r2plus1d_18",
                width=4,
                batch=4,
                optimiser=replace(adamw, clip_norm=5.0),
                option={},
            ),
        },
        mask=MaskSettings(batch=32, precision="auto"),
        regress={
            "default": regress,
            # as many unlabelled clips for a labelled one as in the paper
            "student": replace(regress, option={"unlabelled_batch": 5}),
            # the public code's mask channel, twenty times as large as the others, drowns what the network starts from:
            # validation MSE 29 with it, 15 with one that starts at zero
            "teacher": replace(regress, option={"mask_channel": "zero"}),
            "committee": replace(regress, option={"unlabelled_batch": 5}),
            "shapes": replace(
                regress,
                weights="none",
                batch=12,
                optimiser=replace(adamw, clip_norm=5.0),
                loop=LoopSettings(steps=1200, validate_every=100, precision="auto"),
            ),
            # the paper's warm-up is 10 of 25 epochs
            "mean_teacher": replace(regress, option={"unlabelled_batch": 5, "warmup_steps": 120}),
            "cross_model": replace(regress, option={"unlabelled_batch": 5, "pseudo_labels": "train"}),
            # its variances start at 1, which is far from an error in EF points for a network from random weights
            "ucvme": replace(regress, option={"standardised": True}),
        },
        evaluate=EvaluateSettings(protocol=("strided",), stride=6, batch=32, precision="auto"),
        phantom={
            "videos": 860,
            "val": 40,
            "test": 120,
            "frames_median": 92,
            "frames_min": 84,
            "frames_max": 110,
        },
    )


def debug() -> Preset:
    """The smallest networks and clips with which every stage runs, in seconds; its numbers mean nothing.

    For tests, and for trying a new method or a new data set.
    """
    labels = LabelSettings(labelled="4", validation="4")
    loop = LoopSettings(steps=4, validate_every=2, tensorboard=False)
    adamw = OptimiserSettings("adamw", lr=1e-3, weight_decay=1e-2, schedule="one-cycle")
    segment = SegmentSettings(
        network="unet",
        width=2,
        weights="none",
        size=32,
        batch=2,
        labels=labels,
        optimiser=adamw,
        loop=loop,
        option={"period": 2, "longer_than": 79},
    )
    regress = RegressSettings(
        widths=(4, 8, 8, 8),
        weights="none",
        size=32,
        frames=4,
        period=3,
        pad=4,
        batch=2,
        fc_bias=None,
        target_scale=10.0,
        labels=labels,
        optimiser=adamw,
        loop=loop,
    )
    few = replace(regress, option={"unlabelled_batch": 2})
    return Preset(
        name="debug",
        segment=segment,
        segment_others={
            "tccl": segment,
            "cps": replace(segment, option={"unlabelled_batch": 2}),
            "clas": replace(segment, network="r2plus1d_18", option={}),
        },
        mask=MaskSettings(batch=32),
        regress={
            "default": regress,
            **dict.fromkeys(("student", "committee", "cross_model", "ucvme"), few),
            "mean_teacher": replace(regress, option={"unlabelled_batch": 2, "warmup_epochs": 0}),
        },
        evaluate=EvaluateSettings(protocol=("strided",), stride=48, clip_seeds=(0, 1), batch=32),
        phantom={"videos": 16, "val": 4, "test": 4, "frames_median": 90, "frames_min": 84, "frames_max": 100},
        prepare=PrepareSettings(workers=0),
    )


PRESETS = {"paper": paper, "phantom": phantom, "tiny": tiny, "debug": debug}


def preset(name: str) -> Preset:
    """The preset called `name`."""
    require(name in PRESETS, f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]()


def for_own_folder(chosen: Preset) -> Preset:
    """A preset for a user's folder: every video that carries a label is labelled, every other is unlabelled."""
    labels = LabelSettings(labelled="all")
    others = {name: replace(each, labels=labels) for name, each in chosen.segment_others.items()}
    regress = {name: replace(each, labels=labels) for name, each in chosen.regress.items()}
    return replace(chosen, segment=replace(chosen.segment, labels=labels), segment_others=others, regress=regress)
