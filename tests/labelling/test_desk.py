"""What actions come to: states, two readers, two browsers, what is refused."""

import pytest
from helpers.labelling import act, fake_videos, opened, oval, phantom_project, trace

from echocycle.errors import EchocycleError
from echocycle.labelling.desk import Desk, UnknownVideoError
from echocycle.labelling.journal import read_journal


@pytest.fixture(scope="module")
def folder(phantom_folder, tmp_path_factory):
    return phantom_project(phantom_folder, tmp_path_factory.mktemp("desk") / "clinic", 3)


@pytest.fixture
def desk(folder):
    (folder / "labels" / "journal.jsonl").unlink(missing_ok=True)
    with opened(folder, reader="anna") as parts:
        yield parts.desk


def first(desk):
    return next(iter(desk.project.videos))


def test_states_of_a_video(desk):
    video = first(desk)
    assert desk.state(video) == "new"
    act(desk, video, "trace", phase="ed", contour=oval(3).as_json())
    assert desk.state(video) == "new"
    act(desk, video, "trace", phase="es", contour=oval(20, wide=14).as_json())
    assert desk.state(video) == "traced"
    act(desk, video, "state", state="checked")
    assert desk.state(video) == "checked"
    act(desk, video, "trace", phase="es", contour=oval(21, wide=14).as_json())
    assert desk.state(video) == "traced"  # what was changed has to be looked at again
    act(desk, video, "state", state="skipped", reason="wrong view")
    row = desk.row(video)
    assert (row["state"], row["skip_reason"]) == ("skipped", "wrong view")
    act(desk, video, "state", state="new")
    assert desk.state(video) == "traced"
    act(desk, video, "clear", phase="ed")
    assert desk.state(video) == "new"


def test_two_readers_of_one_video_are_kept_apart(desk):
    video = first(desk)
    trace(desk, video, oval(3), oval(20, wide=14), reader="anna", client="a")
    with pytest.raises(EchocycleError, match="Two readers"):
        desk.compare(video)
    trace(desk, video, oval(4, wide=20), oval(20, wide=15), reader="ben", client="b")
    labels = desk.details(video)["labels"]
    assert set(labels) == {"anna", "ben"}
    assert labels["anna"]["ed"]["frame"] == 3
    assert labels["ben"]["ed"]["frame"] == 4
    found = desk.compare(video)
    assert 0.9 < found["dice_ed"] < 0.97
    assert found["ef"]["anna"] == pytest.approx(100 * (1 - (14 / 18) ** 2), abs=0.5)
    assert found["ef"]["ben"] == pytest.approx(100 * (1 - (15 / 20) ** 2), abs=0.5)
    assert found["frames"] == {"anna": [3, 20], "ben": [4, 20]}
    reader, _ = desk.labels.of(video).chosen()
    assert reader == "ben"
    act(desk, video, "note", reader="anna", client="a", text="I was here last")
    assert desk.labels.of(video).chosen()[0] == "anna"


def test_two_browsers_lose_nothing_of_each_other(desk):
    one, two, _ = desk.project.videos
    trace(desk, one, oval(3), oval(20, wide=14), client="left")
    act(desk, two, "ef", client="right", value=61.5)
    act(desk, one, "trace", client="right", phase="ed", contour=oval(5).as_json())
    assert desk.labels.of(one).readers["anna"].ed.frame == 5  # the last one counts
    assert [entry["client"] for entry in read_journal(desk.journal.path)] == ["left", "left", "right", "right"]
    seen = desk.events(2)
    assert [(each["seq_server"], each["action"]) for each in seen["events"]] == [(3, "ef"), (4, "trace")]
    assert seen["events"][0]["video"]["ef_known"] == 61.5
    assert desk.events(4) == {"events": [], "last": 4, "version": desk.version, "counts": None}


