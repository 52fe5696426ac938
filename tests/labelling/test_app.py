"""The interface: what the page gets, and who is refused."""

import io
import json
import zipfile

import numpy as np
import pytest
from helpers.labelling import TOKEN, client_of, fake_videos, opened, oval, phantom_project
from PIL import Image

from echocycle.labelling import security
from echocycle.labelling.frames import read_frames


@pytest.fixture(scope="module")
def served(phantom_folder, tmp_path_factory):
    folder = phantom_project(phantom_folder, tmp_path_factory.mktemp("app") / "clinic", 3)
    with opened(folder, reader="anna") as parts, client_of(parts) as client:
        yield parts, client


@pytest.fixture
def client(served):
    return served[1]


@pytest.fixture
def video(served):
    return next(iter(served[0].desk.project.videos))


def png(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_project_and_queue(client):
    about = client.get("/api/project").json()
    assert about["name"] == "clinic"
    assert about["reader"] == "anna"
    assert about["counts"]["new"] >= 1
    assert about["model"]["name"] == "zero"
    assert "synthetic clips only" in about["model"]["sentence"]
    listed = client.get("/api/videos", params={"order": "name", "offset": 1, "limit": 1}).json()
    assert listed["total"] == 3
    assert listed["offset"] == 1
    assert [row["name"].split("/")[0] for row in listed["videos"]] == ["p1"]
    assert client.get("/api/videos", params={"search": "P2 avi"}).json()["total"] == 1
    assert client.get("/api/videos", params={"state": "checked"}).json()["total"] == 0
    for order in ("suggest", "state", "ef"):
        assert client.get("/api/videos", params={"order": order}).json()["total"] == 3


def test_frames_are_lossless(served, video):
    parts, client = served
    frames, facts = read_frames(parts.desk.path(video))
    about = client.get(f"/api/videos/{video}").json()
    assert (about["n_frames"], about["height"], about["width"]) == facts.shape
    assert about["areas"] is None
    assert about["beats"] == []
    one = client.get(f"/api/videos/{video}/frames/7.png")
    np.testing.assert_array_equal(png(one.content), frames[7])
    assert one.headers["cache-control"].startswith("private")
    strip = png(client.get(f"/api/videos/{video}/strip/3-10.png", params={"token": TOKEN}).content)
    np.testing.assert_array_equal(strip.reshape(8, *frames.shape[1:]), frames[3:11])
    small = png(client.get(f"/api/videos/{video}/thumbnail.png").content)
    assert max(small.shape) <= 160
    assert client.get(f"/api/videos/{video}/thumbnail.png").content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("frames/5000.png", 422),
        ("frames/-1.png", 422),
        ("frames/x.png", 422),
        ("strip/0-64.png", 422),
        ("strip/9-3.png", 422),
        ("contours/0-64", 422),
        ("nothing", 404),
    ],
)
def test_frames_that_are_not_there_are_told(client, video, path, status):
    answered = client.get(f"/api/videos/{video}/{path}")
    assert answered.status_code == status
    assert answered.json()["detail"]


def test_actions_and_measures(client, video):
    ed, es = oval(3).as_json(), oval(20, wide=14).as_json()
    request = {"id": video, "reader": "anna", "action": "trace", "phase": "ed", "contour": ed, "client": "x", "seq": 1}
    answered = client.post("/api/actions", json=request).json()
    assert answered["repeated"] is False
    assert answered["video"]["readers"] == ["anna"]
    assert client.post("/api/actions", json=request).json()["repeated"] is True
    found = client.post("/api/measure", json={"id": video, "ed": ed, "es": es}).json()
    assert found["ef"] == pytest.approx(100 * (1 - (14 / 18) ** 2), abs=0.3)
    assert found["unit"] == "px3"
    last = client.get("/api/events", params={"after": answered["seq_server"] - 1}).json()
    assert [event["action"] for event in last["events"]] == ["trace"]
    assert client.get(f"/api/compare/{video}").status_code == 422
    bad = client.post("/api/actions", json={**request, "seq": 2, "phase": "x"})
    assert bad.status_code == 422
    assert "ed or es" in bad.json()["detail"]
    unknown = client.post("/api/actions", json={**request, "seq": 3, "id": "f" * 16})
    assert unknown.status_code == 404


