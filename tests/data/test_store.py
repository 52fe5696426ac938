"""A store says who it is, and what is opened is compared with it: what was altered, cut or mixed is one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.chain import copied

from echocycle.cli import main
from echocycle.data.store import CHECKSUMS, KINDS, SUMMED, Store, store_id
from echocycle.errors import EchocycleError
from echocycle.files import read_json, sha256, write_json


@pytest.fixture(scope="module")
def own(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(store, tmp_path_factory.mktemp("own")).path


@pytest.fixture
def mine(own: Path) -> Any:
    """A store to alter: all but its large file is put back afterwards."""
    kept = {name: (own / name).read_bytes() for name in ("store.json", "index.csv", "traces.npy", CHECKSUMS)}
    yield own
    for name, content in kept.items():
        (own / name).write_bytes(content)


def refused(store: Path, *words: str) -> None:
    """It is refused in one sentence that names a file and what to do."""
    with pytest.raises(EchocycleError) as raised:
        Store(store)
    said = str(raised.value)
    assert "\n" not in said
    for word in (*words, "again"):
        assert word in said, said


def kinds(of: dict[str, Any], *before: str) -> list[tuple[str, ...]]:
    """The path of every key, those of nested values too."""
    found: list[tuple[str, ...]] = []
    for key, kind in of.items():
        found.append((*before, key))
        if isinstance(kind, dict):
            found += kinds(kind, *before, key)
    return found


def changed(content: Any, where: tuple[str, ...], change: Callable[[dict[str, Any], str], object]) -> Any:
    """A copy of nested values in which one key is changed."""
    copy = json.loads(json.dumps(content))
    inside = copy
    for key in where[:-1]:
        inside = inside[key]
    change(inside, where[-1])
    return copy


MUTATIONS: dict[str, Callable[[dict[str, Any], str], object]] = {
    "missing": lambda values, key: values.pop(key),
    "null": lambda values, key: values.update({key: None}),
    "list": lambda values, key: values.update({key: [1, 2]}),
    "text": lambda values, key: values.update({key: "x"}),
    "number": lambda values, key: values.update({key: -3.5}),
    "other": lambda values, key: values.update({key: {"a": 1}}),
}
ALLOWED = {("phantom_version", "null"), ("source", "text"), ("release", "text"), ("job.listing", "text")}
"""A real store has no phantom version; and a text that is another says nothing false of the files."""


@pytest.mark.parametrize("where", kinds(KINDS), ids=".".join)
def test_every_key_of_store_json(mine: Path, where: tuple[str, ...]) -> None:
    content = read_json(mine / "store.json")
    for name, change in MUTATIONS.items():
        write_json(mine / "store.json", changed(content, where, change))
        if (".".join(where), name) in ALLOWED:
            Store(mine)
        elif where == ("format",) and name in ("number", "text"):
            refused(mine, "format")
        else:
            refused(mine, "index.csv" if where == ("id",) and name == "text" else "store.json")


def test_whole_numbers_that_are_wrong(mine: Path) -> None:
    content = read_json(mine / "store.json")
    for key, file in (("videos", "index.csv"), ("frames", "index.csv"), ("size", "store.json")):
        write_json(mine / "store.json", {**content, key: content[key] + 1})
        refused(mine, key, file)
    write_json(mine / "store.json", {**content, "color": True})
    refused(mine, "frames.u8 has")
    for text in ("", "{", "[]", "null", "3"):
        (mine / "store.json").write_text(text)
        with pytest.raises(EchocycleError, match=r"store\.json"):
            Store(mine)


def test_an_altered_index(mine: Path) -> None:
    """A deleted row, EF that changed places, a renamed patient, an added row, half a copy."""
    index, text = Store(mine).index, (mine / "index.csv").read_text()
    lines = text.splitlines(keepends=True)
    shuffled = index.assign(ef=index["ef"].to_numpy()[::-1])
    for altered in (
        "".join(lines[:-1]),
        "".join(lines[: len(lines) // 2]),
        text[: len(text) // 2],
        shuffled.to_csv(index=False),
        index.assign(patient="one").to_csv(index=False),
        text + lines[-1],
        "",
    ):
        (mine / "index.csv").write_text(altered)
        refused(mine, "index.csv")
    (mine / "index.csv").write_bytes(text.encode() + b"\xff")
    refused(mine, "index.csv")
    (mine / "index.csv").unlink()
    refused(mine, "index.csv is missing")


@pytest.mark.parametrize("what", ["twice", "offset", "empty", "column", "rows"])
def test_an_index_that_hashes_as_it_should_and_cannot_be(mine: Path, what: str) -> None:
    """As two processes that wrote into one store left it."""
    index, meta = Store(mine).index.copy(), read_json(mine / "store.json")
    if what == "twice":
        index.loc[3, "name"] = index.loc[2, "name"]
    elif what == "offset":
        index.loc[3, "offset"] += 1
    elif what == "empty":
        index.loc[3, "frames"] += index.loc[4, "frames"]
        index.loc[4, ["frames", "offset"]] = [0, index.loc[4, "offset"] + index.loc[4, "frames"]]
    elif what == "column":
        index = index.drop(columns="sha256")
    else:
        index = pd.concat([index, index.tail(1)])
    text = index.to_csv(index=False, lineterminator="\n")
    (mine / "index.csv").write_text(text)
    write_json(mine / "store.json", {**meta, "id": store_id(text, meta["job"]["settings"])})
    refused(mine, "index.csv")


def test_large_files_of_another_size(mine: Path) -> None:
    frames = mine / "frames.u8"
    whole = frames.read_bytes()
    try:
        for other in (whole[: len(whole) // 2], whole + b"\0", b""):
            frames.write_bytes(other)
            refused(mine, "frames.u8 has", str(len(whole)))
        frames.unlink()
        refused(mine, "frames.u8 is missing")
    finally:
        frames.write_bytes(whole)
    traces = (mine / "traces.npy").read_bytes()
    for other in (traces[:-1], traces[:50], b"", b"nothing"):
        (mine / "traces.npy").write_bytes(other)
        refused(mine, "traces.npy is not whole")
    np.save(mine / "traces.npy", np.zeros((3, 2, 5), np.uint8))
    refused(mine, "traces.npy holds")
    (mine / "traces.npy").unlink()
    refused(mine, "traces.npy is missing")


def test_altered_frames_are_found_on_request(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Store(mine).verify_frames()
    assert main(["check", str(mine), "--decode"]) == 0
    assert "every byte is as it was written" in " ".join(capsys.readouterr().err.split())
    for name in SUMMED:
        with open(mine / name, "r+b") as file:
            file.seek(5000)
            byte = file.read(1)
            file.seek(5000)
            file.write(bytes([byte[0] ^ 1]))
        assert main(["check", str(mine)]) == 0  # sizes agree
        assert main(["check", str(mine), "--decode"]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"{name} is not the file that checksums.json names" in said
        with open(mine / name, "r+b") as file:
            file.seek(5000)
            file.write(byte)
    known = read_json(mine / CHECKSUMS)
    assert known == {name: sha256(mine / name) for name in SUMMED}
    for name in SUMMED:
        for value in (None, 3, []):
            write_json(mine / CHECKSUMS, {**known, name: value})
            with pytest.raises(EchocycleError, match=CHECKSUMS):
                Store(mine).verify_frames()


def test_stores_of_earlier_versions_open(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They have no checksums; the first hashed the index alone, and later ones drawn splits as a tuple."""
    (mine / CHECKSUMS).unlink()
    assert not Store(mine).verify_frames()
    assert main(["check", str(mine), "--decode"]) == 0
    assert "frames: cannot be compared" in " ".join(capsys.readouterr().err.split())
    meta, text = read_json(mine / "store.json"), (mine / "index.csv").read_text()
    import hashlib

    write_json(mine / "store.json", {**meta, "id": hashlib.sha256(text.encode()).hexdigest()[:12]})
    assert len(Store(mine)) == 16
    drawn = {**meta["job"]["settings"], "assign_splits": (0.5, 0.25, 0.25)}
    write_json(mine / "store.json", {**meta, "id": store_id(text, drawn), "job": {"listing": "", "settings": drawn}})
    assert len(Store(mine)) == 16


