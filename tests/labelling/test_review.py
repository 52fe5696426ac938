"""What `predict` left is shown, accepted or rejected, and corrected."""

import shutil

import pytest
from helpers.labelling import act, client_of, opened
from helpers.predicting import copies

from echocycle.inference.batch import predict_batch


@pytest.fixture(scope="module")
def folder(model, clip, tmp_path_factory):
    """A project with one recording, predicted beside one that is not in it."""
    made = tmp_path_factory.mktemp("review") / "clinic"
    copies(clip, made / "a" / "clip.avi")
    other = made.with_name("other.avi")
    shutil.copy(clip, other)
    other.write_bytes(other.read_bytes() + b"\0\0")
    predict_batch([made / "a", other], made / "results" / "first", model, device="cpu", stride=30)
    (made / "results" / "first" / "notes.json").write_text('{"mine": 1}')
    (made / "results" / "empty").mkdir()
    return made


def test_results_are_listed_with_the_videos_they_are_of(folder):
    with opened(folder) as parts:
        (video,) = parts.desk.project.videos
        assert [each["result"] for each in parts.reviews.all()] == ["first"]
        found = parts.reviews.rows("first", 0, 10)
        rows = {row["source"].rsplit("/", 1)[-1]: row for row in found["rows"]}
        assert found["total"] == 2
        assert rows["clip.avi"]["id"] == video
        assert rows["other.avi"]["id"] is None
        assert all(row["reviewed"] is None for row in rows.values())
        assert all(isinstance(row["flags"], list) for row in rows.values())
        assert parts.reviews.rows("first", 1, 10)["rows"] == found["rows"][1:]


def test_a_prediction_is_accepted_or_rejected(folder):
    with opened(folder) as parts, client_of(parts) as client:
        row = next(row for row in parts.reviews.rows("first", 0, 10)["rows"] if row["id"])
        request = {"id": row["id"], "reader": "anna", "action": "accept", "what": "prediction", "client": "r", "seq": 1}
        request |= {"run": "first", "stem": row["stem"]}
        assert client.post("/api/actions", json=request).status_code == 200
        assert client.get(f"/api/results/first/{row['stem']}").json()["reviewed"] == "accepted"
        other = next(row for row in parts.reviews.rows("first", 0, 10)["rows"] if not row["id"])
        answered = client.post(
            "/api/actions", json={**request, "id": None, "stem": other["stem"], "action": "reject", "seq": 2}
        )
        assert answered.json()["video"] is None
        for wrong in ({"stem": "../../project"}, {"run": ".."}, {"run": "empty"}, {"stem": "nothing"}):
            assert client.post("/api/actions", json={**request, "seq": 3, **wrong}).status_code == 404
    with opened(folder) as parts:
        reviewed = {row["stem"]: row["reviewed"] for row in parts.reviews.rows("first", 0, 10)["rows"]}
        assert reviewed == {row["stem"]: "accepted", other["stem"]: "rejected"}


def test_a_prediction_has_contours_that_can_be_corrected(folder):
    with opened(folder) as parts, client_of(parts) as client:
        row = next(row for row in parts.reviews.rows("first", 0, 10)["rows"] if row["id"])
        found = client.get(f"/api/results/first/{row['stem']}").json()
        assert found["source"].endswith("clip.avi")
        assert len(found["contours"]) == len(found["ed_frames"])
        (beat, *_) = found["contours"]
        assert beat["ed"]["frame"] == found["ed_frames"][0]
        for phase in ("ed", "es"):
            act(parts.desk, row["id"], "trace", phase=phase, contour=beat[phase])
        assert parts.desk.state(row["id"]) == "traced"
        assert parts.desk.ef_by_discs(row["id"]) == pytest.approx(found["ef_by_discs"], abs=10)
