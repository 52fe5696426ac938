"""Mask sets: what is written comes back, a kill costs nothing, and they are small and quick to read."""

import json
import multiprocessing
import shutil
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from echocycle.data.mask_set import MaskSet, MaskWriter, _pack, _unpack
from echocycle.data.store import Store
from echocycle.errors import EchocycleError

META = {"size": 112, "segmenter": "abc", "splits": ["train"]}


def soft(masks: np.ndarray) -> np.ndarray:
    """Probabilities as a segmenter gives them: uint8, an edge that falls over a few pixels."""
    from scipy.ndimage import gaussian_filter

    return np.rint(gaussian_filter(masks.astype(np.float32) * 255, (0, 1.5, 1.5))).astype(np.uint8)


def videos(count: int = 5) -> list[np.ndarray]:
    """Random videos of 3 to 7 frames with every kind of mask."""
    rng = np.random.default_rng(7)
    made = []
    for _ in range(count):
        masks = rng.integers(0, 256, (int(rng.integers(3, 8)), 112, 112), dtype=np.uint8)
        masks *= rng.random(masks.shape) < 0.1
        masks[0] = 0
        masks[1] = 255
        made.append(masks)
    return made


def written(folder: Path, content: list[np.ndarray]) -> MaskSet:
    writer = MaskWriter(folder, len(content), META)
    for video, masks in enumerate(content):
        writer.add(video, masks)
    return writer.finish()


def read_all(masks: MaskSet, content: list[np.ndarray]) -> list[np.ndarray]:
    return [masks.probabilities(video, np.arange(len(of_video))) for video, of_video in enumerate(content)]


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_a_mask_survives_packing(height: int, width: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = (rng.integers(1, 256, (height, width)) * (rng.random((height, width)) < share)).astype(np.uint8)
    packed = _pack(mask)
    assert (packed == b"") == (not mask.any())
    back = np.zeros_like(mask)
    if packed:
        _unpack(np.frombuffer(packed, np.uint8), back, differences=True)
    np.testing.assert_array_equal(back, mask)


@pytest.mark.parametrize("corner", [(0, 0), (0, 111), (111, 0), (111, 111)])
def test_a_single_pixel_in_a_corner_survives(corner: tuple[int, int]) -> None:
    mask = np.zeros((112, 112), np.uint8)
    mask[corner] = 1
    back = np.zeros_like(mask)
    _unpack(np.frombuffer(_pack(mask), np.uint8), back, differences=True)
    np.testing.assert_array_equal(back, mask)


def test_a_set_gives_back_every_frame_in_any_order(tmp_path: Path) -> None:
    content = videos()
    masks = written(tmp_path / "run", content)
    assert masks.id == "run"
    for video, of_video in enumerate(content):
        assert masks.has(video)
        numbers = np.random.default_rng(video).integers(0, len(of_video), 12)
        np.testing.assert_array_equal(masks.probabilities(video, numbers), of_video[numbers])
    assert not (tmp_path / "run.partial").exists()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "blob.bin",
        "first.npy",
        "masks.json",
        "offsets.npy",
    ]


def test_videos_may_come_in_any_order_and_some_not_at_all(tmp_path: Path) -> None:
    content = videos(3)
    writer = MaskWriter(tmp_path / "run", 10, META)
    for video, masks in zip((8, 2, 5), content, strict=True):
        writer.add(video, masks)
    masks = writer.finish()
    for video, expected in zip((8, 2, 5), content, strict=True):
        np.testing.assert_array_equal(masks.probabilities(video, np.arange(len(expected))), expected)
    assert [video for video in range(10) if masks.has(video)] == [2, 5, 8]
    with pytest.raises(EchocycleError, match="do not cover video 3"):
        masks.probabilities(3, [0])


def test_a_set_whose_masks_are_all_empty_can_be_read(tmp_path: Path) -> None:
    masks = written(tmp_path / "run", [np.zeros((4, 112, 112), np.uint8)])
    assert not masks.probabilities(0, [0, 3]).any()


def test_a_set_without_a_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match="No video"):
        MaskWriter(tmp_path / "run", 3, META).finish()


