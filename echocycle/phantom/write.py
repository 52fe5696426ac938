"""In place of real videos, at the start of the flow: synthetic four-chamber clips whose truth is known.

The folder has what EchoNet-Dynamic has (`FileList.csv`, `VolumeTracings.csv`, `Videos/<name>.avi`) and,
beside it, what real data lack: `Truth/<name>.npz` with the mask and the volume of every frame, `Patients.csv`
with quality and disease, and `phantom.json` with the settings. EF is defined by the analytic volumes of the
traced beat.

Steps: `patient` draws who is recorded, `heart` how the ventricle moves, `look` the pixels; `clip` puts them
together, and this file writes them. A free core draws about 1400 frames a second,
and draws and writes about 800.
"""

import csv
import functools
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import echocycle
from echocycle.checked import checked_json
from echocycle.errors import EchocycleError
from echocycle.files import LEFTOVERS, replacing, write_json, write_text
from echocycle.locks import alone_in, lock_file
from echocycle.partial import PartialFolder
from echocycle.phantom.clip import clip_name, label_of, make_clip
from echocycle.phantom.heart import SIZE, plan_clip
from echocycle.phantom.settings import PhantomSettings
from echocycle.workers import in_order

FILE_LIST_COLUMNS = (
    "FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split",
)  # fmt: skip
TRACING_COLUMNS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
PATIENT_COLUMNS = ("FileName", "Quality", "QualityName", "Pathology", "Foreshortened", "Fibrillation")
FINISHED, UNFINISHED = "phantom.json", "phantom.unfinished.json"