def test_the_next_server_knows_everything(folder, desk):
    video = first(desk)
    trace(desk, video, oval(3), oval(20, wide=14))
    act(desk, video, "ef", value=55)
    act(desk, video, "note", text="ärger")
    before = desk.details(video)
    desk.close()
    again = Desk(folder)
    assert again.details(video) == before
    again.close()


def test_a_repeated_action_is_answered_again(desk):
    video = first(desk)
    request = {"id": video, "reader": "anna", "action": "note", "text": "x", "client": "c", "seq": 1}
    one, two = desk.act(request), desk.act(request)
    assert one["seq_server"] == two["seq_server"] == 1
    assert (one["repeated"], two["repeated"]) == (False, True)


def test_two_servers_cannot_have_one_project(folder, desk):
    with pytest.raises(EchocycleError, match="open in another `echocycle label` already"):
        Desk(folder)


def test_ef_by_discs_is_known_again_after_a_change(desk):
    video = first(desk)
    trace(desk, video, oval(3), oval(20, wide=14))
    before = desk.row(video)["ef_discs"]
    act(desk, video, "trace", phase="es", contour=oval(20, wide=10).as_json())
    assert desk.row(video)["ef_discs"] > before + 20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"action": "delete"}, "no action 'delete'"),
        ({"action": None}, "no action"),
        ({"reader": ""}, "reader's name"),
        ({"reader": "a\nb"}, "reader's name"),
        ({"reader": "x" * 81}, "reader's name"),
        ({"client": ""}, "client is text"),
        ({"client": "c" * 65}, "client is text"),
        ({"seq": -1}, "seq is a whole number"),
        ({"seq": True}, "seq is a whole number"),
        ({"seq": 2**60}, "seq is a whole number"),
        ({"id": None}, "id names a video"),
        ({"id": ["x"]}, "id names a video"),
        ({"action": "trace", "phase": "systole"}, "ed or es"),
        ({"action": "trace", "phase": "ed", "contour": None}, "object"),
        ({"action": "ef", "value": 101}, "0 to 100"),
        ({"action": "ef", "value": "55"}, "0 to 100"),
        ({"action": "state", "state": "done"}, "checked, skipped, or new"),
        ({"action": "state", "state": "skipped", "reason": " "}, "Say why"),
        ({"action": "state", "state": "skipped", "reason": "x" * 201}, "at most 200"),
        ({"action": "note", "text": 5}, "text of at most"),
        ({"action": "note", "text": "\ud800"}, "character that is none"),
        ({"action": "accept", "what": "video"}, "prediction"),
    ],
)
def test_what_is_no_action_is_refused_and_not_written(desk, change, said):
    request = {"id": first(desk), "reader": "anna", "action": "note", "text": "x", "client": "c", "seq": 1, **change}
    with pytest.raises(EchocycleError, match=said):
        desk.act(request)
    assert desk.journal.last == 0


def test_an_unknown_video_is_told(desk):
    with pytest.raises(UnknownVideoError):
        act(desk, "0123456789abcdef", "note", text="x")


def test_a_recording_that_cannot_be_read_can_be_skipped_and_not_traced(tmp_path):
    with opened(fake_videos(tmp_path, 2)) as parts:
        video = first(parts.desk)
        with pytest.raises(EchocycleError):
            act(parts.desk, video, "trace", phase="ed", contour=oval(0).as_json())
        act(parts.desk, video, "state", state="skipped", reason="unreadable")
        assert parts.desk.counts() == {"new": 1, "proposed": 0, "traced": 0, "checked": 0, "skipped": 1}


def test_labels_of_recordings_that_are_gone_are_kept_and_told(tmp_path):
    folder = fake_videos(tmp_path, 2)
    with opened(folder) as parts:
        video = parts.desk.project.videos[first(parts.desk)]
        act(parts.desk, video.id, "ef", value=50)
    video.path.unlink()
    with opened(folder) as parts:
        assert any(
            "1 videos that somebody worked on are not in the folder" in w for w in parts.desk.about()["warnings"]
        )
        assert parts.desk.labels.of(video.id).ef_known() == 50