@pytest.mark.parametrize("half", ["frames", "index"])
def test_a_half_copied_store_ends_a_command_with_a_sentence(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], half: str
) -> None:
    broken = Path(shutil.copytree(store.path, tmp_path / half))
    if half == "frames":
        whole = (broken / "frames.u8").read_bytes()
        (broken / "frames.u8").write_bytes(whole[: len(whole) // 2])
    else:
        lines = (broken / "index.csv").read_text().splitlines(keepends=True)
        (broken / "index.csv").write_text("".join(lines[: len(lines) // 2]))
    assert main(["segment", str(broken), str(tmp_path / "run"), "--preset", "tiny"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "is not whole, or was changed: copy it again" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------------------ mask sets


def test_masks_of_another_store_are_refused(own: Path) -> None:
    folder = own / "masks" / "truth"
    meta = read_json(folder / "masks.json")
    try:
        write_json(folder / "masks.json", {**meta, "store": "another"})
        with pytest.raises(EchocycleError, match="of another store"):
            Store(own).masks("truth")
        first = np.load(folder / "first.npy")
        write_json(folder / "masks.json", meta)
        np.save(folder / "first.npy", first + np.array([1, *[0] * (len(first) - 1)]))
        with pytest.raises(EchocycleError, match="masks/truth"):
            Store(own).masks("truth")
        np.save(folder / "first.npy", first[[1, 0, *range(2, len(first))]])
        with pytest.raises(EchocycleError, match="one mask for every frame"):
            Store(own).masks("truth")
        np.save(folder / "first.npy", first)
    finally:
        write_json(folder / "masks.json", meta)
    assert Store(own).masks("truth").verify()


def test_masks_are_found_by_the_hash_of_their_segmenter(own: Path) -> None:
    """Whatever their run was called; of several sets that of most videos; none that is being made."""
    truth, made = own / "masks" / "truth", []
    meta = read_json(truth / "masks.json")
    store = Store(own)
    assert store.masks_of("abc") is None
    try:
        for name, hashed in (("a-1", "abc"), ("b-2", "abc"), ("c-3", "xyz"), ("d-4.partial", "abc")):
            made.append(Path(shutil.copytree(truth, own / "masks" / name)))
            write_json(made[-1] / "masks.json", {**meta, "segmenter": hashed, "store": store.meta["id"]})
        (found,) = (masks for masks in [store.masks_of("abc")] if masks)
        assert found.id == "a-1"
        few = {**read_json(made[0] / "masks.json"), "videos": 1}
        write_json(made[0] / "masks.json", few)
        (found,) = (masks for masks in [store.masks_of("abc")] if masks)
        assert found.id == "b-2"
    finally:
        for folder in made:
            shutil.rmtree(folder)
