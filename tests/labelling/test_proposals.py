"""What a model says of recordings: looked at in a process of its own, kept in the cache, given to the page."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from helpers.labelling import client_of, opened, phantom_project, true_contours
from helpers.recording_files import beating_fan, cine, encode, region, save

from echocycle.bundle import load_bundle
from echocycle.errors import EchocycleError
from echocycle.labelling import commands
from echocycle.labelling import proposals as proposals_module
from echocycle.labelling.frames import read_frames
from echocycle.labelling.looked import CELLS, look_at, place_of, read_looked
from echocycle.labelling.proposals import Proposals, model_name
from echocycle.labelling.suggest import doubts_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(phantom_folder, tmp_path_factory):
    """Two readable videos and one that is damaged."""
    made = phantom_project(phantom_folder, tmp_path_factory.mktemp("proposals") / "clinic", 2)
    (made / "broken.avi").write_bytes(b"RIFF\0\0\0\0AVI no video at all")
    return made


@pytest.fixture(scope="module")
def looked(folder, model, store, tmp_path_factory):
    """What the model says of the first video, kept and read again."""
    video = sorted(folder.glob("p0/*.avi"))[0]
    found, _ = look_at(video, load_bundle(model, CPU), CPU, stride=40)
    path = tmp_path_factory.mktemp("looked") / "x.npz"
    found.write(path)
    again = read_looked(path)
    assert again is not None
    for name in ("handles", "areas", "beats", "look"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (again.facts, again.numbers, again.notes) == (found.facts, found.numbers, found.notes)
    return video, again


def test_contours_follow_the_model_in_every_frame(looked, store):
    video, found = looked
    pair = true_contours(store, video.stem)
    for truth in pair:
        contour = found.contour(truth.frame)
        assert contour is not None
        a, b = contour.mask(112, 112), truth.mask(112, 112)
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.8
        assert found.areas[truth.frame] == pytest.approx(a.sum(), rel=0.15)
    assert len(found.areas) == found.facts.n_frames
    assert found.contour(-1) is None
    assert found.contour(10_000) is None


def test_proposals_are_a_pair_of_a_beat(looked):
    _, found = looked
    assert len(found.beats) > 0
    assert found.pair is not None
    ed, es = found.pair
    assert [ed.frame, es.frame] in found.beats.tolist()
    assert ed.volume()[0] > es.volume()[0]


def test_doubts_are_numbers(looked):
    _, found = looked
    assert set(found.numbers) >= {"ef", "ef_discs", "spread_clips"}
    assert found.look.shape == (2 * CELLS**2,)
    assert doubts_of(found)["disagreement"] == abs(found.numbers["ef"] - found.numbers["ef_discs"])


def test_contours_are_in_the_pixels_of_the_recording(model, tmp_path):
    """A recording of another size is cut for the model; what it finds is led back."""
    path = save(cine(beating_fan(30), FrameTime="20", SequenceOfUltrasoundRegions=[region()]), tmp_path / "fan.dcm")
    found, middle = look_at(path, load_bundle(model, CPU), CPU, stride=40)
    assert found.facts.shape == (30, 120, 160)
    assert middle.shape == (120, 160)
    assert found.facts.spacing_mm == pytest.approx((0.6, 0.6))
    marked = [number for number in range(30) if found.contour(number) is not None]
    for number in marked:
        contour = found.contour(number)
        assert found.areas[number] == pytest.approx(contour.mask(120, 160).sum(), rel=0.3, abs=40)


def test_what_is_damaged_in_the_cache_is_made_again(tmp_path):
    path = tmp_path / "x.npz"
    assert read_looked(path) is None
    path.write_bytes(b"PK\x03\x04 half a zip")
    assert read_looked(path) is None
    np.savez(path, about=np.array("{}"))
    assert read_looked(path) is None


def wait_for(condition, seconds=400.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def test_the_process_looks_at_all_videos_and_ends_with_the_server(folder, model, monkeypatch):
    """The background process with a real model; the page gets what it finds, and one bad file stops nothing."""
    monkeypatch.setattr(proposals_module, "PATIENCE", 400.0)  # the machine may be busy
    copy = folder.with_name("worked")
    shutil.copytree(folder, copy)
    with opened(copy, model=str(model / "model"), works=True) as parts, client_of(parts) as client:
        proposals = parts.proposals
        first = next(video for video in parts.desk.project.videos.values() if video.name.startswith("p1"))
        contour = client.post(f"/api/videos/{first.id}/propose", json={"frame": 5})
        assert contour.status_code == 200
        assert contour.json()["frame"] == 5
        wait_for(lambda: len(proposals.done) == 2 and len(proposals.failed) == 1)
        (problem,) = proposals.failed.values()
        assert "broken.avi" in problem
        about = client.get(f"/api/videos/{first.id}").json()
        assert len(about["areas"]) == about["n_frames"]
        assert {phase: about["proposal"][phase]["frame"] for phase in ("ed", "es")} in about["beats"]
        assert about["state"] == "proposed"
        ghosts = client.get(f"/api/videos/{first.id}/contours/4-6").json()["contours"]
        assert ghosts[1] == contour.json()
        assert client.post(f"/api/videos/{first.id}/propose", json={"frame": 9999}).status_code == 422
        suggested = parts.ranking.now(10)
        assert {each["id"] for each in suggested} == proposals.done
        assert all(each["reasons"] for each in suggested)
        assert client.get("/api/project").json()["counts"]["proposed"] == 2
        child = proposals._child
        assert child is not None
    wait_for(lambda: child.poll() is not None, 20)
    with opened(copy, model=str(model / "model")) as parts:  # the next server knows what was found
        assert len(parts.proposals.done) == 2


def test_a_process_that_ends_over_a_recording_is_begun_anew(folder, model, tmp_path, monkeypatch):
    """What kills it is told, and the next video is looked at by another process."""
    copy = tmp_path / "clinic"
    shutil.copytree(folder, copy)
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, sys\nfor line in sys.stdin:\n    request = json.loads(line)\n"
        "    if 'p0' in request['path']: sys.exit(9)\n"
        "    print(json.dumps({'id': request['id'], 'problem': 'not today'}), flush=True)\n"
    )
    original, begun = subprocess.Popen, []

    def start(command, **how):
        begun.append(command)
        return original([sys.executable, str(script)], **how)

    monkeypatch.setattr(subprocess, "Popen", start)
    with opened(copy, model=str(model / "model"), works=True) as parts:
        wait_for(lambda: len(parts.proposals.failed) == 3, 60)
        told = {parts.desk.video(video).name[:2]: why for video, why in parts.proposals.failed.items()}
        assert len(begun) == 2
    assert "ended" in told["p0"]
    assert told["p1"] == "not today"


def test_a_model_that_can_propose_nothing_is_refused(folder, tmp_path):
    with opened(folder) as parts:
        with pytest.raises(EchocycleError, match="holds no trained model"):
            model_name(parts.desk.project, str(tmp_path))
        assert model_name(parts.desk.project, "zero") == "zero"
        with pytest.raises(EchocycleError, match="holds no trained model"):
            Proposals(parts.desk, model="runs/absent", works=False)
        with pytest.raises(EchocycleError, match="holds no trained model"):
            parts.proposals.use("runs/absent")
        assert parts.proposals.model == "zero"


def test_a_model_below_the_project_is_kept_by_its_path_there(folder, model, tmp_path):
    copy = tmp_path / "clinic"
    shutil.copytree(folder, copy)
    shutil.copytree(model / "model", copy / "runs" / "mine" / "model")
    with opened(copy) as parts:
        parts.proposals.use(model_name(parts.desk.project, str(copy / "runs" / "mine")))
    with opened(copy.rename(tmp_path / "moved")) as parts:
        assert parts.proposals.about()["name"] == "runs/mine/model"


def test_suggest_without_a_page(folder, model, tmp_path, capsys):
    copy = tmp_path / "clinic"
    shutil.copytree(folder, copy)
    commands.suggest(copy, count=1, model=str(model))
    printed = capsys.readouterr()
    assert "broken.avi" in printed.err
    assert printed.out.split()[0] == "1"
    assert ".avi" in printed.out
    commands.suggest(copy, count=5, model=str(model), json=True)
    assert len(json.loads(capsys.readouterr().out)) == 2
    with pytest.raises(EchocycleError, match="--count"):
        commands.suggest(copy, count=0)


def test_frames_count_as_in_the_file_where_time_is_uneven(model, tmp_path):
    """The model sees an even grid in time; contours are of the frames of the file, which lists and tracings count."""
    times = [*range(0, 400, 20), *range(400, 1200, 40)]
    path = encode(tmp_path / "uneven.mkv", beating_fan(40), milliseconds=times)
    frames, facts = read_frames(path)
    assert len(frames) == facts.n_frames == 40
    found, _ = look_at(path, load_bundle(model, CPU), CPU, stride=40)
    assert found.facts == facts
    assert found.handles.shape[0] == len(found.areas) == 40
    assert found.beats.max(initial=0) < 40
    assert [place_of(frame, np.array([0, 1, 2, 2, 3, 3])) for frame in range(4)] == [0, 1, 2, 4]
