"""zea files, written here as its description has them: which picture is taken, its size, rate and grey values."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.recording_files import beating_fan

from echocycle.datasets.open import layout_of
from echocycle.datasets.prepare import prepare_store
from echocycle.errors import EchocycleError
from echocycle.recordings.recording import may_be_recording, read_recording
from echocycle.recordings.sector import cut_sector
from echocycle.settings.stages import PrepareSettings

FRAMES = beating_fan(24, 120, 160)


def write(path: Path, image: object, name: str = "image", fps: float = 40.0, **more: np.ndarray) -> Path:
    """A zea file: an array, or a group with `values` and what else is named."""
    with h5py.File(path, "w") as file:
        file.attrs["probe_name"] = "P4-2"
        if more:
            group = file.create_group(f"data/{name}")
            for key, value in {"values": image, **more}.items():
                group[key] = value
        else:
            file[f"data/{name}"] = image
        file["scan/time_to_next_transmit"] = np.full((len(FRAMES), 4), 1 / fps / 4, np.float32)
        file["metadata/subject/id"] = "Doe"
    return path


def test_a_scan_converted_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", FRAMES, "image_sc")
    assert may_be_recording(path)
    recording = read_recording(path)
    assert np.array_equal(recording.frames, FRAMES)
    assert recording.fps == pytest.approx(40, rel=1e-3)
    assert np.isnan(recording.spacing_mm).all()
    assert cut_sector(recording).sector.has_edges  # type: ignore[union-attr]


def test_pixels_with_an_extent_and_a_channel(tmp_path: Path) -> None:
    pixels = np.ascontiguousarray(FRAMES.swapaxes(1, 2))  # that version counts (frames, x, z)
    extent = np.array([-0.04, 0.04, 0, 0, 0.12, 0], np.float32)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["tracks/track_0/data/image/pixels"] = pixels[..., None]
        file["tracks/track_0/data/image/extent"] = extent
    recording = read_recording(tmp_path / "a.hdf5")
    assert np.array_equal(recording.frames, FRAMES)
    assert recording.spacing_mm == pytest.approx((1.0, 0.5))
    assert recording.pixel_aspect == pytest.approx(0.5)
    assert np.isnan(recording.fps)


def test_beams_are_brought_onto_square_pixels(tmp_path: Path) -> None:
    """A picture of angles and depths: what lies at a place in metres is found at that place."""
    angles, depths = np.radians(np.linspace(-40, 40, 81)), np.linspace(0.01, 0.12, 111)
    x, z = depths[:, None] * np.sin(angles), depths[:, None] * np.cos(angles)
    grid = np.stack([x, np.zeros_like(x), z], axis=-1).astype(np.float32)
    beams = np.zeros((3, 111, 81), np.uint8)
    beams[:, 60, 20] = 200
    recording = read_recording(write(tmp_path / "a.hdf5", beams, coordinates=grid))
    row, column = np.argwhere(recording.frames[0] == 200).mean(axis=0)
    down, right = recording.spacing_mm
    assert row * down / 1000 + z.min() == pytest.approx(z[60, 20], abs=0.002)
    assert column * right / 1000 + x.min() == pytest.approx(x[60, 20], abs=0.002)
    assert recording.frames[0, -1, 0] == 0  # no beam leads there
    assert any("grid of beams" in note for note in recording.notes)


@pytest.mark.parametrize(("values", "expected", "note"), [
    (FRAMES.astype(np.float32) / 255, FRAMES, ""),
    (FRAMES.astype(np.float32) * 60 / 255 - 60, FRAMES, "decibels"),
    (FRAMES.astype(np.float32) * 4, FRAMES, "brought to 0 to 255"),
])  # fmt: skip
def test_grey_values(tmp_path: Path, values: np.ndarray, expected: np.ndarray, note: str) -> None:
    recording = read_recording(write(tmp_path / "a.h5", values, "image_sc"))
    assert np.abs(recording.frames.astype(int) - expected).max() <= 1
    assert any(note in each for each in recording.notes) or not note


def test_what_holds_no_picture(tmp_path: Path) -> None:
    write(tmp_path / "raw.hdf5", np.zeros((2, 3, 4, 5, 1), np.float32), "raw_data")
    write(tmp_path / "solid.hdf5", np.zeros((2, 8, 8, 8), np.uint8))
    write(tmp_path / "torn.hdf5", FRAMES)
    whole = (tmp_path / "torn.hdf5").read_bytes()
    (tmp_path / "torn.hdf5").write_bytes(whole[: len(whole) // 2])
    write(tmp_path / "grid.hdf5", FRAMES, coordinates=np.zeros((5, 5, 3)))
    with h5py.File(tmp_path / "huge.hdf5", "w") as file:
        file.create_dataset("data/image", (100_000, 512, 512), np.uint8, chunks=(1, 512, 512))
    for name, words in (
        ("raw.hdf5", "holds no picture"),
        ("solid.hdf5", "not a series of grey pictures"),
        ("grid.hdf5", "coordinates do not belong"),
        ("huge.hdf5", "of memory, more than"),
    ):
        with pytest.raises(EchocycleError, match=words):
            read_recording(tmp_path / name)
    with pytest.raises(EchocycleError, match="damaged HDF5|is not a recording"):
        read_recording(tmp_path / "torn.hdf5")
    (tmp_path / "other").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert not may_be_recording(tmp_path / "other")


def test_a_folder_of_zea_files_is_prepared(tmp_path: Path) -> None:
    root = tmp_path / "own"
    root.mkdir()
    write(root / "a.hdf5", FRAMES, "image_sc")
    (root / "videos.csv").write_text("file,EF,split\na.hdf5,55,train\n")
    assert layout_of(root) == "videos"
    store = prepare_store(root, tmp_path / "store", PrepareSettings(workers=0))
    assert store.index["fps"].tolist() == pytest.approx([40], rel=1e-3)
    assert store.index["ef"].tolist() == [55]
    assert not any(b"Doe" in path.read_bytes() for path in store.path.rglob("*") if path.is_file())
