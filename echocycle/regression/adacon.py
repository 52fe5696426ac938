"""AdaCon: adaptive contrastive learning, for regression from labelled videos alone.

Dai et al., IEEE Transactions on Medical Imaging 41 (2022); the row "Dai et al." of the paper's Tables I, II, IX, X and
A1. Beside EF the network gives each clip a point on a sphere. The two crops of a clip must lie together, and clips
apart, by the more the farther their EF are from each other in rank.

Where we depart from AdaCon's public code, which is written for R(2+1)D and all 7465 labels: with fewer labels their
number takes the place of 7465, both in the ranks and in the margins; other backbones get the same second head, as wide
as their features. The code's weight of 0.75 and scale of 150 are fixed numbers there and settings here. It tests on
clips from every start, as we do. Crop, schedule, decay and first bias are AdaCon's own code's; the paper is silent on
them, see `supervised`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from echocycle.data.clips import ClipBatch, Stream, ViewSampler
from echocycle.data.labels import TrainingData
from echocycle.regression.supervised import SupervisedRegression, regression_loss
from echocycle.settings.convert import require
from echocycle.settings.stages import RegressSettings
from echocycle.training.method import Inputs, StepResult

BINS_PER_POINT = 20
"""Bins of an EF point: clips whose EF lie in one, 0.05 points wide, count as alike."""


@dataclass(frozen=True)
class AdaConOptions:
    """Settings of the contrastive loss."""

    weight: float = 0.75
    """Weight of the contrastive loss."""
    scale: float = 150.0
    """Factor of the similarities before the softmax."""
    projection: int = 128
    """Dimensions of the sphere."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, "option.weight must not be negative.")
        require(self.scale > 0 and self.projection > 0, "option.scale and option.projection must be above 0.")


def ef_bin(ef: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The bin of each EF in percent."""
    return (ef * BINS_PER_POINT).floor().long()


def rank_of_bins(ef: Float[Tensor, " n"]) -> Float[Tensor, " bins"]:
    """Phi of each bin: how many of the EF lie below its middle, a bin's own counted by half."""
    counts = torch.bincount(ef_bin(ef), minlength=100 * BINS_PER_POINT + 1).float()
    return counts.cumsum(0) - counts / 2


def contrastive_loss(
    features: Float[Tensor, "n dim"],
    bins: Int[Tensor, " n"],
    ranks: Float[Tensor, " n"],
    labelled: int,
    scale: float = 150.0,
) -> Float[Tensor, ""]:
    """The mean over anchors i of -mean_p [scale S_ip - log sum_(a != i) exp(scale S_ia)], p in the anchor's bin.

    S_ij = f_i f_j + m_ij, with the margin m_ij = 2 |Phi_i - Phi_j| / N, at most 2.

    Args:
        features: of length 1; every bin holds at least two.
        bins: `ef_bin` of each.
        ranks: Phi of each, equal within a bin.
        labelled: N, the number of videos that the ranks were taken from.
    """
    margins = (2 / labelled * (ranks[:, None] - ranks).abs()).clamp(0, 2)
    similarity = scale * (features @ features.T + margins)
    self_ = torch.eye(len(features), dtype=torch.bool, device=features.device)
    positive = (bins[:, None] == bins) & ~self_
    log_share = similarity - similarity.masked_fill(self_, -torch.inf).logsumexp(1, keepdim=True)
    return -((log_share * positive).sum(1) / positive.sum(1)).mean()


class AdaCon(SupervisedRegression):
    """Trains a regressor and a projection of its features on two crops of each labelled clip."""

    name = "adacon"
    Options: ClassVar[type] = AdaConOptions
    ranks: Tensor
    videos: Tensor

    def __init__(self, settings: RegressSettings, options: AdaConOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        dim = settings.widths[-1]
        self.projection = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, options.projection))
        self.register_buffer("ranks", torch.zeros(100 * BINS_PER_POINT + 1))
        self.register_buffer("videos", torch.ones((), dtype=torch.int64))

    def prepare_start(self, data: TrainingData) -> None:
        super().prepare_start(data)
        videos = data.videos("labelled")
        self.ranks.copy_(rank_of_bins(torch.tensor([data.ef(int(video)) for video in videos])))
        self.videos.fill_(len(videos))

    def clips_per_pass(self) -> tuple[int, ...]:
        return (2 * self.settings.batch,)

    def streams(self) -> dict[str, Stream]:
        crops = ViewSampler(self.sampler(masks=False), (0, 0), own_crops=True)
        return {"labelled": Stream(crops, "labelled", self.settings.batch)}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        o = self.options
        batch: ClipBatch = batches["labelled"]
        assert batch.ef is not None
        features = self.regressor.features(self.clips(batch, pad=self.settings.pad))
        first = len(features) // 2  # the second crops follow the first ones; EF is asked of the first alone
        predicted = self.regressor.answer(features[:first])
        points = F.normalize(self.projection(features).float(), dim=1)
        bins = ef_bin(batch.ef)
        contrast = contrastive_loss(points, bins, self.ranks[bins], int(self.videos), o.scale)
        return StepResult(
            {"labelled": regression_loss(predicted, batch.ef[:first]), "contrastive": o.weight * contrast}, {}
        )
