"""A segmenter whose masks can be compared."""

import torch
from torch import nn

from echocycle.benchmarks import reference
from echocycle.benchmarks.ground import Ground
from echocycle.data.labels import TrainingData
from echocycle.models.specs import Part
from echocycle.runs import Run
from echocycle.segmentation.supervised import SupervisedOptions, SupervisedSegmentation
from echocycle.settings.stages import OptimiserSettings, SegmentSettings
from echocycle.training.loop import fit
from echocycle.training.method import Inputs


def trained_segmenter(ground: Ground, data: TrainingData, inputs: Inputs) -> tuple[Part, nn.Module]:
    """A segmenter that has learnt enough to give masks with an edge, and torchvision's with the same weights."""
    plan = ground.plan
    optimiser = OptimiserSettings("adamw", lr=1e-3, weight_decay=1e-2, schedule="one-cycle")
    settings = SegmentSettings(method="supervised", weights="none", size=plan.size, batch=max(4, plan.pairs))
    torch.manual_seed(0)
    method = SupervisedSegmentation(settings, SupervisedOptions(), inputs)
    run = Run(ground.folder / "segmenter")
    fit(method, data, run, loop=ground.loop(plan.training), optimiser=optimiser, save_best=lambda: None)
    part = method.parts()["segmenter"].to(ground.device)
    plain = reference.segmenter().to(ground.device)
    plain.load_state_dict(part.network.state_dict())
    return part, plain
