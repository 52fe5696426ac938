"""From labels to a model in use: trained by a process of its own, compared, taken on a click."""

import json
import os
import shlex
import shutil
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers.labelling import act, client_of, opened, phantom_project, trace, true_contours

from echocycle.bundle_description import read_description
from echocycle.files import read_json, write_json
from echocycle.labelling.compared import summary
from echocycle.labelling.snapshot import TooFewLabelsError, take_snapshot
from echocycle.labelling.trainings import Trainings, progress_of


@pytest.fixture(scope="module")
def folder(phantom_folder, store, model, tmp_path_factory):
    """A project of seven videos: four traced, one skipped, two without a label. The model in use is a small one."""
    made = phantom_project(phantom_folder, tmp_path_factory.mktemp("trainings") / "clinic", 7)
    shutil.copytree(model / "model", made / "runs" / "before" / "model")
    with opened(made) as parts:
        videos = sorted(parts.desk.project.videos.values(), key=lambda each: each.name)
        for video in videos[:4]:
            trace(parts.desk, video.id, *true_contours(store, video.path.stem))
        act(parts.desk, videos[4].id, "state", state="skipped", reason="poor")
        parts.proposals.use("runs/before/model")
    return made


def test_a_snapshot_is_what_train_reads(folder, tmp_path):
    with opened(folder) as parts:
        taken = take_snapshot(parts.desk, tmp_path / "snapshot")
        assert (taken.train, taken.val, taken.test, taken.unlabelled) == (3, 1, 0, 2)
        assert "With fewer than 20 labels" in taken.sentence()
        again = take_snapshot(parts.desk, tmp_path / "again")
        assert again == taken
    from echocycle.datasets.records import EchonetSettings
    from echocycle.datasets.videos import read_videos

    read = read_videos(tmp_path / "snapshot", EchonetSettings())
    assert sorted(record.split for record in read.records) == ["train"] * 5 + ["val"]
    assert sum(record.is_traced for record in read.records) == 4
    assert not [finding for finding in read.findings if finding.level == "error"]
    truth = read_json(tmp_path / "snapshot" / "snapshot.json")["validation"]
    assert [each["id"] for each in truth] == [r.path.stem for r in read.records if r.split == "val"]


def test_too_few_labels_write_nothing(phantom_folder, tmp_path):
    folder = phantom_project(phantom_folder, tmp_path / "clinic", 2)
    with opened(folder) as parts, pytest.raises(TooFewLabelsError, match="0 patients"):
        take_snapshot(parts.desk, tmp_path / "snapshot")
    assert not (tmp_path / "snapshot").exists()


@pytest.mark.parametrize("asked", [{"preset": ["debug"]}, {"preset": {}}, {"method": ["css"]}, {"preset": "none"}])
def test_words_that_name_nothing_are_refused_in_a_sentence(folder, asked):
    with opened(folder) as parts, client_of(parts) as client:
        answer = client.post("/api/train", json=asked)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("There is no ")


@pytest.mark.slow
def test_labels_become_a_model_that_is_compared_and_taken(folder):
    """The whole round with tiny settings, over a server that is stopped and begun again in its middle."""
    with opened(folder) as parts:
        for video in sorted(parts.desk.project.videos.values(), key=lambda each: each.name)[5:]:
            act(parts.desk, video.id, "state", state="skipped", reason="poor")  # no student: it takes half as long
    journal = (folder / "labels" / "journal.jsonl").read_bytes()
    with opened(folder) as parts, client_of(parts) as client:
        assert client.post("/api/train", json={"preset": "debug"}).json() == {"run": "round-001"}
        assert client.post("/api/train", json={"preset": "debug"}).status_code == 409
        assert client.post("/api/runs/round-001/use", json={}).status_code == 409
        (run,) = client.get("/api/runs").json()
        assert run["state"] == "running"
        assert run["progress"]["stage"] == "prepare"
        assert run["labels"].startswith("3 labelled videos to learn from, 1 to validate")
        own = folder / "runs" / "round-001" / "process.json"
        wait_for(own.exists)
        pid = read_json(own)["pid"]
        stopped = client.post("/api/runs/round-001/stop", json={}).json()
        assert stopped["state"] == "stopped"
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
        assert client.post("/api/runs/round-001/resume", json={}).json()["state"] == "running"
    state = folder / "runs" / "round-001" / "state.json"
    assert read_json(state)["state"] == "running"  # the server has ended, and with it what it ran
    with opened(folder) as parts, client_of(parts) as client:  # the next one lets it go on
        wait_for(lambda: client.get("/api/runs").json()[0]["state"] != "running")
        (run,) = client.get("/api/runs").json()
        assert run["state"] == "done", (folder / "runs" / "round-001" / "log.txt").read_text()
        found = run["comparison"]
        assert found["sentence"] == run["sentence"]
        assert found["videos"] + max(found["without_answer"].values()) >= 1
        assert 0 <= found["dice_used"] <= 1
        assert len(found["worst"]) == 1
        assert run["in_use"] is False
        assert client.get("/api/project").json()["model"]["name"] == "runs/before/model"
        taken = client.post("/api/runs/round-001/use", json={}).json()
        assert taken["in_use"] is True
        words = shlex.split(taken["command"])
        assert words[:2] == ["echocycle", "predict"]
        assert read_description(Path(words[-1])).path == folder / "runs" / "round-001" / "model"
        about = client.get("/api/project").json()["model"]
        assert about["name"].startswith("runs/round-001/training/runs/")
        assert about["id"] == read_description(folder / about["name"]).id
    assert (folder / "labels" / "journal.jsonl").read_bytes() == journal  # a training writes no label


