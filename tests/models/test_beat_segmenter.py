"""The segmenter that sees the whole recording: what it may and may not depend on."""

import pytest
import torch

from echocycle.inference.masks import probabilities
from echocycle.models import beat_segmenter
from echocycle.models.beat_segmenter import BeatSegmenter
from echocycle.models.specs import Part, SegmenterSpec


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = BeatSegmenter(2)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.9
    for _ in range(3):  # so that batch normalisation has seen something
        made(torch.randn(2, 3, 1, 32, 32))
    return made.eval()


def answers(network, clips):
    with torch.no_grad():
        return network(clips)


def test_a_still_is_a_clip_of_one_frame_repeated(network):
    still = torch.randn(1, 1, 1, 32, 32)
    found = answers(network, still.expand(1, 5, 1, 32, 32))
    assert torch.allclose(found, answers(network, still).expand_as(found), atol=1e-4)


def test_order_and_rate_do_not_matter_but_the_other_frames_do(network):
    clip = torch.randn(1, 4, 1, 32, 32)
    found = answers(network, clip)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(answers(network, clip[:, order]), found[:, order], atol=1e-4)
    assert torch.allclose(answers(network, clip.repeat_interleave(3, 1))[:, ::3], found, atol=1e-4)
    other = torch.cat([clip[:, :1], torch.randn(1, 3, 1, 32, 32)], 1)
    assert not torch.allclose(answers(network, other)[:, 0], found[:, 0], atol=1e-3)


def test_clips_of_a_batch_do_not_see_each_other(network):
    clips = torch.randn(2, 3, 1, 32, 32)
    assert torch.allclose(answers(network, clips)[1:], answers(network, clips[1:]), atol=1e-4)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_video_is_seen_in_even_windows_whatever_the_batch(network, batch, monkeypatch):
    monkeypatch.setattr(beat_segmenter, "WINDOW", 6)
    video = torch.randn(11, 1, 32, 32)
    with torch.no_grad():
        found = network.video(lambda numbers: video[numbers].expand(-1, 3, -1, -1), 11, batch)
    wanted = torch.cat([torch.sigmoid(answers(network, part[None])[0]) for part in (video[:6], video[6:])])
    assert torch.allclose(found, wanted, atol=1e-4)


def test_it_is_built_from_its_spec_and_gives_masks_of_a_recording(network):
    spec = SegmenterSpec("beat_unet", 2, 32, (0.0,), (1.0,), color=False, standardise=True)
    part = Part(spec, spec.build())
    part.network.load_state_dict(network.state_dict())
    part.to(torch.device("cpu"))
    frames = torch.randint(0, 255, (9, 112, 112), dtype=torch.uint8).numpy()
    blocks = list(probabilities(part, frames, 4, torch.device("cpu")))
    assert [len(block) for block in blocks] == [4, 4, 1]
    assert blocks[0].shape[1:] == (32, 32)
