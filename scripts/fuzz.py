"""Gives every parser files that hypothesis has spoilt; each must be read, or refused with one `EchocycleError`.

    python scripts/fuzz.py [--inputs 200] [--seed 0] [--only csv,zip] [--minutes 30]

A sound file of each format is written first. What hypothesis draws is how it is spoilt: cut, bytes changed, pieces
moved, doubled, put in, numbers replaced by odd ones, or bytes out of nothing. Any other exception than `EchocycleError`
is a failure, printed with where it came from and the smallest file that gave it. A parser that takes the whole process
with it is not caught here; those formats are decoded in a process of their own (`recordings/apart.py`). atheris, which
is led by the coverage of the code, is not installed: what is tried is drawn by chance alone.

Exit code 1 if there was a failure.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from datasets.contours import test_contours as contours
from helpers.predicting import make_model
from recordings import test_zea
from recordings.test_damage import FORMATS

from echocycle.bundle import load_bundle
from echocycle.data.mask_set import MaskSet
from echocycle.data.store import Store
from echocycle.datasets.camus_images import read_header
from echocycle.datasets.contours.read import read_contours
from echocycle.datasets.open import open_source
from echocycle.datasets.prepare import prepare_store
from echocycle.errors import EchocycleError
from echocycle.files import read_json
from echocycle.labelling.journal import read_journal
from echocycle.models.published import recognise
from echocycle.partial import Journal
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.recordings.find import find_recordings
from echocycle.recordings.recording import read_recording
from echocycle.settings.override import read_config
from echocycle.settings.presets import preset
from echocycle.settings.stages import PrepareSettings

Parser = Callable[[Path], Any]
ODD = (
    b"",
    b"0",
    b"-1",
    b"nan",
    b"inf",
    b"1e400",
    b"99999999999999999999",
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"\0",
    b"\xff\xfe",
)
ODD += (b"../../x", b"=1+1", b"\xed\xa0\x80", b"\r", b"[" * 2000, b"<a>", b"1;2", b"\\")


@st.composite
def spoilt(draw: st.DrawFn, sound: bytes) -> bytes:
    """A file that has been through one to three mishaps."""
    data = sound
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["cut", "bytes", "move", "double", "odd", "number", "gone", "anything"]))
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, max(1, len(data) // 4)))
        if kind == "cut":
            data = data[:at]
        elif kind == "bytes":
            new = draw(st.binary(min_size=1, max_size=8))
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "move":
            data = data[:at] + data[at + size :] + data[at : at + size]
        elif kind == "double":
            data = data[: at + size] + data[at:]
        elif kind == "odd":
            data = data[:at] + draw(st.sampled_from(ODD)) + data[at:]
        elif kind == "number":
            digits = [place for place, byte in enumerate(data[:20000]) if chr(byte).isdigit()]
            if digits:
                at = draw(st.sampled_from(digits))
                data = data[:at] + draw(st.sampled_from(ODD)) + data[at + 1 :]
        elif kind == "gone":
            data = data[:at] + data[at + size :]
        else:
            data = draw(st.binary(max_size=200))
    return data


def parsers(home: Path) -> dict[str, tuple[Path, Parser]]:
    """By name: a sound file, and what reads it after it was spoilt."""
    found: dict[str, tuple[Path, Parser]] = {}
    for name, make in FORMATS.items():
        found[f"recording {name}"] = (make(home / name), read_recording)
    found["recording zea"] = (
        test_zea.write(home / "clip.hdf5", test_zea.FRAMES[:8, ::4, ::4], "image_sc"),
        read_recording,
    )
    with zipfile.ZipFile(home / "clips.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("native.dcm", "clip.avi"):
            archive.write(home / name, f"study/{name}")
    found["zip"] = (
        home / "clips.zip",
        lambda path: [read_recording(each.path) for each in find_recordings([path]) if each.path],
    )
    found |= _contours(home / "contours")
    found |= _settings(home)
    videos = home / "videos"
    write_phantom(videos, PhantomSettings(**{**preset("debug").phantom, "videos": 8, "val": 2, "test": 2}))
    chosen = PrepareSettings(workers=0)
    for name in ("FileList.csv", "VolumeTracings.csv", "phantom.json"):
        found[f"folder {name}"] = (videos / name, lambda path: open_source(path.parent, chosen).check_may_be_prepared())
    own = home / "own"
    own.mkdir()
    shutil.copy2(home / "clip.avi", own / "clip.avi")
    (own / "videos.csv").write_text("file;EF (%);patient;split\nclip.avi;55,5;p1;train\n")
    found["folder videos.csv"] = (
        own / "videos.csv",
        lambda path: open_source(path.parent, chosen).check_may_be_prepared(),
    )
    store = prepare_store(videos, home / "store", preset("debug").prepare)
    for name in ("store.json", "index.csv", "traces.npy", "report.json"):
        found[f"store {name}"] = (store.path / name, lambda path: Store(path.parent))
    masks = store.path / "masks" / "truth"
    for name in ("masks.json", "offsets.npy", "first.npy", "blob.bin"):
        found[f"masks {name}"] = (masks / name, _read_masks)
    bundle = make_model(store, home / "run") / "model"
    for name in ("settings.json", "segmenter.safetensors", "regressor.safetensors"):
        found[f"bundle {name}"] = (bundle / name, lambda path: load_bundle(path.parent))
    found["checkpoint"] = (_checkpoint(home / "weights.pt"), recognise)
    return found


def _checkpoint(path: Path) -> Path:
    """What tells published weights of an EF network, under the names that its training wrapper gave."""
    import torch

    state = {
        "stem.0.weight": torch.ones(4, 3, 1, 7, 7),
        "stem.3.weight": torch.ones(2, 2),
        "fc.weight": torch.ones(1, 4),
    }
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, path)
    return path


def _read_masks(path: Path) -> None:
    masks = MaskSet(path.parent)
    for video in range(3):
        if masks.has(video):
            masks.probabilities(video, [0, 1, 5])


def _contours(home: Path) -> dict[str, tuple[Path, Parser]]:
    import nibabel

    home.mkdir()

    def read(path: Path) -> None:
        read_contours(path, contours.WANTED)

    mask = contours.MASKS[contours.ED].astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(mask.T, np.eye(4)), home / "a.nii")
    nibabel.save(nibabel.Nifti1Image(mask.T, np.eye(4)), home / "a.nii.gz")
    contours.write_png(home / "a.png", mask)
    (home / "coco.json").write_text(json.dumps(contours.coco()))
    (home / "runs.json").write_text(json.dumps(contours.coco(runs=True)))
    (home / "labelme.json").write_text(json.dumps(contours.labelme(0)))
    (home / "video.xml").write_text(contours.cvat_video())
    (home / "images.xml").write_text(contours.cvat_images())
    contours.seg(home / "a.dcm")
    found: dict[str, tuple[Path, Parser]] = {f"contours {path.name}": (path, read) for path in sorted(home.iterdir())}
    found["CAMUS header a.nii"] = (home / "a.nii", read_header)
    return found


def _settings(home: Path) -> dict[str, tuple[Path, Parser]]:
    (home / "a.yaml").write_text("segment: {batch: 10, loop: {steps: 200}}\nmask:\n  batch: 4\n")
    (home / "a.toml").write_text("[segment]\nbatch = 10\n[segment.loop]\nsteps = 200\n")
    (home / "settings.json").write_text(json.dumps({"segment": {"batch": 10, "loop": {"steps": 200}}}))
    (home / "any.json").write_text(json.dumps({"a": [1, 2.5, None, {"b": "c"}]}))
    line = {"n": 1, "at": "2026", "client": "c", "seq": 1, "action": "note", "text": "t"}
    (home / "labels.jsonl").write_text("".join(json.dumps({**line, "n": n, "seq": n}) + "\n" for n in range(4)))
    (home / "journal.jsonl").write_text('{"row": {"name": "a"}}\n{"row": {"name": "b"}}\n')
    return {
        "settings YAML": (home / "a.yaml", read_config),
        "settings TOML": (home / "a.toml", read_config),
        "settings JSON": (home / "settings.json", read_config),
        "JSON": (home / "any.json", read_json),
        "journal of label": (home / "labels.jsonl", read_journal),
        "journal of prepare": (home / "journal.jsonl", lambda path: Journal(path).read()),
    }


def fuzz(path: Path, parse: Parser, inputs: int, number: int) -> tuple[Counter[str], dict[str, bytes]]:
    """Counts of what was read, refused, failed; and the smallest spoilt file for every place of failure."""
    sound = path.read_bytes()
    parse(path)
    counts: Counter[str] = Counter()
    failures: dict[str, bytes] = {}

    @seed(number)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=spoilt(sound))
    def tried(data: bytes) -> None:
        path.write_bytes(data)
        try:
            parse(path)
            counts["read"] += 1
        except EchocycleError:
            counts["refused"] += 1
        except Exception as error:
            counts["failed"] += 1
            last = [each for each in traceback.extract_tb(error.__traceback__) if "/echocycle/" in each.filename][-1]
            place = f"{type(error).__name__}: {str(error)[:150]} ({Path(last.filename).name}:{last.lineno})"
            if place not in failures or len(data) < len(failures[place]):
                failures[place] = data

    try:
        tried()
    finally:
        path.write_bytes(sound)
    return counts, failures


def main() -> int:
    """Print a table: parser, inputs, read, refused, failed."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--inputs", type=int, default=200, help="of each parser")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--only", default="", help="parts of parsers' names, with commas")
    asked.add_argument("--minutes", type=float, default=1e9, help="no further parser after so many")
    chosen = asked.parse_args()
    wanted = [word for word in chosen.only.split(",") if word]
    begun = time.monotonic()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        found = parsers(Path(folder))
        print("| parser | inputs | read | refused | failed |\n|---|---|---|---|---|")
        for name, (path, parse) in found.items():
            if (wanted and not any(word in name for word in wanted)) or time.monotonic() - begun > chosen.minutes * 60:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                counts, failures = fuzz(path, parse, chosen.inputs, chosen.seed)
            total += counts
            cells = (counts.total(), counts["read"], counts["refused"], counts["failed"])
            print(f"| {name} | " + " | ".join(map(str, cells)) + " |", flush=True)
            for place, data in failures.items():
                print(f"FAILED {name}: {place}; {len(data)} bytes: {data[:200]!r}", file=sys.stderr, flush=True)
    print(f"| all | {total.total()} | {total['read']} | {total['refused']} | {total['failed']} |")
    return int(total["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