@settings(deadline=None, max_examples=25)
@given(
    after=st.integers(1, 4),
    journal_cut=st.one_of(st.just(0), st.integers(0, 200)),
    blob_cut=st.one_of(st.just(0), st.integers(0, 30_000)),
)
def test_a_killed_writer_goes_on_to_the_same_set(
    tmp_path_factory: pytest.TempPathFactory, after: int, journal_cut: int, blob_cut: int
) -> None:
    """The end of both files may be torn at any byte."""
    folder = tmp_path_factory.mktemp("kill")
    content = videos()
    whole = written(folder / "whole", content)
    writer = MaskWriter(folder / "killed", len(content), META)
    for video in range(after):
        writer.add(video, content[video])
    for name, cut in (("journal.bin", journal_cut), ("blob.bin", blob_cut)):
        path = folder / "killed.partial" / name
        size = path.stat().st_size
        with open(path, "r+b") as file:
            file.truncate(max(0, size - cut))
    again = MaskWriter(folder / "killed", len(content), META)
    for video, masks in enumerate(content):
        if not again.is_done(video):
            again.add(video, masks)
    masks = again.finish()
    for name in ("blob.bin", "first.npy", "offsets.npy"):
        assert (masks.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    shutil.rmtree(folder)


def test_what_was_whole_is_not_written_again(tmp_path: Path) -> None:
    content = videos()
    writer = MaskWriter(tmp_path / "run", len(content), META)
    writer.add(0, content[0])
    writer.add(1, content[1])
    with open(tmp_path / "run.partial" / "blob.bin", "ab") as blob:
        blob.write(b"torn")
    again = MaskWriter(tmp_path / "run", len(content), META)
    assert [again.is_done(video) for video in range(4)] == [True, True, False, False]


def test_other_facts_start_anew_and_equal_ones_do_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = videos()
    first = MaskWriter(tmp_path / "run", len(content), {**META, "splits": ("train",)})
    first.add(0, content[0])
    # a tuple comes back from JSON as a list; that is no other fact
    same = MaskWriter(tmp_path / "run", len(content), {**META, "splits": ("train",)})
    assert same.is_done(0)
    assert capsys.readouterr().err == ""
    other = MaskWriter(tmp_path / "run", len(content), {**META, "segmenter": "another"})
    assert not other.is_done(0)
    said = " ".join(capsys.readouterr().err.split())
    assert "run.partial" in said
    assert "segmenter was 'abc', is 'another'" in said
    other.add(0, content[1])
    masks = other.finish()
    assert masks.meta["segmenter"] == "another"
    np.testing.assert_array_equal(masks.probabilities(0, np.arange(len(content[1]))), content[1])


def test_smooth_masks_are_twenty_times_smaller_than_logits() -> None:
    """As a network with a map of 14 x 14 gives them; and the differences are what makes them so."""
    rows, columns = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")
    distance = 1 - (((rows - 6) / 4) ** 2 + ((columns - 6.5) / 2.3) ** 2).sqrt()
    noise = torch.randn(14, 14, generator=torch.Generator().manual_seed(0))
    logits = F.interpolate((5 * distance + 0.3 * noise)[None, None], (112, 112), mode="bilinear")[0, 0]
    mask = (255 * torch.sigmoid(logits)).round().to(torch.uint8).numpy()
    packed = _pack(mask)
    assert len(packed) < logits.numel() * 4 / 20
    assert len(packed) < len(zlib.compress(mask.tobytes(), 6)) / 1.5


def test_masks_of_format_1_are_still_read(tmp_path: Path) -> None:
    writer = MaskWriter(tmp_path / "masks", 1, {"size": 4})
    writer.add(0, np.zeros((1, 4, 4), np.uint8))
    masks = writer.finish()
    inside = np.array([[7, 250], [3, 128]], np.uint8)
    packed = np.array([1, 3, 0, 2], "<u2").tobytes() + zlib.compress(inside.tobytes())
    (masks.folder / "blob.bin").write_bytes(packed)
    np.save(masks.folder / "offsets.npy", np.array([0, len(packed)]))
    (masks.folder / "masks.json").write_text(json.dumps({**masks.meta, "format": 1}))
    found = MaskSet(masks.folder).probabilities(0, [0])[0]
    assert (found[1:3, 0:2] == inside).all()
    assert found.sum() == inside.sum()


def test_another_format_is_refused(tmp_path: Path) -> None:
    masks = written(tmp_path / "run", videos(1))
    (masks.folder / "masks.json").write_text(json.dumps({**masks.meta, "format": 99}))
    with pytest.raises(EchocycleError, match="format 99"):
        MaskSet(masks.folder)


def test_what_does_not_belong_together_is_one_sentence(tmp_path: Path) -> None:
    """Each key of masks.json, each file cut off, lengthened, missing or another."""
    masks = written(tmp_path / "run", videos())
    kept = {path.name: path.read_bytes() for path in masks.folder.iterdir()}

    def refused(*words: str) -> None:
        with pytest.raises(EchocycleError) as raised:
            MaskSet(masks.folder)
        for word in (*words, "masks", "again"):
            assert word in str(raised.value)
        for name, content in kept.items():
            (masks.folder / name).write_bytes(content)

    for key in ("format", "size", "videos"):
        for value in (None, "x", 2.5, [], {}):
            (masks.folder / "masks.json").write_text(json.dumps({**masks.meta, key: value}))
            refused("masks.json", key)
        (masks.folder / "masks.json").write_text(json.dumps({k: v for k, v in masks.meta.items() if k != key}))
        refused("masks.json", f"{key} is missing")
    (masks.folder / "masks.json").write_text(json.dumps({**masks.meta, "videos": 3}))
    refused("do not agree")
    for name in ("blob.bin", "first.npy", "offsets.npy"):
        for content in (kept[name][:-1], kept[name][: len(kept[name]) // 2], b""):
            (masks.folder / name).write_bytes(content)
            refused(name)
        (masks.folder / name).unlink()
        refused(f"{name} is missing")
    (masks.folder / "blob.bin").write_bytes(kept["blob.bin"] + b"x")
    refused("blob.bin has")
    np.save(masks.folder / "offsets.npy", np.zeros(4))
    refused("offsets.npy is not a row of whole numbers")
    np.save(masks.folder / "offsets.npy", np.load(masks.folder / "offsets.npy")[::-1].copy())
    refused("do not agree")
    assert MaskSet(masks.folder).verify()


def test_altered_masks_are_found_where_they_are_read_and_on_request(tmp_path: Path) -> None:
    content = videos(1)
    masks = written(tmp_path / "run", content)
    whole = (masks.folder / "blob.bin").read_bytes()
    found = 0
    for place in range(8, len(whole), 997):
        (masks.folder / "blob.bin").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        altered = MaskSet(masks.folder)
        with pytest.raises(EchocycleError, match=r"blob\.bin is not the file that masks\.json names"):
            altered.verify()
        try:
            read_all(altered, content)
        except EchocycleError as error:
            assert "is damaged" in str(error)
            found += 1
    assert found > 3
    (masks.folder / "masks.json").write_text(json.dumps({k: v for k, v in masks.meta.items() if k != "sha256"}))
    assert not MaskSet(masks.folder).verify()  # as an earlier version wrote it


def test_two_writers_of_one_set_are_noticed_before_it_has_its_name(tmp_path: Path) -> None:
    """Nothing locks a `MaskWriter` by itself: `mask` and `prepare` do."""
    content = videos()
    one, other = (MaskWriter(tmp_path / "run", len(content), META) for _ in range(2))
    for video, masks in enumerate(content):
        one.add(video, masks)
        other.add(video, masks)
    with pytest.raises(EchocycleError, match="two processes were at work on it"):
        one.finish()
    assert not (tmp_path / "run").exists()


def test_what_is_left_of_a_deleted_set_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "blob.bin").write_bytes(b"left")
    assert written(tmp_path / "run", videos(1)).verify()


def _read_elsewhere(masks: MaskSet) -> np.ndarray:
    return masks.probabilities(1, [2, 0])


def test_a_set_can_be_sent_to_a_spawned_process(tmp_path: Path) -> None:
    content = videos()
    masks = written(tmp_path / "run", content)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_read_elsewhere, (masks,))
    np.testing.assert_array_equal(found, content[1][[2, 0]])


def test_masks_like_the_phantoms_are_small_and_quick_to_read(store: Store, tmp_path: Path) -> None:
    truth = store.masks("truth")
    content = [soft(truth.probabilities(video, np.arange(store.n_frames(video)))) for video in range(6)]
    masks = written(tmp_path / "run", content)
    size = sum(file.stat().st_size for file in masks.folder.iterdir())
    logits = sum(of_video.size * 4 for of_video in content)
    frames = sum(map(len, content))
    rng = np.random.default_rng(0)
    clips = 60
    draws = [(int(rng.integers(6)), int(rng.integers(20))) for _ in range(clips)]
    start = time.process_time()  # of this process alone, whatever others do
    for video, first in draws:
        masks.probabilities(video, first + 2 * np.arange(32))
    seconds = time.process_time() - start
    print(f"{size / frames:.0f} bytes a frame, {logits / size:.0f} times smaller; {clips / seconds:.0f} clips a second")
    assert logits > 20 * size
    assert clips / seconds >= 100