def test_a_model_that_has_not_looked_says_so(client, video):
    answered = client.post(f"/api/videos/{video}/propose", json={"frame": 3})
    assert answered.status_code == 503
    assert client.post(f"/api/videos/{video}/propose", json={"frame": "3"}).status_code == 422
    assert client.get(f"/api/videos/{video}/contours/0-3").json() == {"contours": []}
    assert client.get("/api/suggest").json() == []


def test_trainings_and_results_that_are_not_there(client):
    assert client.get("/api/runs").json() == []
    assert client.get("/api/results").json() == []
    few = client.post("/api/train", json={"preset": "debug"})
    assert few.status_code == 409
    assert "a training needs 3" in few.json()["detail"]
    assert client.post("/api/train", json={"preset": "best"}).status_code == 422
    assert client.post("/api/train", json={"method": "best"}).status_code == 422
    for path in ("/api/runs/round-001/stop", "/api/runs/..%2f..%2fx/use", "/api/runs/round-001/resume"):
        assert client.post(path, json={}).status_code == 404
    for path in ("none", "..", "..%2f..", "none/..%2f..%2fproject", "none/x"):
        assert client.get(f"/api/results/{path}").status_code == 404


def test_export_is_a_zip(client):
    answered = client.get("/api/export")
    assert "labels.zip" in answered.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answered.content)) as archive:
        assert {"labels.json", "coco.json", "echonet/FileList.csv", "videos/videos.csv"} <= set(archive.namelist())


# -------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Token": ""},
        {"X-Token": "wrong"},
        {"X-Token": TOKEN + "x"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_strangers_are_refused(client, headers):
    for method, path in (("GET", "/api/project"), ("POST", "/api/actions"), ("GET", "/api/videos/x/thumbnail.png")):
        answered = client.request(method, path, headers=headers, **({"json": {}} if method == "POST" else {}))
        assert answered.status_code == 403
        assert set(answered.json()) == {"detail"}


def test_the_page_itself_is_refused_under_another_name(client):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_a_token_in_the_address_is_for_reading_alone(client):
    assert client.get("/api/project", headers={"X-Token": ""}, params={"token": TOKEN}).status_code == 200
    refused = client.post("/api/actions", headers={"X-Token": ""}, params={"token": TOKEN}, json={})
    assert refused.status_code == 403


def test_bodies_are_json_and_small(client):
    assert client.post("/api/actions", content=b"a=1").status_code == 415
    form = {"Content-Type": "text/plain"}
    assert client.post("/api/actions", content=b"{}", headers=form).status_code == 415
    kind = {"Content-Type": "application/json"}
    large = b" " * (security.LARGEST_BODY + 1)
    assert client.post("/api/actions", content=large, headers=kind).status_code == 413
    parts = (b" " * (1 << 18) for _ in range(5))  # its length is not told
    assert client.post("/api/actions", content=parts, headers=kind).status_code == 413
    assert client.post("/api/actions", content=b"{", headers=kind).status_code == 422
    assert client.post("/api/actions", content=b"[]", headers=kind).status_code == 422
    deep = b"[" * 100_000
    assert client.post("/api/actions", content=deep, headers=kind).status_code in (400, 422)
    assert client.post("/api/actions", content=b'{"seq": NaN}', headers=kind).status_code == 422
    assert client.get("/api/project").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(client, method):
    answered = client.request(method, "/api/actions")
    assert answered.status_code == 405
    assert "access-control-allow-origin" not in answered.headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../desk.py",
        "/static/..%2fdesk.py",
        "/static/%2e%2e/desk.py",
        "/static//etc/passwd",
        "/static/..%5cdesk.py",
        "/labels/journal.jsonl",
        "/project.json",
        "/openapi.json",
        "/docs",
    ],
)
def test_files_of_the_project_and_the_program_are_not_given_out(client, path):
    answered = client.get(path)
    assert answered.status_code == 404
    assert "salt" not in answered.text


def test_every_answer_forbids_other_hosts(client):
    for path in ("/api/project", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_recording_that_cannot_be_read_is_a_sentence(tmp_path):
    with opened(fake_videos(tmp_path, 1)) as parts, client_of(parts) as client:
        video = next(iter(parts.desk.project.videos))
        for path in ("", "/thumbnail.png", "/frames/0.png"):
            answered = client.get(f"/api/videos/{video}{path}")
            assert answered.status_code == 422
            assert "clip_00000.avi" in json.loads(answered.content)["detail"]
