"""A hospital's folder of DICOM cines in three commands, and no name, number or date of its patients in what they wrote."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from helpers.hospital import SYNTAXES, words_found, write_hospital

from echocycle.cli import main
from echocycle.data.store import Store


def test_three_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data, made = tmp_path / "hospital", tmp_path / "made"
    words = write_hospital(data, tmp_path / "phantom", videos=16, labelled=12, traced=6)
    assert len(words_found(data, words)) > len(words)  # they are there to be found
    made.mkdir()
    model = made / "runs"
    assert main(["check", str(data)]) == 0
    assert main(["--preset", "debug", "train", str(data), "--out", str(made / "runs")]) == 0
    new = [str(data / "study00" / f"IM_{number:04}") for number in range(3)]
    results = made / "results"
    assert main(["predict", *new, "-o", str(results), "--model", str(model), "--stride", "60"]) in (0, 1)
    said = capfd.readouterr()
    (made / "said.log").write_text(said.out + said.err)
    assert "Traceback" not in said.err
    assert len([path for path in results.glob("*.json") if path.name != "manifest.json"]) == 3
    assert words_found(made, words) == []
    store = Store(made / "runs" / "store")
    assert len(store) == 16
    assert (store.index["annotation"] == "traced").sum() == 6
    assert len(SYNTAXES) == 8
    for video in range(len(store)):  # nothing of what is written around the fan, at the top and in the lower corner
        frames = store.frames(video)
        column, row = np.linalg.solve(
            np.array(store.index["affine"][video].split(), float).reshape(2, 3)[:, :2],
            np.array([60, 16]) - np.array(store.index["affine"][video].split(), float).reshape(2, 3)[:, 2],
        )
        outside = frames[:, : max(0, int(row)), : max(0, int(column))]
        assert not outside.any()


def test_words_are_found_wherever_they_hide(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"xx Quackenbush"))
    np.savez_compressed(tmp_path / "b.npz", name=np.array("QUACKENBUSH"))
    (tmp_path / "quackenbush.txt").touch()
    (tmp_path / "c.bin").write_bytes("Quackenbush".encode("utf-16-le"))
    assert len(words_found(tmp_path, ["Quackenbush", "Nobody"])) == 3
