"""The journal: on disk before it is answered, whole after every kill."""

import errno
import json
import os
import threading

import pytest

from echocycle.errors import EchocycleError
from echocycle.labelling.journal import Journal, read_journal


def filled(path, count=5):
    journal = Journal(path)
    for number in range(count):
        journal.append("one", number, {"action": "note", "text": f"Ünïcode {number}\nline"})
    journal.close()
    return path


def test_what_was_written_is_read_again(tmp_path):
    path = filled(tmp_path / "labels" / "journal.jsonl")
    journal = Journal(path)
    assert [entry["n"] for entry in journal.entries] == [1, 2, 3, 4, 5]
    assert journal.entries == read_journal(path)
    assert journal.after(3) == journal.entries[3:]
    assert journal.cut == 0
    journal.close()


@pytest.mark.parametrize("taken", [1, 2, 20, 60])
def test_a_torn_last_line_is_cut_and_the_next_one_follows(tmp_path, taken):
    path = filled(tmp_path / "journal.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-taken])
    assert len(read_journal(path)) == 4
    journal = Journal(path)
    assert journal.last == 4
    assert journal.cut > 0
    journal.append("one", 9, {"action": "note", "text": "next"})
    journal.close()
    assert [entry["n"] for entry in read_journal(path)] == [1, 2, 3, 4, 5]
    assert path.read_bytes().count(b"\n") == 5


def test_zeros_after_a_crash_of_the_system_are_cut(tmp_path):
    path = filled(tmp_path / "journal.jsonl")
    with path.open("ab") as file:
        file.write(bytes(4096))
    journal = Journal(path)
    assert (journal.last, journal.cut) == (5, 4096)
    journal.close()


@pytest.mark.parametrize("damage", [b"{not json}", b'{"n": 1}', b"[]", b"\xff\xfe"])
def test_a_damaged_line_is_told_by_its_number(tmp_path, damage):
    path = filled(tmp_path / "journal.jsonl")
    lines = path.read_bytes().split(b"\n")
    lines[2] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(EchocycleError, match=r"journal.jsonl, line 3 is damaged"):
        Journal(path)


def test_a_repeated_action_is_done_once(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    first, is_new = journal.append("one", 1, {"action": "note", "text": "a"})
    again, repeated = journal.append("one", 1, {"action": "note", "text": "another"})
    other, other_is_new = journal.append("two", 1, {"action": "note", "text": "b"})
    assert (is_new, repeated, other_is_new) == (True, False, True)
    assert again == first
    assert other["n"] == 2
    journal.close()
    reopened = Journal(journal.path)
    assert reopened.append("one", 1, {"action": "note", "text": "a"}) == (first, False)
    reopened.close()


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch, fails):
    path = filled(tmp_path / "journal.jsonl")
    before = path.read_bytes()
    journal = Journal(path)
    original = os.write

    def half(handle, data):
        if len(data) > 10:
            return original(handle, data[:10])  # some of it fits
        raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, half if fails == "write" else refuse)
        with pytest.raises(OSError, match="No space"):
            journal.append("one", 77, {"action": "note", "text": "x" * 25})
    assert path.read_bytes() == before
    assert journal.last == 5
    _, is_new = journal.append("one", 77, {"action": "note", "text": "it fits now"})
    assert is_new
    journal.close()
    assert read_journal(path)[-1]["text"] == "it fits now"


def test_every_entry_is_synced_before_it_is_answered(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.jsonl")
    seen = []
    original = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append(journal.path.read_bytes()), original(handle)))
    journal.append("one", 1, {"action": "note", "text": "a"})
    assert len(seen) == 1
    assert json.loads(seen[0])["text"] == "a"
    journal.close()


def test_many_threads_lose_nothing(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")

    def write(client):
        for number in range(40):
            journal.append(client, number, {"action": "note", "text": client})

    threads = [threading.Thread(target=write, args=(f"client {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    entries = read_journal(journal.path)
    assert [entry["n"] for entry in entries] == list(range(1, 161))
    assert len({(entry["client"], entry["seq"]) for entry in entries}) == 160