def wait_for(condition, seconds=600.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.1)


# ------------------------------------------------------------------------------------------ without a training


def round_of(folder, state, **process):
    run = folder / "runs" / "round-007"
    run.mkdir(parents=True, exist_ok=True)
    asked = {
        "format": 1,
        "started": "x",
        "method": None,
        "preset": "debug",
        "snapshot": ".",
        "used": "zero",
        "labels": "",
    }
    write_json(run / "round.json", asked)
    write_json(run / "state.json", {"state": state, "sentence": "", "model": None})
    if process:
        write_json(run / "process.json", process)
    return run


def test_a_round_whose_process_lives_is_taken_up_and_not_begun_twice(phantom_folder, tmp_path, monkeypatch):
    folder = phantom_project(phantom_folder, tmp_path / "clinic", 1)
    own = psutil.Process()
    round_of(folder, "running", pid=own.pid, created=own.create_time())
    monkeypatch.setattr(Trainings, "_start", lambda self, run: pytest.fail("it runs already"))
    monkeypatch.setattr(Trainings, "_end", lambda self, run: None)  # it is this very process
    with opened(folder) as parts:
        assert parts.trainings.all()[0]["state"] == "running"


def test_another_process_of_the_same_number_is_not_ours(phantom_folder, tmp_path, monkeypatch):
    folder = phantom_project(phantom_folder, tmp_path / "clinic", 1)
    round_of(folder, "running", pid=os.getpid(), created=1.0)
    begun = []
    monkeypatch.setattr(Trainings, "_start", lambda self, run: begun.append(run.name))
    with opened(folder) as parts:
        assert begun == ["round-007"]
        found = parts.trainings.all()[0]
        assert found["state"] == "failed"
        assert "ended from outside" in found["sentence"]


def test_progress_is_read_from_what_the_training_writes(tmp_path):
    runs = tmp_path / "training" / "runs"
    assert progress_of(tmp_path)["stage"] == "prepare"
    runs.mkdir(parents=True)
    seconds = tmp_path / "training" / "seconds.json"
    seconds.write_text('{"prepare": 1.0}')
    assert progress_of(tmp_path)["stage"] == "segment"
    run = runs / "css"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"settings": {"loop": {"steps": 40}}}))
    os.utime(run / "run.json", (1000, 1000))
    (run / "losses.csv").write_text("step,css,total,lr\n" + "".join(f"{n},0,{9 - n},1\n" for n in range(8)) + "8,0,")
    os.utime(run / "losses.csv", (1016, 1016))
    found = progress_of(tmp_path)
    assert (found["stage"], found["step"], found["steps"]) == ("segment", 8, 40)
    assert found["remaining_s"] == pytest.approx(16 / 8 * 32)
    assert found["curve"][0] == [1, 9.0]
    (run / "done.json").write_text("{}")
    assert progress_of(tmp_path)["stage"] == "mask"
    seconds.write_text('{"prepare": 1.0, "segment": 1, "mask": 1, "evaluate": 1}')
    assert progress_of(tmp_path)["stage"] == "report"
    seconds.write_text('{"prepare": 1.0, "segment": 1, "mask": 1, "evaluate": 1, "report": 1}')
    assert progress_of(tmp_path)["stage"] == "compare"


# -------------------------------------------------------------------------------------------------- comparison


def answers(count, new, used):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        ef = float(rng.uniform(30, 70))
        rows.append(
            {
                "id": f"{number:016}",
                "name": f"v{number}",
                "patient": f"p{number // 2}",
                "ef": ef,
                "ef_new": ef + float(rng.normal(0, new)),
                "ef_used": ef + float(rng.normal(0, used)),
                "dice_new": 0.9,
                "dice_used": 0.8,
            }
        )
    return rows


def test_a_better_model_is_said_to_be_better():
    rows = answers(40, 1.0, 9.0)
    found = summary(rows)
    errors = [abs(row["ef_new"] - row["ef"]) for row in rows]
    assert found["videos"] == 40
    assert found["error_new"]["value"] == pytest.approx(np.mean(errors))
    assert found["error_new"]["low"] < np.mean(errors) < found["error_new"]["high"]
    assert found["difference"]["high"] < 0
    assert found["sentence"].endswith("the new one is better.")
    assert [each["error"] for each in found["worst"]] == sorted(errors, reverse=True)[:10]
    assert (found["dice_new"], found["dice_used"]) == (pytest.approx(0.9), pytest.approx(0.8))


def test_a_worse_model_and_an_open_question_are_said_too():
    assert summary(answers(40, 9.0, 1.0))["sentence"].endswith("the new one is worse.")
    assert summary(answers(40, 5.0, 5.0))["sentence"].endswith("which is better is not shown.")


def test_videos_without_an_answer_are_counted_and_not_hidden():
    rows = answers(12, 2.0, 2.0)
    rows[3]["ef_new"] = None
    rows[4]["ef_used"] = None
    found = summary(rows)
    assert found["videos"] == 10
    assert found["without_answer"] == {"new": 1, "used": 1}
    assert found["worst"][0] == {"id": rows[3]["id"], "name": "v3", "error": None}
    none = summary([{**row, "ef_new": None} for row in rows])
    assert none["error_new"] is None
    assert "cannot be compared" in none["sentence"]


def test_one_video_has_no_interval():
    (row,) = rows = answers(1, 2.0, 5.0)
    found = summary(rows)
    assert found["error_new"] == {"value": abs(row["ef_new"] - row["ef"]), "low": None, "high": None}
    assert found["difference"]["value"] == found["error_new"]["value"] - found["error_used"]["value"]
    assert found["difference"]["low"] is None
    assert "may be chance" in found["sentence"]
