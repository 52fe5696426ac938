"""croissant.json beside a store: other tools read it, it says what is there, and nothing of anybody."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.videos import some_videos

from echocycle import stages
from echocycle.data.store import Store
from echocycle.datasets.croissant import NAME, write_croissant
from echocycle.files import sha256
from echocycle.settings.stages import PrepareSettings


@pytest.fixture
def described(store: Store, tmp_path: Path) -> Store:
    """The phantom's store with its description."""
    copy = Store(Path(shutil.copytree(store.path, tmp_path / "Doe")))
    write_croissant(copy.path)
    return copy


@pytest.mark.filterwarnings("ignore")  # of the library's own dependencies
def test_mlcroissant_reads_it(described: Store) -> None:
    import mlcroissant

    store = described
    dataset = mlcroissant.Dataset(str(store.path / NAME))
    assert not dataset.metadata.ctx.issues.errors
    found = {record.uuid: record for record in dataset.metadata.record_sets}
    assert {"videos", "splits"} == set(found)
    splits = {_text(row["splits/split"]): int(row["splits/videos"]) for row in dataset.records("splits")}
    assert splits == {"train": 8, "val": 4, "test": 4}
    videos = list(dataset.records("videos"))
    assert [_text(row["videos/name"]) for row in videos] == store.index["name"].tolist()
    assert [row["videos/ef"] for row in videos] == pytest.approx(store.index["ef"].tolist())
    assert [row["videos/frames"] for row in videos] == store.index["frames"].tolist()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_it_is_true_the_same_each_time_and_names_nobody(described: Store) -> None:
    store = described
    content = json.loads((store.path / NAME).read_text())
    assert {each["@id"]: each["sha256"] for each in content["distribution"]} == {
        name: sha256(store.path / name) for name in ("index.csv", "frames.u8", "traces.npy")
    }
    assert "16 echocardiogram videos (8 train, 4 val, 4 test)" in content["description"]
    assert content["license"] == "unknown"
    fields = {field["name"] for each in content["recordSet"] for field in each["field"]}
    assert not {"patient", "file", "sha256"} & fields
    copy = store.path
    before = (copy / NAME).read_bytes()
    assert write_croissant(copy).read_bytes() == before
    assert json.loads(write_croissant(copy, license="CC-BY-4.0").read_text())["license"] == "CC-BY-4.0"
    assert b"Doe" not in (copy / NAME).read_bytes()


def test_prepare_writes_it(phantom_folder: Path, tmp_path: Path) -> None:
    folder = some_videos(phantom_folder, tmp_path / "videos", 2)
    settings = PrepareSettings(workers=0)
    made = stages.prepare(folder, tmp_path / "store", settings)
    assert json.loads((made.path / NAME).read_text())["license"] == "unknown"
    stages.prepare(folder, tmp_path / "store", replace(settings, license="CC-BY-4.0"))
    assert json.loads((made.path / NAME).read_text())["license"] == "CC-BY-4.0"
    stages.prepare(folder, tmp_path / "store", settings)
    assert json.loads((made.path / NAME).read_text())["license"] == "CC-BY-4.0"


def test_what_a_kill_left_is_removed(described: Store) -> None:
    """`prepare` that is killed while it writes the description has given the store its name before."""
    (described.path / NAME).unlink()
    (described.path / ".croissant.5.partial.json").write_text("half")
    before = {path.name for path in described.path.parent.iterdir()}
    write_croissant(described.path)
    assert (described.path / NAME).exists()
    assert not list(described.path.glob(".*"))
    assert {path.name for path in described.path.parent.iterdir()} == before