def write_phantom(
    out: Path,
    settings: PhantomSettings,
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the phantom's folder; `progress(done, total)` is called after every clip.

    Clips that are already there are kept, so a run that was stopped goes on where it ended. `phantom.json`
    comes last: a folder that has it is whole. The bytes do not depend on `workers` (0 draws in this process).
    """
    out = Path(out)
    if workers < 0:
        raise EchocycleError(f"workers is {workers}; give 0 to draw in this process, or how many processes to start.")
    with alone_in(out):
        _write(out, settings, workers, progress)


def _write(out: Path, settings: PhantomSettings, workers: int, progress: Callable[[int, int], None] | None) -> None:
    record = _record(settings)
    _check_folder(out, record)
    made = PartialFolder(out, record, seal=FINISHED, private=(UNFINISHED,), in_place=True)
    if made.begin() and not (out / FINISHED).exists():
        write_json(out / UNFINISHED, record)
    missing = [index for index in range(settings.videos) if not _is_written(out, index, settings)]
    done = settings.videos - len(missing)
    if progress is not None:
        progress(done, settings.videos)
    for _ in _write_clips(out, missing, settings, workers):
        done += 1
        if progress is not None:
            progress(done, settings.videos)
    for leftover in out.glob("*/.*.partial.*"):  # of a run that was killed
        leftover.unlink()
    _write_tables(out, settings)
    made.seal(record)
    made.close()


def _write_clips(out: Path, missing: list[int], settings: PhantomSettings, workers: int) -> Iterator[None]:
    """Write the missing clips, here or in spawned processes, and yield after each."""
    write = functools.partial(_write_clip, out, settings=settings)
    return in_order(write, missing, min(workers, len(missing)) if len(missing) > 1 else 0)


def _write_clip(out: Path, index: int, settings: PhantomSettings) -> None:
    """Video first, then its truth: a clip is written when the truth is there."""
    from echocycle.recordings.video import write_mjpeg

    clip = make_clip(index, settings)
    video, truth = _paths(out, index, settings)
    video.parent.mkdir(parents=True, exist_ok=True)
    write_mjpeg(video, clip.frames, clip.fps)
    with replacing(truth) as temporary:
        np.savez(
            temporary,
            masks=np.packbits(clip.masks.reshape(len(clip.masks), -1), axis=1),
            masks_shape=np.array(clip.masks.shape),
            volumes_ml=clip.volumes_ml,
            ed_frame=clip.ed_frame,
            es_frame=clip.es_frame,
            spacing_mm=np.array(clip.spacing_mm),
        )


def _write_tables(out: Path, settings: PhantomSettings) -> None:
    """FileList.csv and VolumeTracings.csv, from the plans alone; EF holds to the last digit written."""
    splits = _draw_splits(settings)
    listed: list[tuple[Any, ...]] = []
    traced: list[tuple[Any, ...]] = []
    patients: list[tuple[Any, ...]] = []
    for index in range(settings.videos):
        plan, name = plan_clip(index, settings), clip_name(index, settings)
        edv, esv, ef = label_of(plan)
        fps, frames = round(plan.patient.fps), plan.patient.frames
        listed.append((name, repr(ef), repr(esv), repr(edv), SIZE, SIZE, fps, frames, splits[index]))
        for frame, chords in zip((plan.motion.ed_frame, plan.motion.es_frame), plan.chords, strict=True):
            traced += [(f"{name}.avi", *(f"{value:.6f}" for value in chord), frame) for chord in chords]
        p = plan.patient
        patients.append(
            (name, f"{p.quality:g}", p.quality_name, p.pathology, int(p.foreshortened), int(p.fibrillation))
        )
    write_text(out / "FileList.csv", _csv(FILE_LIST_COLUMNS, listed))
    write_text(out / "Patients.csv", _csv(PATIENT_COLUMNS, patients))
    write_text(out / "VolumeTracings.csv", _csv(TRACING_COLUMNS, traced))


def _draw_splits(settings: PhantomSettings) -> list[str]:
    """The split of every clip."""
    train = settings.videos - settings.val - settings.test
    names = ["TRAIN"] * train + ["VAL"] * settings.val + ["TEST"] * settings.test
    order = np.random.default_rng([settings.seed, zlib.crc32(b"splits")]).permutation(settings.videos)
    return [names[place] for place in order]


def _csv(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _record(settings: PhantomSettings) -> dict[str, Any]:
    """What phantom.json holds, as it reads back: JSON has lists where the settings have tuples."""
    record = {
        "phantom_version": settings.version,
        "echocycle_version": echocycle.__version__,
        "numpy_version": np.__version__,
        "settings": asdict(settings),
    }
    return json.loads(json.dumps(record))


def _check_folder(out: Path, record: dict[str, Any]) -> None:
    """Refuse a folder that holds something else, or a phantom with other settings."""
    for name in (FINISHED, UNFINISHED):
        if not (out / name).exists():
            continue
        found = checked_json(out / name, {"phantom_version": int, "settings": dict}, f"Delete {out}, and draw it anew.")
        same_settings = _filled(found.get("settings"), _USUAL) == record["settings"]
        if found.get("phantom_version") != record["phantom_version"] or not same_settings:
            raise EchocycleError(
                f"{out} holds a phantom made with other settings ({_differences(found, record)}). "
                "Choose another folder, or delete this one to make it anew."
            )
        return
    own = lock_file(out.resolve()).name
    if out.exists() and (
        not out.is_dir() or any(not path.match(LEFTOVERS) and path.name != own for path in out.iterdir())
    ):
        raise EchocycleError(f"{out} is not empty and holds no phantom. Choose a new folder.")


_USUAL = json.loads(json.dumps(asdict(PhantomSettings())))


def _filled(settings: Any, usual: dict[str, Any]) -> Any:
    """Settings of a folder that was begun before some of them existed, those at what they stand for."""
    if not isinstance(settings, dict):
        return settings
    nested = {key: _filled(settings.get(key, {}), value) for key, value in usual.items() if isinstance(value, dict)}
    return {**usual, **settings, **nested}


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The settings that differ, as a phrase."""
    if found.get("phantom_version") != wanted["phantom_version"]:
        return f"phantom version {found.get('phantom_version')} there, {wanted['phantom_version']} now"
    there, now = found.get("settings") or {}, wanted["settings"]
    names = [name for name in now if there.get(name) != now[name] and name != "look"]
    parts = [f"{name} {there.get(name)} there, {now[name]} now" for name in names]
    look_there, look_now = there.get("look") or {}, now["look"]
    parts += [
        f"look.{name} {look_there.get(name)} there, {look_now[name]} now"
        for name in look_now
        if look_there.get(name) != look_now[name]
    ]
    return "; ".join(parts) or "unknown entries"


def _is_written(out: Path, index: int, settings: PhantomSettings) -> bool:
    return all(path.exists() for path in _paths(out, index, settings))


def _paths(out: Path, index: int, settings: PhantomSettings) -> tuple[Path, Path]:
    """Video and truth of clip `index`."""
    name = clip_name(index, settings)
    return out / "Videos" / f"{name}.avi", out / "Truth" / f"{name}.npz"
