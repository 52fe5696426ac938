"""Clips and steps: cut as the paper's code cuts them, and a pure function of seed and step."""

from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from echocycle.data.clips import (
    ClipBatch,
    ClipSampler,
    CycleSampler,
    Sampler,
    StepData,
    Stream,
    TracedFrameSampler,
    clip_start,
    clip_starts,
    collate,
    cut_clip,
    passes,
)
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.models.preprocess import Preprocess
from echocycle.settings.stages import LabelSettings


class Drawn:
    """Training data of drawn videos: pixel values tell the video and the frame."""

    def __init__(self, lengths: list[int], size: int = 8, color: bool = False):
        self.lengths, self.size, self.color = lengths, size, color

    def videos(self, subset: str) -> np.ndarray:
        half = len(self.lengths) // 2
        everything = np.arange(len(self.lengths))
        return {"labelled": everything[:half], "unlabelled": everything[half:], "validation": everything[:3]}.get(
            subset, everything
        )

    def n_frames(self, video: int) -> int:
        return self.lengths[video]

    def frames(self, video: int) -> np.ndarray:
        grey = np.zeros((self.lengths[video], self.size, self.size), np.uint8)
        grey[:] = 1 + np.arange(self.lengths[video])[:, None, None] % 250
        grey[:, 0, 0] = video
        return np.stack([grey, grey, grey + 1], -1) if self.color else grey

    def masks(self, video: int, frames: np.ndarray) -> np.ndarray:
        assert max(frames) < self.lengths[video]
        return 255 - self.frames(video)[np.asarray(frames)].reshape(len(frames), self.size, self.size, -1)[..., 0]

    def ef(self, video: int) -> float:
        return 40.0 + video

    def traced_frames(self, video: int) -> tuple[int, int]:
        return 3, self.lengths[video] - 5

    def traced_masks(self, video: int) -> np.ndarray:
        masks = np.zeros((2, self.size, self.size), bool)
        masks[0, :video], masks[1, -1] = True, True
        return masks


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return type(a) is type(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a is b


# ---------------------------------------------------------------------------------------------------- starts


def code_starts(n_frames: int, length: int = 32, period: int = 2) -> int:
    """The public code's rule: a video that is too short is filled up to length x period frames first."""
    frames = max(n_frames, length * period)
    return frames - (length - 1) * period


@pytest.mark.parametrize(("n_frames", "starts"), [(30, 2), (63, 2), (64, 2), (65, 3), (66, 4), (176, 114)])
def test_the_number_of_starts_is_the_codes(n_frames: int, starts: int) -> None:
    assert clip_starts(n_frames, 32, 2) == starts == code_starts(n_frames)
    found = {clip_start(n_frames, 32, 2, np.random.default_rng(seed)) for seed in range(50 * starts)}
    assert found == set(range(starts))


def test_starts_are_uniform() -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount([clip_start(70, 32, 2, rng) for _ in range(4000)], minlength=8)
    assert len(counts) == 8
    assert ((counts - 500) ** 2 / 500).sum() < 24.3  # chi-squared with 7 degrees of freedom, p = 0.001


@pytest.mark.parametrize("color", [False, True])
def test_a_clip_takes_every_second_frame_and_is_zero_past_the_end(color: bool) -> None:
    data = Drawn([66, 63, 20], color=color)
    clip, valid = cut_clip(data, 0, 3, 32, 2)  # type: ignore[arg-type]
    assert valid == 32
    np.testing.assert_array_equal(clip, data.frames(0)[3:66:2])
    clip, valid = cut_clip(data, 1, 1, 32, 2)  # type: ignore[arg-type]
    assert valid == 31
    np.testing.assert_array_equal(clip[:31], data.frames(1)[1::2])
    assert not clip[31:].any()
    clip, valid = cut_clip(data, 2, 1, 32, 2)  # type: ignore[arg-type]
    assert valid == 10
    assert clip.shape[0] == 32
    np.testing.assert_array_equal(clip[:10], data.frames(2)[1::2])
    assert not clip[10:].any()


def test_crops_are_uniform_over_0_to_23() -> None:
    data, rng = Drawn([70]), np.random.default_rng(0)
    crops = np.array([ClipSampler(frames=2, pad=12).draw(data, 0, rng).crop for _ in range(2500)])  # type: ignore[arg-type]
    assert crops.shape == (2500, 2)
    for axis in crops.T:
        counts = np.bincount(axis, minlength=24)
        assert len(counts) == 24
        assert ((counts - 2500 / 24) ** 2 / (2500 / 24)).sum() < 49.7  # 23 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(crops.T)[0, 1]) < 0.1


# ---------------------------------------------------------------------------------------------- preprocessing


@pytest.mark.parametrize("color", [False, True])
def test_a_batch_becomes_the_networks_input(color: bool) -> None:
    """Normalised frames, then zeros; masks as 2 p - 1, then -1; the border of the crop 0 in all channels."""
    data = Drawn([70, 30], color=color)
    sampler = ClipSampler(pad=2, masks=True)
    samples = [sampler.draw(data, video, np.random.default_rng(video)) for video in (0, 1)]  # type: ignore[arg-type]
    # corner crops: two rows and columns of border at the top left, and one at the bottom right
    samples = [s._replace(crop=np.array(crop)) for s, crop in zip(samples, ([0, 0], [3, 3]), strict=True)]
    batch = sampler.stack(samples)
    assert batch.video.dtype == torch.uint8
    assert batch.ef is not None
    assert batch.ef.tolist() == [40.0, 41.0]
    mean, std = ((30.0, 31.0, 32.0), (50.0, 51.0, 52.0)) if color else ((30.0,), (50.0,))
    clips = Preprocess(mean, std, 8).clips(batch, masks=True, pad=2)
    assert clips.shape == (2, 4, 32, 8, 8)
    for item, (row, column) in enumerate(([0, 0], [3, 3])):
        for channel in range(4):
            padded = np.zeros((32, 12, 12), np.float32)
            for time in range(32):
                frame = batch.video[item, time].numpy().astype(np.float32)
                if channel == 3:
                    assert batch.mask is not None
                    p = batch.mask[item, time].numpy().astype(np.float32) / 255
                    padded[time, 2:10, 2:10] = 2 * p - 1
                    if time >= batch.valid[item]:
                        assert (padded[time, 2:10, 2:10] == -1).all()
                elif time < batch.valid[item]:
                    place = channel if color else 0
                    grey = frame[..., channel] if color else frame
                    padded[time, 2:10, 2:10] = (grey - mean[place]) / std[place]
            expected = padded[:, row : row + 8, column : column + 8]
            np.testing.assert_allclose(clips[item, channel].numpy(), expected, atol=1e-5)
    assert batch.valid[1] < 32
    assert (clips[0, :, :, :2] == 0).all()
    assert (clips[1, :, :, -1] == 0).all()


def test_without_padding_nothing_is_cropped() -> None:
    sampler = ClipSampler(frames=4)
    batch = sampler.stack([sampler.draw(Drawn([70]), 0, np.random.default_rng(0))])  # type: ignore[arg-type]
    assert batch.crop.tolist() == [[0, 0]]
    clips = Preprocess((0.0,), (1.0,), 8).clips(batch, masks=False)
    np.testing.assert_array_equal(clips[0, 1].numpy(), batch.video[0].numpy())


def test_clips_without_labels_carry_none() -> None:
    class Locked(Drawn):
        def ef(self, video: int) -> float:
            raise AssertionError("read")

    sampler = ClipSampler(labels=False)
    batch = sampler.stack([sampler.draw(Locked([70]), 0, np.random.default_rng(0))])  # type: ignore[arg-type]
    assert batch.ef is None
    assert batch.mask is None


# ------------------------------------------------------------------------------------------- traced frames


def test_the_traced_frame_lies_on_the_clips_grid() -> None:
    data = Drawn([90])
    found = Counter()
    for seed in range(60):
        sample = ClipSampler(traced_frame=True).draw(data, 0, np.random.default_rng(seed))  # type: ignore[arg-type]
        values = sample.video[:, 1, 1].tolist()  # 1 + number of the frame
        assert (1 + 3 in values) or (1 + 85 in values)
        found[values[0] - 1] += 1
    assert set(found) == {1, 3, 23, 25, 27}  # all starts of 0 to 27 that can show it
    free = [
        ClipSampler().draw(data, 0, np.random.default_rng(seed)).video[:, 1, 1].tolist()  # type: ignore[arg-type]
        for seed in range(60)
    ]
    assert any(4 not in values and 86 not in values for values in free)


def test_a_traced_frame_that_no_clip_can_hold_is_no_error() -> None:
    """Clips are shorter than the way to the frame, or the video is too short: any start will do."""

    class Far(Drawn):
        def traced_frames(self, video: int) -> tuple[int, int]:
            return 69, 69

    sample = ClipSampler(frames=2, period=40, traced_frame=True).draw(Far([70]), 0, np.random.default_rng(0))  # type: ignore[arg-type]
    assert sample.video.shape[0] == 2


def test_traced_frames_come_as_ed_and_es() -> None:
    data = Drawn([70, 80, 90])
    sampler = TracedFrameSampler()
    batch = sampler.stack([sampler.draw(data, video, np.random.default_rng(0)) for video in (1, 2)])  # type: ignore[arg-type]
    assert batch.frames.shape == batch.masks.shape == (2, 2, 8, 8)
    assert batch.frames[:, :, 1, 1].tolist() == [[4, 4], [76, 86]]
    assert batch.masks.sum((2, 3)).tolist() == [[8, 16], [8, 8]]
    assert batch.row.tolist() == [1, 2]
    assert not batch.warp.any()
    warps = np.stack(
        [TracedFrameSampler(True).draw(data, 1, np.random.default_rng(seed)).warp for seed in range(300)]  # type: ignore[arg-type]
    )
    limits = np.array([0.26, 0.15, 0.08, 0.08])
    assert (np.abs(warps) <= limits).all()
    assert (np.abs(warps).max((0, 1)) > 0.95 * limits).all()


def test_only_long_videos_give_cycles() -> None:
    """The public code's rule: more than 120 frames, for clips of 40 frames at period 3."""
    sampler = CycleSampler()
    lengths = [90, 118, 119, 120, 121, 300]
    data = Drawn(lengths)
    usable = [length for video, length in enumerate(lengths) if sampler.usable(data, video)]  # type: ignore[arg-type]
    assert usable == [121, 300]
    steps = StepData(data, {"cycles": Stream(sampler, "both", 4)}, seed=0)  # type: ignore[arg-type]
    batches = [steps[step]["cycles"] for step in range(20)]
    assert {int(video) for batch in batches for video in batch.row} == {4, 5}
    assert {int(start) for batch in batches for start in batch.start} == set(range(11))
    for batch in batches:
        values = batch.video[:, :, 1, 1].long()
        assert ((values[:, 1:] - values[:, :-1]) % 250 == 3).all()
    with pytest.raises(EchocycleError, match="no usable video among 4"):
        StepData(Drawn([100] * 4), {"cycles": Stream(sampler, "both", 4)}, seed=0)  # type: ignore[arg-type]
    # where the setting allows less than a clip needs, the clip decides
    assert not CycleSampler(longer_than=50).usable(data, 0)  # type: ignore[arg-type]
    assert CycleSampler(longer_than=50).usable(data, 1)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ steps


def streams(labelled: int = 2, unlabelled: int = 3) -> dict[str, Stream]:
    return {
        "labelled": Stream(ClipSampler(frames=8, pad=2), "labelled", labelled),
        "unlabelled": Stream(ClipSampler(frames=8, pad=2, labels=False, masks=True), "unlabelled", unlabelled),
    }


def test_a_step_is_a_pure_function_of_seed_and_step() -> None:
    data = Drawn([40 + video for video in range(20)])
    forwards = StepData(data, streams(), seed=3)  # type: ignore[arg-type]
    first = [forwards[step] for step in range(8)]
    np.random.seed(99)  # noqa: NPY002 - it is the global generator that must not matter
    torch.manual_seed(99)
    backwards = StepData(data, streams(), seed=3)  # type: ignore[arg-type]
    for step in reversed(range(8)):
        assert equal(backwards[step], first[step])
    assert not equal(first[0], first[1])
    other = StepData(data, streams(), seed=4)  # type: ignore[arg-type]
    assert not any(equal(other[step], first[step]) for step in range(8))


def test_a_step_is_the_same_from_a_spawned_worker(store: Store) -> None:
    budget = draw_budget(store, LabelSettings("4", validation="2"), needs="ef")
    data = TrainingData(store, budget, store.masks("truth"))
    steps = StepData(data, streams(1, 2), seed=3)
    expected = {step: steps[step] for step in (5, 2, 7)}
    loader = DataLoader(steps, batch_size=None, sampler=[5, 2, 7], num_workers=1, multiprocessing_context="spawn")
    for step, found in zip((5, 2, 7), loader, strict=True):
        assert isinstance(found["labelled"], ClipBatch)
        assert equal(found, expected[step])


def test_epochs_visit_each_labelled_video_once_and_reshuffle() -> None:
    data = Drawn([40 + video for video in range(20)])
    steps = StepData(data, streams(), seed=3)  # type: ignore[arg-type]
    assert steps.steps_per_epoch == 5
    orders = []
    for epoch in range(3):
        batches = [steps[5 * epoch + place]["labelled"] for place in range(5)]
        orders.append([int(video) for batch in batches for video in batch.row])
        assert sorted(orders[-1]) == list(range(10))
        assert all(torch.equal(batch.ef, 40.0 + batch.row) for batch in batches)
    assert orders[0] != orders[1] != orders[2]
    # the second stream outlasts its videos within an epoch: once around, then anew in another order
    unlabelled = [int(v) for place in range(5) for v in steps[place]["unlabelled"].row]
    assert sorted(unlabelled[:10]) == list(range(10, 20))
    assert len(unlabelled[10:]) == len(set(unlabelled[10:])) == 5
    assert unlabelled[10:] != unlabelled[:5]


def test_the_last_incomplete_batch_is_dropped() -> None:
    data = Drawn([40] * 22)
    assert StepData(data, streams(labelled=4), seed=0).steps_per_epoch == 2  # type: ignore[arg-type]
    few = StepData(Drawn([40] * 4), streams(labelled=5), seed=0)  # type: ignore[arg-type]
    assert few.steps_per_epoch == 1
    assert Counter(few[0]["labelled"].row.tolist()).keys() == {0, 1}
    assert len(few[0]["labelled"].row) == 5


def test_a_video_seen_twice_in_an_epoch_is_cut_anew() -> None:
    steps = StepData(Drawn([200] * 2), {"all": Stream(ClipSampler(frames=8), "both", 6)}, seed=0)  # type: ignore[arg-type]
    starts = steps[0]["all"].video[:, 0, 1, 1].tolist()
    assert len(set(starts)) > 3


def test_ranks_share_a_step_without_overlap() -> None:
    data = Drawn([40 + video for video in range(24)])
    ranks = [StepData(data, streams(), seed=3, rank=rank, world=2) for rank in range(2)]  # type: ignore[arg-type]
    assert {rank.steps_per_epoch for rank in ranks} == {3}
    together = [int(v) for place in range(3) for rank in ranks for v in rank[place]["labelled"].row]
    assert sorted(together) == list(range(12))
    alone = StepData(data, streams(4, 6), seed=3)  # type: ignore[arg-type]
    for step in range(6):
        joined = [
            torch.cat(parts) for parts in zip(*(rank[step]["labelled"].video[None] for rank in ranks), strict=True)
        ]
        assert torch.equal(joined[0], alone[step]["labelled"].video)


def test_validation_passes_visit_each_video_once_and_repeat() -> None:
    data = Drawn([200] * 8)
    stream = Stream(ClipSampler(frames=8), "validation", 2)
    one, again, other = (list(passes(data, stream, seed=seed)) for seed in (0, 0, 1))  # type: ignore[arg-type]
    assert [batch.row.tolist() for batch in one] == [[0, 1], [2]]
    assert all(equal(a, b) for a, b in zip(one, again, strict=True))
    assert not equal(one[0], other[0])
    # what a video shows does not depend on its place in a batch
    single = list(passes(data, replace(stream, batch=1), seed=0))  # type: ignore[arg-type]
    assert torch.equal(torch.cat([b.video for b in single]), torch.cat([b.video for b in one]))


# ---------------------------------------------------------------------------------------------------- batches


class Mixed(NamedTuple):
    """A sample with a field of each kind."""

    frames: Any
    mask: Any
    point: Any
    ef: Any
    row: Any


def mixed(number: int, mask: bool = True) -> Mixed:
    frames = np.full((2, 3, 4), number, np.uint8)
    return Mixed(frames, torch.full((5,), number / 2) if mask else None, (number, 7), np.float32(50.5 + number), number)


def test_one_collate_joins_every_kind_of_field() -> None:
    batch = collate([mixed(0), mixed(1), mixed(2)])
    assert isinstance(batch, Mixed)
    assert (batch.frames.shape, batch.frames.dtype) == ((3, 2, 3, 4), torch.uint8)
    assert batch.frames[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert (batch.mask.shape, batch.mask[:, 0].tolist()) == ((3, 5), [0.0, 0.5, 1.0])
    assert (batch.point.dtype, batch.point.tolist()) == (torch.int64, [[0, 7], [1, 7], [2, 7]])
    assert (batch.ef.dtype, batch.ef.tolist()) == (torch.float32, [50.5, 51.5, 52.5])
    assert (batch.row.dtype, batch.row.tolist()) == (torch.int64, [0, 1, 2])


def test_the_batch_axis_is_that_of_arrays_alone() -> None:
    batch = collate([mixed(0), mixed(1), mixed(2)], axis=1)
    assert batch.frames.shape == (2, 3, 3, 4)
    assert batch.frames[0, :, 0, 0].tolist() == [0, 1, 2]
    assert batch.row.tolist() == [0, 1, 2]


def test_a_field_is_empty_in_all_samples_or_in_none() -> None:
    assert collate([mixed(0, mask=False), mixed(1, mask=False)]).mask is None
    for pair in ([mixed(0), mixed(1, mask=False)], [mixed(0, mask=False), mixed(1)]):
        with pytest.raises(ValueError, match="1 of 2 samples lack a field"):
            collate(pair)


def test_a_sampler_says_only_what_it_draws() -> None:
    """Whatever a new sampler leaves out is the base's: every video is usable, samples become a batch by name."""

    class Numbers(Sampler):
        def draw(self, data: Any, video: int, rng: np.random.Generator) -> Mixed:
            return mixed(video)

    data: Any = Drawn([70, 30])
    [batch] = passes(data, Stream(Numbers(), "validation", 8), seed=0)
    assert batch.row.tolist() == [0, 1]
    with pytest.raises(NotImplementedError):
        Sampler().draw(data, 0, np.random.default_rng(0))
